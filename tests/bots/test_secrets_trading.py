"""Canary secrets in a bot that trades, among services that repeat them in errors, in words and in names."""

from __future__ import annotations

import contextlib
import itertools
import json
import logging

import httpx
import pytest
from attrs import evolve

from bots.__main__ import main
from bots.common.errors import Unanswered
from bots.common.execution.reading import named, state_of, word
from bots.common.ledger.database import Database
from bots.common.ledger.rows import TABLES
from bots.common.secrets import Secret
from bots.testing.lies import objects_of
from tests.bots.canaries import CANARIES, all_that_is_logged, leaks
from tests.bots.lives_rig import bot_on, live_for, on_stage

FAILURES = (400, 404, 429, 500, 503)


class Echo(httpx.AsyncBaseTransport):
    """Carries requests truly, and repeats in the answers what it should not."""

    def __init__(self, inner, style, secrets, counter):
        self.inner, self.style, self.counter = inner, style, counter
        self.words = " ".join(secrets)
        self.names = itertools.cycle(secrets)

    async def handle_async_request(self, request):
        response = await self.inner.handle_async_request(request)
        body, number = await response.aread(), next(self.counter)
        with contextlib.suppress(ValueError):
            raw = json.loads(body)
            if self.style == "errors" and number % 11 < 3:
                said = f"{self.words} {dict(request.headers)} {request.url}"
                raw = {"error": said, "errorMsg": said, "description": said, "ok": False}
                return httpx.Response(FAILURES[number % 5], json=raw, request=request)
            getattr(self, f"change_{self.style}")(raw, number)
            return httpx.Response(response.status_code, json=raw, request=request)
        return response

    def change_errors(self, raw, number):
        pass

    def change_words(self, raw, number):
        for name in ("question", "description", "title", "resolutionSource"):
            for each in objects_of(raw, name) if number % 2 else ():
                each[name] = f"{each[name]} {self.words}" if name != "resolutionSource" else each[name]
        for each in objects_of(raw, "size_matched"):
            each["status"] = f"{each['status']} {self.words}" if number % 3 else each["status"]
        for each in objects_of(raw, "taker_order_id"):
            each["status"] = f"{each['status']} {self.words}" if number % 3 else each["status"]

    def change_names(self, raw, number):
        for each in objects_of(raw, "orderID") if number % 2 else ():
            each["orderID"] = next(self.names)
        for each in objects_of(raw, "transaction_hash") if number % 3 else ():
            each["transaction_hash"] = next(self.names)
        for each in objects_of(raw, "taker_order_id") if number % 3 == 1 else ():
            each["id"] = each["taker_order_id"] = next(self.names)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "style"), [("live", "errors"), ("live", "words"), ("live", "names"), ("paper", "errors")]
)
def test_a_bot_that_trades_among_services_that_repeat_every_secret_tells_none(mode, style, tmp_path, capsys):
    told = []
    for name in ("bots", "polymirror"):
        logging.getLogger(name).setLevel(logging.DEBUG)

    async def scene(stage):
        account, telegram = stage.account, stage.telegram
        canaries = {
            "key": account.api_key, "secret": account.secret, "passphrase": account.passphrase,
            "token": telegram.token,
        }  # fmt: skip
        held = [Secret(value) for value in canaries.values()]
        true, counter = stage.venue.network, itertools.count()
        network = evolve(true, transport=lambda: Echo(true.transport(), style, list(canaries.values()), counter))
        with contextlib.closing(Database.of(tmp_path, mode, "0xabc" if mode == "live" else "")) as store:
            bot = bot_on(stage, store, mode=mode, told=told, network=network, chat=stage.chat(network))
            # Some of these services make it stop for good, or never say what became of an order.
            await live_for(bot, 40 * 60, until=lambda: bot.account.totals.fills > 2)
            orders = bot.account.totals.orders
        del held
        return orders, canaries, [each.text for each in telegram.messages]

    with all_that_is_logged() as everything:
        orders, canaries, chat = on_stage(scene)
    path = next(tmp_path.glob("*.sqlite"))
    for table in TABLES.values():
        for more in ([], ["--json"]):
            assert main(["export", table, "--folder", str(tmp_path), *more]) == 0
    for command in (["status"], ["trades"], ["positions"], ["pnl"]):
        assert main([*command, "--folder", str(tmp_path)]) == 0
    shown, log = capsys.readouterr(), everything.getvalue()
    assert orders > 0
    assert chat or style == "errors"
    assert "order" in log
    kept = "".join(each.read_bytes().decode("latin-1") for each in tmp_path.iterdir())
    assert path.name.startswith(mode)
    for where in (log, "\n".join(told), "\n".join(chat), kept, shown.out, shown.err):
        assert not leaks(where, canaries=canaries)


def test_a_name_of_the_venue_s_has_letters_and_digits_and_no_secret():
    held = [Secret(value) for value in CANARIES.values()]
    for good in ("0x" + "5a" * 32, "c0ffee00-1b2d-4e5f-9a8b-7c6d5e4f3a2b", "7" * 78, "slug-1790000100.1", "a_b:c"):
        assert named(good, "order", "id") == good
    key = CANARIES["POLYMARKET_PRIVATE_KEY"]
    # A few letters may be those of a secret by chance: a list must not become unreadable for that.
    assert named(f"0x{key[4:14]}{'9' * 54}", "order", "id")
    for bad in (
        "",
        None,
        7,
        "a b",
        "a\n",
        "\x1b[2J",
        "\u202eab",
        "é",
        "x" * 129,
        key,
        CANARIES["POLYMARKET_API_KEY"],
        f"0x{key[2:15]}{'9' * 51}",
    ):
        with pytest.raises(Unanswered, match="order: id is ") as found:
            named(bad, "order", "id")
        assert not leaks(str(found.value))
    assert held


def test_a_word_of_the_venue_s_is_one_line_of_bounded_length_without_a_secret():
    held = Secret(CANARIES["POLYMARKET_API_SECRET"])
    state = state_of(f"ORDER_STATUS_live\n\x1b[2J{held.reveal()}" + "x" * 300, 0)
    assert state.status.startswith("LIVE\\N\\U001B[2J***")
    assert len(word("x" * 300)) == 60
    assert not leaks(state.status)
