"""What the environment may set for us, proxies and certificates, and how a wrong setting is told without its secrets.

The libraries read these variables by themselves. Whoever opens something asks here which one is wrong:
:mod:`polymirror.venue.http` and :mod:`polymirror.venue.wire`, both before anything is sent.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit
from urllib.request import getproxies

from polymirror.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

HTTP_PROXIES: Final = ("http", "https", "all")
"""The proxies that an HTTP client takes, by the scheme in the names of their variables."""

CERTIFICATES: Final = {"SSL_CERT_FILE": "a readable file of certificates", "SSL_CERT_DIR": "a readable folder of them"}

FORM: Final = re.compile(
    r"((?:[A-Za-z][A-Za-z0-9+.-]*://)?)(?:.*@)?([A-Za-z0-9.-]*|\[[0-9A-Fa-f:.]*\])((?::\d+)?/?)", re.DOTALL
)
"""An address of a proxy, with or without a user and a password."""


def bad_proxy(address: str, allowed: str) -> ConfigError:
    """Make the error for a proxy that cannot be used. It names the variable and never shows user and password."""
    names = [name for name, value in getproxies().items() if _same(value, address)]
    field = f"{names[0]}_proxy" if names else "proxy"
    parts = FORM.fullmatch(address)
    # What is no address may be a secret from its first to its last character.
    shown = "(not shown)" if parts is None else "".join(parts.groups())
    return ConfigError(field, shown, f"{allowed}; or unset it")


def _same(value: str, address: str) -> bool:
    return address in {value, f"http://{value}"} or address.partition("://")[2] == value.partition("://")[2]


def check_proxies(accepts: Callable[[str], object]) -> None:
    """Raise ConfigError for a proxy that no HTTP client can use; ``accepts`` raises for those its library cannot."""
    proxies = getproxies()
    if "*" in (host.strip() for host in proxies.get("no", "").split(",")):
        return
    for address in (proxies[name] for name in HTTP_PROXIES if proxies.get(name)):
        whole = address if "://" in address else f"http://{address}"
        try:
            accepts(whole)
            # Libraries look at these only when they connect.
            parts = urlsplit(whole)
            usable = bool(parts.hostname) and parts.port != 0
        except ImportError as error:
            raise bad_proxy(address, "one that starts with http or https, or socksio installed") from error
        except Exception:  # noqa: BLE001 - whatever is wrong with it
            usable = False
        if not usable:
            # Without the error behind it, whose text may have the password.
            raise bad_proxy(address, "a URL that starts with http, https or socks5, and has a host") from None


def bad_environment(error: Exception) -> ConfigError:
    """Make the error for what kept an HTTP client from being made, though its proxies are good."""
    for name, allowed in CERTIFICATES.items():
        value = os.environ.get(name)
        if value is not None and isinstance(error, OSError):
            return ConfigError(name, value, f"{allowed}; or unset it")
    return ConfigError("no_proxy", getproxies().get("no", ""), f"a list of hosts; or unset it ({type(error).__name__})")
