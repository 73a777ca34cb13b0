"""The venue's second relay of live prices, "PolyBolt": with CLOB API credentials, sequence numbers and snapshots.

Reads and writes its JSON; nothing else knows it. A connection authenticates, subscribes to one channel for some
symbols, gets a snapshot of the last two minutes for each, then updates. Facts are from the venue's documentation
(its migration guide from RTDS and the reference of the live data channels).

``seq`` is consecutive on one connection and channel. A hole in it that ``dropped`` does not explain means that the
connection lost something, and only a new one brings it back, in its snapshot: so it is replaced. ``dropped`` means
that the relay left frames out because we were slow. The prices that follow are right, each stands for itself, so
it is only counted.

The channel ``price.crypto`` is of Pyth, not of the Chainlink feed that settles the markets: its spot prices are good
for a signal, and the strike never uses them.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import msgspec

from bots.updown.oracles.board import Price
from bots.updown.oracles.rtds import exact_price
from bots.updown.oracles.streamed import IGNORED, MALFORMED, Said
from bots.updown.oracles.ticks import TickKind
from polymirror.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from bots.updown.oracles.keys import ClobKeys

URL: Final = "wss://ws-live-v2.polymarket.com/ws"

CHANNELS: Final = {TickKind.SPOT: "price.crypto", TickKind.TWAP60: "price.crypto.twap"}

WINDOW_S: Final = 60
"""The only window that the relay has."""

MAX_SUBSCRIPTIONS: Final = 64
"""Of one connection, at the venue."""

MAX_POINTS: Final = 1_000
"""Prices of one snapshot that are read: two minutes have 120."""

_REFUSALS: Final = {
    "auth_invalid": "the CLOB API credentials are not accepted",
    "auth_expired": "the CLOB API credentials have expired",
    "auth_required": "the channel needs CLOB API credentials",
    "auth_attempts": "too many attempts with CLOB API credentials that are not accepted",
    "auth_unavailable": "credentials cannot be checked at the moment",
    "bad_op": "it does not know what it is asked to do",
    "bad_channel": "it does not know the channel",
    "bad_filter": "it does not know a symbol",
    "sub_limit": "too many subscriptions on one connection",
    "rate_limited": "too many requests",
}
"""What the codes of refusals mean. Only these words are told on: an answer may repeat what we sent, keys included."""

_HOPELESS: Final = frozenset(code for code in _REFUSALS if code.startswith("auth_")) | {"rate_limited"}
"""Refusals after which this connection brings nothing any more."""

_STRANGERS: Final = frozenset({"auth_invalid", "auth_expired", "auth_required", "auth_attempts"})
"""Those after which no other connection with these credentials does, either."""


class _Point(msgspec.Struct):
    timestamp: int
    value: Decimal | None = None
    full_accuracy_value: str | None = None


class _Payload(msgspec.Struct):
    symbol: str = ""
    timestamp: int | None = None
    # A JSON number: decoded from its own digits, never through a float.
    value: Decimal | None = None
    full_accuracy_value: str | None = None
    window_seconds: int | None = None
    data: list[_Point] | None = None


class _Frame(msgspec.Struct):
    op: str | None = None
    code: str | None = None
    rid: str | None = None
    channel: str = ""
    seq: int | None = None
    snapshot: bool = False
    dropped: int = 0
    payload: _Payload | None = None


_decoder: Final = msgspec.json.Decoder(_Frame)


class PolyboltDialect:
    """One channel of the relay, for some assets. See :class:`~bots.updown.oracles.streamed.Dialect`.

    Raises :class:`~polymirror.errors.ConfigError` for more assets than one connection may follow.
    """

    # Optional, says the documentation: the relay itself pings every 25 s. It shows a dead connection sooner.
    ping: str | None = '{"op":"ping"}'

    def __init__(self, kind: TickKind, assets: Iterable[str], keys: ClobKeys, url: str = URL) -> None:
        self.kind = kind
        self.url = url
        self.name = f"polybolt {kind.value}"
        self._keys = keys
        self._channel = CHANNELS[kind]
        self._assets = {f"{asset}usd": asset for asset in assets}
        if len(self._assets) > MAX_SUBSCRIPTIONS:
            raise ConfigError("assets", len(self._assets), f"at most {MAX_SUBSCRIPTIONS} on one connection")
        # The number of the last frame of the channel on this connection; None before the first.
        self._seq: int | None = None

    def headers(self) -> Mapping[str, str]:
        """The credentials go into the first frame, not into headers."""
        return {}

    def first_frame(self) -> str:
        """Authenticate. The numbers of the last connection mean nothing on this one."""
        self._seq = None
        keys = self._keys
        auth = {"apiKey": keys.api_key.reveal(), "secret": keys.secret.reveal(), "passphrase": keys.passphrase.reveal()}
        return json.dumps({"op": "auth", "rid": "auth", "auth": auth}, separators=(",", ":"))

    def prices(self, data: bytes) -> tuple[Price, ...]:
        """Return the prices in a frame, or nothing."""
        frame = _decode(data)
        return () if frame is None else self._prices(frame) or ()

    def read(self, data: bytes) -> Said:
        """Take the next frame of the connection."""
        frame = _decode(data)
        if frame is None:
            return Said(what=MALFORMED)
        if frame.op is not None:
            return self._answer(frame)
        prices = self._prices(frame) if frame.channel == self._channel else ()
        if prices is None:
            return Said(what=MALFORMED)
        if frame.channel != self._channel or frame.seq is None:
            return Said(what=IGNORED)
        hole = self._hole(frame.seq, max(frame.dropped, 0))
        what = "gaps" if hole else "frames dropped by the relay" if frame.dropped > 0 else ""
        return Said(prices, history=frame.snapshot, what=what, give_up=hole)

    def _answer(self, frame: _Frame) -> Said:
        if frame.op == "authed":
            return Said(what=IGNORED, reply=self._subscription())
        if frame.op != "error":
            return Said(what=IGNORED)
        code = frame.code if frame.code in _REFUSALS else "an unknown error"
        trouble = f"the relay says {code}: {_REFUSALS.get(code or '', 'see its documentation')}"
        # An unknown symbol must not cost the others their prices; without credentials nothing can come. The
        # backoff keeps the next attempts rare.
        give_up = trouble if code in _HOPELESS else ""
        return Said(what="refused", trouble=trouble, give_up=give_up, refused=code in _STRANGERS)

    def _subscription(self) -> str:
        window = {} if self.kind is TickKind.SPOT else {"window_seconds": WINDOW_S}
        wanted = [{"channel": self._channel, "filter": {"symbol": symbol, **window}} for symbol in self._assets]
        return json.dumps({"op": "subscribe", "rid": "subscribe", "subscriptions": wanted}, separators=(",", ":"))

    def _hole(self, seq: int, dropped: int) -> str:
        """Follow the numbers; return what is missing, in words, or nothing."""
        last, self._seq = self._seq, seq if self._seq is None else max(seq, self._seq)
        # Whether frames that were left out use up numbers is not documented; both ways are understood.
        if last is None or seq <= last + 1 + dropped:
            return ""
        return f"frame {seq} of {self._channel} came after {last}"

    def _prices(self, frame: _Frame) -> tuple[Price, ...] | None:
        """Return the prices of a data frame; None when it is malformed."""
        payload = frame.payload
        if payload is None or frame.channel != self._channel:
            return ()
        asset = self._assets.get(payload.symbol.lower())
        if asset is None:
            return ()
        points = payload.data
        if points is None:
            if payload.timestamp is None:
                return None
            points = [_Point(payload.timestamp, payload.value, payload.full_accuracy_value)]
        try:
            if self.kind is TickKind.TWAP60 and payload.window_seconds not in {None, WINDOW_S}:
                return None
            return tuple(
                Price(asset, self.kind, exact_price(point.value, point.full_accuracy_value), point.timestamp)
                for point in sorted(points[-MAX_POINTS:], key=lambda point: point.timestamp)
            )
        except ValueError:
            return None


def _decode(data: bytes) -> _Frame | None:
    try:
        return _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
