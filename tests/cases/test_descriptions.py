"""What a service says of a market is a network's word: whatever it is, it is no wrong setting, and it can be shown."""

from __future__ import annotations

import json

import httpx
import pytest

from polymirror import ConfigError, Mirror, MirrorConfig
from polymirror.config import RestConfig
from polymirror.errors import BadResponse, VenueError, VenueUnavailable
from polymirror.venue.market import parse_market
from polymirror.venue.network import Network

pytestmark = pytest.mark.anyio

MARKET = {
    "slug": "s", "question": "q", "conditionId": "0xc", "clobTokenIds": '["1", "2"]', "outcomes": '["Up", "Down"]',
    "closed": False, "active": True, "orderPriceMinTickSize": 0.01, "orderMinSize": 5,
}  # fmt: skip


@pytest.fixture
def anyio_backend():
    return "asyncio"


async def nobody(*_arguments):
    raise VenueUnavailable("x", None, "nobody there")


def mirror_told(told: list[dict], **options) -> Mirror:
    """A mirror to which the discovery service says this."""

    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=json.dumps(told) if request.url.path == "/markets" else b"[]")

    network = Network(open_wire=nobody, transport=lambda: httpx.MockTransport(answer), check=lambda _url: None)
    return Mirror(config=MirrorConfig(rest=RestConfig(attempts=1)), network=network, **options)


THREE = {"clobTokenIds": '["1", "2", "3"]', "outcomes": '["a", "b", "c"]'}
ONE = {"clobTokenIds": '["1"]', "outcomes": '["a"]'}


@pytest.mark.parametrize("change", [THREE, ONE])
@pytest.mark.parametrize("asked", [{"slugs": ["s"]}, {"tokens": ["1"]}])
async def test_a_market_that_has_not_two_tokens_is_a_bad_answer(change, asked):
    async with mirror_told([MARKET | change], **asked) as mirror:
        [(name, why)] = mirror.missing.items()
        assert "two tokens" in why
        with pytest.raises(BadResponse, match="two tokens"):
            await (mirror.add_slug(name) if "slugs" in asked else mirror.add_token(name))


async def test_a_market_that_claims_the_tokens_of_another_is_a_bad_answer():
    told = [dict(MARKET)]
    async with mirror_told(told, slugs=["s"]) as mirror:
        told[0] |= {"slug": "t", "conditionId": "0xother"}
        with pytest.raises(BadResponse, match="0xc has it"):
            await mirror.add_slug("t")
        told[0]["slug"] = "s"
        with pytest.raises(BadResponse, match="0xc has it"):
            await mirror.add_token("1")
        assert [market.condition_id for market in mirror.markets] == ["0xc"]


async def test_what_a_caller_gives_or_sets_is_a_setting_still():
    market = parse_market(MARKET | THREE, "x")
    with pytest.raises(ConfigError, match="two tokens"):
        async with mirror_told([], markets=[market]):
            pass


@pytest.mark.parametrize("name", ["endDate", "eventStartTime"])
@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-23:59", "1969-12-31T00:00:00Z"])
def test_a_moment_that_no_calendar_has_is_a_bad_answer(name, moment):
    with pytest.raises(BadResponse, match=name):
        parse_market(MARKET | {name: moment}, "x")


ESCAPES = "\x1b[2J\n" * 500


@pytest.mark.parametrize("name", sorted(MARKET))
async def test_what_is_told_of_a_bad_description_can_be_shown(name):
    for value in (ESCAPES, [ESCAPES], json.dumps([ESCAPES, "2"]), json.dumps([]), {"a": ESCAPES}):
        for told in (MARKET | {name: value}, MARKET | {"slug": ESCAPES, name: value}):
            async with mirror_told([told], tokens=["1"]) as mirror:
                shown = mirror.missing.get("1", "")
                try:
                    assert shown or len(mirror.markets[0].up.id) == 1
                except VenueError as error:
                    shown = str(error)
            assert shown.isprintable()
            assert len(shown) < 500
