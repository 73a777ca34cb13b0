"""The states of a book, the reasons to doubt it, and the table of legal transitions.

Nothing here acts: :mod:`polymirror.core.token` moves between these states, and refuses a move that
the table does not allow. The meaning of each state is drawn in ``docs/states.md``.
"""

from __future__ import annotations

from enum import Enum, unique
from typing import Final


@unique
class BookState(Enum):
    """Where a token's book stands. Only :attr:`LIVE` can be read for execution."""

    UNPRIMED = "UNPRIMED"
    """Tracked, and no baseline has arrived yet."""

    LIVE = "LIVE"
    """Proven at full depth against the venue, no longer ago than ``max_proof_age``."""

    SUSPECT = "SUSPECT"
    """There is a reason to doubt. The book is kept, unreadable, until a proof clears it."""

    RESYNCING = "RESYNCING"
    """The book was cleared, its epoch grew; a baseline is on its way and deltas are buffered."""

    RETIRED = "RETIRED"
    """The market is over, by evidence that names it. Left again when it shows life."""


@unique
class Reason(Enum):
    """Why a book changed its state, one member for each cause. Counted by the mirror."""

    TRACKED = "TRACKED"
    """The token was added."""
    PROVEN = "PROVEN"
    """A full-depth proof succeeded: the way into LIVE."""
    DISCONNECT = "DISCONNECT"
    """The socket that carried the token was lost: updates may have been missed."""
    NO_SNAPSHOT = "NO_SNAPSHOT"
    """Subscribed, and no baseline arrived within the deadline."""
    INVARIANT_FAIL = "INVARIANT_FAIL"
    """At the end of a batch the book was crossed or off its grid."""
    BBO_MISMATCH = "BBO_MISMATCH"
    """At the end of a batch the top differed from the one the venue states."""
    HASH_MISMATCH = "HASH_MISMATCH"
    """The venue's hash of the whole book differed for longer than the grace."""
    COMPLEMENT_MISMATCH = "COMPLEMENT_MISMATCH"
    """The two tokens of the market stopped being mirror images."""
    PROBE_MISMATCH = "PROBE_MISMATCH"
    """The venue's own full book differed from ours."""
    STALE = "STALE"
    """The last proof is older than ``max_proof_age``."""
    APPLY_LAG = "APPLY_LAG"
    """Frames are applied too long after the venue sent them."""
    OVERFLOW = "OVERFLOW"
    """A bounded buffer was full, so something was not kept."""
    DECODE_ERROR = "DECODE_ERROR"
    """A frame that may have touched this book could not be read."""
    TICK_SIZE_CHANGE = "TICK_SIZE_CHANGE"
    """The market's price grid changed: the book must be proven on the new one."""
    SCHEDULED = "SCHEDULED"
    """A planned refresh of the baseline."""
    REQUESTED = "REQUESTED"
    """The user asked for a resync."""
    RESOLVED = "RESOLVED"
    """The market is resolved."""
    CLOSED = "CLOSED"
    """The venue's list of markets (Gamma) says that the market is closed."""
    REVIVED = "REVIVED"
    """A retired market has a book again that is newer than its end."""
    CLOCK_STEP = "CLOCK_STEP"
    """What was heard carried a time that was never true, or the venue's clock was set back."""
    GAP = "GAP"
    """Numbered states of a relay are missing between two that came. A mirror itself never says so."""
    DISAGREEMENT = "DISAGREEMENT"
    """Two relays state different books for the same time. A mirror itself never says so."""


LEGAL_TRANSITIONS: Final[dict[BookState, frozenset[BookState]]] = {
    BookState.UNPRIMED: frozenset({BookState.LIVE, BookState.RESYNCING, BookState.RETIRED}),
    BookState.LIVE: frozenset({BookState.SUSPECT, BookState.RETIRED}),
    BookState.SUSPECT: frozenset({BookState.LIVE, BookState.RESYNCING, BookState.RETIRED}),
    BookState.RESYNCING: frozenset({BookState.LIVE, BookState.RESYNCING, BookState.RETIRED}),
    BookState.RETIRED: frozenset({BookState.RESYNCING}),
}
"""For each state, the states it may move to. A lost baseline restarts RESYNCING in place."""
