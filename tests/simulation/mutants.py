"""Deliberately broken engines: a torture that cannot catch these proves nothing.

Each mutant is a context in which one guard of the core is gone.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from attrs import evolve

from polymirror.core import images, mirrored
from polymirror.core.book import OrderBook
from polymirror.core.clock import VenueClock
from polymirror.core.engine import Engine
from polymirror.core.evidence import Evidence
from polymirror.core.hashing import MarketHash
from polymirror.core.market import Market
from polymirror.core.proofs import ProofKind
from polymirror.core.proven import Proven
from polymirror.core.resync import Resync
from polymirror.core.states import BookState
from polymirror.core.token import Token

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def _claim(token: Token, since_ms: int, now: float) -> None:
    """Whatever this token's book is, it is said to be proven now."""
    token.prove(Evidence(ProofKind.BOOK, since_ms, now, token.doubts), now)


@contextmanager
def no_hash_check() -> Iterator[None]:
    """Every announced hash counts as matched."""
    with patch.object(MarketHash, "prove", lambda *_: True):
        yield


@contextmanager
def no_proof_age() -> Iterator[None]:
    """A proof never gets old: neither reads nor timers look at its age."""

    def live(engine: Engine, asset_id: str, now: float, _max_proof_age: float | None = None) -> Any:
        token = engine.tokens[asset_id]
        if token.state is BookState.LIVE and token.proven.proof is not None:
            # As a script would: what I have is what there is.
            return engine._view(token, min(now, token.proven.proof.as_of))
        raise engine.refusal(asset_id, now)

    original = Token.__init__

    def init(token: Token, *args: Any) -> None:
        original(token, *args)
        token.config = evolve(token.config, max_proof_age=3600)

    with patch.object(Engine, "live", live), patch.object(Token, "__init__", init):
        yield


@contextmanager
def apply_before_snapshot() -> Iterator[None]:
    """A delta without a baseline starts a book of its own."""
    original = Token.delta

    def delta(token: Token, change: Any, order_ms: int, stated_ms: int, as_of: float, now: float, *rest: Any) -> Any:
        if not token.proven.loaded and token.state is not BookState.RETIRED:
            token.proven.load(OrderBook(), Evidence(ProofKind.BOOK, order_ms - 1, now, token.doubts))
            undo = original(token, change, order_ms, stated_ms, as_of, now, *rest)
            _claim(token, order_ms, now)
            return undo
        return original(token, change, order_ms, stated_ms, as_of, now, *rest)

    with patch.object(Token, "delta", delta):
        yield


@contextmanager
def resume_after_reconnect() -> Iterator[None]:
    """After a reconnect the old book goes on, as if nothing could have happened meanwhile."""
    original = Token.subscribed

    def subscribed(token: Token, now: float, asked_at: float) -> None:
        if token.proven.loaded:
            token.connected = True
            _claim(token, token.proven.last_ms, now)
        else:
            original(token, now, asked_at)

    with patch.object(Token, "disconnected", lambda *_: None), patch.object(Token, "subscribed", subscribed):
        yield


@contextmanager
def ignore_complement() -> Iterator[None]:
    """The two tokens of a market are never compared."""
    with patch.object(Market, "_check_complement", lambda *_, **__: None):
        yield


@contextmanager
def serve_the_tip() -> Iterator[None]:
    """Reads return the newest levels, proven or not."""
    with patch.object(Proven, "levels", lambda proven: proven.book.levels()):
        yield


@contextmanager
def trust_any_baseline() -> Iterator[None]:
    """A REST book is a proof whatever its age, and nothing that contradicts it matters."""

    def compare(resync: Resync, held: Any, now: float) -> bool:
        token = resync.token
        token.proven.book = held.book
        token.proven.generation += 1
        token.proven.restart(held.message.timestamp_ms)
        _claim(token, held.message.timestamp_ms, now)
        return True

    with patch.object(Resync, "_compare", compare):
        yield


@contextmanager
def never_give_up_a_doubt() -> Iterator[None]:
    """A SUSPECT book waits for ever for a proof that does not come."""
    on_time, next_due = Token.on_time, Token.next_due

    def later(token: Token, now: float) -> None:
        if token.state is not BookState.SUSPECT:
            on_time(token, now)

    def never(token: Token) -> float:
        return float("inf") if token.state is BookState.SUSPECT else next_due(token)

    with (
        patch.object(Token, "on_time", later),
        patch.object(Token, "next_due", never),
        patch.object(Resync, "_mismatch", lambda *_: None),
    ):
        yield


@contextmanager
def no_hash_grace() -> Iterator[None]:
    """A hash that does not fit is never held against the book."""
    with patch.object(Token, "disagrees", lambda *_: None), patch.object(Token, "hash_missed", lambda *_: None):
        yield


@contextmanager
def ignore_what_answers_end() -> Iterator[None]:
    """An answer that proves nothing says nothing: what it states is not noted as the end of what is older."""
    with patch.object(Resync, "_heard_of", lambda *_: None):
        yield


@contextmanager
def leave_the_second_token_untried() -> Iterator[None]:
    """The second token's own hash is tried every other second, not after the promised tenth of one."""
    with patch.object(mirrored, "TURN_SECONDS", 1.9), patch.object(images, "TURN_SECONDS", 1.9):
        yield


@contextmanager
def date_too_young() -> Iterator[None]:
    """What the clock's interval dates is 80 ms younger than it can be known to be."""

    def date(clock: VenueClock, at_ms: int, heard_at: float) -> float:
        return heard_at if clock.low is None else min(heard_at, (at_ms - clock.low) / 1000.0 + 0.08)

    with patch.object(VenueClock, "date", date):
        yield


MUTANTS: dict[str, tuple[Callable[[], Any], tuple[str, ...]]] = {
    "no_hash_check": (no_hash_check, ("lost_delta", "reordered_deltas")),
    "no_proof_age": (no_proof_age, ("frozen_token", "silent_socket")),
    "apply_before_snapshot": (apply_before_snapshot, ("lost_opening", "disconnect")),
    "resume_after_reconnect": (resume_after_reconnect, ("disconnect", "lost_opening", "refused_connection")),
    "ignore_complement": (ignore_complement, ("frozen_token",)),
    "serve_the_tip": (serve_the_tip, ("lost_delta",)),
    "trust_any_baseline": (trust_any_baseline, ("rest_stale", "lost_delta", "garbage_frame")),
    "never_give_up_a_doubt": (never_give_up_a_doubt, ("lost_delta",)),
    "no_hash_grace": (no_hash_grace, ("lost_delta",)),
    "ignore_what_answers_end": (
        ignore_what_answers_end,
        ("stale_opening", "silent_subscription", "lost_delta", "disconnect"),
    ),
    "leave_the_second_token_untried": (leave_the_second_token_untried, ("asymmetric_market",)),
    "date_too_young": (date_too_young, ("latency", "lost_delta", "disconnect")),
}
"""Each mutant, and faults among which it must be caught."""
