"""Thousands of tokens lose their sockets at once: they come back soon, and neither REST nor memory is flooded."""

import random

import pytest

from polymirror.config import EngineConfig, RestConfig
from polymirror.core.effects import FetchBooks
from polymirror.core.requests import MAX_BOOKS_PER_REQUEST, MAX_REQUESTS
from polymirror.core.states import BookState
from polymirror.simulator.settings import ExchangeConfig, FlowConfig
from polymirror.torture.world import World

TOKENS = 5_000
HEAL_SECONDS = 20
"""Each socket backs off on its own, and a quiet token waits for its opening book."""


class Counting(World):
    """A world that counts what is asked of REST."""

    calls = 0
    most_at_once = 0

    def _call(self, request, asset_ids):
        assert len(asset_ids) <= MAX_BOOKS_PER_REQUEST
        self.calls += 1
        self.most_at_once = max(self.most_at_once, len(self.engine.requests._under_way))
        super()._call(request, asset_ids)


def world() -> Counting:
    exchange = ExchangeConfig(
        seed=1, markets=TOKENS // 2, flow=FlowConfig(rate=0.02, density=0.1), new_market_every_ms=None
    )
    return Counting(exchange, seed=1)


def live(world: World) -> int:
    return world.states().get(BookState.LIVE, 0)


@pytest.mark.slow
def test_five_thousand_tokens_that_lose_their_sockets_at_once_come_back_without_a_flood() -> None:
    storm = world()
    storm.run(5)
    assert live(storm) == TOKENS
    lines = len(storm.engine.sockets.all())
    assert lines == TOKENS // EngineConfig().tokens_per_socket
    before = storm.calls
    for client in list(storm._clients.values()):
        storm._lose(client.wire, "storm")
    assert live(storm) == 0
    storm.run(HEAL_SECONDS)
    assert live(storm) == TOKENS
    assert not storm.tally.violations
    # The opening books bring them back; REST is for the few that miss theirs, and for routine probes.
    assert storm.calls - before <= 4 * HEAL_SECONDS + 40
    assert storm.most_at_once <= MAX_REQUESTS


@pytest.mark.slow
def test_without_opening_books_rest_brings_five_thousand_tokens_back_in_few_calls() -> None:
    storm = world()
    storm.run(5)
    for token in list(storm.engine.tokens):
        storm.engine.tokens[token].start_resync(storm.engine.tokens[token].reason, storm.seconds, gap=False)
    storm.engine.tick(storm.seconds)
    before = storm.calls
    storm._drain()
    storm.run(HEAL_SECONDS)
    assert live(storm) == TOKENS
    # Baselines, retries and routine probes together stay below half of the mirror's own budget.
    assert storm.calls - before <= RestConfig().calls_per_10s * HEAL_SECONDS / 10 / 2
    assert storm.most_at_once <= MAX_REQUESTS


@pytest.mark.slow
def test_probes_of_tokens_that_were_proven_together_spread_out() -> None:
    quiet = world()
    quiet.run(5)
    due = sorted(token.next_due() for token in quiet.engine.tokens.values())
    assert len({round(at, 3) for at in due}) > TOKENS / 20
    assert due[-1] - due[0] > 0.2 * EngineConfig().max_proof_age * EngineConfig().probe_fraction


@pytest.mark.slow
def test_no_request_asks_twice_for_a_token_that_is_under_way() -> None:
    storm = world()
    asked: list[str] = []
    storm.run(5)
    for token in random.Random(1).sample(sorted(storm.engine.tokens), 100):
        storm.engine.prove(token, storm.seconds)
        storm.engine.prove(token, storm.seconds)
    asked = [each for effect in storm.engine.effects() if isinstance(effect, FetchBooks) for each in effect.asset_ids]
    assert len(asked) == len(set(asked))
