"""The simulated Telegram answers as the real one does."""

from __future__ import annotations

import json

import pytest

from bots.testing import telegram
from bots.testing.telegram import DEFAULT_TOKEN, TelegramFaults, TelegramService
from polymirror.errors import ConfigError
from polymirror.simulator.frames import Answer, Call

NOW = 1_790_000_000_000


def ask(service, method, parameters=None, *, now=NOW, key=DEFAULT_TOKEN, **call):
    body = b"" if parameters is None else json.dumps(parameters).encode()
    return service.answer(Call("POST", f"/bot{key}/{method}", call.get("query", {}), call.get("body", body)), now)


def error(answer):
    value = json.loads(answer.body)
    assert value["ok"] is False
    assert value["error_code"] == answer.status
    return value["error_code"], value["description"]


def send(service, text="hello", chat=4242, now=NOW):
    return ask(service, "sendMessage", {"chat_id": chat, "text": text}, now=now)


def test_only_its_own_paths_are_answered():
    assert TelegramService().answer(Call("GET", "/book", {}), NOW) is None


def test_get_me_tells_who_the_bot_is():
    result = json.loads(ask(TelegramService(username="my_bot"), "getMe").body)["result"]
    assert (result["id"], result["is_bot"], result["username"]) == (1234567890, True, "my_bot")


@pytest.mark.parametrize(
    ("key", "method", "expected"),
    [
        ("123:wrong", "getMe", (401, "Unauthorized")),
        ("no-colon", "getMe", (404, "Not Found")),
        (DEFAULT_TOKEN, "dance", (404, "Not Found")),
        (DEFAULT_TOKEN, "", (404, "Not Found")),
    ],
)
def test_a_wrong_token_and_an_unknown_method_are_refused(key, method, expected):
    assert error(ask(TelegramService(), method, {}, key=key)) == expected


def test_a_message_is_delivered_and_told_back():
    service = TelegramService()
    result = json.loads(send(service).body)["result"]
    assert result["text"] == "hello"
    assert result["chat"] == {"id": 4242, "type": "private"}
    assert result["date"] == NOW // 1000
    assert [(m.at_ms, m.chat_id, m.text) for m in service.messages] == [(NOW, 4242, "hello")]


@pytest.mark.parametrize("chat", ["4242", 4242])
def test_parameters_come_as_json_form_or_query(chat):
    service = TelegramService(per_second=1000)
    headers = {"content-type": "application/x-www-form-urlencoded"}
    form = Call("POST", f"/bot{DEFAULT_TOKEN}/sendMessage", {}, f"chat_id={chat}&text=form+text".encode(), headers)
    query = {"chat_id": str(chat), "text": "query"}
    send(service, "json", chat)
    service.answer(form, NOW + 1)
    ask(service, "sendMessage", query=query, now=NOW + 2)
    assert [message.text for message in service.messages] == ["json", "form text", "query"]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"chat_id": 7, "text": "x"}, (400, "Bad Request: chat not found")),
        ({"chat_id": "@nobody", "text": "x"}, (400, "Bad Request: chat not found")),
        ({"chat_id": "", "text": "x"}, (400, "Bad Request: chat_id is empty")),
        ({"text": "x"}, (400, "Bad Request: chat_id is empty")),
        ({"chat_id": 4242, "text": "  "}, (400, "Bad Request: message text is empty")),
        ({"chat_id": 4242}, (400, "Bad Request: message text is empty")),
        ({"chat_id": 4242, "text": "x" * 4097}, (400, "Bad Request: message is too long")),
        ({"chat_id": 5, "text": "x"}, (403, "Forbidden: bot was blocked by the user")),
        ([1], (400, "Bad Request: can't parse the request")),
    ],
)
def test_what_cannot_be_sent_is_refused_in_telegrams_words(values, expected):
    service = TelegramService(blocked={5})
    assert error(ask(service, "sendMessage", values)) == expected
    assert service.messages == ()


def test_a_body_that_is_no_json_is_refused():
    assert error(ask(TelegramService(), "sendMessage", body=b"{"))[0] == 400


def test_a_chat_can_be_looked_up():
    service = TelegramService(chats={-7})
    assert json.loads(ask(service, "getChat", {"chat_id": -7}).body)["result"] == {"id": -7, "type": "group"}
    assert error(ask(service, "getChat", {"chat_id": 8})) == (400, "Bad Request: chat not found")


def test_a_group_that_moved_tells_its_new_id():
    answer = send(TelegramService(moved={-5: -1005}), chat=-5)
    assert json.loads(answer.body)["parameters"] == {"migrate_to_chat_id": -1005}


def test_one_message_a_second_reaches_a_chat():
    service = TelegramService(chats={1, 2})
    assert send(service, chat=1).status == 200
    assert send(service, chat=2).status == 200
    answer = send(service, chat=1, now=NOW + 999)
    assert error(answer) == (429, "Too Many Requests: retry after 1")
    assert json.loads(answer.body)["parameters"] == {"retry_after": 1}
    assert send(service, chat=1, now=NOW + 1000).status == 200
    assert service.refused == 1


@pytest.mark.parametrize(
    ("fault", "status", "delivered", "hangs"),
    [("busy", 429, 0, False), ("error", 500, 0, False), ("lost", 200, 1, True), ("silent", 200, 0, True),
     ("garbage", 502, 0, False)],
)  # fmt: skip
def test_each_fault_does_what_it_says(fault, status, delivered, hangs):
    service = TelegramService(faults=TelegramFaults(**{fault: 1.0}))
    answer = send(service)
    assert (answer.status, answer.hangs, len(service.messages)) == (status, hangs, delivered)


def test_faults_strike_at_their_rate_and_the_same_each_time():
    def run():
        faults = TelegramFaults(busy=0.1, error=0.2, lost=0.1, silent=0.1, garbage=0.1)
        service = TelegramService(faults=faults, seed=3)
        return [(a.status, a.hangs) for a in (send(service, now=NOW + 2_000 * n) for n in range(1_000))]

    answers = run()
    assert answers == run()
    assert 150 < answers.count((500, False)) < 250
    assert 350 < answers.count((200, False)) < 450


@pytest.mark.parametrize("shares", [{"busy": -0.1}, {"busy": 0.6, "lost": 0.5}])
def test_impossible_probabilities_are_refused(shares):
    with pytest.raises(ConfigError, match="at most 1 together"):
        TelegramFaults(**shares)


def test_it_keeps_a_bounded_number_of_messages():
    service = TelegramService(per_second=1000)
    for number in range(telegram.MAX_MESSAGES + 5):
        service._deliver(1, str(number), NOW)
    assert len(service.messages) == telegram.MAX_MESSAGES
    assert service.messages[0].text == "5"


def test_its_token_is_not_shown():
    assert DEFAULT_TOKEN not in repr(TelegramService())


def test_an_answer_is_a_plain_value():
    assert isinstance(send(TelegramService()), Answer)
