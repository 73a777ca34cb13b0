"""Two relays that state different books: one small bundle, bounded, for its owner alone, and what is told of it."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import pytest
from websockets.asyncio.server import ServerConnection, serve

from polymirror import ConfigError, RemoteConfig
from polymirror.commands.app import run as command
from polymirror.config import IncidentConfig
from polymirror.errors import DecodeError
from polymirror.explain.bundle import explain_bundle
from polymirror.explain.page import page_of
from polymirror.explain.words import explain
from polymirror.journal.format import Relayed, Stated
from polymirror.journal.reader import open_journal
from polymirror.relay.contradictions import Contradictions
from polymirror.relay.hostclock import SteadyClock
from polymirror.relay.link import Link
from polymirror.relay.publisher import Publisher
from polymirror.relay.recent import MAX_ITEMS, MAX_LEVELS, Recent, Said
from polymirror.relay.remote import RemoteMirror
from polymirror.relay.replica import OVERLAP_MS, Disagreement, Replica
from polymirror.relay.wire import Ask, Beat, Book, decode
from tests.relay.rig import ASKS, BIDS, DOWN, UP, Stub, Wire

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WALL = 1_790_000_000.0


class Two:
    """Two relays that come to state different books, and a reader that writes it down."""

    def __init__(self, folder: Path, **limits: float) -> None:
        self.links = [Link("http://one", "json"), Link("http://two", "json")]
        self.replica = Replica(self.links, 30.0)
        self.replica.want([UP], 0.0)
        config = RemoteConfig(incidents=IncidentConfig(**limits))  # type: ignore[arg-type]
        self.wall = WALL
        self.bundles = Contradictions(folder, config, lambda: self.wall, lambda _: "btc-updown Up")
        self.told: list[tuple[str, str]] = []
        self.bundles.start(self.links)
        self.stubs = [Stub(), Stub()]
        self.wires = []
        for stub, link, run in zip(self.stubs, self.links, ("a" * 32, "b" * 32), strict=True):
            stub.set(UP, BIDS, ASKS)
            wire = Wire(stub, self.replica, link, run=run)
            wire.open(0.0)
            self.wires.append(wire)

    def warn(self, kind: str, detail: str) -> None:
        self.told.append((kind, detail))

    def contradict(self) -> tuple[Disagreement, float]:
        self.pass_time(0.1)
        self.stubs[1].set(UP, {4800: 3_500_000, 4600: 1}, ASKS)
        for step in range(2, 60):
            self.pass_time(step / 10)
            found = self.replica.disagreements()
            if found:
                return found[0], step / 10
        raise AssertionError("they never contradicted each other")

    def pass_time(self, now: float) -> None:
        for stub, wire in zip(self.stubs, self.wires, strict=True):
            stub.at = 100.0 + now
            stub.set(UP)
            wire.publisher.changed([UP])
            wire.publisher.beat()
            wire.turn(now)
        self.replica.tick(now)


def written(folder: Path, **limits: float) -> Path:
    """A bundle."""
    two = Two(folder, **limits)
    found, now = two.contradict()
    path = two.bundles.put(found, two.links, now)
    two.bundles.stop(two.warn)
    assert path is not None
    assert two.told == [("incident", f"btc-updown Up lost trust (DISAGREEMENT): polymirror explain {path}")]
    return path


def test_a_bundle_has_both_books_and_what_both_relays_said(tmp_path: Path) -> None:
    path = written(tmp_path / "bundles")
    assert path.stat().st_mode & 0o777 == 0o600
    lines = list(open_journal(path).lines())
    one, two = (line for line in lines if isinstance(line, Stated))
    assert (one.relay, one.run, two.relay, two.run) == ("http://one", "a" * 32, "http://two", "b" * 32)
    assert one.book.bids == (("0.48", "10"), ("0.47", "5"))
    assert two.book.bids == (("0.48", "3.5"), ("0.46", "0.000001"))
    assert one.digest != two.digest
    assert two.book.exchange_ms > one.book.exchange_ms
    said = [line for line in lines if isinstance(line, Relayed)]
    assert {line.relay for line in said} == {"http://one", "http://two"}
    assert [json.loads(line.data)["is"] for line in said if line.relay == "http://two"][:2] == ["book", "change"]
    assert [line.t for line in said] == sorted(line.t for line in said)


def test_it_is_explained_level_by_level_with_who_changed_last_and_what_to_do(tmp_path: Path) -> None:
    found = explain_bundle(written(tmp_path))
    assert found.kind == "relays disagree"
    text = "\n".join(found.words)
    assert "btc-updown Up lost trust at 2026-09-21" in text
    assert "3 levels differ, such as bid 0.48: 10, and 3.5." in text
    assert "Changed last: http://two, by 100." in text
    assert "Either http://one has missed what came since" in text
    assert "What to do:" in text
    assert "does not fit the digest" not in text
    assert [(each.side, each.price, each.before, each.evidence, each.after) for each in found.levels] == [
        ("bid", "0.48", "10", "3.5", "-6.5"),
        ("bid", "0.47", "5", None, "-5"),
        ("bid", "0.46", None, "0.000001", "+0.000001"),
    ]
    assert found.columns[:2] == ("http://one", "http://two")
    assert any("bid 0.48 -> 3.5" in row.text for row in found.rows)
    page = page_of(found)
    assert "http://one" in page
    assert "our book" not in page


def test_the_command_prints_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path)
    assert command(["explain", str(path)]) == 0
    assert "Two relays stated different books" in capsys.readouterr().out
    assert command(["explain", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "relays disagree"


def test_a_copy_that_went_wrong_at_the_reader_is_told_from_a_relay_that_is_wrong(tmp_path: Path) -> None:
    lines = list(open_journal(written(tmp_path)).lines())
    for line in lines:
        if isinstance(line, Stated) and line.relay == "http://one":
            line.digest = "0" * 40
    assert any("went wrong here, not there" in each for each in explain(lines).words)


@pytest.mark.parametrize("text", ["x", "NaN", "1e999999999", ""])
def test_numbers_that_nobody_wrote_end_in_no_crash(tmp_path: Path, text: str) -> None:
    lines = list(open_journal(written(tmp_path)).lines())
    for line in lines:
        if isinstance(line, Stated):
            line.book.bids = ((text, text),)
        if isinstance(line, Relayed):
            line.data = text
    with pytest.raises(DecodeError, match="a bundle"):
        explain(lines)


def test_a_message_that_nobody_wrote_is_shown_as_it_is(tmp_path: Path) -> None:
    lines = list(open_journal(written(tmp_path)).lines())
    texts = ("x", "[]", '{"is":"book","seq":1,"state":"LIVE","bids":3}', '{"is":"change","seq":"NaN"}', "9" * 5_000)
    for number, line in enumerate(each for each in lines if isinstance(each, Relayed)):
        line.data = texts[number % len(texts)]
    rows = explain(lines).rows
    assert {row.tone for row in rows} == {"bad"}


def test_one_token_has_one_bundle_a_minute_and_the_rest_is_told(tmp_path: Path) -> None:
    two = Two(tmp_path)
    found, now = two.contradict()
    assert two.bundles.put(found, two.links, now) is not None
    assert two.bundles.put(found, two.links, now + 59) is None
    assert two.bundles.put(found, two.links, now + 61) is not None
    two.bundles.stop(two.warn)
    assert ("incidents skipped", "1 incidents have no bundle: there are too many at once") in two.told
    assert len(list(tmp_path.iterdir())) == 2


def test_the_oldest_files_make_room(tmp_path: Path) -> None:
    two = Two(tmp_path, keep_files=2, market_seconds=0)
    found, now = two.contradict()
    for step in range(5):
        two.wall += 1.0
        two.bundles.put(found, two.links, now + step)
    two.bundles.stop(two.warn)
    assert len(list(tmp_path.iterdir())) == 2


def test_what_was_said_last_is_bounded() -> None:
    recent = Recent()
    for number in range(MAX_ITEMS + 5):
        recent.put(Said(number, number, Beat(token=UP, seq=number)))
    assert [said.item.seq for said in recent.of(UP)][:2] == [5, 6]
    many = [(1, 1)] * (MAX_LEVELS // 2)
    big = Book(
        token=DOWN, seq=1, prev_seq=0, epoch=1, doubts=0, state="LIVE", bids=many, asks=[], digest="0" * 40, market="m"
    )
    for _ in range(3):
        recent.put(Said(0, 0, big))
    assert len(recent.of(DOWN)) == 2


@pytest.mark.parametrize("folder", ["", 5])
def test_a_folder_is_a_path(folder: object) -> None:
    with pytest.raises(ConfigError, match="incidents"):
        RemoteMirror("http://127.0.0.1:1", incidents=folder)  # type: ignore[arg-type]


# ---- Over sockets ----------------------------------------------------------------------------------------


def relay_of(stub: Stub, clock: Callable[[], float], run: str) -> Callable[[ServerConnection], object]:
    """A relay whose mirror has what a stub has."""
    publisher = Publisher(stub, run, SteadyClock(clock))

    async def handle(socket: ServerConnection) -> None:
        consumer = publisher.join("msgpack")

        async def hear() -> None:
            async for message in socket:
                data = message.encode() if isinstance(message, str) else message
                publisher.asked(consumer, decode(Ask, data, "json"))

        task = asyncio.create_task(hear())
        try:
            while True:
                stub.at = clock()
                stub.until = stub.at + 60
                stub.set(UP)
                publisher.changed([UP])
                publisher.beat()
                while consumer.waits:
                    await socket.send(publisher.frame(consumer))
                await asyncio.sleep(0.05)
        finally:
            task.cancel()

    return handle


@pytest.mark.anyio
async def test_a_remote_mirror_writes_it(tmp_path: Path) -> None:
    clock = asyncio.get_running_loop().time
    async with AsyncExitStack() as stack:
        urls = []
        for number in range(2):
            stub = Stub()
            stub.at = clock()
            stub.set(UP, {4800: 1_000_000 * (1 + number)}, ASKS)
            server = await stack.enter_async_context(serve(relay_of(stub, clock, f"run {number}"), "127.0.0.1", 0))
            urls.append(f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}")
        async with RemoteMirror(*urls, tokens=[UP], incidents=tmp_path) as remote:
            await remote.until(lambda: len(remote.disagreements) > 0, timeout=OVERLAP_MS / 1000 + 20)
        (path,) = sorted(tmp_path.iterdir())  # noqa: ASYNC240 - a test's
        found = explain_bundle(path)
        assert [(each.price, each.before, each.evidence) for each in found.levels] == [("0.48", "1", "2")]
