"""Canary secrets through every path, failure and level of the log: none comes out, in any form."""

from __future__ import annotations

import asyncio
import base64
import http.server
import json
import logging
import os
import subprocess
import sys
import threading
import urllib.parse

import httpx
import pytest
import websockets
from hypothesis import given
from hypothesis import strategies as st

from bots.common.errors import MAX_DETAIL, BadCredentials, shorten
from bots.common.execution.userchannel import UserChannel
from bots.common.operate import notifications
from bots.common.operate.logs import event
from bots.common.operate.notifications import TelegramApi
from bots.common.operate.settings import SettingsError, build
from bots.common.secrets import Secret, hide
from bots.oracle_lag.__main__ import main
from bots.oracle_lag.config import BotSettings
from polymirror import ConfigError
from polymirror.venue.network import REAL
from tests.bots.canaries import CANARIES, all_that_is_logged, forms, leaks

KEY = CANARIES["POLYMARKET_PRIVATE_KEY"]
FOREIGN = ("httpx", "httpcore.http11", "websockets.client", "telegram.bot", "web3", "eth_account", "polymarket.ws")


@pytest.fixture(autouse=True)
def held():
    """The canaries as a program holds them."""
    return {name: Secret(value) for name, value in CANARIES.items()}


@pytest.fixture
def everything():
    with all_that_is_logged() as told:
        yield told


def disguised(secret):
    """Yield a secret as libraries and services may write it."""
    data = secret.encode()
    yield from (secret, secret.upper(), repr(secret), json.dumps(secret), f"{data!r}")
    yield from (urllib.parse.quote(secret, safe=""), urllib.parse.quote(urllib.parse.quote(secret, safe=""), safe=""))
    yield "".join(f"%{byte:02X}" for byte in data)
    yield "".join(f"\\x{byte:02x}" for byte in data)
    yield "".join(f"\\u{byte:04x}" for byte in data)
    for before in ("", "u:", "user"):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(f"{before}{secret}:more".encode()).decode()
    yield data.hex()
    yield "\n".join(secret[at : at + 10] for at in range(0, len(secret), 10))
    yield '", "'.join(secret[at : at + 3] for at in range(0, len(secret), 3))
    yield f"{secret[:16]}..{secret[-16:]}"


@pytest.mark.parametrize("name", CANARIES)
def test_a_secret_is_hidden_in_every_form_and_nothing_beside_it(name):
    for text in disguised(CANARIES[name]):
        told = hide(f"before [{text}] after")
        assert told.startswith("before [")
        assert told.endswith("] after")
        assert "***" in told
        assert not leaks(told), text
    raw = base64.b64encode(b"12" + bytes.fromhex(KEY[2:])).decode()
    assert not leaks(hide(f"{raw} {int(KEY, 16)} {bytes.fromhex(KEY[2:]).hex()}"))


def test_the_search_for_leaks_finds_what_it_must():
    for secret in CANARIES.values():
        assert all(leaks(f"x{form}x") for form in forms(secret))
    assert leaks(f"{KEY[:44]}..")
    assert not leaks("the venue does not accept them: set POLYMARKET_API_KEY again")


@given(st.text(st.characters(codec="ascii")))
def test_what_is_no_secret_is_left_as_it_is(text):
    assert hide(text) == text
    assert hide(f"0x{'3f' * 32} {text} 1790000101.250000") == f"0x{'3f' * 32} {text} 1790000101.250000"


@given(st.integers(0, 400), st.sampled_from(sorted(CANARIES.values())))
def test_nothing_is_cut_before_it_is_hidden(room, secret):
    assert not leaks(shorten("x " * room + secret, MAX_DETAIL))
    assert not leaks(str(BadCredentials("log in", 401, "x" * room + secret)))
    assert not leaks(notifications.cut("x" * room + secret, MAX_DETAIL))


@pytest.mark.parametrize("as_json", [False, True])
def test_every_logger_at_every_level_tells_none(everything, as_json):
    logging.getLogger().handlers[0].formatter._as_json = as_json
    texts = [text for secret in CANARIES.values() for text in disguised(secret)]
    levels = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)
    names = (*FOREIGN, "bots.x", "polymirror.x", "asyncio")
    for number, text in enumerate(texts):
        log, level = logging.getLogger(names[number % len(names)]), levels[number // 2 % len(levels)]
        log.setLevel(logging.DEBUG)
        log.log(level, "said %s and %r", text, {"secret": text.encode()})
        event(log, text, level, field=text, more=[text], number=1)
        try:
            raise httpx.LocalProtocolError(f"Illegal header value {text.encode()!r}")
        except httpx.HTTPError:
            log.log(level, "failed", exc_info=True, stack_info=True)
        log.warning("%d is no number", text)
        log.setLevel(logging.NOTSET)
    told = everything.getvalue()
    assert "Illegal header value" in told
    assert not leaks(told)


def test_signatures_and_frames_of_others_are_not_told_below_warning(everything):
    for name in FOREIGN:
        logging.getLogger(name).debug("> X-Authorization-Signature-SHA256: 51ab")
        logging.getLogger(name).info("> TEXT %s", '{"auth":{"nobody":"knows"}}')
        logging.getLogger(name).error("cannot go on")
    told = everything.getvalue()
    assert told.count("cannot go on") == 2 * len(FOREIGN)
    assert "51ab" not in told
    assert "auth" not in told.replace("eth_account", "").replace("credentials", "")


def test_a_relay_that_echoes_what_it_is_sent_is_told_of_without_it(everything):
    login = {"apiKey": CANARIES["POLYMARKET_API_KEY"], "secret": KEY, "passphrase": CANARIES["TELEGRAM_TOKEN"]}

    async def echo(socket):
        frame = str(await socket.recv())
        await socket.close(1008, f"refused: {json.loads(frame)['auth']['secret']}")

    async def talk():
        async with websockets.serve(echo, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            channel = UserChannel(lambda: login, lambda _event: None, REAL, url=f"ws://127.0.0.1:{port}/ws/user")
            task = asyncio.create_task(channel.run())
            async with asyncio.timeout(10):
                while not channel.refused:  # noqa: ASYNC110 - it tells nobody
                    await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(talk())
    assert "refused: " in everything.getvalue()
    assert not leaks(everything.getvalue())


def test_headers_that_no_library_sends_are_told_of_without_their_value(everything):
    passphrase = CANARIES["POLYMARKET_API_PASSPHRASE"]
    kept = Secret(f"{passphrase}\nX: 1")
    with pytest.raises(httpx.HTTPError) as found:
        httpx.get("http://127.0.0.1:9/", headers={"POLY_PASSPHRASE": kept.reveal()})
    logging.getLogger("polymarket").warning("cannot ask", exc_info=found.value)
    assert not leaks(everything.getvalue() + shorten(f"{found.value!r}"))


@pytest.mark.parametrize(
    "proxy", ["ftp://u:{}@h:1", "http://u:{}/@h:1", "http://u:{}#@h:1", "http://u:{}@h:99999", "http://{}@"]
)
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "ALL_PROXY"])
def test_a_proxy_that_cannot_be_one_is_told_without_its_password(monkeypatch, proxy, name, held):
    for each in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setenv(name, proxy.format("hunter2-Xq9"))
    with pytest.raises(ConfigError) as found:
        TelegramApi(held["TELEGRAM_TOKEN"], REAL)
    assert "_proxy" in str(found.value)
    assert "hunter2" not in f"{found.value} {found.value.__cause__}"


def test_a_secret_in_the_wrong_place_is_not_told(capsys):
    for name in CANARIES:
        wrong = {"POLYMIRROR_BOT_RISK_MAX_TRADE": CANARIES[name], "POLYMIRROR_BOT_X": "1"}
        with pytest.raises(SettingsError) as found:
            build(BotSettings, {"oracle": {"source": CANARIES[name]}}, CANARIES | wrong)
        assert not leaks(str(found.value))
    with pytest.raises(SettingsError, match="POLYMARKET_API_KEY is no credential") as found:
        build(BotSettings, {}, {"POLYMARKET_API_KEY": "one\nline"})
    assert "one" not in str(found.value).replace("one is", "")


def test_keys_are_taken_out_of_the_environment_so_that_children_have_none(monkeypatch, tmp_path, capsys):
    for name, value in CANARIES.items():
        monkeypatch.setenv(name, value)
    config = tmp_path / "bot.toml"
    config.write_text(f"telegram_chat = '{KEY}'\nconfirm_live = 'no'\nfolder = '{tmp_path / 'files'}'\n")
    config.chmod(0o600)
    assert main(["--live", "--config", str(config)]) == 2
    shell = "import os; print(dict(os.environ))"
    child = subprocess.run([sys.executable, "-c", shell], capture_output=True, text=True, check=True)  # noqa: S603
    assert not [name for name in CANARIES if name in os.environ]
    assert not leaks(child.stdout + repr(os.environ))
    told = capsys.readouterr()
    assert "not confirmed" in told.err
    assert not leaks(told.err + told.out)


def test_a_program_and_a_thread_that_crash_tell_none():
    script = (
        "import sys, threading\nfrom bots.common.operate.logs import set_up\n"
        "from bots.common.secrets import Secret\nkept = Secret(sys.argv[1])\nset_up()\n"
        "def fails():\n    raise ValueError(kept.reveal())\n"
        "thread = threading.Thread(target=fails)\nthread.start()\nthread.join()\nfails()\n"
    )
    done = subprocess.run([sys.executable, "-c", script, KEY], capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 1
    assert done.stderr.count("ValueError: ***") == 2
    assert not leaks(done.stderr)


class Liar(http.server.BaseHTTPRequestHandler):
    """Serves this region, and refuses everything else with all that it should not repeat."""

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        said = " ".join([*CANARIES.values(), str(self.headers)])
        blocked = self.path == "/geoblock"
        body = json.dumps({"blocked": False, "country": KEY} if blocked else {"error": said, "description": said})
        self.send_response(200 if blocked else 401)
        self.send_header("Content-Type", "application/json")
        self.send_header("X-Echo", CANARIES["POLYMARKET_API_SECRET"])
        self.end_headers()
        self.wfile.write(body.encode())

    do_GET = do_POST = do_DELETE = answer  # noqa: N815 - the base class names them

    def log_message(self, *_: object) -> None:
        pass


def test_a_bot_among_services_that_repeat_every_secret_tells_none(everything, tmp_path, monkeypatch, capsys):
    pytest.importorskip("polymarket", reason="the extra 'live' is not installed: pip install -e '.[live]'")
    import dataclasses  # noqa: PLC0415

    from polymarket.environments import PRODUCTION, _create_environment  # noqa: PLC0415

    from bots.oracle_lag.live import run_live  # noqa: PLC0415

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Liar)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    address = f"127.0.0.1:{server.server_address[1]}"
    monkeypatch.setattr(notifications, "API", f"http://{address}")
    endpoints = {"stream": f"ws://{address}/ws/market", "clob": f"http://{address}", "gamma": f"http://{address}"}
    values = {
        "folder": str(tmp_path / "files"), "confirm_live": "I may lose this money", "telegram_chat": "4242",
        "assets": ["btc"], "wallet": "0x" + "5a" * 20, "relayer_address": "0x" + "5b" * 20,
        "oracle": {"source": "polybolt", "url": f"ws://{address}/"}, "mirror": {"endpoints": endpoints},
    }  # fmt: skip
    config = PRODUCTION._config
    urls = {each.name: f"http://{address}" for each in dataclasses.fields(config) if each.name.endswith("_url")}
    said = []
    code = run_live(
        build(BotSettings, values, CANARIES),
        for_real=True,
        tell=said.append,
        geoblock=f"http://{address}/geoblock",
        environment=_create_environment(name="liar", config=dataclasses.replace(config, **urls)),
    )
    server.shutdown()
    server.server_close()
    kept = "".join(path.read_bytes().decode("latin-1") for path in (tmp_path / "files").iterdir())
    shown = capsys.readouterr()
    assert code == 3
    assert "credentials: " in "\n".join(said)
    assert not leaks("\n".join(said))
    assert not leaks(everything.getvalue())
    assert not leaks(kept + shown.out + shown.err)
