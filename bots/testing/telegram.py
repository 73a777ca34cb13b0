"""The Telegram Bot API, as far as a bot that sends notices uses it: getMe, getChat and sendMessage, with faults.

A :class:`~polymirror.simulator.surface.services.Service`, pure like the simulated venue: a call and the
time go in, an answer comes out. Paths, bodies and error texts are those of the real one (protocol.md section 8).
What was delivered is kept, so that a test can read it; the token is not shown by anything here.
"""

from __future__ import annotations

import json
import random
from collections import deque
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

from attrs import define, field, frozen

from polymirror.errors import ConfigError
from polymirror.simulator.frames import Answer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from polymirror.simulator.frames import Call

PREFIX: Final = "/bot"
MAX_TEXT: Final = 4_096
"""Characters of one message."""

MAX_MESSAGES: Final = 10_000
"""Delivered messages that are kept, the newest of them."""

DEFAULT_TOKEN: Final = "1234567890:SIMULATED-TOKEN-FOR-TESTS-ONLY-00000"  # noqa: S105 - not one of anybody's

BLOCKED: Final = "Forbidden: bot was blocked by the user"


@frozen(kw_only=True)
class TelegramFaults:
    """How often something goes wrong with a call to sendMessage: probabilities, at most 1 together."""

    busy: float = 0.0
    """429, though no limit was passed, with a wait of ``retry_after`` seconds."""
    error: float = 0.0
    """500, and nothing was delivered."""
    lost: float = 0.0
    """Delivered, but the answer never comes."""
    silent: float = 0.0
    """Neither delivered nor answered."""
    garbage: float = 0.0
    """A proxy's HTML page instead of an answer."""
    retry_after: int = 3

    def __attrs_post_init__(self) -> None:
        shares = (self.busy, self.error, self.lost, self.silent, self.garbage)
        if min(shares) < 0 or sum(shares) > 1:
            raise ConfigError("busy, error, lost, silent, garbage", shares, "not negative and at most 1 together")


@frozen(kw_only=True)
class Message:
    """One delivered message."""

    at_ms: int
    """When the call arrived, in Unix milliseconds."""
    chat_id: int
    text: str


@define(eq=False)
class TelegramService:
    """One bot, and the chats it may write to. Everything may be changed while it runs.

    ``per_second`` messages a second reach one chat; what is more is answered with 429. Private chats have positive
    ids, groups negative ones.
    """

    token: str = field(default=DEFAULT_TOKEN, repr=False)
    username: str = "simulated_bot"
    chats: set[int] = field(factory=lambda: {4242})
    """Chats whose people have talked to the bot."""
    blocked: set[int] = field(factory=set)
    """Chats that have blocked it."""
    moved: dict[int, int] = field(factory=dict)
    """Groups that became supergroups, and the new id of each."""
    per_second: float = 1.0
    faults: TelegramFaults = field(factory=TelegramFaults)
    seed: int = 0
    calls: int = 0
    """Calls of any kind."""
    refused: int = 0
    """Answers with status 429."""
    _messages: deque[Message] = field(factory=lambda: deque(maxlen=MAX_MESSAGES), init=False)
    # When each chat may be written to again.
    _free_ms: dict[int, int] = field(factory=dict, init=False)
    _rng: random.Random = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self._rng = random.Random(f"telegram:{self.seed}")

    @property
    def messages(self) -> tuple[Message, ...]:
        """What was delivered, the oldest first."""
        return tuple(self._messages)

    def answer(self, call: Call, now_ms: int) -> Answer | None:
        """Answer a call to ``/bot<token>/<method>``; ``None`` for everything else."""
        if not call.path.startswith(PREFIX):
            return None
        self.calls += 1
        token, _, method = call.path.removeprefix(PREFIX).partition("/")
        if ":" not in token or method not in {"getMe", "getChat", "sendMessage"}:
            return _error(404, "Not Found")
        if token != self.token:
            return _error(401, "Unauthorized")
        return _ok(self._me()) if method == "getMe" else self._about_chat(method, call, now_ms)

    def _about_chat(self, method: str, call: Call, now_ms: int) -> Answer:
        values = _values(call)
        if values is None:
            return _error(400, "Bad Request: can't parse the request")
        chat = self._chat(values)
        if isinstance(chat, Answer):
            return chat
        return _ok(_chat_object(chat)) if method == "getChat" else self._send(chat, values, now_ms)

    def _me(self) -> dict[str, Any]:
        return {
            "id": int(self.token.partition(":")[0]) if self.token[:1].isdigit() else 1,
            "is_bot": True,
            "first_name": "Simulated",
            "username": self.username,
            "can_join_groups": True,
            "can_read_all_group_messages": False,
            "supports_inline_queries": False,
        }

    def _chat(self, values: Mapping[str, Any]) -> int | Answer:
        """Return the chat a call is about, or why it is not reachable."""
        raw = values.get("chat_id")
        if raw in {None, ""}:
            return _error(400, "Bad Request: chat_id is empty")
        try:
            chat = int(str(raw))
        except ValueError:
            return _error(400, "Bad Request: chat not found")
        if chat in self.moved:
            text = "Bad Request: group chat was upgraded to a supergroup chat"
            return _error(400, text, {"migrate_to_chat_id": self.moved[chat]})
        if chat in self.blocked:
            return _error(403, BLOCKED)
        return chat if chat in self.chats else _error(400, "Bad Request: chat not found")

    def _send(self, chat: int, values: Mapping[str, Any], now_ms: int) -> Answer:
        text = str(values.get("text", ""))
        if not text.strip():
            return _error(400, "Bad Request: message text is empty")
        if len(text.encode("utf-16-le")) // 2 > MAX_TEXT:
            return _error(400, "Bad Request: message is too long")
        free = self._free_ms.get(chat, 0)
        if now_ms < free:
            return self._too_many(-(-(free - now_ms) // 1000))
        draw, faults = self._rng.random(), self.faults
        acts: tuple[tuple[float, Callable[[], Answer]], ...] = (
            (faults.busy, lambda: self._too_many(faults.retry_after)),
            (faults.error, lambda: _error(500, "Internal Server Error")),
            (faults.lost, lambda: self._deliver(chat, text, now_ms)._replace(hangs=True)),
            (faults.silent, lambda: Answer(200, "", hangs=True)),
            (faults.garbage, lambda: Answer(502, "<html>Bad Gateway</html>", content_type="text/html")),
        )
        for share, act in acts:
            if draw < share:
                return act()
            draw -= share
        return self._deliver(chat, text, now_ms)

    def _deliver(self, chat: int, text: str, now_ms: int) -> Answer:
        self._free_ms[chat] = now_ms + int(1000 / self.per_second)
        self._messages.append(Message(at_ms=now_ms, chat_id=chat, text=text))
        return _ok(
            {
                "message_id": len(self._messages),
                "from": self._me(),
                "chat": _chat_object(chat),
                "date": now_ms // 1000,
                "text": text,
            }
        )

    def _too_many(self, seconds: int) -> Answer:
        self.refused += 1
        return _error(429, f"Too Many Requests: retry after {seconds}", {"retry_after": seconds})


def _chat_object(chat: int) -> dict[str, Any]:
    return {"id": chat, "type": "private" if chat > 0 else "group"}


def _values(call: Call) -> dict[str, Any] | None:
    """Return the parameters of a call, which may be in its query, a form or JSON; ``None`` if it is none of them."""
    if not call.body:
        return dict(call.query)
    try:
        if "json" in call.headers.get("content-type", "json"):
            value = json.loads(call.body)
        else:
            value = dict(parse_qsl(call.body.decode(), keep_blank_values=True))
    except ValueError:
        return None
    return {**call.query, **value} if isinstance(value, dict) else None


def _ok(result: object) -> Answer:
    return Answer(200, json.dumps({"ok": True, "result": result}))


def _error(status: int, description: str, parameters: Mapping[str, int] | None = None) -> Answer:
    body: dict[str, Any] = {"ok": False, "error_code": status, "description": description}
    if parameters:
        body["parameters"] = dict(parameters)
    return Answer(status, json.dumps(body))
