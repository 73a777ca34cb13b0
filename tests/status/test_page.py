"""The page of the status server in a real browser: what it shows, how it is used, and who cannot read it."""

from __future__ import annotations

import asyncio
import json
import random
from contextlib import asynccontextmanager

import pytest
from attrs import evolve

from polymirror import Mirror, MirrorConfig, NotLive, RestConfig, StreamConfig
from polymirror.core.states import Reason
from polymirror.journal.recorded import IncidentNote
from polymirror.simulator import Simulator
from polymirror.simulator.faults.base import Plan
from polymirror.simulator.faults.catalogue import make_faults
from polymirror.simulator.frames import Answer, Close
from polymirror.venue.gamma import Gamma
from polymirror.venue.market import Token
from tests import browser

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(browser.PATH is None, reason="there is no chromium: apt-get install chromium"),
]

SHIFTS = """window.shifts = [];
new PerformanceObserver((list) => window.shifts.push(...list.getEntries().map((each) => each.value)))
  .observe({ type: "layout-shift", buffered: true });"""

NEVER = Plan(end_ms=0)

OTHER = """<!doctype html><pre id=said></pre><script>
const said = {};
const tell = () => { document.getElementById("said").textContent = JSON.stringify(said) };
const tries = {
  status: fetch("%(url)sstatus").then((answer) => answer.text()),
  blind: fetch("%(url)sstatus", { mode: "no-cors" }).then((answer) => answer.type),
  events: new Promise((done, fail) => {
    const source = new EventSource("%(url)sevents");
    source.onopen = () => done("open");
    source.onerror = () => fail("refused");
  }),
  frame: new Promise((done, fail) => {
    const frame = document.createElement("iframe");
    frame.src = "%(url)s";
    frame.onload = () => { try { done(frame.contentDocument.title) } catch { fail("closed") } };
    document.body.append(frame);
  }),
};
for (const [name, attempt] of Object.entries(tries))
  attempt.then((what) => said[name] = "got " + what, () => said[name] = "failed").then(tell);
</script>"""


@asynccontextmanager
async def shown(tmp_path, *, markets=2, rate=20.0, faults=(), title="a title"):
    """A venue, a mirror on it, its server, and the page in a browser that has loaded."""
    # Attempts to connect again come quickly.
    config = MirrorConfig(stream=StreamConfig(backoff_base=0.1, backoff_cap=0.3))
    async with Simulator(seed=5, markets=markets, rate=rate, faults=faults) as venue:
        mirror = Mirror(slugs=venue.slugs, endpoints=venue.endpoints, config=config)
        async with mirror, browser.browsing(tmp_path) as page:
            await mirror.wait_live(timeout=browser.PATIENCE)
            server = await mirror.serve_status(title=title)
            await page.call("Page.addScriptToEvaluateOnNewDocument", source=SHIFTS)
            await page.look_like(1280, 800)
            await page.open(server.url)
            await page.until("document.querySelectorAll('#rows .row').length > 0")
            yield venue, mirror, server, page


async def test_it_shows_books_as_they_are_and_as_they_lose_and_regain_trust(tmp_path):
    late, *away = make_faults(["stream_behind_rest", "disconnect", "refused_connection"], plan=NEVER)
    async with shown(tmp_path, faults=[late, *away]) as (_, mirror, _server, page):
        await page.until("document.querySelectorAll('#rows .row[data-state=LIVE]').length === 4")
        assert await page.text("#live") == "4/4 LIVE"
        assert await page.text("#title") == "a title"
        assert await page.run("document.title") == "4/4 LIVE · a title"
        assert await page.text("#said") == "Every book is proven and may be read."
        late.plan = Plan(share=1.0, length_ms=4_000)
        await page.until("document.querySelectorAll('#rows .row[data-state=SUSPECT]').length === 4")
        assert await page.text("#live") == "0/4 LIVE"
        # A word and a sign, not a colour alone.
        assert await page.text("#rows .row .words b") == "SUSPECT"
        assert await page.text("#rows .row .sign") == "◐"
        assert "apply lag" in await page.text("#rows .row .words small")
        assert "may not be read" in await page.text("#said")
        with pytest.raises(NotLive):
            mirror.live(mirror.tokens[0])
        late.plan = NEVER
        await page.until("document.querySelectorAll('#rows .row[data-state=LIVE]').length === 4")
        for fault in away:
            fault.plan = Plan(share=1.0)
        await page.until("document.getElementById('said').textContent.includes('is closed: ')")
        assert await page.text("#sockets") == "0 of 1"
        for fault in away:
            fault.plan = NEVER
        await page.until("document.getElementById('said').textContent.startsWith('Every book')")
        # The strip still shows the loss.
        assert await page.run(
            "[...document.querySelectorAll('#rows .at-SUSPECT')].every((each) => each.getAttribute('d'))"
        )
        assert await page.run("document.querySelector('#rows .refused').textContent !== ''")
        assert page.errors == []
        shifts = await page.run("window.shifts")
        assert sum(shifts) < 0.001, shifts


async def test_it_is_used_by_keyboard(tmp_path):
    async with shown(tmp_path) as (_, mirror, _server, page):
        names = "[...document.querySelectorAll('#rows .row')].sort((a, b) => a.ariaRowIndex - b.ariaRowIndex)"
        name_here = "document.activeElement.closest('.row')?.ariaRowIndex"
        await page.press("ArrowDown")
        assert await page.run(name_here) == "2"
        await page.press("ArrowDown")
        await page.press("ArrowDown")
        assert await page.run(name_here) == "4"
        await page.press("End")
        assert await page.run(name_here) == "5"
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        assert await page.run(outline) == "solid"
        await page.press("Enter")
        await page.until("!document.getElementById('book').hidden")
        assert await page.run("document.activeElement.id") == "book-name"
        last = await page.text("#book-name")
        await page.press("n")
        await page.until(f"document.getElementById('book-name').textContent !== {json.dumps(last)}")
        await page.press("Escape")
        await page.until("!document.getElementById('list').hidden")
        assert await page.run(name_here) == "2"
        await page.press("/")
        assert await page.run("document.activeElement.id") == "filter"
        for letter in "eth down":
            await page.press(letter)
        await page.until("document.querySelectorAll('#rows .row').length === 2")
        assert await page.run(f"{names}.map((row) => row.querySelector('.outcome').textContent)") == ["Up", "Down"]
        await page.press("x")
        await page.until("!document.getElementById('none').hidden")
        await page.press("Escape")
        await page.until("document.querySelectorAll('#rows .row').length === 4")
        await page.press("s")
        assert await page.run("document.getElementById('sort').value") == "name"
        # Whoever comes with Tab meets one row, not each of them.
        assert await page.run("document.querySelectorAll('#rows [tabindex=\"0\"]').length") == 1
        assert page.errors == []
        assert len(mirror.tokens) == 4


async def test_one_book_has_its_depth_and_its_history(tmp_path):
    async with shown(tmp_path, rate=1.0) as (venue, mirror, _server, page):
        token = mirror.tokens[0]
        mirror.resync(token)
        await mirror.wait_live(token)
        await page.run(f"location.hash = 'book={token}'")
        await page.until("document.querySelectorAll('#moves b').length >= 3")
        assert await page.text("#moves b") == "RESYNCING → LIVE"
        assert "requested" in await page.text("#moves")
        assert await page.run("document.getElementById('incidents-part').hidden")
        prices = "[...document.querySelectorAll('.level.ask .price')].map((each) => Number(each.textContent))"
        asks = await page.run(prices)
        shown_asks = [price for price in asks if price]
        # The best one is next to the spread.
        assert shown_asks == sorted(shown_asks, reverse=True)
        assert len(asks) == 12
        assert venue.tokens[0] == token
        assert page.errors == []


async def test_the_incidents_of_a_books_market_are_told_and_where_they_lie_is_not(tmp_path, monkeypatch):
    notes = [
        IncidentNote(1.0, 1.0, "0xm", ("11",), "11", "BTC <b>up</b>", Reason.HASH_MISMATCH, "for 1 s", path)
        for path in (tmp_path / "secret-folder" / "bundle.zst", None)
    ]
    monkeypatch.setattr(Mirror, "incidents", lambda _self, _token: tuple(notes))
    async with shown(tmp_path / "profile", rate=1.0) as (_, mirror, _server, page):
        await page.run(f"location.hash = 'book={mirror.tokens[0]}'")
        await page.until("document.querySelectorAll('#incidents li').length === 2")
        assert not await page.run("document.getElementById('incidents-part').hidden")
        assert await page.text("#incidents b") == "BTC <b>up</b>"
        assert await page.text("#incidents span") == "hash mismatch: for 1 s; bundle.zst"
        assert "secret-folder" not in await page.run(f"fetch('books/{mirror.tokens[0]}').then((it) => it.text())")
        assert page.errors == []


@pytest.mark.parametrize("phone", [False, True])
async def test_many_books_are_many_rows_of_which_only_those_in_sight_are_made(tmp_path, phone):
    async with shown(tmp_path, markets=100, rate=0.5) as (_, mirror, _server, page):
        width = 390 if phone else 1280
        await page.look_like(width, 844, phone=phone)
        await page.until(f"document.getElementById('books').getAttribute('aria-rowcount') == {len(mirror.tokens) + 1}")
        await page.until("document.querySelectorAll('#rows .row').length < 60")
        assert await page.run("document.documentElement.scrollWidth") <= width
        await page.run("scrollTo(0, document.body.scrollHeight)")
        last = f"document.querySelector('#rows .row[aria-rowindex=\"{len(mirror.tokens) + 1}\"]')"
        await page.until(f"{last} !== null && {last}.getBoundingClientRect().bottom <= innerHeight")
        assert page.errors == []


FULL = """(() => {
  document.querySelectorAll("#chips span").forEach((each) => { each.textContent = "10,000" });
  const all = [...document.querySelectorAll("main *, header *")];
  const wide = all.filter((each) => each.getBoundingClientRect().right > %d);
  const cut = [...document.querySelectorAll("#chips button")].filter((each) => each.scrollWidth > each.clientWidth);
  return [...wide, ...cut].map((each) => each.outerHTML.slice(0, 80));
})()"""
"""What does not fit on a page so wide when there are very many books."""


@pytest.mark.parametrize("width", [320, 390, 600, 768])
async def test_everything_fits_on_a_phone_however_many_books_there_are(width, tmp_path):
    async with shown(tmp_path) as (_, _mirror, _server, page):
        await page.look_like(width, 844, phone=True)
        assert await page.run(FULL % width) == []
        # The window itself grows with what does not fit.
        assert await page.run("innerWidth") == width


async def test_text_from_outside_stays_text(tmp_path):
    title = "<img src=x onerror='document.title=1'><script>alert(1)</script>"
    async with shown(tmp_path, title=title) as (_, _mirror, _server, page):
        assert await page.text("#title") == title
        assert await page.run("document.querySelectorAll('#title *').length") == 0
        assert page.errors == []


HOSTILE = "\x1b[31m\u202e\u2066[/x]<script>window.hit=1</script><img src=x onerror='window.hit=1'>\u200b"


async def test_what_the_venue_says_stays_text_that_can_be_seen(tmp_path):
    (closes,) = make_faults(["close_1013"], plan=NEVER)
    closes.ending = Close(1013, HOSTILE[:60])
    async with Simulator(seed=5, markets=1, rate=20, faults=[closes]) as venue:
        async with Gamma(RestConfig(), venue.endpoints, rng=random.Random(1)) as gamma:
            found = await gamma.market(venue.slugs[0])
        market = evolve(found, slug=HOSTILE, tokens=tuple(Token(each.id, HOSTILE) for each in found.tokens))
        mirror = Mirror([market], endpoints=venue.endpoints, incidents=tmp_path / "incidents")
        async with mirror, browser.browsing(tmp_path / "profile") as page:
            await mirror.wait_live(timeout=browser.PATIENCE)
            server = await mirror.serve_status(title=HOSTILE)
            await page.open(server.url)
            await page.until("document.querySelectorAll('#rows .row').length === 2")
            closes.plan = Plan(share=1.0)
            await page.run(f"location.hash = 'book={mirror.tokens[0]}'")
            await page.until("document.getElementById('moves').textContent.includes('<script>')")
            texts = await page.run("document.body.innerText + document.documentElement.outerHTML + document.title")
            assert "<script>window.hit" in await page.text("#title")
            assert not [each for each in texts if not (each.isprintable() or each == "\n")]
            assert not await page.run("window.hit")
            assert await page.run("document.querySelectorAll('header script, main script, main img').length") == 0
            assert page.errors == []


async def test_a_mirror_that_is_gone_is_not_taken_for_a_calm_one(tmp_path):
    async with shown(tmp_path) as (_, mirror, server, page):
        port = server.port
        await server.stop()
        await page.until("document.body.classList.contains('lost')")
        assert "what is shown is old" in await page.text("#said")
        assert await page.text("#link") == "no news"
        assert (await page.run("document.title")).startswith("? ")
        await mirror.serve_status(port=port)
        await page.until("!document.body.classList.contains('lost')")


class Elsewhere:
    """Another server, with a page that tries to read a mirror's."""

    def __init__(self, page):
        self.page = page

    def answer(self, call, _now_ms):
        return Answer(200, self.page, content_type="text/html") if call.path == "/page" else None


async def test_a_page_of_another_origin_reads_nothing(tmp_path):
    async with Mirror() as mirror, browser.browsing(tmp_path) as page:
        server = await mirror.serve_status()
        other = Elsewhere(OTHER % {"url": server.url})
        async with Simulator(services=[other]) as elsewhere:
            await page.open(f"{elsewhere.base_url}/page")
            count = "Object.keys(JSON.parse(document.getElementById('said')?.textContent || '{}')).length"
            async with asyncio.timeout(browser.PATIENCE):
                await page.until(f"{count} === 4")
            said = json.loads(await page.text("#said"))
        assert said["status"] == said["events"] == "failed"
        assert said["blind"] in {"got opaque", "failed"}
        # A frame that was refused is an empty page, which nobody may look into either.
        assert said["frame"] == "failed"


async def test_what_the_test_of_another_origin_tries_does_work_where_it_may(tmp_path):
    async with Mirror() as mirror, browser.browsing(tmp_path) as page:
        server = await mirror.serve_status()
        await page.open(server.url)
        assert "running" in await page.run("fetch('status').then((answer) => answer.text())")
        opens = "new Promise((done) => { new EventSource('events').onopen = () => done('open') })"
        assert await page.run(opens) == "open"
