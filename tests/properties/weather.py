"""What a world is made of: its weather, its sockets, settings that make faults show soon, and an engine's two ends."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

from attrs import Factory, define

from polymirror.config import EngineConfig

if TYPE_CHECKING:
    from polymirror.core.engine import Engine


@define
class Weather:
    """What the network and the REST service do just now. Times in seconds."""

    stream_delay: float = 0.02
    open_delay: float = 0.05
    open_fails: bool = False
    opening_lost: bool = False
    rest: str = "right"
    """right, fails, silent, missing, altered or broken."""
    rest_delay: float = 0.05
    rest_behind: float = 0.0
    """The answer is this much older than the moment at which it was made."""
    gamma: str = "right"
    """right or fails."""


@define(eq=False)
class Link:
    """One socket as the venue sees it."""

    number: int
    asset_ids: dict[str, None] = Factory(dict)
    is_open: bool = False
    closed_for_good: bool = False
    session: int = 0
    opened_at: float = float("-inf")
    arrives: float = 0.0


def quick_config(**changes: Any) -> EngineConfig:
    return EngineConfig(
        **{
            "resync_backoff_cap": 2.0,
            "max_buffered_deltas": 24,
            "max_journal": 16,
            "request_timeout": 3.0,
            "first_snapshot_timeout": 2.0,
        }
        | changes
    )


def named(content: dict[str, Any]) -> list[str]:
    """The tokens that a message is about."""
    return [each["asset_id"] for each in content.get("price_changes", (content,)) if "asset_id" in each]


def give(engine: Engine, name: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
    *args, now = deepcopy(arguments)
    if name == "disconnected":
        engine.disconnected(args[0], now, "test", **options)
    else:
        getattr(engine, name)(*args, now, **options)


def drain(engine: Engine) -> tuple[Any, ...]:
    return engine.effects(), engine.events(), engine.dirty(), engine.next_deadline()
