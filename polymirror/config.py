"""Every setting of the library: what it means, its unit, its range and its default.

All classes are frozen; a value outside its range raises :class:`~polymirror.errors.ConfigError`,
which names the field, the value and the range. :class:`MirrorConfig` holds the other five.
Nothing here reads the environment or a file: callers decide where settings come from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import ip_address
from typing import Any, Self, TypeGuard, TypeVar
from urllib.parse import urlsplit

from attrs import Attribute, field, frozen

from polymirror.errors import ConfigError

T = TypeVar("T")


def _between(low: float, high: float, unit: str) -> Any:
    def check(_self: Any, attribute: Attribute[Any], value: object) -> None:
        good = isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high
        if not good:
            raise ConfigError(attribute.name, value, f"between {low:g} and {high:g} {unit}")

    return check


def _count(low: int, high: int, unit: str, *, optional: bool = False) -> Any:
    def check(_self: Any, attribute: Attribute[Any], value: object) -> None:
        if optional and value is None:
            return
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ConfigError(attribute.name, value, f"a whole number between {low} and {high} {unit}")

    return check


def _url(*schemes: str) -> Any:
    def check(self: Any, attribute: Attribute[Any], value: object) -> None:
        check_address(attribute.name, value, *schemes, allow_plain=self.allow_plain is True)

    return check


def check_address(field_name: str, value: object, *schemes: str, allow_plain: bool | None = None) -> None:
    """Raise :class:`~polymirror.errors.ConfigError` for what is no URL of one of these schemes, the first with TLS.

    Also for one with a user or a password, neither of which is shown, and for one without TLS, unless it leads to this
    machine or ``allow_plain`` is set (``None``: it cannot be): whoever is on the way would read what is sent, and could
    change the answers.
    """
    if isinstance(value, str) and "@" in value:
        raise ConfigError(field_name, "(not shown)", "a URL without user and password")
    if not _is_url(value, schemes):
        raise ConfigError(field_name, value, f"a URL that starts with {' or '.join(schemes)}")
    if not allow_plain and not has_tls_or_is_near(str(value)):
        secure = f"a URL that starts with {schemes[0]}: without TLS it may only lead to this machine"
        raise ConfigError(
            field_name, value, secure + (", or anywhere with allow_plain" if allow_plain is False else "")
        )


def has_tls_or_is_near(url: str) -> bool:
    """Whether nobody on the way can read and change what goes to a URL: it has TLS, or does not leave this machine."""
    parts = urlsplit(url)
    try:
        near = parts.hostname == "localhost" or ip_address(parts.hostname or "").is_loopback
    except ValueError:
        near = False
    return near or parts.scheme in {"https", "wss", "tls"}


def _is_url(text: object, schemes: tuple[str, ...]) -> bool:
    if not isinstance(text, str):
        return False
    try:
        parts = urlsplit(text)
        # Reading the port checks it. urlsplit forgives white space; those who connect do not.
        usable = bool(parts.hostname) and parts.port != 0 and not any(map(str.isspace, text))
        # What cannot be looked up is refused here: UnicodeError is a ValueError.
        (parts.hostname or "").encode("idna")
    except ValueError:
        return False
    return usable and parts.scheme in schemes and not parts.fragment


def _secret(limit: int) -> Any:
    def check(_self: Any, attribute: Attribute[Any], value: object) -> None:
        if value is not None and not (isinstance(value, str) and 0 < len(value) <= limit):
            raise ConfigError(attribute.name, "(not shown)", f"a text of 1 to {limit} characters, or None")

    return check


def _instance(kind: type, name: str, *, optional: bool = False) -> Any:
    def check(_self: Any, attribute: Attribute[Any], value: object) -> None:
        absent = optional and value is None
        good = isinstance(value, kind) and (kind is bool or not isinstance(value, bool))
        if not absent and not good:
            raise ConfigError(attribute.name, value, name)

    return check


def check_instance(field_name: str, value: object, kind: type[T]) -> T:
    """Return ``value``, which must be a ``kind``. Raises :class:`~polymirror.errors.ConfigError`."""
    if not isinstance(value, kind):
        raise ConfigError(field_name, value, f"a {kind.__name__}")
    return value


def check_each(field_name: str, values: Iterable[T], kind: type[T], or_else: str = "") -> tuple[T, ...]:
    """Return ``values``, each of which must be a ``kind`` and not empty.

    Raises :class:`~polymirror.errors.ConfigError`, also for a single text: its characters would be taken for many.
    ``or_else`` is added to that, and says what takes a single one, or something else.
    """
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise ConfigError(field_name, values, f"several: a list, also for one{or_else}")
    found = tuple(values)
    for value in found:
        if not isinstance(value, kind) or value == "":
            what = "str that is not empty" if kind is str else kind.__name__
            raise ConfigError(field_name, value, f"each a {what}{or_else}")
    return found


def check_flag(field_name: str, value: object) -> None:
    """Raise :class:`~polymirror.errors.ConfigError` for what is neither True nor False: a text would count as True."""
    if not isinstance(value, bool):
        raise ConfigError(field_name, value, "True or False")


def check_age(field_name: str, value: object) -> None:
    """Raise :class:`~polymirror.errors.ConfigError` for an age that is no number of seconds above 0.

    Infinity is one: a proof may then be as old as the mirror's own setting allows.
    """
    if not _is_real(value) or not value > 0:
        raise ConfigError(field_name, value, "a number of seconds above 0 (float or int)")


def check_timeout(field_name: str, value: object) -> None:
    """Raise :class:`~polymirror.errors.ConfigError` for what is no finite number of seconds; 0 does not wait."""
    if not _is_real(value) or not 0 <= value < float("inf"):
        raise ConfigError(field_name, value, "a finite number of seconds from 0 on (float or int)")


def _is_real(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def one_of(wanted: object, known: Iterable[str], listed_by: str | None = None) -> str:
    """Say in an error which names exist: all of them, and first the one that was probably meant.

    Where there are too many, ``listed_by`` is the command that lists them.
    """
    from difflib import get_close_matches  # noqa: PLC0415 - for whoever mistyped

    names = tuple(known)
    near = get_close_matches(str(wanted), names, n=1)
    which = f"one of {', '.join(names)}" if listed_by is None else f"one that '{listed_by}' lists"
    return f"{near[0]}, if that was meant, or another {which}" if near else which


@frozen(kw_only=True)
class Endpoints:
    """Where the venue is. The defaults are production; a simulator offers its own."""

    stream: str = field(default="wss://ws-subscriptions-clob.polymarket.com/ws/market", validator=_url("wss", "ws"))
    """The market WebSocket."""
    clob: str = field(default="https://clob.polymarket.com", validator=_url("https", "http"))
    """The order book REST service, without a trailing slash."""
    gamma: str = field(default="https://gamma-api.polymarket.com", validator=_url("https", "http"))
    """The discovery REST service, without a trailing slash."""
    allow_plain: bool = field(default=False, validator=_instance(bool, "True or False"))
    """Whether these may be without TLS and on another machine. Whoever is on the way can then make up any book."""

    @classmethod
    def at(cls, url: str, *, allow_plain: bool = False) -> Self:
        """Return the endpoints of a venue whose services are all at one address: a simulator, or a proxy.

        ``url`` is that of its HTTP services; the stream is there at ``/ws/market``. Raises ConfigError.
        """
        check_address("url", url, "https", "http", allow_plain=allow_plain)
        if "?" in url:
            raise ConfigError("url", url, "the address of a venue, without a query")
        base = url.rstrip("/")
        stream = f"ws{base.removeprefix('http')}/ws/market"
        return cls(stream=stream, clob=base, gamma=base, allow_plain=allow_plain)


@frozen(kw_only=True)
class EngineConfig:
    """The pure core: how long a proof holds, how much is kept, how long doubt may last."""

    max_proof_age: float = field(default=15.0, validator=_between(0.5, 3600, "seconds"))
    """A book proven longer ago than this is SUSPECT (STALE)."""
    probe_fraction: float = field(default=0.55, validator=_between(0.1, 0.9, "of max_proof_age"))
    """A REST probe is asked for when a proof is older than this share of ``max_proof_age``."""
    batch_window: float = field(default=0.01, validator=_between(0.0005, 1, "seconds"))
    """A batch is over this long after its last message, if no later one closed it before."""
    first_snapshot_timeout: float = field(default=5.0, validator=_between(0.1, 300, "seconds"))
    """How long a subscribed token may wait for its baseline before NO_SNAPSHOT."""
    hash_grace: float = field(default=1.0, validator=_between(0.01, 60, "seconds"))
    """How long hash, BBO or complement may disagree before the book becomes SUSPECT."""
    suspect_grace: float = field(default=2.0, validator=_between(0.01, 60, "seconds"))
    """How long a SUSPECT book may wait for a clearing proof before it is resynced."""
    probe_hold: float = field(default=1.5, validator=_between(0.1, 30, "seconds"))
    """How long a REST book that we have not seen may be ahead of the stream."""
    request_timeout: float = field(default=5.0, validator=_between(0.5, 120, "seconds"))
    """After this long without an answer a book request is counted as failed."""
    resync_backoff_base: float = field(default=0.25, validator=_between(0.01, 60, "seconds"))
    """Full-jitter backoff between failed resyncs: the first upper bound."""
    resync_backoff_cap: float = field(default=5.0, validator=_between(0.1, 600, "seconds"))
    """Full-jitter backoff between failed resyncs: the last upper bound."""
    scheduled_resync: float = field(default=300.0, validator=_between(5, 86_400, "seconds"))
    """The mean time between make-before-break refreshes of a book (jittered by a quarter)."""
    max_apply_lag: float = field(default=2.0, validator=_between(0.05, 60, "seconds"))
    """Frames applied later than this after the venue sent them make books SUSPECT (APPLY_LAG)."""
    max_tokens: int = field(default=20_000, validator=_count(1, 200_000, "tokens"))
    """The most tokens one mirror tracks."""
    tokens_per_socket: int = field(default=200, validator=_count(2, 500, "tokens"))
    """The most tokens on one socket; above 500 the venue sends no snapshots."""
    max_buffered_deltas: int = field(default=5_000, validator=_count(1, 1_000_000, "deltas"))
    """Deltas kept for a token while it waits for its baseline."""
    max_journal: int = field(default=512, validator=_count(16, 100_000, "changes"))
    """Recent changes kept for a token, to go back to its last proven state."""
    prove_both_hashes: bool = field(default=False, validator=_instance(bool, "True or False"))
    """Whether a change that both tokens of a market share is proven by the hashes of both. By one of them, if False:
    the other book is then proven as its exact mirror image, and its own hash is tried now and then."""
    max_levels: int = field(default=10_000, validator=_count(1, 10_000, "levels a side"))
    """A book with more levels on a side than this is refused as malformed."""
    max_batch_messages: int = field(default=1_000, validator=_count(1, 100_000, "messages"))
    """A batch with more messages than this is closed early."""


@frozen(kw_only=True)
class StreamConfig:
    """One WebSocket: heartbeat, watchdogs, backoff and the bound of its queue."""

    ping_interval: float = field(default=10.0, validator=_between(0.05, 300, "seconds"))
    """A text PING goes out this often, after the subscription."""
    open_timeout: float = field(default=10.0, validator=_between(0.1, 120, "seconds"))
    """The most time for TCP, TLS and the WebSocket handshake together."""
    send_timeout: float = field(default=10.0, validator=_between(0.1, 120, "seconds"))
    """The most time for one text to be taken by the other side; then the socket is replaced."""
    data_timeout: float = field(default=30.0, validator=_between(0.1, 3600, "seconds"))
    """A socket that brought no real data (PONG is none) for this long is replaced."""
    transport_timeout: float = field(default=45.0, validator=_between(0.1, 3600, "seconds"))
    """A socket that brought nothing at all, not even a PONG, for this long is replaced."""
    backoff_base: float = field(default=0.25, validator=_between(0.001, 60, "seconds"))
    """Full-jitter backoff between connection attempts: the first upper bound."""
    backoff_cap: float = field(default=30.0, validator=_between(0.001, 600, "seconds"))
    """Full-jitter backoff between connection attempts: the last upper bound."""
    healthy_after: float = field(default=2.0, validator=_between(0.01, 3600, "seconds"))
    """A connection that lasted this long resets the backoff."""
    max_message: int = field(default=16 * 2**20, validator=_count(1024, 2**30, "bytes"))
    """The largest message accepted. An opening frame of 600 tokens exceeds 1 MiB."""
    max_queue: int = field(default=20_000, validator=_count(1, 1_000_000, "frames"))
    """Frames waiting for the engine; one more means OVERFLOW and a new connection."""
    max_queue_bytes: int = field(default=256 * 2**20, validator=_count(1024, 2**34, "bytes"))
    """Bytes of frames waiting for the engine; more means OVERFLOW and a new connection."""
    close_timeout: float = field(default=0.5, validator=_between(0.05, 30, "seconds"))
    """How long a closing handshake may take before the socket is dropped."""
    redirects: bool = field(default=True, validator=_instance(bool, "True or False"))
    """Whether redirects to another address of the same host are followed. Not for what carries credentials."""


@frozen(kw_only=True)
class RestConfig:
    """HTTP calls: time-outs, retries, and one rate budget shared by all callers."""

    connect_timeout: float = field(default=5.0, validator=_between(0.05, 120, "seconds"))
    """The most time to connect."""
    read_timeout: float = field(default=10.0, validator=_between(0.05, 120, "seconds"))
    """The most time between two pieces of an answer."""
    total_timeout: float = field(default=20.0, validator=_between(0.1, 600, "seconds"))
    """The most time for one call with all its retries."""
    attempts: int = field(default=3, validator=_count(1, 20, "attempts"))
    """How often one call is tried."""
    backoff_base: float = field(default=0.25, validator=_between(0.001, 60, "seconds"))
    """Full-jitter backoff between attempts: the first upper bound."""
    backoff_cap: float = field(default=5.0, validator=_between(0.001, 600, "seconds"))
    """Full-jitter backoff between attempts: the last upper bound."""
    max_retry_after: float = field(default=30.0, validator=_between(0, 600, "seconds"))
    """A longer ``Retry-After`` is not waited for: the call fails with RateLimited."""
    calls_per_10s: int = field(default=200, validator=_count(1, 9_000, "calls in 10 seconds"))
    """The budget for book calls. The venue allows 500 to /books; the rest is left to you."""
    books_per_call: int = field(default=500, validator=_count(1, 500, "tokens"))
    """The most tokens in one POST /books."""
    concurrency: int = field(default=4, validator=_count(1, 64, "calls"))
    """The most calls under way at once."""
    max_body: int = field(default=32 * 2**20, validator=_count(1024, 2**30, "bytes"))
    """The largest answer accepted."""


@frozen(kw_only=True)
class JournalConfig:
    """What a mirror records of itself: how large its files become, and how much may wait for the disk."""

    rotate_bytes: int = field(default=256 * 2**20, validator=_count(4096, 2**40, "bytes"))
    """A new file begins when one has this many bytes,"""
    rotate_seconds: float = field(default=3600.0, validator=_between(1, 86_400, "seconds"))
    """or was begun so long ago."""
    keep_bytes: int | None = field(default=None, validator=_count(4096, 2**50, "bytes, or None", optional=True))
    """The oldest files of the folder are deleted while all have more bytes than this. ``None``: none ever is."""
    min_free_bytes: int = field(default=256 * 2**20, validator=_count(0, 2**50, "bytes"))
    """Nothing is written while less than this is free on the disk: others need some, too."""
    queue_bytes: int = field(default=64 * 2**20, validator=_count(4096, 2**34, "bytes"))
    """What may wait for the disk. More is not recorded, and a record says how much that was."""
    book_seconds: float = field(default=60.0, validator=_between(1, 3600, "seconds"))
    """How often all LIVE books are recorded whole: a replay from the middle begins with these."""


@frozen(kw_only=True)
class IncidentConfig:
    """What a mirror keeps to explain a loss of trust, and how many bundles of it are written and kept."""

    ring_seconds: float = field(default=30.0, validator=_between(5, 300, "seconds"))
    """What was heard of each market within so long before is kept in memory, in any case,"""
    ring_bytes: int = field(default=64 * 2**20, validator=_count(2**16, 2**34, "bytes"))
    """unless all of it would take more than this: then less of the largest."""
    bundle_bytes: int = field(default=8 * 2**20, validator=_count(2**16, 2**30, "bytes of text"))
    """A bundle has no more than this: at most half of it from before the loss of trust."""
    most_seconds: float = field(default=60.0, validator=_between(1, 600, "seconds"))
    """An incident is followed no longer than this."""
    market_seconds: float = field(default=60.0, validator=_between(0, 86_400, "seconds"))
    """No two bundles of one market begin within so long."""
    per_minute: int = field(default=10, validator=_count(1, 1_000, "bundles"))
    """No more bundles begin within a minute."""
    keep_files: int = field(default=200, validator=_count(1, 100_000, "bundles"))
    """The oldest bundles of the folder are deleted while there are more than this,"""
    keep_bytes: int = field(default=256 * 2**20, validator=_count(2**16, 2**40, "bytes"))
    """or while all of them together are larger than this."""


@frozen(kw_only=True)
class MirrorConfig:
    """All settings of a mirror."""

    engine: EngineConfig = field(factory=EngineConfig, validator=_instance(EngineConfig, "an EngineConfig"))
    stream: StreamConfig = field(factory=StreamConfig, validator=_instance(StreamConfig, "a StreamConfig"))
    rest: RestConfig = field(factory=RestConfig, validator=_instance(RestConfig, "a RestConfig"))
    endpoints: Endpoints = field(factory=Endpoints, validator=_instance(Endpoints, "an Endpoints"))
    journal: JournalConfig = field(factory=JournalConfig, validator=_instance(JournalConfig, "a JournalConfig"))
    """Only for a mirror that is given a folder for its journal."""
    incidents: IncidentConfig = field(factory=IncidentConfig, validator=_instance(IncidentConfig, "an IncidentConfig"))
    """Only for a mirror that is given a folder for incidents."""
    seed: int | None = field(default=None, validator=_instance(int, "a whole number, or None", optional=True))
    """Seeds all jitter; ``None`` draws one. Recorded, so that a run can be repeated."""
    hedge: int = field(default=1, validator=_count(1, 2, "connections for each socket"))
    """With 2, each socket has two connections that are subscribed to the same: the first to bring a change counts, and
    one that dies or lags costs no availability. Twice the connections and the bytes; see ``docs/operations.md``."""
    custom_features: bool = field(default=True, validator=_instance(bool, "True or False"))
    """Subscribe to market_resolved too (and to best_bid_ask and new_market, which are counted and ignored)."""
    clock_interval: float = field(default=60.0, validator=_between(1, 86_400, "seconds"))
    """How often the venue's clock is asked for its time."""
    max_subscribers: int = field(default=1_000, validator=_count(1, 100_000, "subscribers"))
    """The most callbacks and iterators at once."""


@frozen(kw_only=True)
class NatsConfig:
    """Who we are to a NATS server: nobody, or one of a file of credentials, a user, and a token. Secrets are not shown.

    Raises ConfigError for more than one of them, and for half of one.
    """

    credentials: str | None = field(default=None, validator=_secret(4096), repr=False)
    """The path of a ``.creds`` file, read anew at each connection."""
    user: str | None = field(default=None, validator=_secret(256))
    """Needs ``password``."""
    password: str | None = field(default=None, validator=_secret(1024), repr=False)
    """Of ``user``."""
    token: str | None = field(default=None, validator=_secret(1024), repr=False)
    """What a server with one token for all asks for."""
    ca: str | None = field(default=None, validator=_secret(4096))
    """The path of the certificates to trust with TLS, as PEM. ``None``: those that this machine trusts."""
    certificate: str | None = field(default=None, validator=_secret(4096))
    """The path of our own certificate, as PEM, for a server that asks for one. Needs ``key``."""
    key: str | None = field(default=None, validator=_secret(4096), repr=False)
    """The path of the key of ``certificate``."""

    def __attrs_post_init__(self) -> None:
        if (self.user is None) != (self.password is None):
            raise ConfigError("password", "(not shown)", "given together with user, or neither")
        if (self.certificate is None) != (self.key is None):
            raise ConfigError("key", "(not shown)", "given together with certificate, or neither")
        if sum(each is not None for each in (self.credentials, self.user, self.token)) > 1:
            raise ConfigError("credentials", "(not shown)", "one of credentials, user and token, or none of them")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Return what ``environment`` (``os.environ``, say) has, by the names that NATS' own tools know.

        They are NATS_CREDS, NATS_USER, NATS_PASSWORD, NATS_TOKEN, NATS_CA, NATS_CERT and NATS_KEY; an empty one is as
        none. Raises ConfigError.
        """
        names = {
            "credentials": "NATS_CREDS", "user": "NATS_USER", "password": "NATS_PASSWORD", "token": "NATS_TOKEN",
            "ca": "NATS_CA", "certificate": "NATS_CERT", "key": "NATS_KEY",
        }  # fmt: skip
        return cls(**{name: environment.get(variable) or None for name, variable in names.items()})


@frozen(kw_only=True)
class RemoteConfig:
    """How a :class:`~polymirror.relay.remote.RemoteMirror` follows relays."""

    max_proof_age: float = field(default=15.0, validator=_between(0.05, 3600, "seconds"))
    """Bounds every read. The relay's own limit holds as well."""
    max_subscribers: int = field(default=1_000, validator=_count(1, 100_000, "subscribers"))
    """The most callbacks and iterators at once."""
    binary: bool = field(default=True, validator=_instance(bool, "True or False"))
    """Whether relays speak msgpack, which is quicker; else JSON, which people can read."""
    allow_plain: bool = field(default=False, validator=_instance(bool, "True or False"))
    """Relays may be on another machine and without TLS: whoever is on the way can read and change what they say."""
    nats: NatsConfig = field(factory=NatsConfig, validator=_instance(NatsConfig, "a NatsConfig"))
    """Who we are to NATS servers."""
    incidents: IncidentConfig = field(factory=IncidentConfig, validator=_instance(IncidentConfig, "an IncidentConfig"))
    """Only for one that is given a folder for bundles."""
