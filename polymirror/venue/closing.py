"""Why a connection ended: the kinds, the cause that consumers are told, and how to read it from an exception.

Pure data. The stream creates the causes; whoever listens to ``on_close`` reads them.
"""

from __future__ import annotations

from enum import Enum, unique
from typing import TYPE_CHECKING, Final

from attrs import define, field, frozen

from polymirror.harmless import harmless

if TYPE_CHECKING:
    from websockets.exceptions import ConnectionClosed

MESSAGE_TOO_BIG: Final = 1009
"""The WebSocket close code for a message over the receiver's limit (RFC 6455, section 7.4.1)."""

MAX_REASON: Final = 200
"""Characters of a reason that are kept: it may be text that the other side chose."""


@unique
class CloseKind(Enum):
    """What ended a connection, one member for each cause. Counted by the stream."""

    CLOSED = "CLOSED"
    """The other side closed with a close frame; its code and reason are in the cause."""
    RESET = "RESET"
    """The connection broke without a close frame, or a frame broke the protocol."""
    DATA_SILENCE = "DATA_SILENCE"
    """No real data within ``data_timeout``, and nobody vouched for the silence."""
    TRANSPORT_SILENCE = "TRANSPORT_SILENCE"
    """Not one byte within ``transport_timeout``: half open, or the path is gone."""
    OVERFLOW = "OVERFLOW"
    """A bound was reached: the queue of frames, what waits to be sent and for how long, or the largest message."""
    OPEN_FAILED = "OPEN_FAILED"
    """The connection never opened, so neither ``on_open`` nor ``on_close`` was called."""
    REQUESTED = "REQUESTED"
    """The consumer asked for a new connection."""
    STOPPED = "STOPPED"
    """The stream was cancelled, or its consumer failed."""


@frozen
class CloseCause:
    """Why one connection ended.

    ``code`` is the WebSocket close code, or ``None`` when there was no close frame; ``reason`` is the
    other side's text or our own words, at most :data:`MAX_REASON` characters.
    """

    kind: CloseKind
    reason: str = ""
    code: int | None = None

    def __str__(self) -> str:
        code = "" if self.code is None else f" {self.code}"
        return f"{self.kind.value}{code}{': ' + self.reason if self.reason else ''}"


def cause_of(closed: ConnectionClosed) -> CloseCause:
    """Read the cause from the exception with which websockets reports the end of a connection."""
    ours_first = closed.sent is not None and closed.rcvd_then_sent is not True
    if ours_first and closed.sent is not None:
        # The library fails a connection on its own when a frame breaks the protocol or a limit.
        kind = CloseKind.OVERFLOW if closed.sent.code == MESSAGE_TOO_BIG else CloseKind.RESET
        return CloseCause(kind, harmless(closed.sent.reason, MAX_REASON), closed.sent.code)
    if closed.rcvd is not None:
        return CloseCause(CloseKind.CLOSED, harmless(closed.rcvd.reason, MAX_REASON), closed.rcvd.code)
    detail = str(closed.__cause__ or "") or "no close frame"
    return CloseCause(CloseKind.RESET, harmless(detail, MAX_REASON))


@define
class StreamCounters:
    """What a stream has done since it was made. Only ever grows, except ``last_cause``."""

    connects: int = 0
    """Connections that opened."""
    failures: int = 0
    """Attempts that did not open."""
    frames: int = 0
    """Frames received, heartbeats included."""
    bytes: int = 0
    """Bytes of these frames, after decompression."""
    deepest_queue: int = 0
    """The most frames that ever waited to be handed on."""
    discarded: int = 0
    """Frames received but not handed on, because their connection was given up. Always with an ``on_close``."""
    closes: dict[CloseKind, int] = field(factory=lambda: dict.fromkeys(CloseKind, 0))
    """How often each cause ended a connection, or an attempt to open one."""
    last_cause: CloseCause | None = None
    """Why the last connection ended, or the last attempt failed."""
