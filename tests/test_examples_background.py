"""The examples of a mirror in the background, and of a lease on two books: run as they are written."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import re
from decimal import Decimal
from pathlib import Path

import pytest

from polymirror import Level
from polymirror.simulator import FAULTS, Plan, Simulator
from tests.background_rig import held_up, own_threads, until, venue_of
from tests.loopback import PATIENCE, mirror_of, quiet_venue

EXAMPLES = Path(__file__).parents[1] / "examples"


def example(name: str):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---- Flask


def prices(text: dict[str, str | None]) -> tuple[Decimal | None, ...]:
    return tuple(None if text[side] is None else Decimal(text[side]) for side in ("bid", "ask"))


def test_flask_serves_proven_prices_and_says_why_not() -> None:
    with venue_of() as venue, venue.background() as mirror:
        mirror.wait_live(timeout=PATIENCE)
        client = example("flask_prices").make_app(mirror).test_client()
        for outcome, token in zip(("up", "down"), mirror.tokens, strict=True):
            mirror.prove(token, PATIENCE)
            answer = client.get(f"/prices/{outcome}")
            assert answer.status_code == 200
            view = mirror.peek(token)
            assert prices(answer.json) == (view.best_bid.price, view.best_ask.price)
            assert 0 <= answer.json["age"] <= 2.0
        answer = client.get("/prices/maybe")
        assert (answer.status_code, answer.json) == (404, {"error": "no such outcome: there are ['down', 'up']"})
        mirror._call_timeout = 0.05
        with held_up(mirror):
            answer = client.get("/prices/up")
        mirror._call_timeout = PATIENCE
        assert answer.status_code == 503
        assert "top: not done within 0.05 s" in answer.json["error"]


def test_flask_serves_no_book_that_is_not_proven() -> None:
    silent = (FAULTS["rest_503"](Plan(share=1.0)), FAULTS["lost_opening"](Plan(share=1.0)))
    with venue_of(quiet_venue(faults=silent)) as venue, venue.background() as mirror:
        client = example("flask_prices").make_app(mirror).test_client()
        answer = client.get("/prices/up")
        assert answer.status_code == 503
        assert re.search(r"is \w+ \(\w+\), never proven, allowed 2 s", answer.json["error"])


# ---- Two markets


@pytest.mark.anyio
async def test_two_markets_finds_pairs_that_cost_less_than_they_pay() -> None:
    module = example("two_markets")
    async with Simulator(seed=8, markets=2, rate=50) as venue, mirror_of(venue) as mirror:
        await mirror.wait_live(timeout=PATIENCE)
        async with asyncio.timeout(PATIENCE):
            pair = await anext(module.bargains(mirror, max_proof_age=5.0))
        assert {mirror.market_of(view.token).slug for view in pair} == set(venue.slugs)
        for view in pair:
            assert venue.confirms(view, 2.0)
        cost = sum(level.price * module.SHARES for level in (view.best_ask for view in pair))
        assert isinstance(pair[0].best_ask, Level)
        assert cost < module.SHARES


# ---- The notebook


def cells() -> list[str]:
    notebook = json.loads((EXAMPLES / "notebook.ipynb").read_text(encoding="utf-8"))
    assert all(cell.get("outputs", []) == [] for cell in notebook["cells"]), "outputs are not kept"
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]


def test_the_cells_of_the_notebook_run_one_after_another_beside_a_running_loop(monkeypatch, capsys) -> None:
    with venue_of(Simulator(seed=7)) as venue:
        monkeypatch.setenv("POLYMIRROR_SLUG", venue.slugs[0])
        monkeypatch.setenv("POLYMIRROR_URL", venue.endpoints.clob)
        namespace: dict[str, object] = {}

        async def kernel() -> None:
            for cell in cells():
                exec(compile(cell, "cell", "exec"), namespace)  # noqa: S102 - our own notebook

        asyncio.run(kernel())
    shown = capsys.readouterr().out
    assert namespace["market"].question in shown
    assert "(LIVE, proven " in shown
    until(lambda: own_threads() == [])
