"""What the environment sets wrongly is told at the start, by the variable's name and without its secrets."""

from __future__ import annotations

import os
import random
import urllib.request
from importlib.util import find_spec

import pytest

from polymirror import Endpoints, Mirror, MirrorConfig, RestConfig
from polymirror.errors import ConfigError
from polymirror.venue.network import REAL
from polymirror.venue.rest import Clob
from tests.venue.hostile import Hostile

pytestmark = pytest.mark.anyio

STREAM = "wss://venue.invalid/ws"


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    for name in tuple(os.environ):
        if name.lower().endswith("_proxy") or name.startswith("SSL_CERT"):
            monkeypatch.delenv(name)
    monkeypatch.setattr("urllib.request.proxy_bypass", lambda _host: False)


WRONG = [
    ("https_proxy", "gopher://user:secret@proxy.invalid:1", "gopher://proxy.invalid:1"),
    ("HTTPS_PROXY", "http://proxy.invalid:99999", "http://proxy.invalid:99999"),
    ("https_proxy", "http://user:secret", "(not shown)"),
    ("https_proxy", "http://:1", "http://:1"),
    ("https_proxy", "http://user:sec@ret@proxy.invalid:x", "(not shown)"),
    ("https_proxy", "://", "(not shown)"),
]


def shows(error: ConfigError, name: str, value: str) -> None:
    assert error.field == name.lower()
    assert error.value == value
    assert "starts with http" in error.allowed
    assert "sec" not in str(error).replace("(not shown)", "")
    assert len(str(error).splitlines()) == 1


@pytest.mark.parametrize(("name", "address", "shown"), WRONG)
async def test_a_wrong_proxy_is_refused_by_both_services_before_anything_is_sent(monkeypatch, name, address, shown):
    monkeypatch.setenv(name, address)
    with pytest.raises(ConfigError) as from_stream:
        REAL.check(STREAM)
    shows(from_stream.value, name, shown)
    with pytest.raises(ConfigError) as from_rest:
        async with Clob(RestConfig(), Endpoints(), rng=random.Random(1)):
            pass
    shows(from_rest.value, name, shown)


@pytest.mark.skipif(find_spec("python_socks") is not None, reason="python-socks is installed")
async def test_a_socks_proxy_without_what_it_needs_is_refused(monkeypatch):
    monkeypatch.setenv("all_proxy", "socks5://user:secret@proxy.invalid:1")
    monkeypatch.setenv("wss_proxy", "socks5://user:secret@proxy.invalid:1")
    with pytest.raises(ConfigError, match=r"^(wss|all)_proxy='socks5://proxy.invalid:1'.*python-socks"):
        REAL.check(STREAM)
    if find_spec("socksio") is None:
        with pytest.raises(ConfigError, match="socksio"):
            async with Clob(RestConfig(), Endpoints(), rng=random.Random(1)):
                pass


def test_a_good_proxy_or_none_is_accepted(monkeypatch):
    REAL.check(STREAM)
    monkeypatch.setenv("https_proxy", "http://user:secret@proxy.invalid:8080/")
    REAL.check(STREAM)


async def test_certificates_that_cannot_be_read_are_refused_by_name(monkeypatch, tmp_path):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    with pytest.raises(ConfigError, match=r"^SSL_CERT_FILE=.*none\.pem"):
        async with Clob(RestConfig(), Endpoints(), rng=random.Random(1)):
            pass


async def test_an_address_that_only_the_libraries_refuse_is_refused_at_the_start():
    for url in ("ftp://nowhere", "wss://[::1", "ws://h:99999/"):
        with pytest.raises(ConfigError, match=r"^url="):
            REAL.check(url)
    clob = Clob(RestConfig(), Endpoints(), rng=random.Random(1))
    clob._http._base_url = "https://user:secret@[::1"
    with pytest.raises(ConfigError, match=r"^endpoints=") as refused:
        async with clob:
            pass
    assert "secret" not in str(refused.value)


async def test_a_mirror_refuses_a_wrong_proxy_when_it_is_entered_and_asks_nobody_before(monkeypatch):
    monkeypatch.setenv("ws_proxy", "gopher://user:secret@proxy.invalid:1")
    async with Hostile(b"").running() as peer:
        mirror = Mirror(endpoints=Endpoints(stream=peer.ws, clob=peer.http, gamma=peer.http))
        with pytest.raises(ConfigError, match=r"^ws_proxy='gopher://proxy\.invalid:1' is not allowed"):
            async with mirror:
                pass
        assert peer.requests == []


def test_the_libraries_look_at_the_same_variables():
    # What names the variable in an error relies on it.
    assert urllib.request.getproxies() == {}


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"slugs": "btc-updown-15m-1790000100"}, "slugs"),
        ({"tokens": "7"}, "tokens"),
        ({"tokens": [7]}, "tokens"),
        ({"tokens": [""]}, "tokens"),
        ({"slugs": [None]}, "slugs"),
        ({"slugs": 7}, "slugs"),
        ({"markets": ["btc"]}, "markets"),
        ({"config": {"seed": 1}}, "config"),
        ({"network": "eth0"}, "network"),
        ({"endpoints": "https://x.test"}, "endpoints"),
    ],
)
def test_arguments_of_another_kind_are_refused_where_they_are_given(arguments, field):
    with pytest.raises(ConfigError, match=f"^{field}="):
        Mirror(**arguments)


def test_arguments_of_the_right_kind_are_taken_from_anything_that_has_several():
    mirror = Mirror(slugs=(slug for slug in ("a", "b")), tokens={"7": 1}, config=MirrorConfig())
    assert list(mirror.missing) == ["a", "b", "7"]
    assert mirror.tokens == ("7",)
