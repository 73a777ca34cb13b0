"""What a proxy does to connections, as one frozen value. Pure: :mod:`polymirror.torture.proxy` does it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from attrs import define, field, frozen

from polymirror.errors import ConfigError

if TYPE_CHECKING:
    from attrs import Attribute


def _check_not_negative(_self: object, attribute: Attribute[Any], value: float) -> None:
    if value < 0:
        raise ConfigError(attribute.name, value, "not negative")


def _check_positive(_self: object, attribute: Attribute[Any], value: int | None) -> None:
    if value is not None and value <= 0:
        raise ConfigError(attribute.name, value, "above 0, or None")


@frozen(kw_only=True)
class Toxics:
    """What happens to connections. Without arguments: nothing. Raises ConfigError for what makes no sense."""

    latency: float = field(default=0.0, validator=_check_not_negative)
    """Seconds by which everything is late."""
    jitter: float = field(default=0.0, validator=_check_not_negative)
    """Up to so many more seconds, drawn for each piece that is read. The order is kept."""
    bandwidth: int | None = field(default=None, validator=_check_positive)
    """Bytes a second that pass in each direction of each connection."""
    hang: bool = False
    """Nothing passes, nothing is closed: half open. What waited passes late when this ends."""
    slice_bytes: int | None = field(default=None, validator=_check_positive)
    """Data pass in segments of one to so many bytes."""
    slice_pause: float = field(default=0.0, validator=_check_not_negative)
    """Seconds between two such segments."""
    cut_after: int | None = field(default=None)
    """After so many more bytes towards the client, a connection is closed, in the middle of a frame if need be."""
    reset: bool = False
    """Connections are reset, new ones too as soon as they are there."""
    refuse: bool = False
    """Attempts to connect are refused; open connections live on."""
    up: bool = True
    """Whether latency, bandwidth, hanging and slices hold towards the server."""
    down: bool = True
    """Whether they hold towards the client."""

    @cut_after.validator
    def _check_cut_after(self, _attribute: Attribute[Any], value: int | None) -> None:
        if value is not None and value < 0:
            raise ConfigError("cut_after", value, "not negative")


NONE: Final = Toxics()


@define
class Counters:
    """What a proxy has done since it was made. Only ever grows."""

    connections: int = 0
    """Connections that were accepted."""
    turned_away: int = 0
    """Connections reset at once because there were too many."""
    cuts: int = 0
    """Connections closed in the middle by ``cut_after``."""
    resets: int = 0
    """Connections reset by the toxic."""
    overflows: int = 0
    """Connections reset because too much waited to pass."""
    bytes_down: int = 0
    """Bytes that reached a client's socket."""
