"""The simulated venue's terms of trading: delays, fees, least sizes, and how long settlement takes.

Values only; :mod:`polymirror.simulator.orders.broker` applies them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen

from polymirror.errors import ConfigError
from polymirror.simulator.orders.ledger import ONE_PUSD
from polymirror.simulator.orders.rules import FeeTerms
from polymirror.simulator.orders.trades import SettlementConfig

if TYPE_CHECKING:
    from attrs import Attribute


def _delay(_: object, attribute: Attribute[int], value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 60_000:
        raise ConfigError(attribute.name, value, "a whole number between 0 and 60000 milliseconds")


def _maybe_delay(_: object, attribute: Attribute[int | None], value: object) -> None:
    if value is not None:
        _delay(_, attribute, value)  # type: ignore[arg-type]


def _least(_: object, attribute: Attribute[int], value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 100 * ONE_PUSD:
        raise ConfigError(attribute.name, value, f"a whole number between 0 and {100 * ONE_PUSD} units of money")


@frozen(kw_only=True)
class BrokerConfig:
    """The venue's terms."""

    taker_delay_ms: int = field(default=250, validator=_delay)
    """How long an order that takes is held back; 0: it is matched at once. The venue's number has changed several times
    and differs by market (protocol.md 11)."""
    fee: FeeTerms = field(factory=FeeTerms)
    """The same as what the simulated services state of their markets."""
    least_money: int = field(default=ONE_PUSD, validator=_least)
    """The smallest order to buy at once, in 1/1,000,000 pUSD."""
    settlement: SettlementConfig = field(factory=SettlementConfig)
    """How long trades take to be final; by default they are at once."""


@frozen(kw_only=True)
class MarketTerms:
    """What differs for one market; ``None``: as configured for all."""

    taker_delay_ms: int | None = field(default=None, validator=_maybe_delay)
    fee: FeeTerms | None = None
