"""What a staged venue is like: the arguments of ``@pytest.mark.polymirror(...)`` and of ``play``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import field, fields, frozen

from polymirror.config import MirrorConfig, check_instance, one_of
from polymirror.errors import ConfigError
from polymirror.simulator.settings import ExchangeConfig
from polymirror.simulator.virtual.wire import NetworkConfig

if TYPE_CHECKING:
    from collections.abc import Iterable

    from attrs import Attribute

    from polymirror.simulator.faults.base import Fault

MAX_LIMIT = 10_000_000.0


def _a(kind: type, *, optional: bool = False) -> Any:
    def check(_self: object, attribute: Attribute[Any], value: object) -> None:
        if value is not None or not optional:
            check_instance(attribute.name, value, kind)

    return check


def _limit(_self: object, attribute: Attribute[float], value: float) -> None:
    if not 0 < value <= MAX_LIMIT:
        raise ConfigError(attribute.name, value, f"more than 0 and at most {MAX_LIMIT:g} seconds")


def _several(faults: Iterable[str | Fault]) -> tuple[str | Fault, ...]:
    if isinstance(faults, str):
        raise ConfigError("faults", faults, f"several, such as [{faults!r}]")
    return tuple(faults)


@frozen(kw_only=True)
class StageConfig:
    """One venue, the way to it, and the mirror of it.

    Raises ConfigError for a value out of range, and :meth:`of` for a name that does not exist.
    """

    loopback: bool = field(default=False, validator=_a(bool))
    """Real sockets and clocks instead of virtual time. Needs the extra ``simulator``."""
    markets: int = 1
    """How many markets trade; each has two tokens."""
    seed: int = 0
    """Decides everything random: the order flow, the delays on the way, when faults strike."""
    rate: float = 1.0
    """Mean batches a second of the order flow in each market, until a test sets its book."""
    settle_after: float | None = None
    """Seconds after which all markets end; ``None``: never."""
    faults: tuple[str | Fault, ...] = field(default=(), converter=_several)
    """What goes wrong from the start, each with its usual share; ``venue.fault`` begins others later."""
    live: bool = field(default=True, validator=_a(bool))
    """Whether the fixture ``mirror`` is LIVE when the test begins. With faults it may be that it cannot be."""
    limit: float = field(default=3_600.0, validator=_limit)
    """Seconds of virtual time after which a test is taken to wait for what never comes."""
    exchange: ExchangeConfig | None = field(default=None, validator=_a(ExchangeConfig, optional=True))
    """Everything about the exchange, instead of ``markets``, ``seed``, ``rate`` and ``settle_after``."""
    network: NetworkConfig = field(factory=NetworkConfig, validator=_a(NetworkConfig))
    """The way between venue and mirror in virtual time: 20 to 50 milliseconds each way unless told otherwise."""
    mirror: MirrorConfig | None = field(default=None, validator=_a(MirrorConfig, optional=True))
    """The settings of the mirror; ``None``: the usual ones, and its randomness by ``seed``."""

    @classmethod
    def of(cls, **settings: Any) -> StageConfig:
        """Make one. Raises ConfigError for a name that does not exist, with the nearest one that does."""
        known = [each.name for each in fields(cls)]
        for name in settings:
            if name not in known:
                raise ConfigError("setting", name, one_of(name, known))
        return cls(**settings)
