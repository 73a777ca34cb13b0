"""What the engine asks its shell to do. Data only; the shell carries them out in order.

A shell that cannot do one answers with the matching failure input of the engine, never with silence: the
engine counts an unanswered request as failed only after ``request_timeout``.
"""

from __future__ import annotations

from attrs import frozen


@frozen
class OpenSocket:
    """Open a socket for these tokens and keep it open. The tokens may change later.

    A shell that hedges opens two connections for it, its lanes 0 and 1, with the same subscriptions.
    """

    socket: int
    asset_ids: tuple[str, ...]


@frozen
class Subscribe:
    """Add tokens to a socket, on each lane that is open. A closed one learns of them when it opens."""

    socket: int
    asset_ids: tuple[str, ...]


@frozen
class Unsubscribe:
    """Remove tokens from a socket (always whole markets: the venue fans out per market)."""

    socket: int
    asset_ids: tuple[str, ...]


@frozen
class Reconnect:
    """Replace a connection of a socket that is open and does not do its work."""

    socket: int
    why: str
    lane: int = 0


@frozen
class Vouch:
    """REST just confirmed a book of this socket: its silence is honest, so its watchdog may start anew."""

    socket: int


@frozen
class CloseSocket:
    """Close a socket for good: nothing is left on it."""

    socket: int


@frozen
class AskGamma:
    """Ask the venue's list of markets whether a market is closed, and answer with ``market_status``."""

    condition_id: str


@frozen
class FetchBooks:
    """Ask REST for these tokens' books (at most 500) and answer under ``request``."""

    request: int
    asset_ids: tuple[str, ...]


Effect = OpenSocket | Subscribe | Unsubscribe | Reconnect | Vouch | CloseSocket | AskGamma | FetchBooks
