"""How the address of a server is written. Pure."""

from __future__ import annotations

from typing import Final

from polymirror.errors import ConfigError

LOOPBACK: Final = "127.0.0.1"

MAX_PORT: Final = 65_535


def authority(host: str, port: int) -> str:
    """Host and port as addresses have them; of all addresses that of this machine."""
    host = {"0.0.0.0": LOOPBACK, "::": "::1"}.get(host, host)  # noqa: S104 - it is replaced here
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def is_port(value: object) -> bool:
    """Whether a value is the number of a port; 0 stands for any free one."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= MAX_PORT


def read_address(field: str, text: str) -> tuple[str, int]:
    """Return host and port of ``8080`` (on this machine alone), ``HOST:8080`` or ``[::1]:8080``. Raises ConfigError."""
    host, colon, port = text.strip().rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    fine = (not colon or (bare and (":" not in bare or bare != host))) and port.isascii() and port.isdigit()
    if not fine or len(port) > 5 or not is_port(int(port)):  # noqa: PLR2004 - digits
        raise ConfigError(field, text, "a port, or HOST:PORT, such as 127.0.0.1:8080")
    return bare or LOOPBACK, int(port)
