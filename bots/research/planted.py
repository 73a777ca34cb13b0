"""Made-up windows whose truth is known: an edge of a stated size, none, or knowledge of the future.

The oracle is the simulated exchange's price process without jumps, the fair price its makers' own
(:func:`polymirror.simulator.exchange.fair.probability_up`), at the newest price. A side is sold for that chance less
the planted edge, at every moment: so whenever something is bought, and at whatever time it trades, its profit before
fees is that edge on average, since the chance that a side wins is the same on average later. Tests hold the suite
against it.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

from bots.research.eras import Eras
from bots.research.series import decide_as_the_bot
from bots.research.windows import ONE_E4, Quotes, Ticks, Window
from polymirror.simulator.exchange.fair import probability_up
from polymirror.simulator.exchange.oracle import PriceProcess
from polymirror.simulator.settings import DEFAULT_START_MS, OracleConfig

if TYPE_CHECKING:
    from bots.oracle_lag.signal import Quiet, Signal, SignalSettings
    from bots.updown.strike import Strike
    from bots.updown.volatility import Measured

LENGTH_MS: Final = 900_000

STEP_MS: Final = 30_000
"""Between two prices of the oracle, and of the tokens."""

LAG_MS: Final = 1_500
"""From the oracle's own time to its receipt: the relay's median."""

FREE: Final = Eras(fees=("1970-01-01 5m,15m 0 1",), delays=("1970-01-01 5m,15m 0",))


def windows(seed: int, *, count: int, edge: Decimal, asset: str = "btc") -> list[Window]:
    """Make windows, one after the other, in which a side costs ``edge`` pUSD less than it is worth. No fees."""
    process = PriceProcess(seed, {asset: Decimal(60_000)}, config=OracleConfig(tick_ms=STEP_MS, jumps_per_hour=0.0))
    first = DEFAULT_START_MS // LENGTH_MS * LENGTH_MS
    return [_window(process, asset, first + number * LENGTH_MS, int(edge * ONE_E4)) for number in range(count)]


def _window(process: PriceProcess, asset: str, start: int, edge_e4: int) -> Window:
    end = start + LENGTH_MS
    times = range(start, end, STEP_MS)
    prices = [process.price(asset, each) for each in times]
    strike = prices[0]
    deviation = process.config.deviation
    chances = [
        probability_up(float(price), float(strike), (end - at) / 1000, deviation=deviation)
        for at, price in zip(times, prices, strict=True)
    ]
    received = [each + LAG_MS for each in times]
    up, down = (
        Quotes(
            # Just before each tick is received: what is next after a decision is then a new price.
            received_ms=[each - 1 for each in received],
            bid_e4=[0] * len(received),
            ask_e4=[max(1, round(chance * ONE_E4) - edge_e4) for chance in side],
        )
        for side in (chances, [1 - each for each in chances])
    )
    return Window(
        source="planted",
        asset=asset,
        start_ms=start,
        end_ms=end,
        rules=FREE.rules("15m", start),
        oracle=Ticks(at_ms=times, received_ms=received, price_e8=[int(each.scaleb(8)) for each in prices]),
        up=up,
        down=down,
        strike_e8=int(strike.scaleb(8)),
        strike_known_ms=received[0],
        up_won=process.price(asset, end) >= strike,
    )


def decide_with_the_future(
    settings: SignalSettings, window: Window, index: int, strike: Strike | None, now_ms: int, measured: Measured | None
) -> Signal | Quiet:
    """Cheat: look at a price that is received a minute later, where there is one."""
    ahead = min(index + 60_000 // STEP_MS, len(window.oracle.at_ms) - 1)
    return decide_as_the_bot(settings, window, ahead, strike, now_ms, measured)
