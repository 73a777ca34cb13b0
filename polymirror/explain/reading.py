"""A bundle gone through line by line: what each witness said about the books of the market, and whether it agreed.

:mod:`polymirror.explain.findings` draws the conclusions.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Final

from polymirror.explain.books import Hasher
from polymirror.explain.statements import Statement
from polymirror.explain.token import Token
from polymirror.explain.wire import Change, Note, Odd, Whole, read
from polymirror.journal.format import (
    Answered,
    Asked,
    Book,
    Closed,
    Connected,
    Header,
    Heard,
    Incident,
    Lost,
    Moved,
    Slept,
    Used,
    seconds_of,
    unpack,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from polymirror.explain.wire import Message
    from polymirror.journal.format import Body, Line

BATCH_SECONDS: Final = 0.02
"""A batch is over when nothing of its time came for so long."""

AHEAD_MS: Final = 1_500
"""A stamp so far ahead of all others was never true."""

CLOCK_SECONDS: Final = 1.0
"""How far the venue's clock may be off what the stamps of its messages say, beside its whole seconds."""

FEW: Final = 3
"""Changes from which on their delays tell what is usual."""

NOTED: Final = {"last_trade_price": "trade", "tick_size_change": "grid", "market_resolved": "end"}


class Reading:
    """Reads the lines of a bundle: give them to :meth:`run`."""

    def __init__(self, header: Header, incident: Incident) -> None:
        self.incident = incident
        # In the order of their lines, once all is read.
        self.statements: list[Statement] = []
        # Changes of state with the numbers of their lines, and the texts of frames by theirs.
        self.moves: list[tuple[int, Moved]] = []
        self.texts: dict[int, str] = {}
        # From when to when the bundle tells, in seconds on the mirror's clock.
        self.first_at: float = 0.0
        self.last_at: float = 0.0
        self._max_lag_ms = 1000 * float(dict(header.engine).get("max_apply_lag", 2.0))
        self._hasher = Hasher(incident.market)
        self._tokens = {token: Token(token, self._hasher, self.statements.append) for token in incident.tokens}
        self._batch: Statement | None = None
        self._tops: dict[str, tuple[str | None, str | None]] = {}
        self._asked: dict[int, float] = {}
        self._closed: set[tuple[int, int]] = set()
        self._hedge = header.hedge
        # How late changes are at least, in ms, but for a few odd ones.
        self._floor_ms: float | None = None

    def run(self, lines: Iterable[Line]) -> None:
        """Go through all lines, once."""
        kept = [line for line in lines if not isinstance(line, (Header, Incident))]
        times = [seconds_of(line.t) for line in kept if not isinstance(line, Used)]
        times.append(seconds_of(self.incident.until))
        self.first_at, self.last_at = min(times), max(times)
        delays = sorted(_delays(kept))
        self._floor_ms = delays[len(delays) // 10] if len(delays) >= FEW else None
        for line in kept:
            at = seconds_of(line.t)
            if self._batch is not None and at > self._batch.at + BATCH_SECONDS:
                self._end_batch()
            for token in self._tokens.values():
                token.pass_time(at)
            self._line(line, at)
        self._forget()
        self.statements.sort(key=lambda each: each.n)

    def _say(
        self, n: int, at: float, witness: str, token: str = "", detail: str = "", **more: bool | int | None
    ) -> None:
        self.statements.append(Statement(n, at, witness, token, detail=detail, **more))  # type: ignore[arg-type]

    # ---- Lines -------------------------------------------------------------------------------------

    def _line(self, line: Line, at: float) -> None:
        if isinstance(line, Heard):
            self._heard(line, at)
        elif isinstance(line, Moved):
            self.moves.append((line.n, line))
        elif isinstance(line, Answered):
            self._answered(line, at)
        elif isinstance(line, (Connected, Closed)):
            self._connection(line, at)
        else:
            self._other(line, at)

    def _other(self, line: Line, at: float) -> None:
        match line:
            case Asked(what="books", request=request):
                self._asked[request] = at
            case Book(data=data):
                for message in read(data):
                    if isinstance(message, Whole) and message.token in self._tokens:
                        self._tokens[message.token].begin(message, at)
            case Used(what="track", constants=constants) if constants is not None:
                self._hasher.min_size, self._hasher.tick, self._hasher.neg_risk = constants
            case Lost(n=n, why=why):
                self._forget()
                self._say(n, at, "gap", detail=why)
            case Slept(n=n, seconds=seconds):
                self._say(n, at, "sleep", detail=f"{seconds:.1f} s", agrees=False)
            case _:
                pass

    def _connection(self, line: Connected | Closed, at: float) -> None:
        where = (line.socket, line.lane)
        if isinstance(line, Connected):
            self._closed.discard(where)
            self._say(line.n, at, "opened")
        elif line.what == "overflow":
            self._say(line.n, at, "overflow", detail="frames were dropped: too many waited", agrees=False)
        elif line.what == "unreachable":
            self._say(line.n, at, "unreachable", detail=line.why)
        else:
            self._closed.add(where)
            if sum(socket == line.socket for socket, _ in self._closed) >= self._hedge:
                self._say(line.n, at, "closed", detail=line.why)
                self._forget()

    def _forget(self) -> None:
        self._end_batch()
        for token in self._tokens.values():
            token.forget()

    def _answered(self, line: Answered, at: float) -> None:
        if line.what == "time":
            self._check_time(line, at)
        if line.what not in {"books", "books_failed"}:
            return
        asked, found = self._asked.pop(line.request, at), set[str]()
        for message in (each for body in line.bodies for each in read(_text(body))):
            if isinstance(message, Odd):
                self._say(line.n, at, "no answer", detail=message.why)
            elif isinstance(message, Whole) and message.token in self._tokens and message.token not in found:
                found.add(message.token)
                self._tokens[message.token].take_whole(message, line.n, at, "rest", asked)
        if line.what == "books_failed" or line.failed:
            self._say(line.n, at, "no answer", detail=line.why)
        elif not found:
            self._say(line.n, at, "no answer", detail="REST answered without these books")

    def _check_time(self, line: Answered, at: float) -> None:
        """Hold the venue's clock, which has whole seconds, against the stamps of its messages."""
        if self._floor_ms is not None:
            off = (1000 * line.seconds + 500 - line.w / 1e6 + self._floor_ms) / 1000
            agrees = abs(off) < CLOCK_SECONDS
            detail = "" if agrees else f"{abs(off):.1f} s {'ahead of' if off > 0 else 'behind'} the stamps of messages"
            self._say(line.n, at, "time", detail=detail, agrees=agrees)

    # ---- Frames ------------------------------------------------------------------------------------

    def _heard(self, line: Heard, at: float) -> None:
        text = self.texts[line.n] = _text(line)
        for message in read(text):
            self._message(message, line, at)

    def _message(self, message: Message, line: Heard, at: float) -> None:
        n, market = line.n, self.incident.market
        if isinstance(message, Odd):
            self._say(n, at, "unreadable", detail=message.why, agrees=False)
        elif message.market != market:
            return
        elif isinstance(message, Change):
            self._change(message, line, at)
        elif isinstance(message, Whole):
            if message.token in self._tokens:
                self._tokens[message.token].take_whole(message, n, at, "book", at)
        else:
            self._note(message, n, at)

    def _note(self, message: Note, n: int, at: float) -> None:
        self._say(n, at, NOTED[message.kind], detail=message.value, at_ms=message.at_ms)
        if message.kind == "last_trade_price":
            self._hasher.note_trade(message.value)

    def _change(self, message: Change, line: Heard, at: float) -> None:
        n, at_ms = line.n, message.at_ms
        order_ms = self._check_stamp(line, at_ms, at)
        if self._batch is None or self._batch.at_ms != at_ms:
            self._end_batch()
        self._batch = Statement(n, at, "batch", "", at_ms=at_ms)
        hashes: dict[str, str] = {}
        for entry in message.entries:
            token = self._tokens.get(entry.token)
            if token is not None:
                # A change of the past has the hash of the past.
                newest = token.apply(at, order_ms, entry)
                hashes[entry.token] = entry.hash if newest else ""
                if newest:
                    self._tops[entry.token] = (entry.best_bid, entry.best_ask)
        for name, stated in hashes.items():
            self._say(n, at, "change", name, at_ms=at_ms)
            if stated:
                self._tokens[name].take_hash(n, at, at_ms, stated)
            else:
                self._tokens[name].try_overtaken()

    def _check_stamp(self, line: Heard, at_ms: int, at: float) -> int:
        """Hold a stamp against the time of day; return what is to order the change."""
        over = 0.0 if self._floor_ms is None else line.w / 1e6 - at_ms - self._floor_ms
        if over > self._max_lag_ms:
            waited = 0.0 if line.read is None else seconds_of(line.t) - seconds_of(line.read)
            own = f", {waited:.1f} s of it in this program" if 1000 * waited > over / 4 else ""
            self._say(line.n, at, "late", detail=f"{over / 1000:.1f} s late{own}", agrees=False, at_ms=at_ms)
        if over >= -AHEAD_MS:
            return at_ms
        self._say(line.n, at, "stamp", detail=f"{-over / 1000:.1f} s ahead", agrees=False, at_ms=at_ms)
        return max((each.track.at_ms for each in self._tokens.values() if each.track is not None), default=at_ms)

    def _end_batch(self) -> None:
        """Hold both books against the tops that the batch states, and against each other."""
        batch, self._batch = self._batch, None
        if batch is None:
            return
        n, at, at_ms = batch.n, batch.at, batch.at_ms
        for name, stated in self._tops.items():
            track = self._tokens[name].track
            if track is not None and any(stated):
                best = track.book.top()
                agrees = best == (Decimal(stated[0] or 0), Decimal(stated[1] or 1))
                said = f"it states {stated[0] or '-'} / {stated[1] or '-'}, the book has {best[0]} / {best[1]}"
                self._say(n, at, "top", name, "" if agrees else said, agrees=agrees, at_ms=at_ms)
                if best[0] >= best[1]:
                    self._say(n, at, "crossed", name, f"bid {best[0]}, ask {best[1]}", agrees=False, at_ms=at_ms)
        tracks = [each.track for each in self._tokens.values() if each.track is not None]
        if len(tracks) == len(self._tokens) == 2:  # noqa: PLR2004 - a pair
            agrees = not tracks[0].book.differences(tracks[1].book.mirrored())
            for name in self._tokens:
                said = "" if agrees or name in self._tops else "the message is about its twin alone"
                self._say(n, at, "mirror", name, said, agrees=agrees, at_ms=at_ms)
        self._tops.clear()


def _text(source: Heard | Body) -> str:
    text, form = (source.data, source.form) if isinstance(source, Heard) else (source.text, source.form)
    data = unpack(text, "" if form == "made" else form)
    return data if isinstance(data, str) else data.decode(errors="replace")


def _delays(lines: Iterable[Line]) -> Iterable[float]:
    """Yield how late each change was heard, by the two clocks as they are, in ms."""
    for line in lines:
        if isinstance(line, Heard) and line.data.startswith("{"):
            yield from (line.w / 1e6 - each.at_ms for each in read(_text(line)) if isinstance(each, Change))
