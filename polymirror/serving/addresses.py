"""How the address of a server is written. Pure."""

from __future__ import annotations

from typing import Final

LOOPBACK: Final = "127.0.0.1"


def authority(host: str, port: int) -> str:
    """Host and port as addresses have them; of all addresses that of this machine."""
    host = {"0.0.0.0": LOOPBACK, "::": "::1"}.get(host, host)  # noqa: S104 - it is replaced here
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
