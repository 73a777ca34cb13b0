"""What a relay and its consumers say to each other: version 1 of the wire, in JSON or msgpack. Pure.

The schema is the same in both, and in every language: docs/relay.md describes it field by field. Prices are ints in
1/10,000 of a pUSD, sizes ints in 1/1,000,000 of a share. Times in seconds are the relay's own clock, which starts
anywhere: a consumer translates them (:mod:`polymirror.relay.offset`). Fields that are not known are ignored, so that
a newer relay can say more; what is there must be of its kind and within its bounds, or the whole frame is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from polymirror.core.units import MAX_SIZE, PRICE_SCALE
from polymirror.errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

VERSION: Final = 1

MAX_FRAME: Final = 4 * 2**20
"""Bytes of one frame. A book of 10,000 levels takes 200,000."""

MAX_LEVELS: Final = 20_000
"""Levels of one side of one message."""

MAX_TOKENS: Final = 10_000
"""Tokens that one consumer may name, and markets that a relay may list."""

MAX_TEXT: Final = 200
MAX_COUNT: Final = 2**53

Text = Annotated[str, Meta(max_length=MAX_TEXT)]
Name = Annotated[str, Meta(min_length=1, max_length=128)]
Seconds = Annotated[float, Meta(ge=-1e12, le=1e12)]
Count = Annotated[int, Meta(ge=0, le=MAX_COUNT)]
Price = Annotated[int, Meta(gt=0, lt=PRICE_SCALE)]
Size = Annotated[int, Meta(ge=0, le=MAX_SIZE)]
Pairs = Annotated[list[tuple[Price, Size]], Meta(max_length=MAX_LEVELS)]
Names = Annotated[list[Name], Meta(max_length=MAX_TOKENS)]


class Beat(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False, tag_field="is", tag="beat"):
    """A token's book is as it was in ``seq``: what is new is its proof alone. Sent when nothing else is."""

    token: Name
    seq: Count
    as_of: Seconds | None = None
    """The latest moment for which the levels are proven; None: they are not."""
    as_of_ms: Count = 0
    """The least that the venue's clock showed at that moment, in ms since 1970. 0: not known."""
    until: Seconds | None = None
    """After this moment the book is not to be read, unless something newer says otherwise."""
    proof: Text | None = None
    """What the proof rests on: ``hash``, ``book``, ``probe`` or ``complement``."""


class Change(Beat, frozen=True, kw_only=True, omit_defaults=True, gc=False, tag_field="is", tag="change"):
    """State ``seq`` of a token, by what differs from state ``prev_seq``: perhaps no level at all."""

    prev_seq: Count
    epoch: Count
    """Of the relay's own mirror: grows by one whenever its book is cleared or replaced."""
    doubts: Count
    """Of the relay's own mirror: grows by one whenever its book leaves LIVE."""
    state: Name
    reason: Text | None = None
    settled: bool = False
    exchange_ms: Count = 0
    """The venue's time of the newest change in the levels, in ms since 1970."""
    tick: Count | None = None
    apply_lag: Seconds | None = None
    clock_uncertainty: Seconds | None = None
    """The width in seconds of the interval in which the relay knows the venue's clock to lie."""
    bids: Pairs
    """Price and size of each level; in a change, of those that differ, and size 0 for one that is gone."""
    asks: Pairs
    digest: Annotated[str, Meta(pattern="^[0-9a-f]{40}$")]
    """:func:`polymirror.relay.digest.digest_of` the whole book in this state."""


class Fee(Struct, frozen=True, kw_only=True, gc=False):
    """A market's fee terms, as :class:`polymirror.core.fees.FeeSchedule` has them: exact decimals as text."""

    rate: Text
    exponent: Count
    taker_only: bool
    rebate_rate: Text


class Book(Change, frozen=True, kw_only=True, omit_defaults=True, gc=False, tag_field="is", tag="book"):
    """State ``seq`` of a token as a whole; ``prev_seq`` is 0. Best levels first."""

    market: Name
    """Its condition id."""
    fee: Fee | None = None
    """None: the terms are not known, which is not the same as no fee."""


class Outcome(Struct, frozen=True, kw_only=True, gc=False):
    """One token of a market, and the label of its outcome."""

    token: Name
    outcome: Text


class Listed(Struct, frozen=True, kw_only=True, gc=False):
    """One market that the relay carries."""

    slug: Text
    market: Name
    tokens: Annotated[list[Outcome], Meta(max_length=2)]


class Markets(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False, tag_field="is", tag="markets"):
    """All markets that the relay carries: sent when asked for, and whenever they are others from then on."""

    markets: Annotated[list[Listed], Meta(max_length=MAX_TOKENS)]
    left_out: Count = 0
    """Markets that it carries beside these: too many, or with names that are too long for the wire."""


class Gone(Struct, frozen=True, kw_only=True, gc=False, tag_field="is", tag="gone"):
    """The relay does not carry a token: it never did, or its market was removed."""

    token: Name


class Pong(Struct, frozen=True, kw_only=True, gc=False, tag_field="is", tag="pong"):
    """The answer to a ping, given at the frame's ``sent``."""

    id: Count


Item = Book | Change | Beat | Markets | Gone | Pong


class Frame(Struct, frozen=True, kw_only=True, gc=False):
    """What a relay sends at once."""

    version: Annotated[int, Meta(ge=VERSION, le=VERSION)] = VERSION
    relay: Name
    """Names this run of the relay: another one after each start."""
    sent: Seconds
    """When it was sent."""
    items: Annotated[list[Item], Meta(max_length=MAX_TOKENS)]


class Ask(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What a consumer says: all fields may be left out."""

    ping: Count | None = None
    """Any number; the relay answers at once with it."""
    want: Names = []
    """Send the whole books of these tokens, and what follows."""
    keep: Names = []
    """Go on with these tokens: where what is wanted ends by itself, which it does behind a broker. No books for it."""
    drop: Names = []
    """Send nothing more of these tokens."""
    list: bool = False
    """Send the markets that there are, now and whenever they change."""


Format = Literal["json", "msgpack"]

_Kind = TypeVar("_Kind", Frame, Ask)


class _Made(Struct, frozen=True, kw_only=True, gc=False):
    """A frame of items that are encoded already."""

    version: int = VERSION
    relay: str
    sent: float
    items: list[msgspec.Raw]


_TO_JSON: Final = msgspec.json.Encoder().encode
_TO_MSGPACK: Final = msgspec.msgpack.Encoder().encode

_READERS: Final[dict[tuple[Format, type], Callable[[bytes], Any]]] = {
    ("json", Frame): msgspec.json.Decoder(Frame).decode,
    ("json", Ask): msgspec.json.Decoder(Ask).decode,
    ("msgpack", Frame): msgspec.msgpack.Decoder(Frame).decode,
    ("msgpack", Ask): msgspec.msgpack.Decoder(Ask).decode,
}


_LISTED: Final = msgspec.json.Decoder(Listed).decode


def encode(message: Ask | Item | Listed, format_: Format) -> bytes:
    """Return a consumer's message, or an item of a frame, as bytes."""
    return (_TO_JSON if format_ == "json" else _TO_MSGPACK)(message)


def frame_of(relay: str, sent: float, items: Iterable[bytes], format_: Format) -> bytes:
    """Return a frame of items that were made by :func:`encode` in the same format."""
    frame = _Made(relay=relay, sent=sent, items=[msgspec.Raw(each) for each in items])
    return (_TO_JSON if format_ == "json" else _TO_MSGPACK)(frame)


def read_listed(data: bytes) -> Listed:
    """Return a market of a list, as a consumer reads it. Raises DecodeError."""
    try:
        return _LISTED(data)
    except msgspec.MsgspecError as error:
        raise DecodeError("a market of a list", str(error)) from None


def decode(kind: type[_Kind], data: bytes, format_: Format) -> _Kind:
    """Return the message in ``data``. Raises DecodeError, which says what is wrong and where."""
    what = f"a relay's {kind.__name__.lower()}"
    if len(data) > MAX_FRAME:
        raise DecodeError(what, f"{len(data)} bytes, and at most {MAX_FRAME} are read")
    try:
        message: _Kind = _READERS[format_, kind](data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DecodeError(what, str(error)) from None
    return message
