"""Validators for settings of bots: each refuses what is out of range with the setting's name and the range.

Money and shares of it are Decimals, never floats; whole numbers are ints, never True. Used by the settings
classes of bots and of what they share.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from polymirror.errors import ConfigError

if TYPE_CHECKING:
    from attrs import Attribute


def whole(low: int, high: int, unit: str) -> Any:
    """Allow whole numbers from ``low`` to ``high``."""

    def check(_self: object, attribute: Attribute[Any], value: object) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ConfigError(attribute.name, value, f"a whole number between {low} and {high} {unit}")

    return check


def decimal_range(low: str, high: str, unit: str) -> Any:
    """Allow finite Decimals from ``low`` to ``high``."""
    least, most = Decimal(low), Decimal(high)

    def check(_self: object, attribute: Attribute[Any], value: object) -> None:
        if not isinstance(value, Decimal) or not value.is_finite() or not least <= value <= most:
            raise ConfigError(attribute.name, value, f"a number between {low} and {high} {unit}")

    return check


def one_of(*allowed: str) -> Any:
    """Allow one of some words."""

    def check(_self: object, attribute: Attribute[Any], value: object) -> None:
        if value not in allowed:
            raise ConfigError(attribute.name, value, f"one of {', '.join(allowed)}")

    return check


def some_of(*allowed: str) -> Any:
    """Allow a tuple of different ones of some words, at least one."""

    def check(_self: object, attribute: Attribute[Any], value: object) -> None:
        good = isinstance(value, tuple) and value and len(set(value)) == len(value) and not set(value) - set(allowed)
        if not good:
            raise ConfigError(attribute.name, value, f"different ones of {', '.join(allowed)}, at least one")

    return check
