"""polymirror: Polymarket's order books in memory, proven right or refused.

The public names, nothing else. Start with :class:`Mirror`.
"""

from polymirror.background import BackgroundMirror
from polymirror.config import (
    Endpoints,
    EngineConfig,
    IncidentConfig,
    JournalConfig,
    MirrorConfig,
    NatsConfig,
    RemoteConfig,
    RestConfig,
    StreamConfig,
)
from polymirror.core.events import Resolved, TickChanged, Traded, Transition, Warned
from polymirror.core.fees import FeeSchedule
from polymirror.core.fills import Fill
from polymirror.core.level import Level
from polymirror.core.proofs import Proof, ProofKind, Verdict
from polymirror.core.states import BookState, Reason
from polymirror.core.top import Top
from polymirror.core.view import BookView
from polymirror.errors import (
    ConfigError,
    FeeUnknown,
    LeaseLost,
    MarketNotFound,
    MirrorBusy,
    MirrorClosed,
    MissingExtra,
    NotLive,
    PolymirrorError,
    UnitError,
    UnknownToken,
    VenueError,
    WrongThread,
)
from polymirror.gate import Gate, JointLease, Lease
from polymirror.mirror import Mirror
from polymirror.shell.happenings import MarketAdded, MarketRemoved, Missed
from polymirror.shell.rawframes import RawFrame
from polymirror.shell.subscribers import Update
from polymirror.status.health import MirrorStatus
from polymirror.venue.gamma import Market

__all__ = [
    "BackgroundMirror",
    "BookState",
    "BookView",
    "ConfigError",
    "Endpoints",
    "EngineConfig",
    "FeeSchedule",
    "FeeUnknown",
    "Fill",
    "Gate",
    "IncidentConfig",
    "JointLease",
    "JournalConfig",
    "Lease",
    "LeaseLost",
    "Level",
    "Market",
    "MarketAdded",
    "MarketNotFound",
    "MarketRemoved",
    "Mirror",
    "MirrorBusy",
    "MirrorClosed",
    "MirrorConfig",
    "MirrorStatus",
    "Missed",
    "MissingExtra",
    "NatsConfig",
    "NotLive",
    "PolymirrorError",
    "Proof",
    "ProofKind",
    "RawFrame",
    "Reason",
    "RemoteConfig",
    "Resolved",
    "RestConfig",
    "StreamConfig",
    "TickChanged",
    "Top",
    "Traded",
    "Transition",
    "UnitError",
    "UnknownToken",
    "Update",
    "VenueError",
    "Verdict",
    "Warned",
    "WrongThread",
    "__version__",
]


def __getattr__(name: str) -> str:
    # Looked up when asked for: it takes a fifth of the time of the whole import.
    if name == "__version__":
        from importlib.metadata import version  # noqa: PLC0415

        return version("polymirror")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
