"""Raw frames, as they were read from the sockets: what a recorder keeps."""

from __future__ import annotations

from attrs import frozen


@frozen
class RawFrame:
    """One frame of a socket, before anything of it is decoded, and whether or not the mirror has a use for it.

    Each connection's frames come in the order in which they were read. A large opening frame is cut into several, each
    an array with some of its books.
    """

    socket: int
    """The number of the socket, as in the status."""
    lane: int
    """Which of the socket's connections brought it: 0, or with ``hedge=2`` 0 or 1."""
    data: bytes | str
    """What was received: UTF-8, not decoded, as a rule."""
    received_at: float
    """When it was read, in seconds on the mirror's monotonic clock."""
