"""The way between the plain venue and the engine, with everything that befalls messages and answers on it."""

from __future__ import annotations

import json
from collections import deque
from random import Random
from typing import TYPE_CHECKING, Any

from attrs import Factory, define

from tests.plain.driver import Driver
from tests.plain.judge import Answer, Parcel

if TYPE_CHECKING:
    from tests.plain.venue import Message, PlainMarket


@define
class Lag:
    """The way of one market's messages gets longer and shorter again."""

    begin: float
    length: float
    height: float

    def at(self, now: float) -> float:
        part = (now - self.begin) / self.length
        return max(0.0, self.height * (1 - abs(2 * part - 1))) if 0 <= part <= 1 else 0.0


@define
class Seen:
    """The books of one market as they were at a time."""

    at: float
    rest: dict[str, Message]
    opening: dict[str, Message]
    whole: dict[str, Message]
    about: dict[str, int]


@define
class Weather:
    """What befalls the messages of one market."""

    fates: deque[tuple[str, int]] = Factory(deque)
    lag: Lag | None = None
    arrives: float = 0.0
    seen: deque[Seen] = Factory(lambda: deque(maxlen=240))


class Way(Driver):
    """A driver whose messages, openings and answers are lost, delayed, repeated and spoiled, as its fields say."""

    def __init__(self, *markets: PlainMarket, seed: int, jitter: float, **options: Any) -> None:
        super().__init__(*markets, seed=seed, **options)
        self.jitter = jitter
        self.weather = {market.market: Weather() for market in markets}
        # What befalls them on the second connection of a hedged socket.
        self.second = {market.market: Weather() for market in markets}
        # What befalls REST's answers until when; and the books that a cache has.
        self.rest_mode, self.rest_until, self.cached = "", 0.0, {}
        # What befalls the next openings.
        self.opening_modes: deque[str] = deque()
        self.net = Random(f"network:{seed}")
        self.on_stream = lambda parcel: [parcel]
        self.on_rest, self.on_opening = self.rest_answer, self.opening_answer

    def about(self, message: Message, market: PlainMarket) -> dict[str, int]:
        """Which states a message tells of: the newest ones, of the tokens that it names."""
        kind = message["event_type"]
        if kind == "price_change":
            named = [entry["asset_id"] for entry in message["price_changes"]]
        else:
            named = [message["asset_id"]] if kind == "book" else []
        return {token: len(market.truth[token].states) - 1 for token in named}

    def emit(self, market: PlainMarket, message: Message, *, future: bool = False) -> None:
        """Send a message of a market through its weather, on each lane."""
        self.emit_on(None if self.hedge == 1 else 0, self.weather[market.market], market, message, future=future)
        if self.hedge > 1:
            self.emit_on(1, self.second[market.market], market, message, future=future)

    def emit_on(
        self, lane: int | None, weather: Weather, market: PlainMarket, message: Message, *, future: bool
    ) -> None:
        fate, own = weather.fates.popleft() if weather.fates else ("", 0)
        rng = Random(own or self.now + (lane or 0))
        if fate in ("lost entry", "wrong hash", "no hash"):
            message = self.spoiled(message, fate, rng)
        if fate == "lost" or message is None:
            return
        parcel = Parcel(json.dumps(message), self.about(message, market), self.now, future=future)
        if fate == "cut":
            parcel = parcel.text[: rng.randrange(1, len(parcel.text))]
        way = self.delay + rng.random() * self.jitter + (weather.lag.at(self.now) if weather.lag else 0.0)
        if fate in ("late", "reordered"):
            way += rng.uniform(0.05, 3.0) if fate == "late" else rng.uniform(0.001, 0.03)
        else:
            weather.arrives = max(weather.arrives, self.now + way)
            way = weather.arrives - self.now
        self.send((way, parcel), lane)
        if fate == "duplicate":
            self.send((way + rng.uniform(0.0, 0.12), parcel), lane)

    def spoiled(self, message: Message, fate: str, rng: Random) -> Message | None:
        if message["event_type"] != "price_change":
            return None if fate == "lost entry" else message | ({"hash": ""} if fate == "no hash" else {})
        entries = [dict(entry) for entry in message["price_changes"]]
        if fate == "lost entry":
            entries.pop(rng.randrange(len(entries)))
        for entry in entries:
            if fate == "no hash" or (fate == "wrong hash" and rng.random() < 0.7):
                entry["hash"] = f"{rng.getrandbits(160):040x}" if fate == "wrong hash" else ""
        return message | {"price_changes": entries}

    def capture(self) -> None:
        """Keep the books as they are, for who is to see them later."""
        for market in self.markets:
            weather = self.weather[market.market]
            about = {token: len(truth.states) - 1 for token, truth in market.truth.items()}
            if not weather.seen or weather.seen[-1].about != about:
                rest = {token: market.rest(token) for token in market.tokens}
                opening = {token: market.book(token, opening=True) for token in market.tokens}
                whole = {token: market.book(token) for token in market.tokens}
                weather.seen.append(Seen(self.now, rest, opening, whole, about))

    def opening_answer(self, messages: list[Message]) -> list[tuple[float, Any]]:
        mode = self.opening_modes.popleft() if self.opening_modes else ""
        if mode == "opening lost":
            return []
        books, about = [], {}
        for number, message in enumerate(messages):
            token = message["asset_id"]
            market = self.market_of[token]
            seen = self.weather[market.market].seen
            if mode and seen and (mode == "opening stale" or number % 2):
                old = self.net.choice(seen)
                books.append(old.opening[token])
                about[token] = old.about[token]
            else:
                books.append(message)
                about[token] = len(market.truth[token].states) - 1
        asked = self.now - self.opening_delay
        return [(self.delay, Parcel(json.dumps(books), about, self.now, asked=asked))]

    def rest_answer(self, ids: tuple[str, ...], books: list[Message]) -> list[tuple[float, Any]]:
        mode = self.rest_mode if self.now < self.rest_until else ""
        wait = self.rest_delay
        if mode == "rest fails":
            return [(wait, None)]
        if mode == "rest silent":
            return []
        if mode == "rest slow":
            wait += self.net.uniform(0.3, 4.0)
        answer = Answer()
        answer.about, answer.asked, answer.future = {}, self.now - self.rest_delay, False
        for book in books:
            token = book["asset_id"]
            market = self.market_of[token]
            old = self.cached.get(market.market) if mode == "rest cached" else None
            if mode == "rest behind":
                behind = self.now - self.net.uniform(0.0, 1.1)
                old = next((seen for seen in reversed(self.weather[market.market].seen) if seen.at <= behind), None)
                if old is not None and self.truth(token).states[old.about[token]] != self.truth(token).at(behind):
                    # What was kept is older still: too far behind.
                    old = None
            if mode == "rest missing" and self.net.random() < 0.7:
                continue
            if mode == "rest altered" and self.net.random() < 0.8:
                answer.append(self.altered(book))
                continue
            answer.append(book if old is None else old.rest[token])
            answer.about[token] = len(self.truth(token).states) - 1 if old is None else old.about[token]
        return [(wait, answer)]

    def altered(self, book: Message) -> Message:
        """Alter a book, and keep the venue's hash."""
        how, side = self.net.choice(["cut", "size", "tick", "stamp"]), self.net.choice(["bids", "asks"])
        if how == "cut":
            return book | {side: book[side][1:]}
        if how == "size":
            return book | {side: [level | {"size": level["size"] + "7"} for level in book[side]]}
        if how == "tick":
            return book | {"tick_size": "0.0001", side: book[side][:-1]}
        return book | {"timestamp": str(int(book["timestamp"]) + 1000), side: book[side][:-1]}
