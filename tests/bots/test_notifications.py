"""Notices over Telegram: never in the way, never too fast, never with the token in sight."""

from __future__ import annotations

import asyncio
import json
import logging
import traceback
from decimal import Decimal

import httpx
import pytest

from bots.common.operate.notifications import (
    Telegram,
    TelegramApi,
    TelegramError,
    TelegramSettings,
    _TokenTransport,
    cut,
)
from bots.common.secrets import Secret
from bots.testing.telegram import DEFAULT_TOKEN, TelegramFaults, TelegramService
from polymirror.errors import ConfigError
from polymirror.simulator.frames import Answer
from polymirror.simulator.virtual.loop import run_virtual
from polymirror.venue.network import Network
from tests.bots.service_rig import Services

TOKEN = Secret(DEFAULT_TOKEN)
CHAT = "4242"


def sent(service, *texts, down=0.0, token=TOKEN, chat=CHAT):
    """Hand texts over in virtual time, once; return what became of it."""

    async def main():
        rig = Services([service], down=asyncio.get_running_loop().time() + down)
        async with Telegram(token, chat, rig.network()) as telegram:
            return await telegram.hand_over(texts)

    return run_virtual(main)


def texts(service):
    return [message.text for message in service.messages]


def test_a_message_takes_as_many_texts_as_fit():
    service = TelegramService()
    assert sent(service, "a", "b" * 4_000, "c" * 90, "d" * 90).count == 3
    assert texts(service) == ["a\n" + "b" * 4_000 + "\n" + "c" * 90]
    assert sent(TelegramService(), "x" * 10_000, "y").count == 1


def test_what_did_not_arrive_says_why_and_how_long_to_wait():
    busy = sent(TelegramService(faults=TelegramFaults(busy=1.0, retry_after=7)), "x")
    assert (busy.count, busy.wait) == (0, 8.05)
    assert "HTTP 429" in busy.trouble
    gone = sent(TelegramService(), "x", down=10_000)
    assert (gone.count, gone.wait) == (0, None)
    assert "no answer" in gone.trouble
    wrong = sent(TelegramService(), "x", token=Secret("1234567890:WRONG-TOKEN-OF-SOMEBODY-ELSE-000000000"))
    assert "HTTP 401" in wrong.trouble


def test_a_group_that_became_a_supergroup_is_followed():
    service = TelegramService(chats={-100777}, moved={-5: -100777})
    assert sent(service, "x", chat="-5").count == 1
    assert [(message.chat_id, message.text) for message in service.messages] == [(-100777, "x")]


@pytest.mark.parametrize("text", ["", "   ", "x" * 10_000, "\U0001f600" * 4_000, "\ud800 lone", "\0"])
def test_any_text_can_be_sent(text):
    service = TelegramService()
    first = sent(service, text, text)
    assert first.count >= 1
    assert not first.trouble
    assert all(len(text.encode("utf-16-le")) // 2 <= 4_096 for text in texts(service))


def test_cutting_splits_no_character():
    assert cut("\U0001f600" * 10, 9) == "\U0001f600" * 3 + ".."
    assert cut("abc", 3) == "abc"


@pytest.mark.parametrize(("name", "value"), [("gap", Decimal(0)), ("timeout", 0)])
def test_the_settings_are_checked(name, value):
    with pytest.raises(ConfigError, match=name):
        TelegramSettings(**{name: value})


def test_odd_answers_are_errors_and_not_crashes():
    answers = [
        Answer(200, "[]"),
        Answer(200, "{}"),
        Answer(200, '{"ok": true}'),
        Answer(200, '{"ok": true, "result": 3}'),
        Answer(429, '{"ok": false, "parameters": {"retry_after": "soon"}}'),
        Answer(429, '{"ok": false, "parameters": {"retry_after": -1}}'),
        Answer(400, '{"ok": false, "parameters": {"migrate_to_chat_id": "x"}}'),
        Answer(400, '{"ok": false, "parameters": 3}'),
        Answer(200, "x" * 1_000_000),
        Answer(302, "", headers=(("Location", "http://elsewhere.test/"),)),
    ]

    class Odd:
        def answer(self, _call, _now_ms):
            return answers[0]

    async def main():
        found = []
        async with TelegramApi(TOKEN, Services([Odd()]).network()) as api:
            while answers:
                try:
                    await api.get_me()
                except TelegramError as error:
                    found.append((error.status, error.retry_after, error.moved_to))
                answers.pop(0)
        return found

    found = run_virtual(main)
    assert len(found) == 10
    assert {(wait, moved) for _, wait, moved in found} == {(None, None)}


# ---- The token ---------------------------------------------------------------------------------------


def everything_of(error):
    """All text that hangs on an exception, its causes and contexts, and what they carry."""
    seen, found = [error], []
    for each in seen:
        found += [repr(each), str(each), "".join(traceback.format_exception(each)), repr(vars(each))]
        request = getattr(each, "_request", None)
        found.append(str(request.url) if request is not None else "")
        seen += [inner for inner in (each.__cause__, each.__context__) if inner is not None and inner not in seen]
    return found


def test_no_error_and_no_log_tells_the_token(caplog):
    """Not even at DEBUG, nor with a transport that tells the URL in its errors."""
    caplog.set_level(logging.DEBUG)
    found = []

    class Telling:
        def answer(self, call, _now_ms):
            return Answer(400, json.dumps({"ok": False, "description": f"what is {call.path}?"}))

    async def main():
        for service, down in ((TelegramService(chats=set()), 0), (Telling(), 0), (TelegramService(), 1e12)):
            rig = Services([service], down=down)
            async with Telegram(TOKEN, CHAT, rig.network()) as telegram:
                found.extend([repr(telegram), repr(await telegram.hand_over(["x"]))])
            api = TelegramApi(TOKEN, rig.network())
            found.extend([repr(api), repr(vars(api))])
            async with api:
                try:
                    await api.send_message(CHAT, "x")
                except TelegramError as error:
                    found.extend(everything_of(error))

    run_virtual(main)
    assert "HTTP Request: POST https://api.telegram.org/sendMessage" in caplog.text
    assert len(found) > 12
    secret = DEFAULT_TOKEN.partition(":")[2]
    assert [text for text in (*found, caplog.text) if secret in text] == []


@pytest.mark.anyio
async def test_the_token_reaches_the_wire_and_no_log_over_real_sockets(caplog, monkeypatch):
    """httpx's own transport, with everything below it logging."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    caplog.set_level(logging.DEBUG)
    lines = []

    async def serve(reader, writer):
        head = await reader.readuntil(b"\r\n\r\n")
        lines.append(head.split(b"\r\n")[0].decode())
        length = int(next(line.split(b":")[1] for line in head.lower().split(b"\r\n") if b"content-length" in line))
        lines.append((await reader.readexactly(length)).decode())
        body = b'{"ok":true,"result":{"message_id":1}}'
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (len(body), body))
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with TelegramApi(TOKEN, Network(), api=f"http://127.0.0.1:{port}") as api:
        assert await api.send_message(CHAT, "hello") == {"message_id": 1}
        server.close()
        await server.wait_closed()
        with pytest.raises(TelegramError, match="no answer: ConnectError") as caught:
            await api.get_me()
    assert lines[0] == f"POST /bot{DEFAULT_TOKEN}/sendMessage HTTP/1.1"
    assert json.loads(lines[1]) == {"chat_id": CHAT, "text": "hello"}
    assert "send_request_headers" in caplog.text
    assert [text for text in (*everything_of(caught.value), caplog.text) if DEFAULT_TOKEN in text] == []


def test_the_environments_proxy_is_used_as_httpx_would(monkeypatch):
    made = []
    monkeypatch.setattr(httpx, "AsyncHTTPTransport", lambda **given: made.append(given["proxy"]))
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.test:3128")
    monkeypatch.setenv("NO_PROXY", "inside.test")
    TelegramApi(TOKEN, Network())
    TelegramApi(TOKEN, Network(), api="https://inside.test")
    assert made == ["http://proxy.test:3128", None]


@pytest.mark.anyio
async def test_not_even_the_http_clients_own_errors_know_the_token():
    class Failing(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request):
            raise httpx.ConnectError(f"cannot reach {request.url}", request=request)

    async with httpx.AsyncClient(transport=_TokenTransport(TOKEN, Failing())) as client:
        with pytest.raises(httpx.ConnectError, match=r"cannot reach https://telegram\.test/bot\*\*\*/getMe") as caught:
            await client.post("https://telegram.test/getMe")
    assert [text for text in everything_of(caught.value) if DEFAULT_TOKEN in text] == []


@pytest.mark.anyio
async def test_whatever_an_error_says_the_token_is_taken_out_of_it(monkeypatch):
    api = TelegramApi(TOKEN, Network(transport=lambda: httpx.MockTransport(lambda _: httpx.Response(200))))
    async with api:
        monkeypatch.setattr(api._client, "stream", _tell)
        with pytest.raises(TelegramError, match=r"InvalidURL: what is \*\*\*") as caught:
            await api.get_me()
    assert caught.value.status is None


def _tell(*_args, **_rest):
    raise httpx.InvalidURL(f"what is {DEFAULT_TOKEN}")
