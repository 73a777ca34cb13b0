"""When is a socket that still looks open to be given up? Arithmetic on a monotonic clock, nothing else.

Two silences count. *Data* silence: nothing but heartbeats for ``data_timeout`` seconds; a stream can
freeze for hours while every PING is answered. *Transport* silence: not one byte for
``transport_timeout`` seconds. A late PONG alone is never death: on a busy socket it queues behind
the data and was seen more than eleven seconds late. The stream asks; this module never sleeps.
"""

from __future__ import annotations

from attrs import define, field

from polymirror.venue.closing import CloseKind


@define
class Watchdog:
    """Remembers when data and bytes last came, and says when they are overdue.

    All times are seconds of one monotonic clock. ``started`` is when the connection opened.
    """

    data_timeout: float
    transport_timeout: float
    started: float
    # The last time data came, or that somebody vouched for the silence.
    _data_at: float = field(init=False)
    # The last time any byte came: frames, heartbeats, protocol pings.
    _bytes_at: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Give a new connection its full time-outs."""
        self._data_at = self.started
        self._bytes_at = self.started

    def heard_bytes(self, now: float) -> None:
        """Note that something arrived, whatever it was."""
        self._bytes_at = now

    def heard_data(self, now: float) -> None:
        """Note that real data arrived."""
        self._data_at = now
        self._bytes_at = now

    def vouch(self, now: float) -> None:
        """Accept that the silence so far is honest: other proof shows that there was nothing to send."""
        self._data_at = max(self._data_at, now)

    def deadline(self) -> float:
        """Return the time at which :meth:`verdict` can next be anything but ``None``."""
        return min(self._data_at + self.data_timeout, self._bytes_at + self.transport_timeout)

    def verdict(self, now: float) -> CloseKind | None:
        """Return the silence that is overdue at ``now``, the graver one first, or ``None``."""
        if now >= self._bytes_at + self.transport_timeout:
            return CloseKind.TRANSPORT_SILENCE
        if now >= self._data_at + self.data_timeout:
            return CloseKind.DATA_SILENCE
        return None


def is_json_data(data: str | bytes) -> bool:
    """Tell data from heartbeats and text replies: a JSON object, or an array that is not empty.

    ``PONG``, ``INVALID OPERATION``, ``NO NEW ASSETS``, ``[]`` and the empty frame are not data. Only the first
    characters are looked at: whether the frame is well-formed is for its decoder to say.
    """
    head = data[:16].lstrip()
    if isinstance(head, bytes):
        return head[:1] == b"{" or (head[:1] == b"[" and head[1:].lstrip()[:1] not in {b"", b"]"})
    return head[:1] == "{" or (head[:1] == "[" and head[1:].lstrip()[:1] not in {"", "]"})
