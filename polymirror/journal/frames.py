"""Replaying a recording through the engine: the same code that runs live, on recorded frames and times.

A recording is a text file with one frame or one event per line, plain or in an envelope: an object with the frame
under ``frame``, ``raw``, ``payload`` or ``data``, as text or as it is, and perhaps a receive time under ``recv_ms``
or ``recv_wall_ts`` (milliseconds) or ``t_wall_ns``. Tokens are tracked as they appear. There is no REST in a
recording, so time alone never makes a book doubtful here: what is judged is whether every frame fits the venue's own
statements.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from polymirror.config import EngineConfig
from polymirror.core.effects import FetchBooks, OpenSocket, Subscribe
from polymirror.core.engine import Engine
from polymirror.core.events import Transition
from polymirror.core.harm import count_kind
from polymirror.core.messages import Ignored, Malformed, PriceChange, Snapshot, decode_frame
from polymirror.core.states import BookState

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from polymirror.core.events import Event
    from polymirror.core.messages import Message

LINE = 1
"""A recording is replayed as one socket."""

PAIR = 2
"""Tokens of a market; more are not tracked."""

MAX_LINE_BYTES = 32 * 2**20
"""A longer line of a recording is refused."""

MAX_TRANSITIONS = 100_000
"""How many of the newest transitions are kept; all are counted."""

BOM = b"\xef\xbb\xbf"
"""What some programs write before UTF-8 text."""

ENVELOPES = ("frame", "raw", "payload", "data")
"""Where an envelope has its frame."""

TIMES = {"recv_ms": 1e3, "recv_wall_ts": 1e3, "t_wall_ns": 1e9}
"""Where an envelope has its receive time, and how many of its units are a second."""

_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_whole = msgspec.json.Decoder(int)
_text = msgspec.json.Decoder(str)

REPLAY_CONFIG = EngineConfig(
    prove_both_hashes=True,
    max_proof_age=3600, suspect_grace=60, first_snapshot_timeout=300, scheduled_resync=86_400,
    request_timeout=120, tokens_per_socket=500, max_apply_lag=60,
)  # fmt: skip
"""Without REST nothing can be asked again, so doubts may take long to clear."""


class FrameReplay:
    """Feeds recorded frames to an engine and sums up what it made of them."""

    def __init__(self, config: EngineConfig = REPLAY_CONFIG, seed: int = 0) -> None:
        self.engine: Engine = Engine(config, random.Random(seed))  # noqa: S311 - jitter
        self.transitions: deque[Transition] = deque(maxlen=MAX_TRANSITIONS)
        self.moves: int = 0
        self.deltas: int = 0
        self.left_live: Counter[str] = Counter()
        self._now = 0.0
        # What is tracked, by market.
        self._tracked: dict[str, tuple[str, ...]] = {}
        self._market_of: dict[str, str] = {}
        # More tokens than a socket carries take several, and a frame goes to that of its market.
        self._socket_of: dict[str, int] = {}
        # What came before the first book, when the engine does not look inside yet; by kind.
        self._early_ignored: Counter[str] = Counter()
        self._early_malformed: Counter[str] = Counter()

    def line(self, text: bytes) -> None:
        """Replay one line of a recording; an empty one is skipped."""
        text = text.strip().removeprefix(BOM)
        if not text:
            return
        frame, at = open_envelope(text)
        self.frame(frame, at)

    def frame(self, data: bytes | str, at: float | None = None) -> None:
        """Replay one frame, received at ``at`` (seconds); None: at the exchange time it states."""
        messages = decode_frame(data)
        stamps = [m.at_ms for m in messages if isinstance(m, PriceChange)]
        stamps += [m.timestamp_ms for m in messages if isinstance(m, Snapshot)]
        if at is None and stamps:
            at = max(stamps) / 1000
        self._advance(at or 0.0)
        for message in messages:
            if isinstance(message, PriceChange):
                self.deltas += len(message.price_changes or ())
                self._track(message.market, [change.asset_id for change in message.price_changes or ()])
            elif isinstance(message, Snapshot):
                self._track(message.market, [message.asset_id])
        if not self._tracked:
            # Nothing is tracked yet, so the engine does not look inside.
            self._count_early(messages)
        markets = [getattr(message, "market", "") for message in messages]
        sockets = dict.fromkeys(self._socket_of[market] for market in markets if market in self._socket_of)
        for socket in sockets or (LINE,):
            self.engine.receive(socket, data, self._now)
        self._drain()

    def finish(self) -> None:
        """The recording is over: close the last batches."""
        self._advance(self._now + 1.0)
        self._drain()

    def summary(self) -> dict[str, Any]:
        """Return the counts that ``polymirror replay --json`` prints."""
        status = self.engine.status(self._now)
        totals, proofs = status.totals, status.totals.proofs

        def verdicts(kind: str, *names: str) -> dict[str, int]:
            return {name: proofs.get(kind, {}).get(name, 0) for name in names}

        ignored = self._early_ignored + Counter(totals.ignored)
        malformed = self._early_malformed + Counter(totals.malformed)
        return {
            "frames": totals.frames,
            "deltas": self.deltas,
            "snapshots": totals.snapshots,
            "tokens": len(status.tokens),
            "states": dict(totals.states),
            "transitions": self.moves,
            "left_live": dict(sorted(self.left_live.items())),
            "hash": verdicts("hash", "match", "healed", "mismatch", "unverifiable"),
            "bbo": verdicts("bbo", "match", "mismatch"),
            "complement": verdicts("complement", "match", "mismatch"),
            "resent_books": verdicts("book", "match", "mismatch", "behind"),
            "invariants": verdicts("invariants", "match", "mismatch"),
            "ignored": ignored.total(),
            "ignored_kinds": dict(sorted(ignored.items())),
            "malformed": malformed.total(),
            "malformed_kinds": dict(sorted(malformed.items())),
        }

    def pass_time(self, at: float) -> None:
        """Let time pass until ``at`` (seconds); a time that is over changes nothing."""
        self._advance(at)
        self._drain()

    def forget(self, market: str, at: float) -> None:
        """Track a market no more from ``at`` (seconds) on; one that is not tracked is none."""
        self.pass_time(at)
        for token in self._tracked.pop(market, ()):
            self._market_of.pop(token, None)
        if self._socket_of.pop(market, None) is not None:
            self.engine.untrack(market, self._now)
            self._drain()

    def _track(self, market: str, asset_ids: Sequence[str]) -> None:
        tracked = self._tracked.get(market, ())
        if all(asset_id in tracked for asset_id in asset_ids):
            return
        # A token belongs to one market: a recording that says otherwise is damaged there.
        fresh = [asset_id for asset_id in asset_ids if self.engine.standing(asset_id) is None]
        wanted = tuple(dict.fromkeys([*tracked, *fresh]))[:PAIR]
        if len(wanted) == len(tracked):
            return
        self._market_of |= dict.fromkeys(wanted, market)
        self.engine.track(market, wanted, self._now)
        self._tracked[market] = self.engine.tokens_of(market)
        self._drain()

    def _count_early(self, messages: Iterable[Message]) -> None:
        """Count what is no book and came before the first one, as the engine counts it later."""
        for message in messages:
            if isinstance(message, Malformed):
                count_kind(self._early_malformed, message.kind)
            elif isinstance(message, Ignored):
                count_kind(self._early_ignored, message.kind)

    def _advance(self, until: float) -> None:
        """Let the engine do what is due until then (seconds); what it asks REST for fails at the end of the silence."""
        self._now = max(self._now, until)
        while (due := self.engine.next_deadline()) <= self._now:
            self.engine.tick(due)
            self._drain()

    def _drain(self) -> None:
        events, effects = self.engine.events(), self.engine.effects()
        for event in events:
            if isinstance(event, Transition):
                self.transitions.append(event)
                self.moves += 1
                if event.old is BookState.LIVE:
                    self.left_live[event.reason.name] += 1
        for effect in effects:
            if isinstance(effect, FetchBooks):
                self._fetch(effect)
            elif isinstance(effect, (OpenSocket, Subscribe)):
                self._socket_of |= {self._market_of[each]: effect.socket for each in effect.asset_ids}
                if isinstance(effect, OpenSocket):
                    self.engine.connected(effect.socket, self._now)
        self._tell(events, self.engine.dirty())

    def _fetch(self, asked: FetchBooks) -> None:
        """Answer a question to REST: nobody is there."""
        self.engine.books_failed(asked.request, self._now)

    def _tell(self, events: list[Event], changed: tuple[str, ...]) -> None:
        """Hear what happened, and which books changed; for whoever builds on this."""


def open_envelope(text: bytes) -> tuple[bytes | str, float | None]:
    """Return the frame in a line of a recording, and its receive time in seconds if there is one."""
    if not text.startswith(b"{"):
        return text, None
    try:
        content = _fields.decode(text)
        if "event_type" in content:
            return text, None
        inside = [bytes(content[name]) for name in ENVELOPES if name in content]
        # A text rather than an object: beside the frame there may be a description of it.
        inside.sort(key=lambda value: not value.startswith(b'"'))
        if not inside or inside[0][:1] not in (b'"', b"{", b"["):
            return text, None
        return _text.decode(inside[0]) if inside[0].startswith(b'"') else inside[0], _receive_time(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return text, None


def _receive_time(content: Mapping[str, msgspec.Raw]) -> float | None:
    for name, unit in TIMES.items():
        if name in content:
            with suppress(msgspec.MsgspecError):
                return _whole.decode(content[name]) / unit
    return None


def replay_lines(lines: Iterable[bytes], config: EngineConfig = REPLAY_CONFIG) -> Iterator[FrameReplay]:
    """Replay lines one by one, yielding the replay after each: for progress bars."""
    replay = FrameReplay(config)
    for line in lines:
        replay.line(line)
        yield replay
    replay.finish()
    yield replay
