"""The settings: every field is checked, and a refusal names field, value and range."""

from __future__ import annotations

import math
import re

import attrs
import pytest

from polymirror import ConfigError, Endpoints, EngineConfig, Mirror, MirrorConfig, RestConfig, StreamConfig

NUMBERS = (EngineConfig, StreamConfig, RestConfig, MirrorConfig)
RANGE = re.compile(r"between ([\d.e+]+) and ([\d.e+]+) (\S.*)$")


def numeric_fields():
    for config in NUMBERS:
        for each in attrs.fields(config):
            if each.type in ("float", "int", float, int):
                yield pytest.param(config, each.name, id=f"{config.__name__}.{each.name}")


def refusal(config, name, value) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        config(**{name: value})
    error = caught.value
    assert error.field == name
    assert error.value is value
    assert str(error).startswith(f"{name}={repr(value)[:12]}")
    assert str(error).endswith(f" is not allowed: it must be {error.allowed}")
    return error


def allowed_range(config, name) -> tuple[float, float]:
    match = RANGE.search(refusal(config, name, None).allowed)
    assert match, "a range names both ends and the unit"
    return float(match[1]), float(match[2])


@pytest.mark.parametrize(("config", "name"), list(numeric_fields()))
def test_a_number_out_of_its_range_is_refused_and_both_ends_are_allowed(config, name) -> None:
    low, high = allowed_range(config, name)
    whole = isinstance(getattr(config(), name), int)
    step = 1 if whole else 1e-9
    for value in (low - step, high * (1 + 1e-9) + (1 if whole else 0), -1, math.inf, -math.inf, math.nan):
        refusal(config, name, int(value) if whole and math.isfinite(value) else value)
    for value in (low, high):
        kept = int(value) if whole else value
        assert getattr(config(**{name: kept}), name) == kept
    assert low <= getattr(config(), name) <= high


@pytest.mark.parametrize(("config", "name"), list(numeric_fields()))
def test_what_is_no_number_is_refused(config, name) -> None:
    for value in ("1", None, True, False, [1], 1j):
        refusal(config, name, value)
    if isinstance(getattr(config(), name), int):
        low, _ = allowed_range(config, name)
        refusal(config, name, float(low) + 1.0)


def test_every_field_of_every_class_is_checked() -> None:
    for config in (*NUMBERS, Endpoints):
        for each in attrs.fields(config):
            refusal(config, each.name, object())


@pytest.mark.parametrize("name", ["engine", "stream", "rest", "endpoints"])
def test_a_part_must_be_of_its_own_class(name) -> None:
    wrong = StreamConfig() if name != "stream" else RestConfig()
    for value in (wrong, None, {}, "x"):
        assert type(getattr(MirrorConfig(), name)).__name__ in refusal(MirrorConfig, name, value).allowed


def test_a_seed_is_a_whole_number_or_none_and_custom_features_a_bool() -> None:
    for value in ("1", 1.0, True, b"x"):
        refusal(MirrorConfig, "seed", value)
    for value in (1, 0, None, "yes"):
        refusal(MirrorConfig, "custom_features", value)
    assert MirrorConfig(seed=-5).seed == -5
    assert MirrorConfig(custom_features=False).custom_features is False


@pytest.mark.parametrize("name", ["stream", "clob", "gamma"])
@pytest.mark.parametrize(
    "value",
    [
        "",
        "example.org",
        "//example.org",
        "ftp://example.org",
        "{scheme}://",
        "{scheme}:///path",
        "{scheme}://:8080",
        "{scheme}://[::1",
        "{scheme}://example.org:99999",
        "{scheme}://example.org:0",
        "{scheme}://example.org:port",
        " {scheme}://example.org",
        "{scheme}://example.org ",
        "{scheme}://exam\nple.org",
        "{scheme}://example.org/#part",
        7,
        b"{scheme}://example.org",
    ],
)
def test_what_is_no_usable_url_is_refused(name, value) -> None:
    scheme = "wss" if name == "stream" else "https"
    given = value.replace("{scheme}", scheme) if isinstance(value, str) else value
    assert f"starts with {scheme}" in refusal(Endpoints, name, given).allowed


def test_each_service_has_its_own_schemes() -> None:
    Endpoints(stream="ws://127.0.0.1:1/ws/market", clob="http://[::1]:1", gamma="https://example.org/base")
    refusal(Endpoints, "stream", "https://example.org")
    refusal(Endpoints, "clob", "wss://example.org")
    refusal(Endpoints, "gamma", "ws://example.org")


def test_a_simulator_or_proxy_has_all_services_at_one_address() -> None:
    local = Endpoints(stream="ws://127.0.0.1:80/ws/market", clob="http://127.0.0.1:80", gamma="http://127.0.0.1:80")
    assert Endpoints.at("http://127.0.0.1:80/") == local
    assert Endpoints.at("https://venue/base").stream == "wss://venue/base/ws/market"
    for wrong in ("venue", "ws://venue", 7):
        with pytest.raises(ConfigError, match="a URL that starts with https or http"):
            Endpoints.at(wrong)
    with pytest.raises(ConfigError, match="without a query"):
        Endpoints.at("https://venue?x=1")


@pytest.mark.parametrize(
    "host", ["venue", "192.0.2.7", "127.0.0.1.example.org", "localhost.example.org", "[2001:db8::1]"]
)
def test_without_tls_an_address_leads_to_this_machine_or_is_allowed_by_name(host) -> None:
    for name, value in (("stream", f"ws://{host}/x"), ("clob", f"http://{host}:80"), ("gamma", f"http://{host}")):
        error = refusal(Endpoints, name, value)
        assert "without TLS it may only lead to this machine" in error.allowed
        assert error.field == name
        assert getattr(Endpoints(**{name: value}, allow_plain=True), name) == value
    with pytest.raises(ConfigError, match="without TLS"):
        Endpoints.at(f"http://{host}")
    assert Endpoints.at(f"http://{host}", allow_plain=True).stream == f"ws://{host}/ws/market"
    for near in ("localhost", "127.9.9.9", "[::1]"):
        assert Endpoints.at(f"http://{near}:80").clob == f"http://{near}:80"
    refusal(Endpoints, "allow_plain", 1)


@pytest.mark.parametrize("userinfo", ["user:hush@", "hush@", ":hush@", "user:hu@sh@", "us er:hush@"])
def test_an_address_with_a_password_is_refused_and_not_shown(userinfo) -> None:
    for name, scheme in (("stream", "wss"), ("clob", "https"), ("gamma", "http")):
        with pytest.raises(ConfigError, match=f"{name}='.not shown.'.*without user and password") as caught:
            Endpoints(**{name: f"{scheme}://{userinfo}example.org"})
        assert "hush" not in f"{caught.value!r}{vars(caught.value)}"
    with pytest.raises(ConfigError, match="not shown"):
        Endpoints.at(f"https://{userinfo}example.org")


@pytest.mark.parametrize("alone", ["btc-updown-15m-1790000100", b"x", 7])
def test_a_single_slug_where_several_belong_is_refused_and_told_what_takes_one(alone) -> None:
    error = refusal(Mirror, "slugs", alone)
    assert error.allowed == "several: a list, also for one; Mirror.for_slug takes a single slug"


@pytest.mark.parametrize("config", [*NUMBERS, Endpoints])
def test_settings_are_frozen_and_equal_when_their_values_are(config) -> None:
    name = attrs.fields(config)[0].name
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        setattr(config(), name, None)
    assert config() == config()
    with pytest.raises(TypeError):
        config(no_such_setting=1)
    with pytest.raises(TypeError):
        config(1)


def test_a_mirror_takes_endpoints_apart_from_its_settings_and_checks_them() -> None:
    elsewhere = Endpoints(clob="http://127.0.0.1:1")
    assert Mirror(endpoints=elsewhere).config.endpoints == elsewhere
    assert Mirror(config=MirrorConfig(seed=3), endpoints=elsewhere).config.seed == 3
    with pytest.raises(ConfigError, match="endpoints"):
        Mirror(endpoints="http://127.0.0.1:1")


def test_a_seed_is_drawn_and_kept_when_none_is_given() -> None:
    assert Mirror(config=MirrorConfig(seed=7)).seed == 7
    assert Mirror().seed != Mirror().seed
