"""The example of a consumer in Node: it keeps a book that is proven by its digest, and refuses what is not.

It runs over real sockets, and behind a real nats-server; what comes to it is doctored where it leaves the relay.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from polymirror import Mirror
from polymirror.relay import publisher
from polymirror.relay.digest import digest_of, side_text
from polymirror.relay.link import SILENCE
from polymirror.simulator import Simulator
from tests.clients.venue import NODE, QUIET, need_npm, run_program
from tests.loopback import PATIENCE
from tests.relay.broker.server import with_nats
from tests.relay.desk import WAYS, desk_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tests.relay.desk import Desk

pytestmark = pytest.mark.anyio
need_npm("ws")
need_npm("@nats-io/transport-node")

EXAMPLES = Path(__file__).parents[2] / "examples"
BOOK, READER = "relay_book.mjs", "relay_reader.mjs"


class Known:
    """The digests that a mirror's book had."""

    def __init__(self, mirror: Mirror) -> None:
        self.token = mirror.tokens[0]
        self.digests: set[str] = set()
        self._mirror = mirror
        self._note(None)
        mirror.on_update(self._note, self.token)

    def _note(self, _: object) -> None:
        view = self._mirror.peek(self.token)
        texts = [side_text((level.price_e4, level.size_e6) for level in side) for side in (view.bids, view.asks)]
        self.digests.add(digest_of(self.token, *texts))


class Reader:
    """The program, as somebody who reads what it prints."""

    def __init__(self, program: asyncio.subprocess.Process, desk: Desk, known: Known) -> None:
        self.desk = desk
        self._program = program
        self._known = known

    async def _line(self) -> Any:
        assert self._program.stdout is not None
        line = await self._program.stdout.readline()
        assert line, "the reader has ended"
        return json.loads(line)

    async def granted(self, count: int = 1) -> list[dict[str, Any]]:
        """Wait for reads that are granted, each of a state that the mirror had, and return them."""
        reads: list[dict[str, Any]] = []
        async with asyncio.timeout(PATIENCE):
            while len(reads) < count:
                told = await self._line()
                if isinstance(told, dict):
                    assert told["digest"] in self._known.digests
                    reads.append(told)
        return reads

    async def refused(self, why: str, *, times: int = 1) -> None:
        """Wait until reads are refused with these words. If more than once: and none is granted between."""
        seen: list[Any] = []
        found = 0
        try:
            async with asyncio.timeout(PATIENCE):
                while found < times:
                    seen.append(await self._line())
                    found += why in seen[-1]
                    assert not found or isinstance(seen[-1], str), f"granted: {seen[-1]}"
        except TimeoutError:
            raise AssertionError(f"it was not refused with {why!r}, but told {seen[-5:]}") from None

    def signal(self, number: int) -> None:
        self._program.send_signal(number)


@asynccontextmanager
async def reading(way: str, folder: Path, rate: float = 20) -> AsyncIterator[Reader]:
    """A venue, a mirror, its relay, and the program that reads there."""
    # It looks for its packages where it lies.
    for name in (BOOK, READER):
        shutil.copy(EXAMPLES / name, folder)
    (folder / "node_modules").symlink_to(NODE / "node_modules")
    async with (
        Simulator(seed=7, rate=rate) as venue,
        Mirror.for_slug(venue.slugs[0], endpoints=venue.endpoints) as mirror,
        desk_of(mirror, way, folder) as desk,
    ):
        await mirror.wait_live(timeout=PATIENCE)
        known = Known(mirror)
        url = desk.relay.url if way == "broker" else f"{desk.relay.url.replace('http', 'ws')}/stream"
        program = await asyncio.create_subprocess_exec(
            "node", str(folder / READER), url, known.token, stdout=asyncio.subprocess.PIPE,
            env={"PATH": os.environ["PATH"]},
        )  # fmt: skip
        try:
            yield Reader(program, desk, known)
        finally:
            program.kill()
            await program.communicate()


def test_it_is_read_in_a_few_minutes() -> None:
    lines = {name: (EXAMPLES / name).read_text(encoding="utf-8").splitlines() for name in (BOOK, READER)}
    assert {name: len(found) <= most for (name, found), most in zip(lines.items(), (150, 80), strict=True)} == {
        BOOK: True, READER: True
    }  # fmt: skip
    assert max(len(line) for found in lines.values() for line in found) <= 120


@pytest.mark.parametrize("way", WAYS)
async def test_it_keeps_a_proven_book_through_the_end_of_a_relay_and_the_next_one(way: str, tmp_path: Path) -> None:
    async with reading(way, tmp_path) as reader:
        reads = await reader.granted(4)
        assert all(0 <= read["age"] <= 5 for read in reads)
        assert len({read["seq"] for read in reads}) > 1
        await reader.desk.relay.stop()
        await reader.refused("no relay of that name" if way == "broker" else "not connected", times=3)
        await reader.desk.serve()
        await reader.granted(2)


# ---- What comes is not what the relay told --------------------------------------------------------------


def items(change: Callable[[dict[str, Any], float], dict[str, Any] | None], *kinds: str) -> Callable[..., bytes]:
    """Make something else of each item of these kinds; None: it is lost."""

    def doctor(frame: dict[str, Any]) -> bytes:
        found = [change(item, frame["sent"]) if item["is"] in kinds else item for item in frame["items"]]
        return json.dumps({**frame, "items": [item for item in found if item is not None]}).encode()

    return doctor


def without(item: dict[str, Any], field: str) -> dict[str, Any]:
    return {name: value for name, value in item.items() if name != field}


def resized(item: dict[str, Any], _: float) -> dict[str, Any]:
    return {**item, "bids": [[price, size and size + 1] for price, size in item["bids"]],
            "asks": [[price, size and size + 1] for price, size in item["asks"]]}  # fmt: skip


def clock(ahead: float) -> Callable[..., bytes]:
    def doctor(frame: dict[str, Any]) -> bytes:
        told = [
            {key: value + ahead if key in {"as_of", "until"} else value for key, value in item.items()}
            for item in frame["items"]
        ]
        return json.dumps({**frame, "sent": frame["sent"] + ahead, "items": told}).encode()

    return doctor


TOLD = ("book", "change")
ALL = (*TOLD, "beat")


def as_beat(item: dict[str, Any], _: float) -> dict[str, Any]:
    return {"is": "beat", **{name: item[name] for name in ("token", "seq", "as_of", "as_of_ms", "until", "proof")}}


def some_are_lost(item: dict[str, Any], _: float) -> dict[str, Any] | None:
    """Some changes do not come, and no whole book, and no beat that would tell of them."""
    return item if item["is"] == "change" and item["seq"] % 3 else None


LASTING = {
    "a change is lost, and the next comes": (items(some_are_lost, *ALL), "has not come"),
    "changes are lost, and a beat comes": (items(as_beat, *TOLD), "has not come"),
    "the digest is another": (items(lambda item, _: {**item, "digest": "0" * 40}, *TOLD), "not the relay's state"),
    "sizes are others": (items(resized, *TOLD), "not the relay's state"),
    "nothing is said of the book": (items(lambda *_: None, *ALL), "silent"),
    "the mirror doubts": (items(lambda item, _: {**item, "state": "SUSPECT", "reason": "GAP"}, *TOLD), "SUSPECT (GAP)"),
    "the proof is old": (items(lambda item, sent: {**item, "as_of": sent - 6}, *ALL), "proven more than"),
    "the proof has no date": (items(lambda item, _: without(item, "as_of"), *ALL), "proven more than"),
    "the relay would not read it": (items(lambda item, sent: {**item, "until": sent - 1}, *ALL), "would not read"),
    "the relay says nothing of its limit": (items(lambda item, _: without(item, "until"), *ALL), "would not read"),
    "it is not carried": (items(lambda item, _: {"is": "gone", "token": item["token"]}, *ALL), "does not carry"),
    "messages are cut": (lambda frame: json.dumps(frame).encode()[:-9], "cannot be read"),
    "messages are of another version": (lambda frame: json.dumps({**frame, "version": 2}).encode(), "cannot be read"),
}
PASSING = {
    "the relay's clock is set ahead": (clock(3_000.0), "a clock was set"),
    "the relay's clock is set back": (clock(-3_000.0), "a clock was set"),
}


OVER_BOTH = ("a change is lost, and the next comes", "the digest is another", "the relay's clock is set ahead")


class Doctored(publisher.Publisher):
    """A relay whose frames in JSON are doctored on their way."""

    doctor: Callable[[dict[str, Any]], bytes] | None = None

    def frame(self, consumer: publisher.Consumer) -> bytes:
        return self._doctored(consumer, super().frame(consumer))

    def frame_about(self, consumer: publisher.Consumer, token: str) -> bytes:
        return self._doctored(consumer, super().frame_about(consumer, token))

    def _doctored(self, consumer: publisher.Consumer, frame: bytes) -> bytes:
        doctor = type(self).doctor
        return frame if doctor is None or consumer.format != "json" else doctor(json.loads(frame))


@pytest.fixture
def doctored(monkeypatch: pytest.MonkeyPatch) -> type[Doctored]:
    class Own(Doctored):
        pass

    monkeypatch.setattr(publisher, "Publisher", Own)
    return Own


@pytest.mark.parametrize(
    ("case", "way"),
    [(case, "socket") for case in (*LASTING, *PASSING)]
    + [pytest.param(case, "broker", marks=with_nats) for case in OVER_BOTH],
)
async def test_what_does_not_fit_is_refused_and_heals(case: str, way: str, tmp_path: Path, doctored) -> None:
    doctor, why = {**LASTING, **PASSING}[case]
    async with reading(way, tmp_path) as reader:
        await reader.granted()
        doctored.doctor = doctor
        await reader.refused(why, times=3 if case in LASTING else 1)
        doctored.doctor = None
        await reader.granted(2)


@pytest.mark.parametrize("way", WAYS)
async def test_one_frame_of_another_clock_delays_nothing_that_comes_after_it(
    way: str, tmp_path: Path, doctored
) -> None:
    def once(frame: dict[str, Any]) -> bytes:
        if {item["is"] for item in frame["items"]} != {"change"}:
            return json.dumps(frame).encode()
        doctored.doctor = None
        return clock(3_000.0)(frame)

    async with reading(way, tmp_path) as reader:
        await reader.granted()
        doctored.doctor = once
        await reader.refused("a clock was set")
        await reader.granted(2)


async def test_another_run_is_begun_anew_with_and_of_an_earlier_one_nothing_is_taken(tmp_path: Path, doctored) -> None:
    async with reading("socket", tmp_path) as reader:
        await reader.granted()
        doctored.doctor = lambda frame: json.dumps({**frame, "relay": "another"}).encode()
        await reader.refused("begun anew")
        await reader.granted()
        doctored.doctor = None
        await reader.refused("silent", times=3)


@pytest.mark.parametrize("way", WAYS)
async def test_nothing_is_read_before_a_ping_was_answered(way: str, tmp_path: Path, doctored) -> None:
    doctored.doctor = items(lambda *_: None, "pong")
    async with reading(way, tmp_path) as reader:
        await reader.refused("clock is not known", times=3)
        doctored.doctor = None
        await reader.granted()


@pytest.mark.parametrize("way", WAYS)
async def test_the_age_is_that_of_the_proof(way: str, tmp_path: Path, doctored) -> None:
    doctored.doctor = items(lambda item, sent: {**item, "as_of": sent - 3}, *ALL)
    async with reading(way, tmp_path) as reader:
        assert all(read["age"] >= 3 for read in await reader.granted(3))


@with_nats
async def test_no_proof_is_younger_than_the_word_of_it(tmp_path: Path, doctored) -> None:
    def of_a_second_ago(frame: dict[str, Any]) -> bytes:
        # An answer to a ping comes alone from a broker.
        left = frame["sent"] - (frame["items"][0]["is"] != "pong")
        told = [{**item, "as_of": left + 3} if item["is"] in ALL else item for item in frame["items"]]
        return json.dumps({**frame, "sent": left, "items": told}).encode()

    doctored.doctor = of_a_second_ago
    async with reading("broker", tmp_path) as reader:
        assert all(read["age"] >= 1 for read in await reader.granted(3))


@pytest.mark.parametrize("way", WAYS)
async def test_a_book_that_does_not_change_is_proven_again_and_again(way: str, tmp_path: Path, doctored) -> None:
    doctored.doctor = items(lambda item, sent: {**item, "as_of": sent}, *ALL)
    async with reading(way, tmp_path, rate=QUIET) as reader:
        reads = await reader.granted(10)
        assert len({read["seq"] for read in reads}) == 1
        # What was proven when it left is as old as the silence since then.
        assert max(read["age"] for read in reads) <= SILENCE


# ---- Each of them is ended, or stands still --------------------------------------------------------------


@with_nats
async def test_a_broker_that_is_killed_is_refused_and_healed_by_the_next_one(tmp_path: Path) -> None:
    async with reading("broker", tmp_path) as reader:
        await reader.granted()
        reader.desk.broker.kill()
        await reader.refused("not connected", times=3)
        await reader.desk.broker.start()
        await reader.granted(2)


@with_nats
async def test_a_broker_that_stands_still_is_refused_and_left(tmp_path: Path) -> None:
    async with reading("broker", tmp_path) as reader:
        await reader.granted()
        reader.desk.broker.pause(signal.SIGSTOP)
        await reader.refused("silent")
        await reader.refused("not connected")
        reader.desk.broker.pause(signal.SIGCONT)
        await reader.granted(2)


@pytest.mark.parametrize("way", WAYS)
async def test_a_reader_that_stood_still_trusts_nothing_of_before(way: str, tmp_path: Path) -> None:
    async with reading(way, tmp_path) as reader:
        await reader.granted()
        reader.signal(signal.SIGSTOP)
        # What is waited for is that time has passed: nothing else makes a book old.
        await asyncio.sleep(2.5)
        reader.signal(signal.SIGCONT)
        await reader.refused("silent")
        await reader.granted(2)


async def test_its_clock_goes_on_while_the_host_sleeps_and_never_back() -> None:
    script = f"""
        const {{ now }} = await import({json.dumps((EXAMPLES / BOOK).as_uri())});
        const day = Date.now, read = (ahead) => ((Date.now = () => day() + ahead * 1000), now());
        console.log(JSON.stringify([0, 30, 30, -3600, -3600, -3590, -3590.5].map(read)));
    """
    told = await run_program("node", "--input-type=module", "-e", script)
    apart = [later - sooner for sooner, later in pairwise(told)]
    assert [round(each / 10) * 10 for each in apart] == [30, 0, 0, 0, 10, 0]
    assert min(apart) >= 0


async def test_after_a_sleep_nothing_is_dated_before_a_new_ping_is_answered() -> None:
    """The host slept for a minute, and its time of day tells of 1.2 s: frames that waited meanwhile look young."""
    script = f"""
        import {{ createHash }} from "node:crypto";
        let awake = 1000, day = 1.79e9;
        performance.now = () => awake * 1000;
        Date.now = () => day * 1000;
        const {{ Book }} = await import({json.dumps((EXAMPLES / BOOK).as_uri())});
        const book = new Book("7"), reads = [];
        const digest = createHash("sha1").update("7|4800:10000000|5200:7000000").digest("hex");
        const proof = (sent) => ({{ token: "7", seq: 1, as_of: sent, until: sent + 30 }});
        const whole = (sent) => ({{
          ...proof(sent), is: "book", prev_seq: 0, state: "LIVE", settled: true, epoch: 1, doubts: 0,
          bids: [[4800, 10000000]], asks: [[5200, 7000000]], digest,
        }});
        const took = (sent, ...items) => {{
          book.take(JSON.stringify({{ version: 1, relay: "r", sent, items }}));
          const read = book.read();
          reads.push(typeof read === "string" ? read : read.age);
        }};
        const first = book.asks().ping;
        took(5000, {{ is: "pong", id: first }}, whole(5000));
        awake += 0.5, day += 0.5;
        const second = first + 1;
        day += 1.2;
        took(5000.6, {{ is: "beat", ...proof(5000.6) }});
        // An answer to a ping of before says nothing of now.
        took(5000.7, {{ is: "pong", id: second }}, {{ is: "beat", ...proof(5000.7) }});
        took(5060.5, {{ is: "pong", id: book.asks().ping }}, {{ is: "beat", ...proof(5060.5) }});
        console.log(JSON.stringify(reads));
    """
    before, *refused, after = await run_program("node", "--input-type=module", "-e", script)
    assert [before, after] == pytest.approx([0, 0], abs=1e-3)
    assert refused == ["the relay's clock is not known"] * 2
