"""Made-up windows and trades, in a line each."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from bots.research.eras import Eras
from bots.research.trades import Trade
from bots.research.windows import QuoteKind, Quotes, Ticks, Window

if TYPE_CHECKING:
    from collections.abc import Sequence

START_MS = 1_790_000_100_000
END_MS = START_MS + 900_000
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
FREE = Eras(fees=("1970-01-01 5m,15m 0 1",), delays=("1970-01-01 5m,15m 0",))


def ticks(*seen: tuple[int, str], lag_ms: int = 1_000) -> Ticks:
    """Prices by their own time, in seconds after the opening."""
    at = [START_MS + seconds * 1000 for seconds, _ in seen]
    prices = [int(Decimal(price).scaleb(8)) for _, price in seen]
    return Ticks(at_ms=at, received_ms=[each + lag_ms for each in at], price_e8=prices)


def quotes(*seen: tuple[float, str], kind: QuoteKind = QuoteKind.BOOK, sizes: Sequence[int] | None = None) -> Quotes:
    """Asks by their receipt, in seconds after the opening; the bid is a cent lower."""
    asks = [int(Decimal(price) * 10_000) for _, price in seen]
    return Quotes(
        received_ms=[START_MS + int(seconds * 1000) for seconds, _ in seen],
        bid_e4=[max(each - 100, 0) for each in asks],
        ask_e4=asks,
        ask_size_e6=None if sizes is None else [each * 1_000_000 for each in sizes],
        kind=kind,
    )


def window(oracle: Ticks, up: Quotes, *, won: bool | None = True, strike: str = "50000", eras: Eras = FREE) -> Window:
    return Window(
        source="made up",
        asset="btc",
        start_ms=START_MS,
        end_ms=END_MS,
        rules=eras.rules("15m", START_MS),
        oracle=oracle,
        up=up,
        down=up.complement(),
        strike_e8=int(Decimal(strike).scaleb(8)),
        strike_known_ms=START_MS,
        up_won=won,
    )


def trade(
    number: int, *, won: bool, price: str = "0.50", up: bool = True, fee: str = "0", apart_ms: int = HOUR_MS
) -> Trade:
    start = START_MS + number * apart_ms
    shares = Decimal(10)
    return Trade(
        source="made up",
        era="an era",
        asset="btc",
        start_ms=start,
        end_ms=start + 900_000,
        up=up,
        decided_ms=start + 60_000,
        filled_ms=start + 61_000,
        quoted=Decimal(price),
        quoted_ms=start + 59_000,
        price=Decimal(price),
        shares=shares,
        money=Decimal(price) * shares,
        fee=Decimal(fee),
        fair=Decimal("0.7"),
        move=0.001,
        won=won,
    )


def trades(count: int, wins: int, **more: str) -> list[Trade]:
    """So many purchases an hour apart, the wins evenly among them."""
    return [trade(each, won=(each * wins) // count != ((each + 1) * wins) // count, **more) for each in range(count)]  # type: ignore[arg-type]
