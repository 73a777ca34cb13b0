"""Who may trade: the accounts, their credentials, and how one gets them.

A :class:`KeyRing` knows accounts by API key. Some are made up before (:meth:`Account.made_up`), others log in as at the
venue: a wallet signs a message, and ``POST /auth/api-key`` or ``GET /auth/derive-api-key`` gives the credentials that
all other calls are signed with (protocol.md 7.2). Credentials follow from the ring's seed and the wallet's address:
nothing here is secret. Whether a login's signature is verified: :data:`~polymirror.simulator.orders.signing.VERIFIES`.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from attrs import define, field, frozen

from polymirror.errors import ConfigError
from polymirror.simulator.orders.signing import checksummed, is_address, login_is_signed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from attrs import Attribute

    from polymirror.simulator.frames import Call

MAX_ACCOUNTS: Final = 10_000
"""More wallets than this cannot log in."""

MAX_NONCE_DIGITS: Final = 20


def _secret(_: object, attribute: Attribute[str], value: str) -> None:
    try:
        base64.b64decode(_padded(value), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise ConfigError(attribute.name, "(hidden)", "URL-safe base64") from None


def _padded(secret: str) -> str:
    return secret + "=" * (-len(secret) % 4)


@frozen(kw_only=True)
class Account:
    """Who may trade: the address, and the credentials that calls are signed with. ``secret`` is URL-safe base64."""

    address: str
    api_key: str
    secret: str = field(repr=False, validator=_secret)
    passphrase: str = field(repr=False)
    signs: bool = field(default=False)
    """Whether a wallet stands behind it, so that its orders must be signed."""

    @classmethod
    def made_up(cls, name: str) -> Account:
        """An account that follows from a name: for simulations, where nothing is secret."""
        address = "0x" + sha256(f"{name}/address".encode()).hexdigest()[:40]
        return cls._derived(name, address, signs=False)

    @classmethod
    def of_wallet(cls, address: str, seed: str) -> Account:
        """The account of a wallet that logged in."""
        return cls._derived(f"{seed}/{address.lower()}", checksummed(address), signs=True)

    @classmethod
    def _derived(cls, name: str, address: str, *, signs: bool) -> Account:
        key, secret, phrase = (sha256(f"{name}/{part}".encode()).hexdigest() for part in ("key", "secret", "pass"))
        text = base64.urlsafe_b64encode(bytes.fromhex(secret)).decode()
        return cls(address=address, api_key=key[:32], secret=text, passphrase=phrase, signs=signs)

    @property
    def credentials(self) -> dict[str, str]:
        """What a login is answered with."""
        return {"apiKey": self.api_key, "secret": self.secret, "passphrase": self.passphrase}

    def signature(self, timestamp: str, method: str, path: str, body: bytes) -> str:
        """The venue's L2 signature of a call (protocol.md 7.2)."""
        message = f"{timestamp}{method}{path}".encode() + body
        key = base64.urlsafe_b64decode(_padded(self.secret))
        return base64.urlsafe_b64encode(hmac.digest(key, message, "sha256")).decode()

    def signed(self, call: Call) -> bool:
        """Whether a call carries this account's headers and a right signature."""
        headers = call.headers
        timestamp = headers.get("poly_timestamp", "")
        wanted = {
            "poly_api_key": self.api_key,
            "poly_passphrase": self.passphrase,
            "poly_signature": self.signature(timestamp, call.method, call.path, call.body),
        }
        # Compared to the end whatever differs, as one compares secrets. An address is the same in any case.
        same = [hmac.compare_digest(headers.get(name, "").encode(), text.encode()) for name, text in wanted.items()]
        return all(same) and headers.get("poly_address", "").lower() == self.address.lower() and timestamp.isdigit()

    def headers(self, timestamp_s: int, method: str, path: str, body: bytes = b"") -> dict[str, str]:
        """The five headers of a call, for clients and tests. ``path`` is without host and query."""
        return {
            "POLY_ADDRESS": self.address,
            "POLY_API_KEY": self.api_key,
            "POLY_PASSPHRASE": self.passphrase,
            "POLY_TIMESTAMP": str(timestamp_s),
            "POLY_SIGNATURE": self.signature(str(timestamp_s), method, path, body),
        }


@define
class _Entry:
    account: Account
    good_from_ms: int | None = None
    """When the credentials were given last; ``None``: not used yet."""


class KeyRing:
    """The accounts by API key. ``open_to_all``: any wallet may log in, and ``welcome`` is called with its account.

    ``lifetime_ms`` is how long credentials work before they are refused until they are derived anew, as has been
    seen at the venue (protocol.md 11); 0: for ever.
    """

    def __init__(
        self,
        accounts: Iterable[Account] = (),
        *,
        open_to_all: bool = True,
        seed: int | str = 0,
        lifetime_ms: int = 0,
        welcome: Callable[[Account], None] | None = None,
    ) -> None:
        if not 0 <= lifetime_ms <= 10**12:
            raise ConfigError("lifetime_ms", lifetime_ms, f"a whole number between 0 and {10**12} milliseconds")
        self.open_to_all = open_to_all
        self.lifetime_ms = lifetime_ms
        # How often a call was refused because its credentials had lived too long.
        self.stale_refused: int = 0
        self._seed = str(seed)
        self._welcome = welcome
        self._by_key: dict[str, _Entry] = {}
        self._by_address: dict[str, _Entry] = {}
        # How often an address deleted its credentials: what it gets next is another key.
        self._deleted: dict[str, int] = {}
        for account in accounts:
            self.add(account)

    @property
    def accounts(self) -> tuple[Account, ...]:
        """All accounts, in the order in which they came."""
        return tuple(entry.account for entry in self._by_key.values())

    def of_key(self, api_key: str) -> Account | None:
        """The account with this API key."""
        entry = self._by_key.get(api_key)
        return None if entry is None else entry.account

    def of_address(self, address: str) -> Account | None:
        """The account of this address, in any case of its letters."""
        entry = self._by_address.get(address.lower())
        return None if entry is None else entry.account

    def of_call(self, call: Call, now_ms: int) -> Account | None:
        """The account whose credentials signed a call; ``None`` also when they must be derived anew."""
        entry = self._by_key.get(call.headers.get("poly_api_key", ""))
        return (
            entry.account if entry is not None and entry.account.signed(call) and self._fresh(entry, now_ms) else None
        )

    def accept(self, given: object, now_ms: int | None = None) -> Account | None:
        """The account of credentials as first frames of sockets state them: ``{apiKey, secret, passphrase}``.

        Without a time nothing is asked about their age.
        """
        told: dict[str, object] = given if isinstance(given, dict) else {}
        entry = self._by_key.get(str(told.get("apiKey", "")))
        if entry is None or entry.account.credentials != {name: told.get(name) for name in _CREDENTIALS}:
            return None
        return entry.account if now_ms is None or self._fresh(entry, now_ms) else None

    # Logins.

    def login(self, call: Call, now_ms: int) -> Account | tuple[int, str]:
        """Answer an L1 call to create (POST) or derive (GET) credentials: the account, or status and text why not."""
        headers = call.headers
        address, timestamp, nonce = (headers.get(f"poly_{name}", "") for name in ("address", "timestamp", "nonce"))
        formed = is_address(address) and timestamp.isdigit() and nonce.isdigit() and len(nonce) <= MAX_NONCE_DIGITS
        if not formed or not login_is_signed(address, timestamp, nonce, headers.get("poly_signature", "")):
            return INVALID_LOGIN
        entry = self._by_address.get(address.lower())
        if call.method == "POST":
            if entry is not None or not self.open_to_all or len(self._by_key) >= MAX_ACCOUNTS:
                return NOT_CREATED
            times = self._deleted.get(address.lower(), 0)
            entry = self._add(Account.of_wallet(address, f"{self._seed}/{times}" if times else self._seed))
            if self._welcome is not None and not times:
                self._welcome(entry.account)
        elif entry is None:
            return NOT_DERIVED
        entry.good_from_ms = now_ms
        return entry.account

    def delete(self, account: Account) -> None:
        """Forget an account's credentials; its wallet may log in again and gets others."""
        entry = self._by_key.pop(account.api_key, None)
        if entry is not None:
            del self._by_address[account.address.lower()]
            self._deleted[account.address.lower()] = self._deleted.get(account.address.lower(), 0) + 1

    def expire(self, account: Account) -> None:
        """Refuse an account's credentials from now on, until they are derived anew."""
        self._by_key[account.api_key].good_from_ms = _EXPIRED

    def add(self, account: Account) -> None:
        """Take an account on whose credentials are known."""
        self._add(account)

    def _add(self, account: Account) -> _Entry:
        entry = _Entry(account)
        self._by_key[account.api_key] = self._by_address[account.address.lower()] = entry
        return entry

    def _fresh(self, entry: _Entry, now_ms: int) -> bool:
        if entry.good_from_ms is None:
            entry.good_from_ms = now_ms
        good = entry.good_from_ms != _EXPIRED and (
            not self.lifetime_ms or now_ms - entry.good_from_ms < self.lifetime_ms
        )
        self.stale_refused += not good
        return good


INVALID_LOGIN: Final = (401, "Invalid L1 Request headers")
NOT_CREATED: Final = (400, "Could not create api key")
NOT_DERIVED: Final = (400, "Could not derive api key!")

_CREDENTIALS: Final = ("apiKey", "secret", "passphrase")
_EXPIRED: Final = -1
