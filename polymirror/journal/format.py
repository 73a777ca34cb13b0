"""The lines of a journal: one for each thing that went into an engine or came out of it, as JSON.

A line is an object whose ``kind`` says what it is. ``n`` counts the lines of a session from 0, so that what is missing
shows. ``t`` is the mirror's monotonic clock in whole nanoseconds, ``w`` the time of day in nanoseconds since 1970.
A clock that is not itself in whole nanoseconds is written as a number with a fraction, in seconds: every time is read
back to the last bit. Texts of the venue are kept untouched. Pure; files are :mod:`polymirror.journal.writer` and
:mod:`polymirror.journal.reader`.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from polymirror.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Iterable

FORMAT: Final = 1
"""The version of the format: a reader refuses a later one."""

BASE_64: Final = "base64"
"""The form of bytes that are no UTF-8."""

TEXT: Final = "text"
"""The form of a frame that the socket gave as text, not as bytes."""

TEXT_64: Final = "text64"
"""The form of a text that UTF-8 cannot write: a lone half of a surrogate pair."""

MADE: Final = "made"
"""The form of an answer that was written from the books in it, since nobody kept its text."""

OVERHEAD: Final = 160
"""Bytes that a line takes beside the texts in it, about."""

Stamp = int | float
"""A time: whole nanoseconds, or with a fraction seconds."""

_NS: Final = 1e9


def stamp(seconds: float) -> Stamp:
    """Write a time in seconds: in whole nanoseconds, if that is what it was made from."""
    whole = round(seconds * _NS)
    return whole if whole / _NS == seconds else float(seconds)


def seconds_of(written: Stamp) -> float:
    """Read a time that :func:`stamp` wrote, in seconds and to the last bit."""
    return written / _NS if isinstance(written, int) else written


class _Line(Struct, omit_defaults=True, tag_field="kind", gc=False):
    """What all lines have."""

    n: int
    t: Stamp
    w: int


class Header(_Line, tag="header", kw_only=True):
    """The first line of each file."""

    format: int
    session: str
    """Names one run of a mirror; all its files have it, too."""
    file: int
    """The number of the file in its session, from 1."""
    polymirror: str
    python: str
    seed: int
    """What the engine's jitter is drawn from: ``engine:SEED``."""
    engine: dict[str, Any]
    """The settings of the engine."""
    hedge: int = 1
    """Connections for each socket."""
    book_seconds: float = 60.0
    """LIVE books are written whole again after so long."""


class Heard(_Line, tag="ws_in"):
    """A frame of a socket."""

    socket: int
    data: str
    """The frame, untouched."""
    read: Stamp | None = None
    """When it was read from the socket."""
    lane: int = 0
    form: str = ""
    """How ``data`` stands for it, if it is not the text of UTF-8 bytes: see :func:`pack`."""


class Sent(_Line, tag="ws_out"):
    """What was asked of a socket. Read by people only."""

    socket: int
    what: str
    """``open``, ``subscribe``, ``unsubscribe``, ``reconnect``, ``vouch`` or ``close``."""
    tokens: tuple[str, ...] = ()
    why: str = ""
    lane: int = 0


class Asked(_Line, tag="rest_req"):
    """What was asked of REST: ``books`` (of ``tokens``, under the number ``request``), ``market`` or ``time``.

    Only the last is of use to a replay.
    """

    what: str
    request: int = -1
    tokens: tuple[str, ...] = ()
    market: str = ""


class Body(Struct, omit_defaults=True, gc=False):
    """The text of one answer with books, untouched."""

    text: str
    tokens: tuple[str, ...] | None = None
    """What it was asked for; None: all tokens of the request."""
    form: str = ""
    """As :attr:`Heard.form`, or :data:`MADE`."""


class Answered(_Line, tag="rest_resp"):
    """What became of a question to REST."""

    what: str
    """``books``, ``books_failed``, ``market`` or ``time``."""
    request: int = -1
    bodies: tuple[Body, ...] = ()
    failed: tuple[str, ...] = ()
    """Tokens without an answer."""
    why: str = ""
    market: str = ""
    closed: bool | None = None
    seconds: int = 0
    """The venue's clock."""
    sent: Stamp = 0
    received: Stamp = 0


class Connected(_Line, tag="connect"):
    """A connection is open; its subscription was sent at ``asked``."""

    socket: int
    lane: int = 0
    asked: Stamp | None = None


class Closed(_Line, tag="close"):
    """A connection ended (``disconnected``), could not be opened (``unreachable``) or was too fast (``overflow``)."""

    what: str
    socket: int
    lane: int = 0
    why: str = ""
    resolved: bool = False


class Ticked(_Line, tag="timer"):
    """Time passed: the engine did what was due."""


class Slept(_Line, tag="sleep"):
    """The machine slept for so many seconds."""

    seconds: float


class Used(_Line, tag="user"):
    """The program asked for something: ``track``, ``untrack``, ``prove``, ``resync`` or ``listen``."""

    what: str
    market: str = ""
    tokens: tuple[str, ...] = ()
    constants: tuple[str, str, bool] | None = None
    """Smallest order, tick size and kind of risk, as on the wire."""
    fee: tuple[str, int, bool, str] | None = None
    """Rate, exponent, whether takers only pay, and the makers' share."""
    wanted: bool = False


class Book(_Line, tag="book"):
    """A LIVE book, whole, as the venue would send it: a replay may begin with it."""

    token: str
    data: str


class Lost(_Line, tag="lost"):
    """What should stand here was not recorded: so many lines, of the times from ``since`` to ``until``."""

    count: int
    since: Stamp
    until: Stamp
    why: str


class Moved(_Line, tag="move"):
    """A book changed its state. In the bundles of incidents only: a replay makes changes of its own."""

    token: str
    old: str
    new: str
    reason: str
    epoch: int
    detail: str = ""
    proof_age: float | None = None
    """Seconds; None: nothing was proven."""
    refused: int = 0
    """Reads of its market that were refused since the incident began."""


class Shown(Struct, omit_defaults=True, gc=False):
    """A book as a mirror showed it: the newest proven levels, best first, prices and sizes as exact texts."""

    token: str
    state: str
    exchange_ms: int
    proof_age: float | None
    proof: str | None
    bids: tuple[tuple[str, str], ...]
    asks: tuple[tuple[str, str], ...]


class Incident(_Line, tag="incident", kw_only=True):
    """What a bundle is about: a market of which a book lost trust. Its second line."""

    market: str
    tokens: tuple[str, ...]
    names: tuple[str, ...]
    """For people, one for each token."""
    token: str
    """The first whose book left LIVE,"""
    reason: str
    """and why."""
    detail: str = ""
    until: Stamp
    """When it was over, or not watched any longer:"""
    ending: str
    """``live``, ``time``, ``size``, ``removed`` or ``stopped``."""
    refused: int = 0
    """Reads of the market's books that were refused meanwhile."""
    skipped: int = 0
    """Incidents of the mirror so far of which no bundle was made, since there were too many."""
    last: int = 0
    """The number of the bundle's last line; 0: not told."""
    before: tuple[Shown, ...] = ()
    after: tuple[Shown, ...] = ()


class Stated(_Line, tag="stated", kw_only=True):
    """What one of several relays stated of a book, as its reader's copy has it. In the bundles of readers only."""

    relay: str
    """Its address,"""
    run: str
    """and which run of it."""
    seq: int
    reason: str | None = None
    settled: bool = False
    as_of_ms: int
    """The least that the venue's clock showed when the levels were proven, in ms since 1970."""
    silent: float
    """Seconds since the newest word about it left the relay, at most."""
    width: float | None = None
    """How wide the interval is in which the two clocks' offset lies, in seconds."""
    digest: str
    counts: dict[str, int] = {}
    """What went wrong with this relay so far, and how often."""
    book: Shown


class Relayed(_Line, tag="relay_in", kw_only=True):
    """What a relay said of a book. In the bundles of readers only."""

    relay: str
    sent: float
    """When it left, in seconds of the relay's clock."""
    data: str
    """The item, as JSON."""


class End(_Line, tag="end"):
    """The mirror was stopped: nothing more comes of this session."""


Line = (
    Header | Heard | Sent | Asked | Answered | Connected | Closed | Ticked | Slept | Used | Book | Lost | End
    | Moved | Incident | Stated | Relayed
)  # fmt: skip


class _Kind(Struct):
    kind: str


encoder: Final = msgspec.json.Encoder()
_decode: Final = msgspec.json.Decoder(Line).decode
_kind: Final = msgspec.json.Decoder(_Kind).decode
_KINDS: Final = frozenset(str(each.__struct_config__.tag) for each in Line.__args__)


def weight(line: Line) -> int:
    """Return the bytes that a line takes while it waits to be written, about."""
    if isinstance(line, (Heard, Book, Relayed)):
        return OVERHEAD + len(line.data)
    if isinstance(line, Answered):
        return OVERHEAD + sum(OVERHEAD + len(body.text) for body in line.bodies)
    if isinstance(line, (Sent, Asked)):
        return OVERHEAD * (1 + len(line.tokens))
    return OVERHEAD


def write_lines(lines: Iterable[Line]) -> bytes:
    """Return lines as text, each with its end of line."""
    return encoder.encode_lines(list(lines))


def read_line(text: bytes) -> Line | None:
    """Read a line; None for one of a kind that is not known here. Raises DecodeError for what is no line."""
    try:
        return _decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        try:
            kind = _kind(text).kind
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            kind = None
        if kind is None or kind in _KINDS:
            raise DecodeError("a line of a journal", str(error)) from error
        return None


def pack(data: bytes | str) -> tuple[str, str]:
    """Return a frame or a body as text, and the form that says how :func:`unpack` gives it back."""
    if isinstance(data, str):
        try:
            data.encode()
        except UnicodeEncodeError:
            return base64.b64encode(data.encode("utf-8", "surrogatepass")).decode(), TEXT_64
        return data, TEXT
    try:
        return data.decode(), ""
    except UnicodeDecodeError:
        return base64.b64encode(data).decode(), BASE_64


def unpack(text: str, form: str) -> bytes | str:
    """Return what :func:`pack` was given. Raises DecodeError for what it did not write."""
    try:
        if form == TEXT:
            return text
        if form == TEXT_64:
            return base64.b64decode(text, validate=True).decode("utf-8", "surrogatepass")
        return base64.b64decode(text, validate=True) if form == BASE_64 else text.encode()
    except ValueError as error:
        raise DecodeError("a frame of a journal", str(error)) from error
