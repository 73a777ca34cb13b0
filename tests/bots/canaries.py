"""Secrets that mean nothing, and a search for them in any form that shares nothing with what hides them."""

from __future__ import annotations

import base64
import contextlib
import io
import logging
import urllib.parse
from typing import TYPE_CHECKING

from bots.common.operate.logs import set_up

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CANARIES = {
    "POLYMARKET_PRIVATE_KEY": "0x9d3f51c07be2a4468f1d02c95ab37e60d8417fc2936be05a7418cd2f60b5e9a3",
    "POLYMARKET_API_KEY": "5e0a7c31-94bd-4f62-8d17-c0329efb61a8",
    "POLYMARKET_API_SECRET": "Zk9_qW3v-T7xLr2mYb8NcE4uHs6JpA1dGoKiXfV0QtM=",
    "POLYMARKET_API_PASSPHRASE": "b7f0~c92e/51d8+a36b%4e07 f19c",
    "POLYMARKET_RELAYER_KEY": "rk:Vw3Qz8Lm5Tn1Yx7Ka2",
    "CHAINLINK_CLIENT_ID": "d41c8e90-7b35-4a2f-b6e8-13f7a09c52d4",
    "CHAINLINK_USER_SECRET": "Hq8Wz2Nf6Xp0Rt4Kv9Lm3Jd7Bs1Gc5Ya",
    "TELEGRAM_TOKEN": "7316094825:AAFx-Q9wK_e3Rz7Lb2NvT5uYc8MdJ1Hs6Ga0",
}


def forms(secret: str) -> set[str]:
    """Return what gives a secret away, in small letters."""
    data = secret.encode()
    raw = [data, bytes.fromhex(secret[2:])] if secret.startswith("0x") else [data]
    found = {secret, "".join(f"%{byte:02x}" for byte in data), urllib.parse.quote(secret, safe="")}
    for each in raw:
        found.add(each.hex())
        for before in range(3):
            whole = base64.b64encode(b"x" * before + each + b"x").decode()
            inner = whole[4 if before else 0 : len(whole) // 4 * 4 - 4]
            found |= {inner, inner.replace("+", "-").replace("/", "_")}
    return {each.lower() for each in found}


def leaks(text: str, run: int = 12, canaries: Mapping[str, str] = CANARIES) -> list[str]:
    """Return each form of a canary of which so many characters in a row are in the text, also over several lines."""
    seen = {flat[at : at + run] for flat in (text.lower(), "".join(text.lower().split())) for at in range(len(flat))}
    return [
        f"{name}: {form}"
        for name, secret in canaries.items()
        for form in forms(secret)
        if any(form[at : at + run] in seen for at in range(max(1, len(form) - run + 1)))
    ]


@contextlib.contextmanager
def all_that_is_logged() -> Iterator[io.StringIO]:
    """Catch what anybody logs at any level: by our handler, and by one that somebody else has set up."""
    told = io.StringIO()
    set_up(logging.DEBUG, stream=told)
    other = logging.StreamHandler(told)
    other.setFormatter(logging.Formatter("%(name)s %(message)s"))
    root = logging.getLogger()
    root.addHandler(other)
    root.setLevel(logging.DEBUG)
    yield told
    root.setLevel(logging.WARNING)
