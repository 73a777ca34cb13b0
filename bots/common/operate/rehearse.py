"""Live trading rehearsed: the very bot of ``--live`` with the venue's SDK, against ``polymirror serve`` on loopback.

Everything is as it is with real money, but for the addresses and the wallet: that one is made up, so that nothing
which is signed here could ever be used at the venue. Credentials of the environment are not looked at. As long as a
venue runs, the rehearsals of one folder there have the same wallet: one that was stopped is gone on with.
"""

from __future__ import annotations

import dataclasses
import hashlib
import ipaddress
import json
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar
from urllib.parse import urlsplit

import httpx
from attrs import evolve, frozen

from bots.common.operate.account import CONFIRMATION, TraderSettings
from bots.common.operate.settings import MAX_FILE_BYTES, SettingsError
from bots.common.secrets import Secret
from polymirror.config import Endpoints
from polymirror.errors import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

S = TypeVar("S", bound=TraderSettings)

LISTING: Final = "/simulator"
SECONDS: Final = 5.0


@frozen
class Rehearsal(Generic[S]):
    """What differs from real life: the settings, where the geoblock is, and the SDK's environment."""

    settings: S
    geoblock: str
    environment: Any


def rehearsal(
    settings: S, url: str, more: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda _where: {}
) -> Rehearsal[S]:
    """Point everything at a venue of ``polymirror serve``. Raises SettingsError when there is none, MissingExtra.

    ``more`` says what else of the settings changes, by the venue's list of addresses.
    """
    try:
        from eth_account import Account  # noqa: PLC0415 - an optional dependency
        from polymarket._internal import environment as inside  # noqa: PLC0415 - there is no public way
    except ImportError as error:
        raise MissingExtra("a rehearsal of live trading", "live") from error
    where = _listed(url)
    wallet = Account.from_key(_play_key(where["instance"], settings.folder))
    config = dataclasses.replace(
        inside.PRODUCTION_CONFIG,
        **dict.fromkeys(("clob_url", "gamma_url", "data_url", "relayer_url", "rfq_url"), where["clob"]),
        rpc_url=where["rpc"],
        clob_market_ws_url=where["stream"],
        clob_user_ws_url=where["user"],
        rtds_ws_url=where["rtds"],
        realtime_ws_url=where["polybolt"],
    )
    endpoints = Endpoints(stream=where["stream"], clob=where["clob"], gamma=where["gamma"])
    keys = type(settings.keys)(private_key=Secret("0x" + bytes(wallet.key).hex()))
    changed = evolve(
        settings,
        confirm_live=CONFIRMATION,
        wallet=str(wallet.address),
        relayer_address="",
        node=where["rpc"],
        keys=keys,
        mirror=evolve(settings.mirror, endpoints=endpoints),
        **more(where),
    )
    return Rehearsal(changed, where["geoblock"], inside.create_environment(name="rehearsal", config=config))


def _play_key(instance: str, folder: Path) -> bytes:
    """Make up a private key. Who knows both can make it, too: there is nothing to win by it."""
    return hashlib.sha256(f"rehearsal {instance} {folder.absolute()}".encode()).digest()


def _listed(url: str) -> dict[str, Any]:
    """Ask the venue where everything is; a venue on another machine is not asked."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        near = parts.scheme == "http" and (host == "localhost" or ipaddress.ip_address(host).is_loopback)
    except ValueError:
        near = False
    if not near:
        raise SettingsError(
            (f"--venue {url}: give the address of 'polymirror serve' on this machine, http://127.0.0.1:..",)
        )
    try:
        with httpx.stream("GET", url.rstrip("/") + LISTING, timeout=SECONDS) as answer:
            answer.raise_for_status()
            # The first piece of this size is all of it, or too much.
            found = json.loads(next(answer.iter_raw(MAX_FILE_BYTES), b""))
        missing = {"clob", "gamma", "stream", "user", "rtds", "polybolt", "rpc", "geoblock", "instance"} - found.keys()
    except (httpx.HTTPError, ValueError, AttributeError) as error:
        raise SettingsError((f"--venue {url}: no 'polymirror serve' answers there ({type(error).__name__})",)) from None
    if missing:
        raise SettingsError((f"--venue {url}: its list lacks {', '.join(sorted(missing))}",))
    return dict(found)
