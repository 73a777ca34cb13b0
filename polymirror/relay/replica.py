"""A consumer's books, whichever of its relays tells them: the reads, and what is told of them. Pure.

Each book is read from the relay that has it proven the younger. Two relays that state different books for the same
time of the venue cannot both be right, and nobody here knows which is: then the book is in doubt with both, until they
say the same. Times are this host's clock in seconds.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from itertools import combinations
from typing import TYPE_CHECKING, Final, NamedTuple

from attrs import Factory, define, frozen

from polymirror.config import check_age
from polymirror.core.events import Transition
from polymirror.core.fees import FeeSchedule
from polymirror.core.proofs import Proof, ProofKind
from polymirror.core.states import LEGAL_TRANSITIONS, BookState, Reason
from polymirror.core.top import Top
from polymirror.core.view import BookView
from polymirror.errors import NotLive, UnknownToken
from polymirror.relay.link import Standing

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from polymirror.relay.copy import Copy
    from polymirror.relay.link import Link
    from polymirror.relay.wire import Fee

OVERLAP_MS: Final = 2_000
"""Two books contradict each other once they were both stated for so long: REST was seen 1.1 s behind."""

CALM: Final = 10.0
"""Seconds after which a disagreement is over with a relay that is not believed any more."""

TICK: Final = 0.1
"""Seconds after which all books are looked at again: silence changes them, too."""

_KINDS: Final = {kind.value: kind for kind in ProofKind}


@frozen
class Disagreement:
    """Two relays stated different books of a token for the same time. ``at`` is when that was noticed."""

    token: str
    at: float
    relays: tuple[str, str]
    digests: tuple[str, str]
    overlap_ms: int
    """For how long both were stated, in ms of the venue's time."""


class Claim(NamedTuple):
    """A LIVE copy, whose it is, and the latest moment for which it is proven for certain."""

    number: int
    link: Link
    copy: Copy
    as_of: float

    @property
    def trust(self) -> tuple[object, ...]:
        """Equal for two claims of one relay if its book was never in doubt between them."""
        copy, told = self.copy, self.copy.told
        return (self.number, self.link.relay, copy.generation, copy.lapses, None if told is None else told.doubts)

    @property
    def lineage(self) -> tuple[object, ...]:
        """Equal for two claims of one relay if their levels connect."""
        told = self.copy.told
        return (self.number, self.link.relay, self.copy.generation, None if told is None else told.epoch)


@define
class _Book:
    """What is known of one token beside what its relays tell."""

    state: BookState = BookState.UNPRIMED
    reason: Reason = Reason.TRACKED
    epoch: int = 0
    doubts: int = 0
    refused: int = 0
    # What was LIVE at the last look, and what its levels connect to.
    trusted: frozenset[tuple[object, ...]] = frozenset()
    lineages: frozenset[tuple[object, ...]] = frozenset()
    # Relays that contradict each other, by their numbers, and when both were last believed.
    disagree: dict[tuple[int, int], float] = Factory(dict)


class Replica:
    """The books that some relays tell. ``max_proof_age`` (seconds) bounds every read, as in a mirror."""

    def __init__(self, links: Sequence[Link], max_proof_age: float) -> None:
        self.links: tuple[Link, ...] = tuple(links)
        self._max_proof_age = max_proof_age
        self._books: dict[str, _Book] = {}
        self._transitions: list[Transition] = []
        self._disagreements: list[Disagreement] = []
        self._dirty: dict[str, None] = {}
        self._ticked = float("-inf")

    # ---- What is followed --------------------------------------------------------------------------

    @property
    def asset_ids(self) -> tuple[str, ...]:
        """All tokens that are followed, in the order in which they were named."""
        return tuple(self._books)

    def want(self, tokens: Iterable[str], now: float) -> None:
        """Follow these tokens, from every relay."""
        tokens = list(tokens)
        for token in tokens:
            self._books.setdefault(token, _Book())
        for link in self.links:
            link.want(tokens, now)

    def drop(self, tokens: Iterable[str]) -> None:
        """Follow these no more."""
        tokens = list(tokens)
        for token in tokens:
            self._books.pop(token, None)
            self._dirty.pop(token, None)
        for link in self.links:
            link.drop(tokens)

    # ---- What happens ------------------------------------------------------------------------------

    def received(self, link: Link, data: bytes, now: float) -> None:
        """Take a frame of a relay."""
        if now - self._ticked > TICK:
            # What was silent for too long meanwhile was so, whatever comes now.
            self.tick(now)
        link.received(data, now)
        self.look(now)

    def look(self, now: float) -> None:
        """Look at the books about which a relay has said something, or with which something was done."""
        for token in dict.fromkeys(token for link in self.links for token in link.touched()):
            if token in self._books:
                self._dirty[token] = None
                self._look_at(token, now)

    def tick(self, now: float) -> None:
        """Look at all books: call it every :data:`TICK` seconds."""
        self._ticked = now
        self.look(now)
        for token in self._books:
            self._look_at(token, now)

    def stepped(self, now: float) -> None:
        """This host's own clock is another one from ``now`` on: nothing that was dated by the old one is believed."""
        for link in self.links:
            link.stepped(now)
        for book in self._books.values():
            book.disagree = dict.fromkeys(book.disagree, now)
        # The doubt is counted, however soon the relays answer.
        self.tick(now)

    def events(self) -> list[Transition]:
        """Drain the changes of states, in order."""
        drained, self._transitions = self._transitions, []
        return drained

    def listen(self, *, wanted: bool) -> None:
        """Do nothing: relays tell books, and nothing that the venue announces beside them."""

    def disagreements(self) -> list[Disagreement]:
        """Drain the disagreements that began."""
        drained, self._disagreements = self._disagreements, []
        return drained

    def dirty(self) -> tuple[str, ...]:
        """Drain the tokens whose readable view, or state, may have changed."""
        drained = tuple(self._dirty)
        self._dirty.clear()
        return drained

    def _look_at(self, token: str, now: float) -> None:
        book, claims = self._books[token], self._claims(token, now)
        if len(self.links) > 1:
            self._compare(token, book, claims, now)
        if book.disagree:
            claims = []
        if claims:
            trusted = frozenset(claim.trust for claim in claims)
            lineages = frozenset(claim.lineage for claim in claims)
            if book.state is BookState.LIVE and not trusted & book.trusted:
                # It left LIVE and came back between two looks.
                told = claims[0].copy.reason or Reason.DISCONNECT
                self._move(token, book, Standing(BookState.SUSPECT, told, "it was in doubt meanwhile"), now)
            if not lineages & book.lineages:
                book.epoch += 1
            book.trusted, book.lineages = trusted, lineages
        self._move(token, book, self._standing(token, book, claims, now), now)

    def _move(self, token: str, book: _Book, found: Standing, now: float) -> None:
        """Tell how a book came to a state, by steps that are legal: relays do not tell of each."""
        for state in _way(book.state, found.state):
            book.doubts += book.state is BookState.LIVE
            age = self._age(token, now)
            move = Transition(token, now, book.state, state, found.reason, book.epoch, found.why, age)
            self._transitions.append(move)
            book.state = state
            self._dirty[token] = None
        book.reason = found.reason

    # ---- What is believed --------------------------------------------------------------------------

    def _claims(self, token: str, now: float) -> list[Claim]:
        """Return the copies that may be believed, the youngest first."""
        found = []
        for number, link in enumerate(self.links):
            copy, as_of = link.copy(token), link.as_of(token, now)
            if copy is not None and as_of is not None and link.standing(token, now).state is BookState.LIVE:
                found.append(Claim(number, link, copy, as_of))
        if len(found) > 1:
            found.sort(key=lambda claim: -claim.as_of)
        return found

    def _compare(self, token: str, book: _Book, claims: list[Claim], now: float) -> None:
        """Notice relays that contradict each other, and that they do so no more."""
        for one, other in combinations(sorted(claims, key=lambda claim: claim.number), 2):
            pair = (one.number, other.number)
            if one.copy.digest == other.copy.digest:
                book.disagree.pop(pair, None)
            elif pair in book.disagree:
                book.disagree[pair] = now
            elif (overlap := _overlap_ms(one.copy, other.copy)) > OVERLAP_MS:
                if not book.disagree:
                    relays, digests = (one.link.name, other.link.name), (one.copy.digest, other.copy.digest)
                    self._disagreements.append(Disagreement(token, now, relays, digests, overlap))
                book.disagree[pair] = now
        for pair in [pair for pair, at in book.disagree.items() if now - at > CALM]:
            del book.disagree[pair]

    def _standing(self, token: str, book: _Book, claims: list[Claim], now: float) -> Standing:
        if book.disagree:
            return Standing(BookState.SUSPECT, Reason.DISAGREEMENT, "two relays state different books for one time")
        if claims:
            return Standing(BookState.LIVE, Reason.PROVEN)
        found = [(link.standing(token, now), link.is_open) for link in self.links]
        # What comes nearest to a book that can be read; RETIRED needs nobody else, unless who said so is gone.
        order = (BookState.SUSPECT, BookState.RESYNCING, BookState.RETIRED, BookState.UNPRIMED)
        retired = next((each for each, is_open in found if is_open and each.state is BookState.RETIRED), None)
        best = retired or min((each for each, _ in found), key=lambda standing: order.index(standing.state))
        if best.state is BookState.UNPRIMED and book.state is not BookState.UNPRIMED:
            # It was known before: a relay that begins anew knows less than we did.
            state = BookState.SUSPECT if book.state is BookState.LIVE else book.state
            return Standing(state, Reason.DISCONNECT, best.why)
        return best

    def _age(self, token: str, now: float) -> float | None:
        known = [at for link in self.links if (at := link.as_of(token, now)) is not None]
        return max(0.0, now - max(known)) if known else None

    # ---- Reads -------------------------------------------------------------------------------------

    def live(self, token: str, now: float, max_proof_age: float | None = None) -> BookView:
        """Return the newest proven state of a LIVE book, to trade on. Raises as :meth:`polymirror.Mirror.live` does."""
        claim = self._readable(token, now, max_proof_age)
        return self._view(self._books[token], BookState.LIVE, Reason.PROVEN, claim.link, claim.copy, claim.as_of, now)

    def top(self, token: str, now: float, max_proof_age: float | None = None) -> Top:
        """Return the best levels of a LIVE book: granted exactly when :meth:`live` is."""
        claim = self._readable(token, now, max_proof_age)
        book, copy = self._books[token], claim.copy
        bid_keys, bid_sizes, ask_keys, ask_sizes = copy.levels
        return Top(
            token, book.epoch, book.doubts, self._settled(copy, now), copy.exchange_ms, now, claim.as_of,
            bid_keys[-1] if bid_keys else 0, bid_sizes[-1] if bid_keys else 0,
            ask_keys[-1] if ask_keys else 0, ask_sizes[-1] if ask_keys else 0,
        )  # fmt: skip

    def peek(self, token: str, now: float) -> BookView:
        """Return the newest copy whatever the state, for display and diagnosis. Never for execution.

        Raises UnknownToken, and NotLive while no relay has told anything of it.
        """
        book = self._book(token)
        claims = self._claims(token, now)
        known = [(link, copy) for link in self.links if (copy := link.copy(token)) is not None]
        if not known:
            raise self.refusal(token, now)
        link, copy = (claims[0].link, claims[0].copy) if claims else max(known, key=lambda each: each[1].exchange_ms)
        standing = self._standing(token, book, claims, now)
        return self._view(book, standing.state, standing.reason, link, copy, link.as_of(token, now), now)

    def refusal(self, token: str, now: float, limit: float | None = None) -> NotLive:
        """Return the error that says why a book may not be read."""
        book = self._book(token)
        claims = [] if book.disagree else self._claims(token, now)
        state, reason, why = self._standing(token, book, claims, now)
        if state is BookState.LIVE:
            reason = Reason.STALE
            if not any(claim.link.is_readable(token, now) for claim in claims):
                why = "the relay itself would not read it any more, for all that it has said"
        return NotLive(token, state, reason, self._age(token, now), book.epoch, limit, why)

    def standing(self, token: str) -> tuple[BookState, Reason, int] | None:
        """Return state, reason and epoch as of the last look; None for a token that is not followed."""
        book = self._books.get(token)
        return None if book is None else (book.state, book.reason, book.epoch)

    def refused(self, token: str) -> int:
        """How many reads of a book were refused."""
        return self._book(token).refused

    def is_settled(self, token: str, now: float) -> bool:
        """Whether a book may be read, and nothing newer is known of it than what is proven."""
        book = self._book(token)
        claims = [] if book.disagree else self._claims(token, now)
        readable = next((claim for claim in claims if claim.link.is_readable(token, now)), None)
        return readable is not None and self._settled(readable.copy, now)

    def _readable(self, token: str, now: float, max_proof_age: float | None) -> Claim:
        """Return the copy that may be read for execution: the one check that every such read passes."""
        book, limit = self._book(token), self._max_proof_age
        if max_proof_age is not None:
            check_age("max_proof_age", max_proof_age)
            limit = min(limit, max_proof_age)
        if not book.disagree:
            for claim in self._claims(token, now):
                if now - claim.as_of <= limit and claim.link.is_readable(token, now):
                    return claim
        book.refused += 1
        raise self.refusal(token, now, limit)

    def _book(self, token: str) -> _Book:
        try:
            book = self._books.get(token)
        except TypeError:
            book = None
        if book is None:
            raise UnknownToken(token)
        return book

    def _settled(self, copy: Copy, now: float) -> bool:
        """Whether nothing newer is known, to this relay or to another."""
        if copy.told is None or not copy.told.settled:
            return False
        return len(self.links) == 1 or not any(_knows_more(link, copy, now) for link in self.links)

    def _view(
        self, book: _Book, state: BookState, reason: Reason, link: Link, copy: Copy, as_of: float | None, now: float
    ) -> BookView:
        told, whole, proof = copy.told, copy.book, copy.proof
        assert told is not None and whole is not None and proof is not None  # noqa: S101, PT018 - it was told
        kind = None if proof.proof is None else _KINDS.get(proof.proof)
        width = link.offset.width(now)
        uncertainty = None if told.clock_uncertainty is None or width is None else told.clock_uncertainty + width
        return BookView(
            copy.token, whole.market, state, reason, book.epoch, book.doubts, self._settled(copy, now),
            told.exchange_ms, told.apply_lag, uncertainty, now, as_of,
            None if kind is None or as_of is None else Proof(kind, as_of, book.epoch),
            told.tick, copy.levels, _fee(whole.fee),
        )  # fmt: skip


def _way(old: BookState, new: BookState) -> tuple[BookState, ...]:
    """Return the states on the way from one to another, as :data:`~polymirror.core.states.LEGAL_TRANSITIONS` has it."""
    if new is BookState.SUSPECT and old is not BookState.LIVE:
        # There is no trust to lose.
        new = old if old is BookState.SUSPECT else BookState.RESYNCING
    if new is old:
        return ()
    if new in LEGAL_TRANSITIONS[old]:
        return (new,)
    return (BookState.SUSPECT if old is BookState.LIVE else BookState.RESYNCING, new)


def _knows_more(link: Link, copy: Copy, now: float) -> bool:
    """Whether a relay has told of something that a copy, of another relay perhaps, does not show."""
    token = copy.token
    if link.known_ms(token) > copy.exchange_ms:
        return True
    other = link.copy(token)
    if other is None or other is copy or other.told is None or other.told.settled:
        return False
    return other.exchange_ms == copy.exchange_ms and link.standing(token, now).state is BookState.LIVE


def _overlap_ms(one: Copy, other: Copy) -> int:
    """Return for how long two copies were both stated, in ms of the venue's time; below 0: they were not."""
    if one.proof is None or other.proof is None:
        return -1
    return min(one.proof.as_of_ms, other.proof.as_of_ms) - max(one.exchange_ms, other.exchange_ms)


def _fee(fee: Fee | None) -> FeeSchedule | None:
    if fee is None:
        return None
    try:
        return FeeSchedule(Decimal(fee.rate), fee.exponent, fee.taker_only, Decimal(fee.rebate_rate))
    except InvalidOperation:
        # As terms that are not known: nothing is computed with them.
        return None
