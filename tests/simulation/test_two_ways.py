"""The quick way of the usual message and the long way of any message come to the same."""

import pytest

from polymirror.config import EngineConfig
from polymirror.core import market as market_module
from polymirror.core.mirrored import take_mirrored
from polymirror.torture.storm import draw_storm
from polymirror.torture.world import World

MINUTES = 1.0


class Told(World):
    """A world that writes down what every read finds."""

    def __init__(self, seed):
        self.told = []
        storm = draw_storm(seed, MINUTES, 8)
        faults = [episode.build(storm.exchange.start_ms, seed) for episode in storm.episodes]
        # Both tokens by their own hashes: the long way knows no other.
        engine = EngineConfig(prove_both_hashes=True)
        super().__init__(storm.exchange, faults, seed=seed, engine=engine, network=storm.network)

    def read(self, token, max_proof_age=None):
        before = self.tally.refused
        super().read(token, max_proof_age)
        book = self.engine.tokens[token]
        proven = book.proven
        self.told.append((
            self.now, token, self.tally.refused > before, proven.levels(), proven.proof, proven.proven_ms,
            proven.unproven, proven.epoch, proven.stated_as_of, len(book.misses.watched), book.miss_since,
        ))  # fmt: skip


def happenings(seed):
    world = Told(seed)
    # Batches that are open are counted when they are over.
    world.run(MINUTES * 60 + 5)
    counts = world.engine.outbox.proofs.as_dict()
    for kind in ("bbo", "complement", "invariants"):
        # Counted for each batch, and a message to the very microsecond of its end belongs to it or begins another.
        del counts[kind]["match"]
    return world.told, world.trace(), counts


@pytest.mark.parametrize("seed", [2, 3, 8, 9])
def test_both_ways_lead_to_the_same_reads_transitions_and_verdicts(seed, monkeypatch):
    taken = [0, 0]

    def counted(*args):
        usual = take_mirrored(*args)
        taken[usual] += 1
        return usual

    monkeypatch.setattr(market_module, "take_mirrored", counted)
    quick = happenings(seed)
    assert taken[True] > taken[False] > 0
    monkeypatch.setattr(market_module, "take_mirrored", lambda *_: False)
    long = happenings(seed)
    for one, other in zip(quick[0], long[0], strict=True):
        assert one == other
    assert quick[1:] == long[1:]
