"""Notices over Telegram: never in the way, never too fast, never with the token in sight."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import random
import re
import traceback
from decimal import Decimal

import httpx
import pytest

from bots.common.operate.notifications import (
    Silent,
    Telegram,
    TelegramApi,
    TelegramError,
    TelegramSettings,
    _TokenTransport,
    cut,
)
from bots.common.operate.settings import Secret
from bots.testing.telegram import DEFAULT_TOKEN, TelegramFaults, TelegramService
from polymirror.errors import ConfigError
from polymirror.simulator.frames import Answer
from polymirror.simulator.virtual.loop import run_virtual
from polymirror.venue.network import Network
from tests.bots.service_rig import Services

TOKEN = Secret(DEFAULT_TOKEN)
CHAT = "4242"


def now():
    return asyncio.get_running_loop().time()


def play(act, service=None, *, down=0.0, token=TOKEN, chat=CHAT, until=600.0, **settings):
    """Run a notifier in virtual time, let ``act`` use it, and return it with the service."""
    service = TelegramService() if service is None else service
    rig = Services([service])

    async def main():
        rig.down = now() + down
        telegram = Telegram(token, chat, rig.network(), TelegramSettings(**settings), rng=random.Random(3))
        async with asyncio.TaskGroup() as group:
            task = group.create_task(telegram.run())
            await act(telegram)
            await telegram.drain(until)
            task.cancel()
        return telegram, service, rig

    return run_virtual(main)


def saying(*texts):
    async def act(telegram):
        for text in texts:
            telegram.notify(text)

    return act


def texts(service):
    return [message.text for message in service.messages]


def test_a_notice_arrives():
    telegram, service, rig = play(saying("bought 10 at 0.6"))
    assert texts(service) == ["bought 10 at 0.6"]
    assert (telegram.sent, telegram.dropped) == (1, 0)
    assert rig.hosts == {"api.telegram.org"}


def test_notices_that_wait_together_travel_together_and_in_order():
    _, service, _ = play(saying(*"abc"))
    assert texts(service) == ["a\nb\nc"]


def test_messages_keep_their_distance_however_fast_the_notices_come():
    async def act(telegram):
        for number in range(50):
            telegram.notify(f"{number} " + "x" * 2_000)
            await asyncio.sleep(0.3)

    telegram, service, _ = play(act)
    assert service.refused == 0
    times = [message.at_ms for message in service.messages]
    assert min(after - before for before, after in itertools.pairwise(times)) >= 1_000
    found = [line.split()[0] for text in texts(service) for line in text.split("\n")]
    assert found == [str(number) for number in range(50)]
    assert telegram.dropped == 0


def test_a_notice_never_waits():
    async def act(telegram):
        before = now()
        for number in range(100):
            telegram.notify(f"{number}")
        assert now() == before

    play(act, down=30)


def test_a_full_queue_drops_the_oldest_and_says_how_many():
    telegram, service, _ = play(saying(*map(str, range(10))), queue=4)
    assert texts(service) == ["(6 notices were dropped)\n6\n7\n8\n9"]
    assert telegram.dropped == 6


def test_a_429_is_waited_out_as_long_as_it_asks():
    service = TelegramService(faults=TelegramFaults(busy=1.0, retry_after=7))

    async def act(telegram):
        telegram.notify("x")
        await asyncio.sleep(20)
        service.faults = TelegramFaults()

    _, _, rig = play(act, service)
    assert texts(service) == ["x"]
    assert rig.tried == 4


def test_429s_do_not_use_up_the_attempts():
    service = TelegramService(faults=TelegramFaults(busy=1.0, retry_after=1))

    async def act(telegram):
        telegram.notify("x")
        await asyncio.sleep(60)
        service.faults = TelegramFaults()

    telegram, _, _ = play(act, service, attempts=1)
    assert (telegram.sent, telegram.dropped) == (1, 0)


def test_an_outage_is_outlasted_within_the_bound():
    telegram, service, rig = play(saying("x"), down=5)
    assert texts(service) == ["x"]
    assert 1 < rig.tried <= 6
    telegram, service, rig = play(saying("x"), down=10_000, attempts=3)
    assert (texts(service), telegram.dropped, rig.tried) == ([], 1, 3)


def test_what_an_outage_dropped_is_told_afterwards():
    async def act(telegram):
        telegram.notify("lost")
        await asyncio.sleep(400)
        telegram.notify("back")

    _, service, _ = play(act, down=300, attempts=2)
    assert texts(service) == ["(1 notices were dropped)\nback"]


@pytest.mark.parametrize("name", ["error", "silent", "garbage"])
def test_what_fails_now_and_then_arrives_all_the_same(name):
    service = TelegramService(faults=TelegramFaults(**{name: 0.5}), seed=1)

    async def act(telegram):
        for number in range(20):
            telegram.notify(str(number))
            await asyncio.sleep(30)

    telegram, _, _ = play(act, service, attempts=20, timeout=2)
    assert "\n".join(texts(service)).split("\n") == [str(number) for number in range(20)]
    assert telegram.dropped == 0


def test_a_lost_answer_may_repeat_a_notice_but_never_loses_one():
    service = TelegramService(faults=TelegramFaults(lost=0.5), seed=1)
    play(saying("x"), service, attempts=20, timeout=2)
    assert set(texts(service)) == {"x"}


@pytest.mark.parametrize(
    ("service", "why"),
    [
        (TelegramService(chats=set()), "chat 4242 were dropped: Telegram sendMessage: HTTP 400: .*chat not found"),
        (TelegramService(blocked={4242}), "HTTP 403: Forbidden: bot was blocked"),
    ],
)
def test_a_chat_that_is_not_reachable_is_named_and_later_notices_are_tried_again(service, why, caplog):
    async def act(telegram):
        telegram.notify("lost")
        await asyncio.sleep(5)
        service.chats.add(4242)
        service.blocked.clear()
        telegram.notify("there")

    telegram, _, _ = play(act, service)
    assert telegram.dropped == 1
    assert texts(service) == ["(1 notices were dropped)\nthere"]
    assert [record for record in caplog.records if re.search(why, record.getMessage())]


@pytest.mark.parametrize("token", ["1234567890:WRONG-TOKEN-OF-SOMEBODY-ELSE-000000000", "no token at all"])
def test_with_a_wrong_token_nothing_more_is_tried(token):
    async def act(telegram):
        telegram.notify("a")
        await asyncio.sleep(5)
        telegram.notify("b")
        await asyncio.sleep(5)

    telegram, service, rig = play(act, token=Secret(token))
    assert rig.tried == 1
    assert telegram.dropped == 2
    assert telegram.broken.startswith("Telegram sendMessage: HTTP 40")
    assert texts(service) == []


def test_a_group_that_became_a_supergroup_is_followed():
    service = TelegramService(chats={-100777}, moved={-5: -100777})
    play(saying("x"), service, chat="-5")
    assert [(message.chat_id, message.text) for message in service.messages] == [(-100777, "x")]


@pytest.mark.parametrize("text", ["", "   ", "x" * 10_000, "\U0001f600" * 4_000, "\ud800 lone", "\0"])
def test_any_text_can_be_sent(text):
    telegram, service, _ = play(saying(text, text))
    assert telegram.dropped == 0
    assert all(len(text.encode("utf-16-le")) // 2 <= 4_096 for text in texts(service))


def test_cutting_splits_no_character():
    assert cut("\U0001f600" * 10, 9) == "\U0001f600" * 3 + ".."
    assert cut("abc", 3) == "abc"


def test_drain_gives_up_when_its_time_is_over(caplog):
    async def act(telegram):
        telegram.notify("x")
        await asyncio.sleep(1)
        telegram.notify("y")

    play(act, down=10_000, until=3.0)
    assert "1 notices were not sent within 3 s" in caplog.text


def test_nobody_can_be_told_too():
    Silent().notify("x")


@pytest.mark.parametrize(("name", "value"), [("queue", 0), ("gap", Decimal(0)), ("attempts", 21), ("timeout", 0)])
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
            telegram = Telegram(TOKEN, CHAT, rig.network(), TelegramSettings(attempts=2))
            found.append(repr(telegram))
            async with asyncio.TaskGroup() as group:
                task = group.create_task(telegram.run())
                telegram.notify("x")
                await telegram.drain(200)
                task.cancel()
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
