"""The venue's first relay of live prices, "RTDS": public, without credentials, and announced for removal.

Reads and writes its JSON; nothing else knows it. The subscription carries no filter: filtered ones were seen to fall
silent after their first answer, and lists are refused, so symbols are selected here. A text PING goes out every
five seconds (the venue's documentation); without one the data stops after some six minutes. Each topic has a
connection of its own, since one topic that the relay does not know silences all that were asked for with it.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import msgspec

from bots.updown.oracles.base import EXACT, sound_price
from bots.updown.oracles.board import Price
from bots.updown.oracles.streamed import IGNORED, MALFORMED, Said
from bots.updown.oracles.ticks import TickKind
from polymirror.harmless import harmless

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

URL: Final = "wss://ws-live-data.polymarket.com"

TOPICS: Final = {TickKind.SPOT: "crypto_prices_chainlink", TickKind.TWAP60: "crypto_prices_twap_sixty"}
"""Both are of Chainlink, which settles the markets; the topic ``crypto_prices`` is of Binance and is not used."""

WINDOW_S: Final = 60

TOLERANCE: Final = Decimal("1e-12")
"""The two forms of a price, one of which passed through a 64-bit float at the venue, differ by at most this share of
it. Recorded: 1.6e-16 over 163,071 prices."""

_DIGITS: Final = re.compile(r"[0-9]{1,58}")
_DECIMAL: Final = re.compile(r"[0-9]{1,20}\.[0-9]{1,40}")


class _Payload(msgspec.Struct):
    symbol: str | None = None
    timestamp: int | None = None
    # A JSON number: decoded from its own digits, never through a float.
    value: Decimal | None = None
    full_accuracy_value: str | None = None
    window_s: int | None = None


class _Frame(msgspec.Struct):
    topic: str = ""
    type: str = ""
    payload: _Payload | None = None
    message: str | None = None


_decoder: Final = msgspec.json.Decoder(_Frame)


def exact_price(value: Decimal | None, full: str | None) -> Decimal:
    """Return a price from the two forms in which the relays tell it.

    ``full`` is the exact one: either whole 1/10^18 dollars (Chainlink on RTDS) or dollars with decimals. Which of the
    two is decided by ``value``, the rounded number, which it must agree with; without ``full``, ``value`` is the price.
    Raises :class:`ValueError` when the two disagree, or for a price that is not believed.
    """
    if full is None:
        if value is None:
            raise ValueError("there is neither a value nor a full_accuracy_value")
        return sound_price(value)
    if _DECIMAL.fullmatch(full):
        readings = [Decimal(full)]
    elif _DIGITS.fullmatch(full):
        readings = [Decimal(full), EXACT.scaleb(Decimal(full), -18)]
    else:
        raise ValueError(f"a full_accuracy_value of {full[:32]!r} is no number")
    if value is None:
        if len(readings) > 1:
            raise ValueError(
                f"a full_accuracy_value of {full[:32]!r} without a value may be dollars or 1/10^18 of them"
            )
        return sound_price(readings[0])
    rounded = sound_price(value)
    for reading in readings:
        if abs(reading - rounded) <= rounded * TOLERANCE:
            return sound_price(reading)
    raise ValueError(f"a full_accuracy_value of {full[:32]!r} does not agree with its value {str(value)[:32]}")


class RtdsDialect:
    """One topic of the relay, for some assets. See :class:`~bots.updown.oracles.streamed.Dialect`."""

    ping: str | None = "PING"

    def __init__(self, kind: TickKind, assets: Iterable[str], url: str = URL) -> None:
        self.kind = kind
        self.url = url
        self.name = f"rtds {kind.value}"
        self._topic = TOPICS[kind]
        self._assets = {f"{asset}/usd": asset for asset in assets}

    def headers(self) -> Mapping[str, str]:
        """Nobody has to say who they are."""
        return {}

    def first_frame(self) -> str:
        """Subscribe to the topic, all symbols."""
        return f'{{"action":"subscribe","subscriptions":[{{"topic":"{self._topic}","type":"update"}}]}}'

    def prices(self, data: bytes) -> tuple[Price, ...]:
        """Return the price in a frame, or nothing."""
        return tuple(self.read(data).prices)

    def read(self, data: bytes) -> Said:
        """Take the next frame. The relay keeps no sequence, so none depends on another."""
        # Every subscription is acknowledged by an empty frame, and so may be every PING.
        if not data.strip():
            return Said(what=IGNORED)
        try:
            frame = _decoder.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return Said(what=MALFORMED, trouble=_complaint(data))
        if frame.message is not None:
            return Said(what="refused", trouble=f"the relay says: {frame.message}")
        if frame.topic != self._topic or frame.type != "update" or frame.payload is None:
            # Also the first answer to a filtered subscription, whose topic is not the one that was asked for.
            return Said(what=IGNORED)
        return self._update(frame.payload)

    def _update(self, payload: _Payload) -> Said:
        asset = self._assets.get((payload.symbol or "").lower())
        if asset is None:
            return Said(what="other symbols")
        try:
            price = exact_price(payload.value, payload.full_accuracy_value)
        except ValueError:
            return Said(what=MALFORMED)
        if payload.timestamp is None or payload.window_s not in {None, WINDOW_S}:
            return Said(what=MALFORMED)
        return Said((Price(asset, self.kind, price, payload.timestamp),))


def _complaint(data: bytes) -> str:
    """Return the words of a frame that is no JSON, such as "topic not found"."""
    text = data[:80].decode(errors="replace")
    if text[:1] in "{[":
        return ""
    return f"the relay says: {harmless(text)}"
