from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

from polymirror.core.states import LEGAL_TRANSITIONS
from tests.core.builders import Exchange, Rig

REPOSITORY = Path(__file__).parents[2]


def scripted_step(rig, exchange, rng):
    """One thing that happens to a mirror, drawn from ``rng``."""
    number, dice = rig.engine.markets[exchange.market].socket, rng.random()
    if not rig.engine.sockets[number].is_open:
        rig.connect(number)
        for each in rig.exchanges:
            rig.send(each.opening(), rig.engine.markets[each.market].socket)
    elif dice < 0.01:
        rig.disconnect(number)
    elif dice < 0.03:
        rig.send(rng.choice(["{garbage", "PONG", '{"event_type":"x"}', "[1]"]), number)
    else:
        message = exchange.change("BUY", f"0.{rng.randrange(10, 48)}", str(rng.randrange(4)))
        if dice > 0.05:
            rig.send(message, number)
    if dice < 0.25:
        rig.answer()
    elif dice < 0.3:
        rig.fail()
    rig.advance(rng.choice([0.0, 0.001, 0.1, 1.0]))


def scripted_run(seed):
    """Minutes of everything; return all that came out, as text."""
    rng = random.Random(99)
    exchanges = [Exchange(f"0x{n}", f"{n}1", f"{n}2") for n in range(3)]
    rig = Rig(*exchanges, seed=seed, scheduled_resync=20, tokens_per_socket=4)
    views = []
    for _ in range(800):
        scripted_step(rig, rng.choice(exchanges), rng)
        views += [f"{token} {rig.engine.peek(token, rig.now)}" for token in rig.engine.tokens]
    for each in rig.transitions:
        assert each.new in LEGAL_TRANSITIONS[each.old]
    lines = [*map(str, rig.transitions), *map(repr, rig.effects), *map(repr, rig.warnings), *rig.dirty, *views]
    return "\n".join([*lines, repr(rig.engine.counts), repr(rig.engine.outbox.proofs.as_dict())])


def test_the_same_inputs_give_the_same_consequences_byte_for_byte():
    first = scripted_run(seed=5)
    assert first == scripted_run(seed=5)
    assert first.count("LIVE ->") > 20
    assert first != scripted_run(seed=6)


def test_consequences_do_not_depend_on_the_hash_seed_of_the_interpreter():
    code = (
        "import hashlib; from tests.core import test_engine_determinism; "
        "print(hashlib.sha256(test_engine_determinism.scripted_run(5).encode()).hexdigest())"
    )
    digests = {
        subprocess.run(  # noqa: S603 - this interpreter, and our own code
            [sys.executable, "-c", code], cwd=REPOSITORY, check=True, capture_output=True, text=True,
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(REPOSITORY)},
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(digests) == 1
