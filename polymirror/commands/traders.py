"""The accounts of ``polymirror serve``: made up by number, or read from a file."""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final

from polymirror.errors import ConfigError, PolymirrorError
from polymirror.files import read_bounded
from polymirror.simulator.orders.auth import Account
from polymirror.simulator.orders.signing import checksummed, is_address
from polymirror.simulator.outfit import Trader

if TYPE_CHECKING:
    from pathlib import Path

MAX_ACCOUNTS: Final = 1_000
MAX_BYTES: Final = 2**20

CREDENTIALS: Final = ("address", "api_key", "secret", "passphrase")


def made_up(count: int, seed: int, cash: Decimal) -> tuple[Trader, ...]:
    """Accounts that follow from the seed, so that the same seed has the same ones."""
    accounts = (Account.made_up(f"serve/{seed}/{number}") for number in range(count))
    return tuple(Trader(address=account.address, account=account, cash=cash) for account in accounts)


def from_file(path: Path, cash: Decimal) -> tuple[Trader, ...]:
    """Read accounts from a JSON list of objects.

    Each has ``address``, ``api_key``, ``secret`` and ``passphrase``, or a ``name`` from which all four follow, or only
    the ``address`` of a wallet that will log in itself; and may say its ``cash`` in pUSD. ``cash``
    is what those begin with that do not.

    Raises PolymirrorError, naming the entry but never what is in it.
    """
    try:
        entries = json.loads(read_bounded(path, MAX_BYTES))
    except OSError as error:
        raise PolymirrorError(f"the accounts cannot be read: {path}: {error.strerror or error}") from error
    except (ValueError, RecursionError):
        raise PolymirrorError(f"the accounts cannot be read: {path} is not JSON") from None
    if not isinstance(entries, list) or not 0 < len(entries) <= MAX_ACCOUNTS:
        raise PolymirrorError(f"the accounts cannot be read: {path} must be a list of 1 to {MAX_ACCOUNTS} objects")
    traders = tuple(_trader(path, number, entry, cash) for number, entry in enumerate(entries, 1))
    keys = [trader.account.api_key for trader in traders if trader.account is not None]
    for name, values in (("address", [trader.address.lower() for trader in traders]), ("api_key", keys)):
        if len(set(values)) < len(values):
            raise PolymirrorError(f"{path}: two accounts have the same {name}")
    return traders


def _trader(path: Path, number: int, entry: Any, cash: Decimal) -> Trader:
    def wrong(what: str) -> PolymirrorError:
        return PolymirrorError(f"{path}: account {number} {what}")

    if not isinstance(entry, dict):
        raise wrong("is not an object")
    unknown = sorted(entry.keys() - {*CREDENTIALS, "name", "cash"})
    if unknown:
        raise wrong(f"has {unknown[0]!r}, which is not known: known are {', '.join(CREDENTIALS)}, name and cash")
    given = {name: entry[name] for name in CREDENTIALS if name in entry}
    if not all(isinstance(value, str) and value for value in (*given.values(), entry.get("name", "-"))):
        raise wrong("has a value that is no text, or an empty one")
    ways = (frozenset(CREDENTIALS), frozenset({"address"}), frozenset({"name"}))
    if entry.keys() - {"cash"} not in ways:
        raise wrong(f"must have all of {', '.join(CREDENTIALS)}, or only an address, or only a name")
    if "address" in entry and not is_address(entry["address"]):
        raise wrong("has an address that is not 0x and 40 hex digits")
    try:
        money = Decimal(str(entry.get("cash", cash)))
        if len(given) == 1:
            return Trader(address=checksummed(entry["address"]), cash=money)
        account = Account(**given) if given else Account.made_up(entry["name"])
        return Trader(address=account.address, account=account, cash=money)
    except ConfigError as error:
        raise wrong(f"has a wrong {error.field}: it must be {error.allowed}") from None
    except InvalidOperation:
        raise wrong("has a cash that is no number") from None
