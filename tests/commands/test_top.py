"""``polymirror top``: a mirror that runs elsewhere, on a terminal and on a pipe, and what of it cannot be believed."""

from __future__ import annotations

import asyncio
import json
import signal
import termios
import threading

import httpx
import pytest

from polymirror.commands import remote as module
from polymirror.commands.app import run
from polymirror.commands.remote import Remote
from polymirror.mirror import Mirror
from polymirror.simulator import Simulator
from polymirror.simulator.frames import Answer
from tests.commands.terminal import BACK, CURSOR, OTHER_SCREEN, Screen


class Elsewhere:
    """A mirror on a venue of its own, with its status server, in another thread."""

    def __init__(self):
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))

    async def _serve(self):
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        async with (
            Simulator(seed=7, markets=3) as venue,
            Mirror(slugs=venue.slugs, endpoints=venue.endpoints) as mirror,
        ):
            await mirror.wait_live(timeout=30)
            self.mirror = mirror
            self.server = await mirror.serve_status(title="a bot")
            self.url = self.server.url
            self._ready.set()
            await self._over.wait()

    def do(self, work):
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def __enter__(self):
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, *_):
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(30)


@pytest.fixture(scope="module")
def elsewhere():
    with Elsewhere() as there:
        yield there


def test_once_prints_the_books_as_they_are(elsewhere, capsys):
    assert run(["top", elsewhere.url, "--once"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("a bot: 6 LIVE, oldest proof ")
    assert all(f"{asset} {side}" in out for asset in ("BTC", "ETH", "SOL") for side in ("up", "down"))


def test_a_pipe_gets_snapshots(elsewhere, capsys):
    assert run(["top", elsewhere.url, "--every", "0.5", "--seconds", "1.2"]) == 0
    assert capsys.readouterr().out.count("a bot: ") >= 2


def test_json_is_an_object_a_snapshot(elsewhere, capsys):
    assert run(["top", elsewhere.url.removeprefix("http://"), "--json", "--once"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["lost"] is None
    assert told["head"]["states"]["LIVE"] == len(told["books"]) == 6
    assert told["books"][0]["name"] == "BTC up"
    assert float(told["books"][0]["bid"]) < float(told["books"][0]["ask"])


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "127.0.0.1:9", "http://[", "http://nowhere.invalid"])
def test_where_nobody_answers_one_line_says_so(url, capsys):
    assert run(["top", url, "--once"]) == 2
    err = capsys.readouterr().err
    assert "URL=" in err
    assert err.count("\n") == 1


def test_keys_find_sort_show_a_book_and_end_it(elsewhere):
    with Screen(80, 24, "top", elsewhere.url) as screen:
        screen.read_until("6 LIVE")
        screen.press(b"s")
        screen.read_until("by name")
        screen.press(b"/sol up\r")
        screen.read_until("/sol up  Esc all")
        screen.press(b"b")
        assert "SOL up" in screen.read_until("spread")
        screen.press(b"q")
        assert screen.wait() == 0
        assert termios.tcgetattr(screen.theirs) == screen.before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_gives_the_terminal_back(number, elsewhere):
    with Screen(80, 24, "top", elsewhere.url) as screen:
        screen.read_until(OTHER_SCREEN)
        screen.read_until("LIVE")
        screen.process.send_signal(number)
        assert screen.wait() == 128 + number
        assert BACK in screen.shown
        assert screen.shown.rindex(CURSOR) > screen.shown.rindex(OTHER_SCREEN)
        assert termios.tcgetattr(screen.theirs) == screen.before


def test_what_is_old_is_not_shown_as_if_it_were_calm():
    with Elsewhere() as there, Screen(80, 24, "top", there.url) as screen:
        screen.read_until("6 LIVE")
        there.do(there.server.stop())
        assert "what was told before is old" in screen.read_until("not shown")
        screen.press(b"q")
        assert screen.wait() == 0


# ---- What comes is somebody else's ---------------------------------------------------------------------

HEAD = {
    "title": "t", "began": 0.0, "at": 1.0, "running": True, "states": {"LIVE": 1}, "oldest": 0.1, "clock": None,
    "sockets": 1, "closed": [], "closed_count": 0, "reads": [1, 0], "rate": 1.0, "missing": [], "problems": [],
}  # fmt: skip
COLUMNS = ["state", "reason", "since", "proven", "proof", "settled", "epoch", "doubts", "refused", "resyncs", "planned",
           "bid", "bid_size", "ask", "ask_size", "bids", "asks"]  # fmt: skip
ROW = [0, "LIVE", "PROVEN", 0.5, 0.9, "hash", True, 0, 0, 0, 0, 0, "0.4", "5", "0.41", "7", 1, 1]
WHOLE = {"columns": COLUMNS, "head": HEAD, "names": {"0": ["7", "a-slug", "Yes"]}, "rows": [ROW], "strips": {}}


def changed(row, **more):
    names = ["key", *COLUMNS]
    return [more.get(name, value) for name, value in zip(names, row, strict=True)]


async def followed(*messages, status=200):
    """What is known after a server said this."""

    def answer(request):
        text = "".join(f"event: {kind}\ndata: {json.dumps(value)}\n\n" for kind, value in messages)
        return httpx.Response(status, text=text, headers={"content-type": "text/event-stream"})

    async with httpx.AsyncClient(base_url="http://there/", transport=httpx.MockTransport(answer)) as client:
        remote = Remote(client)
        following = asyncio.create_task(remote.follow())
        await remote.told.wait()
        for _ in range(20):
            await asyncio.sleep(0)
        following.cancel()
        return remote


@pytest.mark.anyio
async def test_changes_of_state_are_seen_from_one_message_to_the_next():
    news = {"head": HEAD, "names": {}, "rows": [changed(ROW, state="SUSPECT", reason="STALE", bid=None)], "gone": []}
    remote = await followed(("whole", WHOLE), ("news", news))
    [moment] = remote.moments
    assert (moment.name, moment.old.name, moment.new.name, moment.reason.name) == (
        "a-slug yes",
        "LIVE",
        "SUSPECT",
        "STALE",
    )
    [row] = remote.rows("trouble")
    assert (row.state.name, row.bid, row.ask) == ("SUSPECT", "-", "0.41")
    assert len(remote.rows("trouble", "stale yes")) == 1
    assert remote.rows("trouble", "live") == []


@pytest.mark.anyio
async def test_a_book_that_is_gone_is_gone():
    remote = await followed(("whole", WHOLE), ("news", {"head": HEAD, "names": {}, "rows": [], "gone": [0]}))
    assert remote.rows("trouble") == []


@pytest.mark.parametrize(
    "message",
    [
        [], "x", {}, WHOLE | {"head": {}}, WHOLE | {"head": HEAD | {"reads": "many"}}, WHOLE | {"columns": 7},
        WHOLE | {"rows": [[0, "LIVE"]]}, WHOLE | {"rows": [changed(ROW, state="FINE")]},
        WHOLE | {"rows": [changed(ROW, bid="cheap")]}, WHOLE | {"rows": [changed(ROW, proven="now")]},
        WHOLE | {"rows": [changed(ROW, key=5)]}, WHOLE | {"names": {"x": ["7", "s", "Yes"]}}, WHOLE | {"names": []},
    ],
    ids=repr,
)  # fmt: skip
@pytest.mark.anyio
async def test_what_cannot_be_read_is_told_and_nothing_else_happens(message):
    remote = await followed(("whole", message))
    assert remote.trouble


@pytest.mark.anyio
async def test_what_never_ends_is_cut(monkeypatch):
    monkeypatch.setattr(module, "MAX_LINE", 1_000)
    remote = await followed(("whole", WHOLE | {"padding": "x" * 2_000}))
    assert remote.head is None
    assert "more than 1000 bytes" in remote.trouble


HOSTILE = "\x1b[31m\u202e\u2066[/x][red]<script>hit</script>\u200b"


@pytest.mark.anyio
async def test_what_drives_a_terminal_is_shown_as_text(capsys):
    names = {"0": ["7", HOSTILE, HOSTILE], "1": ["8", f"eth{HOSTILE}", "No"]}
    head = HEAD | {"title": HOSTILE, "problems": [HOSTILE], "closed": [[0, HOSTILE]], "missing": [[HOSTILE, HOSTILE]]}
    lost = changed(ROW, key=1, state="SUSPECT", reason="STALE", proof=HOSTILE)
    text = f"event: whole\ndata: {json.dumps(WHOLE | {'names': names, 'head': head, 'rows': [ROW, lost]})}\n\n"

    class Says:
        def answer(self, call, _now_ms):
            return Answer(200, text, content_type="text/event-stream") if call.path == "/events" else None

    async with Simulator(services=[Says()]) as venue:
        assert await asyncio.to_thread(run, ["top", venue.base_url, "--once"]) == 1
        told = capsys.readouterr().out
        assert "[/x][red]<script>" in told
        assert not [each for each in told if not (each.isprintable() or each == "\n")]
        with Screen(80, 24, "top", venue.base_url) as screen:
            await asyncio.to_thread(screen.read_until, "SUSPECT")
            screen.press(b"q")
            assert await asyncio.to_thread(screen.wait) == 0
        # The terminal's own colours are fine; these sequences are the other side's.
        assert "[/x]" in screen.shown
        assert "\x1b[31m\\u202e" not in screen.shown
        assert not [each for each in screen.shown if each in HOSTILE and not each.isprintable() and each != "\x1b"]
        assert "\x1b[31m[" not in screen.shown


@pytest.mark.anyio
async def test_what_is_no_mirror_is_not_called_one_that_has_stopped(capsys):
    async with Simulator() as venue:
        assert await asyncio.to_thread(run, ["top", venue.base_url, "--once"]) == 2
    err = capsys.readouterr().err
    assert "it is no mirror; what a venue has is shown by 'polymirror watch --venue'" in err
    assert "stopped" not in err


@pytest.mark.anyio
async def test_a_refusal_is_told():
    class Refuses:
        def answer(self, call, _now_ms):
            return Answer(403, '{"error": "no \x1b[2J pages"}')

    async with Simulator(services=[Refuses()]) as venue, httpx.AsyncClient(base_url=f"{venue.base_url}/") as client:
        remote = Remote(client)
        following = asyncio.create_task(remote.follow())
        await remote.told.wait()
        following.cancel()
        assert remote.trouble.startswith("403: ")
        assert remote.trouble.isprintable()
