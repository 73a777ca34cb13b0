"""The strategy as a bot runs it: the signal of :mod:`bots.oracle_lag.signal`, made into a wish to buy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from bots.common.orders.intents import Wish
from bots.common.orders.order import TimeInForce
from bots.oracle_lag.signal import Direction, Quiet, SignalSettings, decide
from bots.updown.bot import Plan

if TYPE_CHECKING:
    from bots.common.orders.intents import Terms
    from bots.oracle_lag.config import BotSettings
    from bots.updown.oracles.ticks import Tick, TickKind
    from bots.updown.rounds import Round
    from bots.updown.strike import Strike
    from bots.updown.volatility import Measured


@frozen
class OracleLag:
    """Buys the token on whose side the oracle stands, before the makers have moved."""

    settings: SignalSettings

    @property
    def kind(self) -> TickKind:
        """The kind of price after which it is asked."""
        return self.settings.kind

    def wish(
        self, each: Round, terms: Terms, tick: Tick, strike: Strike | None, measured: Measured | None, now_ms: int
    ) -> Wish | str:
        """Say what to buy in an open window, or in one word why nothing is wished for."""
        found = decide(self.settings, tick.price, strike, now_ms, each.start_ms, each.end_ms, measured)
        if isinstance(found, Quiet):
            return found.name
        token = each.terms.up if found.direction is Direction.UP else each.terms.down
        basis = {"move": f"{found.move:.6f}", "volatility": str(found.volatility)}
        basis["volatility_from"] = "settings" if measured is None else f"{measured.samples} minutes"
        return Wish(token=token.id, terms=terms, fair=found.fair, basis=basis)


def plan_of(settings: BotSettings) -> Plan:
    """Make the plan of a bot from its settings."""
    return Plan(
        assets=settings.assets,
        strategy=OracleLag(settings.signal),
        rounds=settings.rounds,
        mirror=settings.mirror,
        risk=settings.risk,
        facts=settings.facts,
        size=settings.size_limits,
        tif=TimeInForce(settings.orders.kind),
        max_proof_age=float(settings.orders.max_proof_age),
        status=settings.status,
    )
