"""Reports of Chainlink Data Streams as the simulated feed makes them: versions 2 and 3, in the provider's layout.

Only the writing side is here; nothing signs them, so the signatures are made-up numbers of the right shape.
"""

from __future__ import annotations

import hashlib
from decimal import Context, Decimal, Inexact
from typing import Final

WORD: Final = 32

LIFETIME_S: Final = 86_400
"""How long a report may be used on a blockchain. Seen in published ones: a day."""

SPREAD: Final = Decimal("0.0001")
"""How far bid and ask of a version 3 report are from its price, as a share of it."""

SIGNATURES: Final = 2

_E18: Final = Context(prec=80, traps=[Inexact])


def feed_id(asset: str, *, version: int) -> str:
    """Return the made-up id of a feed: its version, and digits that depend on the asset alone."""
    return f"0x{version:04x}{hashlib.sha256(f'simulated {asset}'.encode()).hexdigest()[:60]}"


def encode_report(feed: str, price: Decimal, observed: int) -> str:
    """Write a report of a feed, whose id tells the version: 2 or 3. ``observed`` is in Unix seconds."""
    whole = e18(price)
    words = [
        int(feed, 16),
        *(observed, observed),
        # The fees for using it on a blockchain, in 1/10^18 of their tokens.
        *(96_211_668_557_200, 23_664_882_624_157_200),
        observed + LIFETIME_S,
        whole,
    ]
    if int(feed[2:6], 16) == 3:
        margin = int(whole * SPREAD)
        words += [whole - margin, whole + margin]
    return _wrap(b"".join(_word(each) for each in words))


def _wrap(blob: bytes) -> str:
    """Put a blob into the tuple (context[3], blob, rs[], ss[], vs)."""
    digest = hashlib.sha256(blob).digest()
    head_size = 7 * WORD
    rs_at = head_size + WORD + len(blob)
    ss_at = rs_at + (1 + SIGNATURES) * WORD
    head = [digest, _word(1), _word(0), _word(head_size), _word(rs_at), _word(ss_at), _word(0)]
    signatures = _word(SIGNATURES) + digest * SIGNATURES
    return "0x" + (b"".join(head) + _word(len(blob)) + blob + signatures + signatures).hex()


def _word(value: int) -> bytes:
    return value.to_bytes(WORD, signed=value < 0)


def e18(price: Decimal) -> int:
    """Return a price in whole 1/10^18 dollars. Raises decimal.Inexact for one that is none."""
    return int(_E18.to_integral_exact(_E18.scaleb(price, 18)))
