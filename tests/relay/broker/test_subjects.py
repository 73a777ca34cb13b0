"""Addresses, names and subjects: what may be in them, and what may not."""

from __future__ import annotations

import sys

import pytest

from polymirror import ConfigError, MissingExtra, NatsConfig, RemoteConfig
from polymirror.relay.broker.subjects import Subjects, check_interval, check_name, check_server, is_broker, split
from polymirror.relay.remote import RemoteMirror

SECRET = "canary-5f1d"  # noqa: S105 - made up


def test_an_address_names_a_server_and_a_relay() -> None:
    assert split("relays", "nats://127.0.0.1:4222/desk", allow_plain=False) == ("nats://127.0.0.1:4222", "desk")
    assert split("relays", "tls://nats.example.org/desk-2", allow_plain=False) == ("tls://nats.example.org", "desk-2")
    assert is_broker("tls://nats.example.org/desk")
    assert not is_broker("https://nats.example.org/desk")


@pytest.mark.parametrize(
    "url",
    [
        "nats://127.0.0.1:4222",
        "nats://127.0.0.1:4222/",
        "nats://127.0.0.1:4222/a.b",
        "nats://127.0.0.1:4222/a/b",
        "nats://127.0.0.1:4222/>",
        "nats://127.0.0.1:4222/desk?x=1",
        "nats://nats.example.org:4222/desk",
        "nats:///desk",
        f"nats://me:{SECRET}@127.0.0.1:4222/desk",
        f"nats://{SECRET}@127.0.0.1:4222/desk",
    ],
)
def test_an_address_that_is_none_is_refused_and_shows_no_password(url: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RemoteMirror(url)
    assert "relays" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_a_broker_elsewhere_needs_tls_or_leave() -> None:
    with pytest.raises(ConfigError, match="allow_plain"):
        check_server("server", "nats://192.0.2.1:4222", allow_plain=False)
    check_server("server", "nats://192.0.2.1:4222", allow_plain=True)
    check_server("server", "tls://192.0.2.1:4222", allow_plain=False)
    RemoteMirror("nats://192.0.2.1:4222/desk", config=RemoteConfig(allow_plain=True))
    with pytest.raises(ConfigError, match="server alone"):
        check_server("server", "tls://192.0.2.1:4222/desk", allow_plain=False)


def test_without_the_extra_its_command_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nats", None)
    with pytest.raises(MissingExtra, match=r"pip install 'polymirror\[relay\]'"):
        RemoteMirror("nats://127.0.0.1:4222/desk")


@pytest.mark.parametrize("name", ["", "a.b", "a b", "*", ">", "x" * 65, "é", None, 7])
def test_a_name_has_no_character_that_means_something(name: object) -> None:
    with pytest.raises(ConfigError, match="name"):
        check_name("name", name)


@pytest.mark.parametrize("interval", [-0.1, 0.3, float("nan"), True, "0.1", None])
def test_an_interval_leaves_room_for_two_messages_a_beat(interval: object) -> None:
    with pytest.raises(ConfigError, match=r"interval.*0 to 0\.25 seconds"):
        check_interval("interval", interval)


def test_answers_go_to_subjects_for_answers_alone() -> None:
    there = Subjects("desk", "json")
    assert there.book("12") == "polymirror.desk.json.book.12"
    assert there.book("*") is None
    assert there.is_reply(there.replies + "0f")
    for other in (there.ask, there.markets, "polymirror.desk.json.book.12", there.replies, there.replies + "a.b", ""):
        assert not there.is_reply(other)
    assert not there.is_reply(there.replies + "*")


@pytest.mark.parametrize(
    "settings",
    [
        {"user": "me"},
        {"password": SECRET},
        {"user": "me", "password": SECRET, "token": SECRET},
        {"credentials": SECRET, "token": SECRET},
        {"certificate": "a.pem"},
        {"key": SECRET},
        {"token": ""},
        {"user": "me", "password": 7},
        {"token": SECRET * 1_000},
    ],
)
def test_half_of_who_we_are_or_two_of_it_is_refused_and_not_shown(settings: dict[str, object]) -> None:
    with pytest.raises(ConfigError) as caught:
        NatsConfig(**settings)
    assert SECRET not in str(caught.value)


def test_who_we_are_comes_from_an_environment_and_is_not_shown() -> None:
    config = NatsConfig.from_environment({"NATS_USER": "me", "NATS_PASSWORD": SECRET, "NATS_TOKEN": ""})
    assert (config.user, config.password, config.token) == ("me", SECRET, None)
    assert NatsConfig.from_environment({}) == NatsConfig()
    shown = repr(RemoteConfig(nats=config)) + repr(NatsConfig(token=SECRET)) + repr(NatsConfig(credentials=SECRET))
    assert "me" in shown
    assert SECRET not in shown
