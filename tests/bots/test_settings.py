"""Settings from a file and the environment: exact, checked, and told about by key and range."""

from __future__ import annotations

import copy
import json
import logging
import pickle
from decimal import Decimal
from enum import Enum
from pathlib import Path

import attrs
import pytest
from attrs import field, frozen

from bots.common.operate.settings import (
    PREFIX,
    SettingsError,
    build,
    from_environment,
    load,
    variable_of,
)
from bots.common.ranges import decimal_range, some_of, whole
from bots.common.secrets import NOTHING, Secret, hide
from polymirror.errors import ConfigError


class Color(Enum):
    RED = "red"
    BLUE = "blue"


@frozen(kw_only=True)
class Inner:
    stake: Decimal = field(default=Decimal("0.62"), validator=decimal_range("0.01", "100", "pUSD"))
    tries: int = field(default=3, validator=whole(1, 10, "attempts"))
    color: Color = Color.RED


@frozen(kw_only=True)
class Chat:
    chat_id: str | None = None
    key: Secret = field(default=NOTHING, metadata=from_environment("A_KEY"))


@frozen(kw_only=True)
class Settings:
    assets: tuple[str, ...] = field(default=("btc",), validator=some_of("btc", "eth"))
    folder: Path = Path("state")
    limit: float = 1.5
    live: bool = False
    market: str | int = 0
    inner: Inner = field(factory=Inner)
    chat: Chat = field(factory=Chat)

    def __attrs_post_init__(self):
        if self.live and not self.chat.key:
            raise ConfigError("live", self.live, "false without A_KEY in the environment")


def problems(values, kind=Settings, **environment):
    with pytest.raises(SettingsError) as caught:
        build(kind, values, environment)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


def test_without_a_file_everything_has_its_default(monkeypatch):
    monkeypatch.delenv("A_KEY", raising=False)
    assert load(Settings, None) == Settings()


def test_a_file_is_read_exactly(tmp_path):
    path = tmp_path / "bot.toml"
    path.write_text(
        """
        assets = ["eth", "btc"]
        folder = "x/y"
        limit = 2
        live = true
        market = "m"
        [inner]
        stake = 0.1
        color = "blue"
        [chat]
        chat_id = "-100123"
        """
    )
    settings = load(Settings, path, {"A_KEY": " 123:abc\n"})
    assert settings == Settings(
        assets=("eth", "btc"), folder=Path("x/y"), limit=2.0, live=True, market="m",
        inner=Inner(stake=Decimal("0.1"), color=Color.BLUE),
        chat=Chat(chat_id="-100123", key=Secret("123:abc")),
    )  # fmt: skip
    assert settings.inner.stake == Decimal("0.1")
    assert isinstance(settings.limit, float)


@pytest.mark.parametrize("stake", ["0.10", 1, Decimal("0.5")])
def test_money_is_a_decimal_however_it_is_written(stake):
    assert build(Settings, {"inner": {"stake": stake}}, {}).inner.stake == Decimal(stake)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"inner": {"stake": Decimal("200.5")}}, "inner.stake=200.5 is not allowed: it must be a number between 0.01"),
        ({"inner": {"stake": 0.1}}, "inner.stake=0.1 is not allowed: it must be a number"),
        ({"inner": {"stake": "much"}}, "inner.stake='much' is not allowed: it must be a number"),
        (
            {"inner": {"tries": 11}},
            "inner.tries=11 is not allowed: it must be a whole number between 1 and 10 attempts",
        ),
        ({"inner": {"tries": True}}, "inner.tries=True is not allowed: it must be a whole number"),
        ({"inner": {"tries": Decimal("3.0")}}, "inner.tries=3.0 is not allowed: it must be a whole number"),
        ({"inner": {"color": "green"}}, "inner.color='green' is not allowed: it must be one of red, blue"),
        ({"inner": {"colour": "red"}}, "inner.colour is no setting: did you mean color?"),
        ({"inner": 3}, "inner=3 is not allowed: it must be a table"),
        ({"zzz": 3}, "zzz is no setting: there is assets, folder, limit, live, market, inner, chat"),
        ({"assets": ["doge"]}, "assets=('doge',) is not allowed: it must be different ones of btc, eth"),
        ({"assets": "btc"}, "assets='btc' is not allowed: it must be a list"),
        ({"folder": 3}, "folder=3 is not allowed: it must be a path"),
        ({"limit": "3"}, "limit='3' is not allowed: it must be a number"),
        ({"live": "yes"}, "live='yes' is not allowed: it must be true or false"),
        ({"live": True}, "live=True is not allowed: it must be false without A_KEY"),
        ({"market": False}, "market=False is not allowed: it must be a text or a whole number"),
        ({"chat": {"chat_id": 5}}, "chat.chat_id=5 is not allowed: it must be a text"),
    ],
)
def test_a_wrong_value_is_told_by_key_and_range(values, problem):
    found = problems(values)
    assert len(found) == 1
    assert found[0].startswith(problem)


def test_everything_that_is_wrong_is_told_at_once():
    found = problems({"limit": "x", "inner": {"tries": 0, "what": 1}, "chat": {"key": "s3cret"}})
    assert [line.split("=")[0].split(" ")[0] for line in found] == ["limit", "inner.what", "chat.key"]


def test_a_setting_without_a_default_must_be_given():
    @frozen
    class Needs:
        name: str

    assert problems({}, Needs) == ("name is missing",)
    assert build(Needs, {"name": "x"}, {}).name == "x"


def test_overrides_win_over_the_file_and_are_checked_alike():
    settings = build(Settings, {"inner": {"tries": 4}}, {}, {"inner.tries": 5, "limit": 9, "chat.chat_id": "7"})
    assert (settings.inner.tries, settings.limit, settings.chat.chat_id) == (5, 9.0, "7")
    with pytest.raises(SettingsError, match=r"inner\.tries=50"):
        build(Settings, {}, {}, {"inner.tries": 50})


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("assets", "eth, btc", ("eth", "btc")),
        ("assets", "eth", ("eth",)),
        ("assets", '["btc"]', ("btc",)),
        ("folder", "x/y", Path("x/y")),
        ("limit", "2", 2.0),
        ("limit", "2.5", 2.5),
        ("market", "7", "7"),
        ("inner.stake", "0.10", Decimal("0.1")),
        ("inner.tries", " 5 ", 5),
        ("inner.color", "blue", Color.BLUE),
        ("chat.chat_id", "-100123", "-100123"),
    ],
)
def test_every_setting_may_come_from_the_environment_which_wins_over_the_file(key, text, value):
    settings = build(Settings, {"inner": {"tries": 4}, "limit": 9}, {variable_of(key): text})
    for name in key.split("."):
        settings = getattr(settings, name)
    assert settings == value


def test_overrides_win_over_the_environment_and_an_empty_variable_is_none():
    variables = {"POLYMIRROR_BOT_INNER_TRIES": "5", "POLYMIRROR_BOT_LIMIT": ""}
    settings = build(Settings, {"limit": 9}, variables, {"inner.tries": 6})
    assert (settings.inner.tries, settings.limit) == (6, 9.0)


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("INNER_TRIES", "11", "inner.tries=11 is not allowed: it must be a whole number between 1 and 10"),
        ("INNER_TRIES", "many", "inner.tries='many' is not allowed: it must be a whole number"),
        ("INNER_TRIES", "3\nlive = true", "inner.tries='3\\nlive = true' is not allowed"),
        ("LIVE", "yes", "live='yes' is not allowed: it must be true or false"),
        ("ASSETS", "doge", "assets=('doge',) is not allowed"),
        ("INNER_TRYS", "3", "POLYMIRROR_BOT_INNER_TRYS sets nothing: did you mean POLYMIRROR_BOT_INNER_TRIES?"),
        ("CHAT_KEY", "s3cret", "POLYMIRROR_BOT_CHAT_KEY sets nothing: did you mean"),
    ],
)
def test_a_wrong_variable_is_told_by_key_or_name(name, text, problem):
    found = problems({}, Settings, **{PREFIX + name: text})
    assert len(found) == 1
    assert found[0].startswith(problem)
    assert "s3cret" not in found[0]


def test_a_secret_in_a_file_is_refused_without_being_shown():
    found = problems({"chat": {"key": "s3cret"}}, A_KEY="q7-q7-q7")
    assert found == ("chat.key is a secret and stays out of files: set the environment variable A_KEY",)


def test_a_secret_that_is_not_given_is_nothing():
    settings = build(Settings, {}, {})
    assert settings.chat.key == NOTHING
    assert not settings.chat.key


@pytest.mark.parametrize("text", ["[inner", "a = 1\na = 2", "x = 0x", "\x00"])
def test_a_file_that_is_no_toml_is_named_with_the_place(tmp_path, text):
    path = tmp_path / "bot.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=r"bot\.toml: .*\(at (line|end)"):
        load(Settings, path)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"none\.toml: cannot be read \(No such file"):
        load(Settings, tmp_path / "none.toml")
    (tmp_path / "big.toml").write_bytes(b"#" * (2**20 + 1))
    with pytest.raises(SettingsError, match="more than 1048576 bytes"):
        load(Settings, tmp_path / "big.toml")
    (tmp_path / "bytes.toml").write_bytes(b"a = '\xff'")
    with pytest.raises(SettingsError, match=r"bytes\.toml"):
        load(Settings, tmp_path / "bytes.toml")


def test_a_secret_is_not_shown_in_any_way(caplog):
    hidden = Secret("123:abc")
    settings = Settings(chat=Chat(key=hidden))
    logging.getLogger("x").warning("%s %r %s", hidden, hidden, settings)
    shown = [
        str(hidden), repr(hidden), f"{hidden} {hidden!r}",
        repr(settings), str(attrs.asdict(settings)), caplog.text, json.dumps(attrs.asdict(settings), default=str),
    ]  # fmt: skip
    assert not [text for text in shown if "abc" in text]
    for copied in (pickle.dumps, copy.deepcopy, copy.copy):
        with pytest.raises(TypeError, match="not copied"):
            copied(hidden)
    with pytest.raises(TypeError):
        json.dumps(hidden)
    assert hidden.reveal() == "123:abc"
    assert hide("a 123:abc b") == "a *** b"


def test_secrets_are_equal_by_value_and_can_be_kept_in_sets():
    assert Secret("a") == Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("b")}) == 2


HUGE = "9" * 400


@pytest.mark.parametrize(
    "text",
    [
        f"limit = {HUGE}", f"limit = 1e{HUGE}", f"limit = 0x{'f' * 100_000}", f"limit = {'9' * 5_000}",
        f"inner = {{stake = {HUGE}, tries = {HUGE}}}", f"inner = {{stake = 1e{HUGE}}}",
        f"inner = 0x{'f' * 100_000}", f"{'x' * 100_000} = 1", "limit = " + "[" * 100_000, "limit = 1e400",
        "limit = nan",
    ],
)  # fmt: skip
def test_whatever_a_file_says_is_told_in_short_lines(tmp_path, text):
    path = tmp_path / "settings.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load(Settings, path, {})
    assert all(len(each) <= 500 for each in caught.value.problems)
    name, _, value = text.partition(" = ")
    if name == "limit":
        with pytest.raises(SettingsError) as caught:
            load(Settings, None, {"POLYMIRROR_BOT_LIMIT": value})
        assert all(len(each) <= 500 for each in caught.value.problems)


def test_a_file_without_end_is_one_line():
    with pytest.raises(SettingsError) as caught:
        load(Settings, Path("/dev/zero"), {})
    assert caught.value.problems == ("/dev/zero: cannot be read (it is not a regular file)",)
