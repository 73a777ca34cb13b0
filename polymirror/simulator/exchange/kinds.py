"""Markets of many kinds: up/down windows, matches, questions; with tags, volumes, fees and ends of their own.

What a program that looks for markets finds on the venue is a mixture, most of it of no use to it. The exchange lists
these at its start, and further ones while it runs, when its settings ask for pairs (:class:`PairsConfig`). Pure.
"""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Final, NamedTuple

from polymirror.simulator.exchange.flow import Flow
from polymirror.simulator.exchange.listings import ASSETS, token_id
from polymirror.simulator.exchange.market import Kind, Market

if TYPE_CHECKING:
    from polymirror.simulator.settings import ExchangeConfig, PairsConfig

TEAMS: Final = ("bos", "nyk", "lal", "mia", "chi", "den", "phx", "dal")
TOPICS: Final = ("rate-cut", "new-record", "treaty", "launch", "merger")


class _Sort(NamedTuple):
    share: int
    tags: tuple[tuple[str, str], ...]
    fee: int
    taker_delay: bool


SORTS: Final = {
    "crypto": _Sort(5, (("21", "Crypto"), ("1312", "Crypto Prices")), 700, taker_delay=True),
    "sports": _Sort(3, (("1", "Sports"), ("745", "NBA")), 300, taker_delay=False),
    "politics": _Sort(2, (("2", "Politics"),), 0, taker_delay=False),
}
"""How often each occurs, of ten; its tags; the rate of its fee in 1/10,000. The numbers of tags are made up."""

NEG_RISK_SHARE: Final = 0.25
"""The share of political markets that are one outcome of several."""


def list_kinds(config: ExchangeConfig, pairs: PairsConfig, first: int, count: int, now_ms: int) -> list[Market]:
    """Make markets with the numbers from ``first`` on."""
    return [_market(config, pairs, number, now_ms) for number in range(first, first + count)]


def _market(config: ExchangeConfig, pairs: PairsConfig, number: int, now_ms: int) -> Market:
    # By number, so that a market is the same whatever else is listed.
    rng = random.Random(f"{config.seed}/kind/{number}")
    name = rng.choices(tuple(SORTS), [sort.share for sort in SORTS.values()])[0]
    sort = SORTS[name]
    low, high = math.log(pairs.shortest_s), math.log(pairs.longest_s)
    end_ms = now_ms + round(math.exp(rng.uniform(low, high))) * 1_000
    slug, question = _names(name, rng, number)
    volume = round(math.exp(rng.uniform(math.log(500), math.log(2_000_000))))
    kind = Kind(
        tags=sort.tags,
        fee=sort.fee,
        neg_risk=name == "politics" and rng.random() < NEG_RISK_SHARE,
        volume=volume,
        question=question,
        taker_delay=sort.taker_delay,
    )
    return Market(
        index=number,
        condition_id=f"0x{rng.getrandbits(256):064x}",
        tokens=(token_id(rng), token_id(rng)),
        slug=slug,
        asset=name,
        window_start_ms=now_ms,
        window_end_ms=end_ms,
        flow=Flow(pairs.flow, random.Random(rng.getrandbits(64)), now_ms),
        history_ms=config.history_ms,
        kind=kind,
    )


def _names(name: str, rng: random.Random, number: int) -> tuple[str, str]:
    """A slug and a question."""
    if name == "crypto":
        asset, level = rng.choice(ASSETS), rng.randrange(10, 1_000)
        return f"{asset}-above-{level}-{number}", f"Will {asset.upper()} be above {level}?"
    if name == "sports":
        one, other = rng.sample(TEAMS, 2)
        return f"nba-{one}-{other}-{number}", f"Will {one.upper()} beat {other.upper()}?"
    topic = rng.choice(TOPICS)
    return f"will-{topic}-happen-{number}", f"Will there be a {topic.replace('-', ' ')}?"
