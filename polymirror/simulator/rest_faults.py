"""Faults of the HTTP calls: answers that are late, missing or something else.

One small class each, with an id and what was seen where. Listed in
:mod:`polymirror.simulator.fault_kinds`.
"""

from __future__ import annotations

from typing import ClassVar

from polymirror.simulator.faults import Fault
from polymirror.simulator.frames import (
    Answer,
    Call,
)


class RestUnavailable(Fault):
    """The order book service answers 503, with the venue's text or a page of its front."""

    id: ClassVar[str] = "rest_503"
    default_share: ClassVar[float] = 0.2

    def answer(self, call: Call, answer: Answer, now_ms: int) -> Answer:
        """Replace some answers."""
        if not call.path.startswith("/book") or not self.strikes(now_ms):
            return answer
        if self.rng.random() < 0.5:
            page = "<html><head><title>503 Service Temporarily Unavailable</title></head></html>"
            return Answer(503, page, content_type="text/html")
        return Answer(503, '{"error":"Trading is currently disabled. Check polymarket.com for updates"}')


class RestTooMany(Fault):
    """The order book service answers 429, with or without saying how long to wait."""

    id: ClassVar[str] = "rest_429"
    default_share: ClassVar[float] = 0.2

    def answer(self, call: Call, answer: Answer, now_ms: int) -> Answer:
        """Replace some answers."""
        if not call.path.startswith("/book") or not self.strikes(now_ms):
            return answer
        headers = (("Retry-After", "1"),) if self.rng.random() < 0.5 else ()
        return Answer(429, '{"error":"Too Many Requests"}', headers)
