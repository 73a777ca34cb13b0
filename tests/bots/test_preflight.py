"""Before the start: what is wrong is told in one line each, with what to do, within seconds."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from functools import partial

import pytest

from bots.common.errors import BadCredentials, Unanswered
from bots.common.execution.base import Holdings
from bots.common.ledger.database import Database, inline
from bots.common.operate import checks
from bots.common.operate.notifications import TelegramApi
from bots.common.operate.preflight import EXIT_FAILED, Check, CheckFailed, Finding, Report, run
from bots.common.secrets import Secret
from bots.testing.telegram import DEFAULT_TOKEN, TelegramFaults, TelegramService
from bots.updown.watch import check_prices
from polymirror.core.states import BookState, Reason
from polymirror.errors import NotLive, VenueUnavailable
from polymirror.simulator.frames import Answer
from polymirror.simulator.virtual.loop import run_virtual
from polymirror.venue.rest import ServerTime
from tests.bots.service_rig import Services


def now():
    return asyncio.get_running_loop().time()


def found(main):
    """Run an async function in virtual time; return its result, or the failed check's why and what to do."""

    async def outer():
        try:
            return await main()
        except CheckFailed as failure:
            return failure.why, failure.todo

    return run_virtual(outer)


def preflight(*asked, **rest):
    return run_virtual(lambda: run(asked, **rest))


async def fine():
    return "fine"


async def broken():
    raise CheckFailed("the key is wrong", "set another key")


async def hangs():
    await asyncio.sleep(1_000)


def after(seconds, then):
    async def ask():
        await asyncio.sleep(seconds)
        return await then()

    return ask


# ---- The runner --------------------------------------------------------------------------------------


def test_when_all_is_well_trading_may_begin():
    report = preflight(Check("a", fine), Check("b", after(1, fine)), Check("c", after(1, fine)))
    assert (report.ok, report.exit_code, report.failures) == (True, 0, ())
    assert report.seconds == pytest.approx(1)
    assert report.describe() == {
        "ok": True,
        "checks": {name: {"ok": True, "found": "fine", "todo": ""} for name in "abc"},
    }


def test_each_failure_is_one_line_with_what_to_do():
    async def crashes():
        raise RuntimeError("something\nnobody foresaw")

    report = preflight(
        Check("venue", broken), Check("fine", fine), Check("odd", crashes, todo="ask a person"),
        Check("slow", hangs, limit=1.0),
    )  # fmt: skip
    assert report.exit_code == EXIT_FAILED != 0
    assert report.failures == (
        "venue: the key is wrong -> set another key",
        "odd: RuntimeError: something\\nnobody foresaw -> ask a person",
        "slow: no answer within 1 s -> check the network, the proxy variables (HTTPS_PROXY, NO_PROXY) and the address",
    )


def test_checks_run_side_by_side_each_with_its_own_limit():
    report = preflight(*(Check(str(number), hangs, limit=number) for number in (1, 2)), Check("x", after(1.5, fine)))
    assert [finding.ok for finding in report.findings] == [False, False, True]
    assert report.seconds == pytest.approx(2)


@pytest.mark.parametrize("first", [0.0, 1.9, 2.4])
def test_once_something_failed_the_others_get_no_more_than_the_rest_of_the_verdict(first):
    report = preflight(Check("key", after(first, broken), limit=5), Check("prices", hangs, limit=30))
    assert report.seconds < 3
    assert report.failures[1] == "prices: not finished when something else failed -> mend that first"


def test_a_late_failure_leaves_the_others_a_moment():
    report = preflight(Check("key", after(9, broken), limit=20), Check("b", after(9.1, fine), limit=20))
    assert [finding.ok for finding in report.findings] == [False, True]


def test_a_check_that_would_have_ended_sooner_is_not_given_longer():
    report = preflight(Check("key", broken), Check("slow", hangs, limit=1.0))
    assert report.seconds == pytest.approx(1)
    assert "no answer within 1 s" in report.failures[1]


def test_a_slow_check_may_take_its_time_when_nothing_failed():
    assert preflight(Check("prices", after(20, fine), limit=30)).ok


def test_no_line_shows_a_secret():
    async def tells():
        raise CheckFailed("the token 123:abc is wrong", "not 123:abc")

    secret = Secret("123:abc")
    report = preflight(Check("x", tells))
    assert secret
    assert report.failures == ("x: the token *** is wrong -> not ***",)


def test_a_report_of_nothing_is_fine_and_of_a_failure_is_not():
    assert Report(()).exit_code == 0
    assert Report((Finding(name="a", ok=False, found="b", todo="c"),)).exit_code == EXIT_FAILED


# ---- Telegram ----------------------------------------------------------------------------------------


def ask_telegram(service, key=DEFAULT_TOKEN, chat="4242", **rig):
    async def main():
        network = Services([service], **rig).network()
        return await checks.telegram(TelegramApi(Secret(key), network), chat, "a test message")

    return found(main)


def test_a_token_and_a_chat_that_are_right_get_a_test_message():
    service = TelegramService()
    assert ask_telegram(service) == "@simulated_bot reaches chat 4242"
    assert [message.text for message in service.messages] == ["a test message"]


@pytest.mark.parametrize(("key", "status"), [("1234567890:WRONG", 401), ("nonsense", 404)])
def test_a_wrong_token_is_told_and_no_part_of_it(key, status):
    why, todo = ask_telegram(TelegramService(), key)
    assert why.startswith(f"the token is not accepted (HTTP {status}")
    assert todo == "set TELEGRAM_TOKEN to what @BotFather gave you"
    assert key not in why


def test_a_wrong_chat_id_is_named():
    why, todo = ask_telegram(TelegramService(), chat="777")
    assert why == "chat id '777' cannot be written to (Bad Request: chat not found)"
    assert todo == "write /start to @simulated_bot there, or set the right chat id"


def test_a_person_who_blocked_the_bot_is_told_of():
    assert "blocked by the user" in ask_telegram(TelegramService(blocked={4242}))[0]


def test_a_group_that_moved_is_told_with_its_new_id():
    assert ask_telegram(TelegramService(moved={-5: -1005}), chat="-5")[1] == "set its new id, -1005"


def test_a_chat_that_is_busy_is_reachable():
    assert "busy just now" in ask_telegram(TelegramService(faults=TelegramFaults(busy=1.0)))


def test_a_telegram_that_is_not_reachable_is_a_matter_of_the_network():
    assert "check the network" in ask_telegram(TelegramService(), down=1e12)[1]
    assert "check the network" in ask_telegram(TelegramService(faults=TelegramFaults(error=1.0)))[1]


def test_wrong_credentials_of_every_kind_each_have_their_line_within_three_seconds():
    async def refused():
        raise BadCredentials("GET /auth/api-keys", 401, "Unauthorized/Invalid api key")

    async def main():
        network = Services([TelegramService(), Geo(blocked=True)]).network()
        return await run(
            [
                Check("telegram token", partial(checks.telegram, TelegramApi(Secret("1:x"), network), "4242", "t")),
                Check("telegram chat", partial(checks.telegram, TelegramApi(Secret(DEFAULT_TOKEN), network), "7", "t")),
                Check("credentials", partial(checks.credentials, refused, "POLYMARKET_KEY")),
                Check("allowances", partial(checks.allowances, refused)),
                Check("balance", partial(checks.balance, refused, Decimal(5))),
                Check("region", partial(checks.region, network)),
                Check("prices", hangs, limit=30),
            ]
        )

    report = run_virtual(main)
    assert report.seconds < 3
    assert report.exit_code != 0
    assert len(report.failures) == len(report.findings) == 7
    assert report.failures[2] == (
        "credentials: the venue does not accept them (HTTP 401: Unauthorized/Invalid api key) -> "
        "set POLYMARKET_KEY again"
    )


# ---- The venue ---------------------------------------------------------------------------------------


class Geo:
    def __init__(self, body=None, **said):
        self.body = json.dumps({"ip": "192.0.2.1", "country": "XX", "region": "", **said}) if body is None else body

    def answer(self, call, _now_ms):
        return Answer(200, self.body) if call.path == "/api/geoblock" else None


def ask_region(service, **rig):
    async def main():
        return await checks.region(Services([service], **rig).network())

    return found(main)


def test_a_region_that_is_served_may_trade():
    assert ask_region(Geo(blocked=False)) == "the venue serves XX"
    assert ask_region(Geo(blocked=False, country="")) == "the venue serves this region"


def test_a_region_that_is_not_served_may_not():
    assert ask_region(Geo(blocked=True, region="YY")) == ("the venue does not serve XX YY", "do not trade from here")


@pytest.mark.parametrize("body", ["[]", "{}", '{"blocked": "false"}', '{"blocked": null}', "<html>"])
def test_an_answer_that_cannot_be_read_counts_as_no(body):
    assert len(ask_region(Geo(body))) == 2


def test_no_answer_counts_as_no():
    assert "does not say" in ask_region(Geo(blocked=False), down=1e12)[0]


async def _unanswered():
    raise Unanswered("GET /balance-allowance", "time-out")


async def _refused():
    raise BadCredentials("GET /balance-allowance", 401, "Unauthorized")


def test_credentials_that_are_accepted_are():
    assert found(partial(checks.credentials, fine, "KEY")) == "accepted"


@pytest.mark.parametrize(
    "check",
    [
        partial(checks.credentials, _unanswered, "KEY"),
        partial(checks.allowances, _unanswered),
        partial(checks.balance, _unanswered, Decimal(1)),
    ],
)
def test_a_venue_that_does_not_answer_is_a_matter_of_the_network(check):
    why, todo = found(check)
    assert "time-out" in why
    assert "check the network" in todo


def test_allowances_are_given_or_not():
    async def yes():
        return True

    async def no():
        return False

    assert found(partial(checks.allowances, yes)) == "given"
    assert found(partial(checks.allowances, no))[1] == "approve them once, on the site or with the venue's SDK"


@pytest.mark.parametrize(("cash", "good"), [("25", True), ("24.999999", False)])
def test_the_balance_must_pay_for_one_trade(cash, good):
    async def ask():
        return Holdings(cash=Decimal(cash))

    answer = found(partial(checks.balance, ask, Decimal(25)))
    assert answer == (f"{cash} pUSD" if good else (
        f"the account has {cash} pUSD, and one trade may cost 25", "deposit pUSD, or set a smaller stake"
    ))  # fmt: skip


@pytest.mark.parametrize(("off", "good"), [(0.0, True), (0.4, True), (5.0, False), (-5.0, False)])
def test_a_clock_that_is_off_is_told(off, good):
    async def main():
        network = Services([]).network()

        async def ask():
            sent = network.monotonic()
            await asyncio.sleep(0.02)
            stated = int(network.wall() - off)
            await asyncio.sleep(0.02)
            return ServerTime(stated, sent, network.monotonic())

        return await checks.clock(ask, network)

    answer = found(main)
    assert isinstance(answer, str) is good
    if not good:
        assert ("ahead of" if off > 0 else "behind") in answer[0]
        assert "set this machine's clock" in answer[1]


def test_a_venue_that_does_not_tell_the_time_is_told():
    async def ask():
        raise VenueUnavailable("GET /time", 503)

    async def main():
        return await checks.clock(ask, Services([]).network())

    assert "does not tell the time" in found(main)[0]


class Feed:
    """An oracle whose assets start to flow at some second."""

    name = "rtds"

    def __init__(self, trouble="", **starts):
        self.starts, self.trouble, self.refused = starts, trouble, False

    def stale(self, asset, at):
        return at < self.starts[asset]

    def health(self):
        return self


def ask_oracle(feed, within=5.0):
    async def main():
        start = now()
        feed.starts = {asset: start + seconds for asset, seconds in feed.starts.items()}
        return await check_prices(feed, list(feed.starts), Services([]).network(), within)

    return found(main)


def test_prices_that_flow_are_waited_for():
    assert ask_oracle(Feed(btc=0, eth=3)) == "rtds tells fresh prices of btc, eth"


def test_the_assets_without_prices_are_named_with_what_the_feed_said():
    why, _ = ask_oracle(Feed("subscription refused", btc=0, eth=9, sol=9))
    assert why == "no fresh price of eth, sol within 5 s from rtds (subscription refused)"
    assert ask_oracle(Feed(btc=9))[0] == "no fresh price of btc within 5 s from rtds"


class Books:
    tokens = ("1", "2")

    def __init__(self, error=None):
        self.error = error

    async def wait_live(self, *_tokens, timeout):
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error


def test_books_are_live_or_it_is_told_which_is_not():
    assert found(partial(checks.mirror, Books(), 5)) == "2 books LIVE"
    assert found(partial(checks.mirror, Books(), 5, "1")) == "1 books LIVE"
    stale = NotLive("12345", BookState.SUSPECT, Reason.STALE, 20.0, 3)
    why, todo = found(partial(checks.mirror, Books(stale), 5))
    assert "12345 is SUSPECT (STALE)" in why
    assert "polymirror doctor" in todo
    assert "check the network" in found(partial(checks.mirror, Books(VenueUnavailable("GET /book", 503)), 5))[1]


def test_a_folder_that_cannot_be_written_is_told():
    assert found(partial(checks.disk, Database(), inline)) == "can be written"

    class Full(Database):
        def write(self, statements):
            raise OSError(28, "No space left on device")

    assert "No space left" in found(partial(checks.disk, Full(), inline))[0]
