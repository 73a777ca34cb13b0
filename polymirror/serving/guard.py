"""Who may call a server that listens here: clients that know its name, and no page of another origin. Pure.

A browser lets any page send requests to this machine, and open WebSockets; by a name of its own that it points here
(DNS rebinding) a page even reads the answers. So the name in ``Host`` must be one that this server goes by, and what
a browser says of where a page comes from (``Origin``, ``Sec-Fetch-Site``) must be the server itself; programs send
neither.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

OWN: Final = frozenset({"same-origin", "none"})
"""What browsers say of a page of this server, and of an address that a person typed."""


class Guard:
    """The names of one server: those of loopback, the address at which it listens, and ``names``."""

    def __init__(self, address: str, names: Iterable[str] = ()) -> None:
        self._names = {"localhost", *(each.lower() for each in (address, *names))}
        # One that listens at every address goes by each of them; a page's own name is none.
        self._any_address = _is(address, "is_unspecified")

    def refusal(self, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """Return why a request with these headers is refused, in words; empty when it is not."""
        given: dict[str, list[str]] = {}
        for name, value in headers:
            given.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1").strip().lower())
        host = given.get("host", [""])[0]
        if len(given.get("host", [])) != 1 or not self._knows(host):
            return f"this server does not go by the name {host!r}: see --allow-host"
        if any(each not in {f"http://{host}", f"https://{host}"} for each in given.get("origin", [])):
            return f"pages of {given['origin'][0]!r} may not use this server"
        if any(each not in OWN for each in given.get("sec-fetch-site", [])):
            return "pages of other servers may not use this server"
        return ""

    def _knows(self, host: str) -> bool:
        name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
        return name in self._names or _is(name, "is_loopback") or (self._any_address and _is(name, "version"))


def _is(name: str, what: str) -> bool:
    """Whether a name is an address that is such a one; ``version``: any address."""
    try:
        return bool(getattr(ipaddress.ip_address(name), what))
    except ValueError:
        return False
