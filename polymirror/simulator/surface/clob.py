"""The order book service's objects of whole markets: full, short, compact, and the pages they come in."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from polymirror.simulator.exchange.ladder import ONE_PRICE
from polymirror.simulator.exchange.listings import OUTCOMES
from polymirror.simulator.exchange.market import MIN_ORDER_SIZE, Market, Phase
from polymirror.simulator.surface.answers import clob_page
from polymirror.simulator.surface.gamma import title
from polymirror.simulator.surface.tape import worth

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from polymirror.simulator.frames import Answer, Call

PAGE: Final = 1_000
"""Markets in one page of the order book service."""


def _iso(unix_ms: int) -> str:
    return datetime.fromtimestamp(unix_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def compact_market(market: Market) -> dict[str, Any]:
    """A market as ``/clob-markets`` gives it."""
    return {
        "c": market.condition_id,
        "t": [{"t": token, "o": outcome} for token, outcome in zip(market.tokens, OUTCOMES, strict=True)],
        "mts": market.tick / ONE_PRICE,
        "mos": int(MIN_ORDER_SIZE),
        "nr": market.kind.neg_risk,
        "fd": {"r": market.kind.fee / ONE_PRICE, "e": 1, "to": True} if market.kind.fee else None,
        "mbf": 1000,
        "tbf": 1000,
        "itode": market.kind.taker_delay,
        "ao": market.phase is Phase.TRADING,
    }


def short_market(market: Market) -> dict[str, Any]:
    """A market as the simplified lists give it."""
    first = worth(market)
    winner = market.winner if market.closed else None
    return {
        "condition_id": market.condition_id,
        "tokens": [
            {"token_id": token, "outcome": outcome, "price": float(price), "winner": winner == index}
            for index, (token, outcome, price) in enumerate(
                zip(market.tokens, OUTCOMES, (first, 1 - first), strict=True)
            )
        ],
        "rewards": {"rates": None, "min_size": 0, "max_spread": 0},
        "active": True,
        "closed": market.closed,
        "archived": False,
        "accepting_orders": market.phase is Phase.TRADING,
    }


def full_market(market: Market) -> dict[str, Any]:
    """A market as ``/markets/{condition_id}`` gives it."""
    return {
        "enable_order_book": True,
        "question_id": market.condition_id,
        "question": title(market),
        "description": "A simulated market: it resolves to Up if the price ends at or above its start.",
        "market_slug": market.slug,
        "minimum_order_size": int(MIN_ORDER_SIZE),
        "minimum_tick_size": market.tick / ONE_PRICE,
        "end_date_iso": _iso(market.window_end_ms),
        "game_start_time": None,
        "accepting_order_timestamp": _iso(market.window_start_ms - 86_400_000),
        # Whether there is a delay for takers is told by /clob-markets (itode); this one is that of sports.
        "seconds_delay": 0,
        "fpmm": "",
        "maker_base_fee": 1000,
        "taker_base_fee": 1000,
        "notifications_enabled": False,
        "neg_risk": market.kind.neg_risk,
        "neg_risk_market_id": "",
        "neg_risk_request_id": "",
        "icon": "",
        "image": "",
        "is_50_50_outcome": market.closed and market.payouts is not None and len(set(market.payouts)) == 1,
        "tags": [label for _, label in market.kind.tags],
        **short_market(market),
    }


PAGES: Final[dict[str, tuple[Callable[[Market], dict[str, Any]], bool]]] = {
    "/markets": (full_market, False),
    "/simplified-markets": (short_market, False),
    "/sampling-markets": (full_market, True),
    "/sampling-simplified-markets": (short_market, True),
}
"""The lists that come in pages: the form of an entry, and whether only markets that trade are in them."""


def markets_page(path: str, markets: Sequence[Market], call: Call) -> Answer:
    """One page of a list."""
    form, trading = PAGES[path]
    shown = [market for market in markets if not trading or market.phase is Phase.TRADING]
    return clob_page(call, shown, form, PAGE)
