"""The preflight of a bot as a whole: each thing that is wrong is one line, and the verdict comes within seconds."""

from __future__ import annotations

import asyncio
import random
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest

from bots.common.ledger.database import Database, inline
from bots.common.operate.login import Login
from bots.common.operate.notifications import TelegramApi
from bots.common.secrets import Secret
from bots.testing.exchange import ApiKey, ExchangeClient
from bots.testing.stage import Stage
from bots.updown.oracles.factory import OracleSettings, make_oracle
from bots.updown.ready import Outside, preflight
from polymirror.errors import MissingExtra
from polymirror.simulator.faults.base import Plan
from polymirror.simulator.feeds.faults import ZombieFeed
from polymirror.simulator.orders.desk import Geo
from polymirror.simulator.settings import DEFAULT_START_MS, RoundsConfig
from polymirror.simulator.virtual import run_virtual

ASSETS = ("btc", "eth")


class Client(ExchangeClient):
    """The embedded exchange has no contracts to approve."""

    async def approved(self):
        return True

    @property
    def address(self):
        return self._account.address


def ask(
    *,
    api_key=None,
    passphrase=None,
    token=None,
    chat="4242",
    least="25",
    blocked=False,
    geoblock="/api/geoblock",
    feed_faults=(),
    error=None,
    logins=None,
    node="/rpc",
):
    async def run():
        stage = Stage.build(3, RoundsConfig(assets=ASSETS), feed_faults=feed_faults)
        stage.desk.geo = Geo(blocked=blocked)
        async with stage.venue:
            network, account = stage.venue.network, stage.account
            key = ApiKey(account.address, api_key or account.api_key, account.secret, passphrase or account.passphrase)

            @asynccontextmanager
            async def log_in():
                if logins is not None:
                    logins.append(loop.time() - began)
                if error is not None:
                    raise error
                async with Client(stage.venue.base_url, key, network) as client:
                    yield client

            settings = stage.oracle_settings(OracleSettings(assets=ASSETS))
            secret = Secret(token or stage.telegram.token)
            loop = asyncio.get_running_loop()
            began = loop.time()
            report = await preflight(
                Outside(
                    network=network,
                    endpoints=stage.venue.endpoints,
                    oracle=make_oracle(settings, network, rng=random.Random(1)),
                    assets=ASSETS,
                    interval="15m",
                    store=Database(),
                    offload=inline,
                    geoblock=f"{stage.venue.base_url}{geoblock}",
                    telegram=TelegramApi(secret, network, api=stage.venue.base_url),
                    chat=chat,
                    login=Login(
                        open=log_in,
                        variables="POLYMARKET_API_*",
                        least=Decimal(least),
                        node=stage.venue.base_url + node,
                    ),
                )
            )
            return report, loop.time() - began

    return run_virtual(run, start_ms=DEFAULT_START_MS)


def test_all_is_well_on_the_embedded_exchange():
    report, _ = ask()
    assert report.failures == ()
    assert report.exit_code == 0
    names = [finding.name for finding in report.findings]
    assert names == [
        "region", "clock", "ledger", "prices", "books", "telegram", "credentials", "allowances", "balance", "chain"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("wrong", "name", "words"),
    [
        ({"api_key": "nobody"}, "credentials", "POLYMARKET_API_*"),
        ({"passphrase": "wrong"}, "credentials", "POLYMARKET_API_*"),
        ({"token": "12345:not-this-one"}, "telegram", "TELEGRAM_TOKEN"),
        ({"chat": "999"}, "telegram", "999"),
        ({"least": "100000"}, "balance", "deposit"),
        ({"node": "/nobody"}, "chain", "set another node"),
        ({"blocked": True}, "region", "does not serve"),
    ],
)
def test_each_wrong_thing_has_its_own_line_within_three_seconds(wrong, name, words):
    report, seconds = ask(**wrong)
    assert seconds < 3
    assert report.exit_code != 0
    lines = [line for line in report.failures if line.startswith(f"{name}: ")]
    assert len(lines) == 1
    assert words in lines[0]
    assert "->" in lines[0]
    assert "not-this-one" not in "\n".join(report.failures)


@pytest.mark.parametrize("region", [{"blocked": True}, {"geoblock": "/not/there"}])
def test_nobody_logs_in_where_the_venue_does_not_serve_us_or_does_not_say(region):
    logins = []
    report, _ = ask(logins=logins, **region)
    assert logins == []
    lines = [line for line in report.failures if line.startswith("credentials: ")]
    assert lines == ["credentials: nobody logs in where the venue does not serve us -> see the region"]


def test_the_login_comes_after_the_venue_has_said_that_it_serves_the_region():
    logins = []
    report, _ = ask(logins=logins)
    seconds = {finding.name: finding.seconds for finding in report.findings}
    assert report.ok
    assert len(logins) == 1
    assert logins[0] >= seconds["region"] > 0


def test_several_wrong_things_are_told_at_once():
    report, seconds = ask(passphrase="wrong", chat="999", blocked=True)
    assert seconds < 3
    assert {line.partition(":")[0] for line in report.failures} >= {"credentials", "telegram", "region"}


def test_a_relay_that_tells_no_prices_is_told_apart_from_one_that_cannot_be_reached():
    report, _ = ask(feed_faults=[ZombieFeed(Plan(share=1.0, length_ms=600_000))])
    assert [line.partition(":")[0] for line in report.failures] == ["prices"]
    assert "rtds" in report.failures[0]


def test_a_missing_library_is_told_as_what_it_is():
    report, _ = ask(error=MissingExtra("live trading", "live"))
    lines = [line for line in report.failures if line.startswith("credentials: ")]
    assert len(lines) == 1
    assert "polymirror[live]" in lines[0]
    assert "network" not in lines[0]
