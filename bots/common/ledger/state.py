"""The state file: what a bot knows, written whole every so often, so that a start reads little of the log.

A file is one JSON object with a version and a checksum, put in place atomically: a crash leaves the old one or the
new one. What is in it is the business of those who make its parts (the account, the risk counters); floats are
refused, because nothing kept here may be inexact. The intent log alone decides what is lost in a crash: nothing.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from attrs import field, frozen

from bots.common.errors import BotError, StateInvalid
from bots.common.ledger.files import inline
from bots.common.ledger.records import BadLine, seal, take, unseal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from bots.common.ledger.files import Files, Offload
    from bots.common.ledger.intents import IntentLog
    from polymirror.venue.network import Network

log = logging.getLogger(__name__)

NAME: Final = "state.json"
VERSION: Final = 1

MAX_DEPTH: Final = 8
"""How deep the parts of a state may be nested."""


class CorruptState(BotError):  # noqa: N818 - a fact
    """The state file is not what was written. Nothing is guessed."""


@frozen(kw_only=True)
class State:
    """What is kept: the account's snapshot, and other parts by name, such as ``risk``."""

    saved_ms: int
    """Our wall clock, in ms since 1970."""
    account: Mapping[str, Any]
    parts: Mapping[str, Any] = field(factory=dict)


class StateFile:
    """The state file of one bot."""

    def __init__(self, files: Files, *, offload: Offload = inline) -> None:
        self._files = files
        self._offload = offload

    async def load(self) -> State | None:
        """Return what was saved last, or ``None`` before the first time. Raises CorruptState."""
        data = await self._offload(lambda: self._files.read(NAME))
        return None if data is None else decode_state(data)

    async def save(self, state: State) -> None:
        """Write the state; it survives a power cut when this returns. Raises OSError, StateInvalid for a float."""
        data = encode_state(state)
        await self._offload(lambda: self._files.replace(NAME, data))


def encode_state(state: State) -> bytes:
    """Write a state as one line of JSON. Raises StateInvalid for anything but dicts, lists, str, int and bool."""
    value = {"version": VERSION, "saved_ms": state.saved_ms, "account": state.account, "parts": state.parts}
    _check("state", value, MAX_DEPTH)
    return seal(value) + b"\n"


def decode_state(data: bytes, name: str = NAME) -> State:
    """Read what :func:`encode_state` wrote. Raises CorruptState, which says why and what to do."""
    try:
        value = unseal(data.removesuffix(b"\n"))
        if value.get("version") != VERSION:
            raise StateInvalid("version", value.get("version"), str(VERSION))  # noqa: TRY301 - one message for all
        return State(
            saved_ms=take(value, "saved_ms", int),
            account=take(value, "account", dict),
            parts=take(value, "parts", dict),
        )
    except (BadLine, StateInvalid) as error:
        raise CorruptState(f"{name}: {error}: restore it from a copy") from error


class StateKeeper:
    """Writes the state every ``every`` seconds, and shortens the log of what the state has taken over.

    ``snapshot`` returns the other parts; it is called in the same step of the event loop as the account's own.
    """

    def __init__(
        self,
        store: StateFile,
        intents: IntentLog,
        network: Network,
        snapshot: Callable[[], Mapping[str, Any]] = dict,
        *,
        every: float = 30.0,
    ) -> None:
        self.failures = 0
        """Attempts to save in a row that failed."""
        self._store = store
        self._intents = intents
        self._network = network
        self._snapshot = snapshot
        self._every = every
        # When the state was last written, by the monotonic clock.
        self._saved_at: float | None = None

    @property
    def age(self) -> float | None:
        """Seconds since the state was last written; ``None`` before the first time."""
        return None if self._saved_at is None else self._network.monotonic() - self._saved_at

    async def save(self) -> None:
        """Write the state as it is now. Raises OSError."""
        account = self._intents.account
        state = State(
            saved_ms=int(self._network.wall() * 1000), account=account.snapshot(), parts=dict(self._snapshot())
        )
        through = account.through
        await self._store.save(state)
        self._saved_at = self._network.monotonic()
        await self._intents.compact(through)

    async def run(self) -> None:
        """Save again and again until cancelled. A disk that fails is told about and tried again."""
        while True:
            try:
                await self.save()
                self.failures = 0
            except OSError as error:
                self.failures += 1
                log.error("the state could not be written (%s): %d times in a row", error, self.failures)  # noqa: TRY400 - expected
            await asyncio.sleep(self._every)


def _check(path: str, value: object, depth: int) -> None:
    if depth and isinstance(value, dict) and all(isinstance(name, str) for name in value):
        for name, inner in value.items():
            _check(f"{path}.{name}", inner, depth - 1)
    elif depth and isinstance(value, (list, tuple)):
        for inner in value:
            _check(f"{path}[]", inner, depth - 1)
    elif not isinstance(value, (str, int)):
        raise StateInvalid(path, value, f"a str, int or bool, or at most {MAX_DEPTH} levels of dicts and lists of them")
