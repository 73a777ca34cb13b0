"""The signed reports of Chainlink Data Streams, versions 2 and 3: from hex to exact prices. Pure.

The layout is that of the provider's own SDK: an ABI-encoded tuple of three context words, the report's blob, and the
signatures. The signatures are not verified here: that takes the keys of the oracle network, and no order of ours is
settled by our copy of a report. Trust rests on the TLS connection to the provider. The Chainlink client calls this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import frozen

from bots.updown.oracles.base import e18

if TYPE_CHECKING:
    from decimal import Decimal

WORD: Final = 32

BLOB_OFFSET_AT: Final = 3 * WORD
"""Where the head says where the blob is: after the three words of context."""

HEAD_WORDS: Final = 7

WORDS_OF: Final = {2: 7, 3: 9}
"""The length of a blob in words, by version. Version 2 has one price, 3 also has the best bid and ask."""

MAX_REPORT: Final = 64 * 1024
"""Bytes of a report that is looked at; real ones have some 500 to 1,000."""


class ReportInvalid(ValueError):  # noqa: N818 - a fact about a report
    """Bytes that are not a report of a version that is known here. The message says why."""


@frozen(kw_only=True)
class Report:
    """One observation of one feed. Prices in dollars, times in Unix seconds."""

    feed_id: str
    """``0x`` and 64 hexadecimal digits in lower case; the first four are the version."""
    version: int
    valid_from: int
    observed: int
    """When the oracle network observed the price."""
    expires: int
    """Until when the report may be used on a blockchain."""
    price: Decimal
    bid: Decimal | None = None
    """Version 3 only."""
    ask: Decimal | None = None
    """Version 3 only."""


def decode_report(text: str) -> Report:
    """Decode a ``fullReport``. Raises :class:`ReportInvalid` for anything but a sound report of version 2 or 3."""
    body = text.removeprefix("0x")
    if len(body) > 2 * MAX_REPORT:
        raise ReportInvalid(f"it has {len(body) // 2} bytes; real ones have less than {MAX_REPORT}")
    try:
        full = bytes.fromhex(body)
    except ValueError as error:
        raise ReportInvalid("it is not hexadecimal") from error
    if len(full) < (HEAD_WORDS + 1) * WORD:
        raise ReportInvalid(f"{len(full)} bytes are too few")
    offset = _number(full, BLOB_OFFSET_AT)
    if offset % WORD or not HEAD_WORDS * WORD <= offset <= len(full) - WORD:
        raise ReportInvalid("the offset of its blob lies outside of it")
    length, start = _number(full, offset), offset + WORD
    if length > len(full) - start:
        raise ReportInvalid("its blob is cut off")
    return decode_blob(full[start : start + length])


def decode_blob(blob: bytes) -> Report:
    """Decode the inner part of a report. Raises :class:`ReportInvalid`."""
    version = int.from_bytes(blob[:2])
    if version not in WORDS_OF:
        raise ReportInvalid(f"version {version} is not known here")
    if len(blob) != WORDS_OF[version] * WORD:
        raise ReportInvalid(f"a blob of version {version} has {WORDS_OF[version] * WORD} bytes, not {len(blob)}")
    return Report(
        feed_id=f"0x{blob[:WORD].hex()}",
        version=version,
        valid_from=_seconds(blob, 1),
        observed=_seconds(blob, 2),
        expires=_seconds(blob, 5),
        price=_price(blob, 6),
        bid=_price(blob, 7) if version == 3 else None,  # noqa: PLR2004 - the number of the version
        ask=_price(blob, 8) if version == 3 else None,  # noqa: PLR2004
    )


def _number(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + WORD])


def _seconds(blob: bytes, word: int) -> int:
    seconds = _number(blob, word * WORD)
    if seconds >= 2**32:
        raise ReportInvalid(f"word {word} is no time: it exceeds 32 bits")
    return seconds


def _price(blob: bytes, word: int) -> Decimal:
    signed = int.from_bytes(blob[word * WORD : (word + 1) * WORD], signed=True)
    try:
        return e18(signed)
    except ValueError as error:
        raise ReportInvalid(f"word {word}: {error}") from error
