"""A page of another origin, in a real browser, against the embedded exchange: it can neither read nor drive it."""

from __future__ import annotations

import asyncio
import html
import json
import shutil

import pytest

from polymirror.simulator import Simulator
from polymirror.simulator.frames import Answer

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(BROWSER is None, reason="there is no chromium: apt-get install chromium"),
]

PAGE = """<!doctype html><pre id=said></pre><img src="%(http)s/time?img"><script src="%(http)s/time?script"></script>
<script>
const said = {};
const tell = () => { document.getElementById("said").textContent = JSON.stringify(said) };
const tries = {
  read: fetch("%(http)s/time?read").then(answer => answer.text()),
  blind: fetch("%(http)s/time?blind", {mode: "no-cors"}).then(answer => answer.type + answer.status),
  order: fetch("%(http)s/order", {method: "POST", mode: "no-cors", body: "{}"}).then(answer => answer.type),
  stream: new Promise((done, fail) => {
    const socket = new WebSocket("%(ws)s/ws/market");
    socket.onopen = () => { socket.send('{"assets_ids": ["1"], "type": "market"}'); socket.send("PING") };
    socket.onmessage = event => done(event.data);
    socket.onerror = () => fail("refused");
  }),
};
for (const [name, attempt] of Object.entries(tries))
  attempt.then(what => said[name] = "got " + what, error => said[name] = "failed").then(tell);
</script>"""


class Recorder:
    """A service that notes what reaches the venue, and has a page of its own."""

    def __init__(self):
        self.calls = []
        self.page = ""

    def answer(self, call, _now_ms):
        if call.path == "/page":
            return Answer(200, self.page, content_type="text/html")
        self.calls.append(f"{call.method} {call.path}")
        return None


async def look(url: str, *options: str) -> str:
    """What a page shows once its scripts are done."""
    process = await asyncio.create_subprocess_exec(
        BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--timeout=8000",
        "--virtual-time-budget=8000", "--dump-dom", *options, url,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with asyncio.timeout(60):
            out, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return html.unescape(out.decode())


async def said_by(url: str, *options: str) -> dict[str, str]:
    """What the page says of its four attempts. A browser that is short of time may close it before the last is over."""
    for _ in range(5):
        page = await look(url, *options)
        said = json.loads(page.partition('<pre id="said">')[2].partition("</pre>")[0] or "{}")
        if len(said) == 4:
            break
    return said


async def test_only_its_own_page_reads_and_drives_the_exchange():
    recorder, other = Recorder(), Recorder()
    async with Simulator(services=[recorder]) as venue, Simulator(services=[other], names=["evil.test"]) as elsewhere:
        ws = venue.base_url.replace("http", "ws")
        recorder.page = other.page = PAGE % {"http": venue.base_url, "ws": ws}
        # That the attempts work where they may shows that it is not for something else that the others fail.
        own = await said_by(f"{venue.base_url}/page")
        assert own["read"].startswith("got 1")
        assert own["order"] == "got basic"
        assert own["stream"].startswith("got ")
        assert "POST /order" in recorder.calls
        recorder.calls.clear()
        for origin in (f"http://evil.test:{elsewhere.port}", elsewhere.base_url):
            foreign = await said_by(f"{origin}/page", "--host-resolver-rules=MAP evil.test 127.0.0.1")
            assert foreign["read"] == foreign["stream"] == "failed"
            # Such answers are sealed: a page sees that there was one, and nothing of it.
            assert foreign["blind"] in {"got opaque0", "failed"}
        # A name of the page's own that leads to this machine.
        shown = await look(f"http://evil.test:{venue.port}/time", "--host-resolver-rules=MAP evil.test 127.0.0.1")
        assert "does not go by the name" in shown
        assert recorder.calls == []
