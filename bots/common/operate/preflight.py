"""Before the loop starts: every external thing is asked once, side by side, and each failure is one line.

The runner is here; the questions are in :mod:`bots.common.operate.checks`. A check has a time limit of its own. Once
one has failed, the others get only what is left of :data:`VERDICT_WITHIN`: nobody waits for prices to flow when the
credentials are wrong. A line says what failed, why, and what to do about it; a secret is in none of them.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from attrs import field, frozen

from bots.common.errors import BotError, shorten

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

VERDICT_WITHIN: Final = 2.0
"""Seconds after which a preflight in which something failed is over. The program's own start comes on top of them."""

LAST_WORDS: Final = 0.2
"""Seconds that the other checks get when something fails later than that."""

MAX_WORDS: Final = 300
"""Characters of what was found, and of what to do."""

EXIT_OK: Final = 0
EXIT_FAILED: Final = 3
"""The exit code of a program whose preflight failed."""

NETWORK: Final = "check the network, the proxy variables (HTTPS_PROXY, NO_PROXY) and the address"


class CheckFailed(BotError):  # noqa: N818 - a finding
    """What a check raises: ``why`` it failed, and what ``todo`` about it."""

    def __init__(self, why: str, todo: str) -> None:
        super().__init__(f"{why}: {todo}")
        self.why = why
        self.todo = todo


@frozen
class Check:
    """One question. ``ask`` returns what was found, in words, or raises CheckFailed."""

    name: str
    ask: Callable[[], Awaitable[str]]
    limit: float = 2.0
    """Seconds it may take."""
    todo: str = NETWORK
    """What to do when it takes longer, or fails in a way that nobody foresaw."""


@frozen(kw_only=True)
class Finding:
    """One answer."""

    name: str
    ok: bool
    found: str
    todo: str = ""
    seconds: float = 0.0
    """How long it took."""

    def __str__(self) -> str:
        return f"{self.name}: {self.found}" + (f" -> {self.todo}" if self.todo else "")


@frozen
class Report:
    """All answers, in the order of the checks."""

    findings: tuple[Finding, ...]
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether trading may begin."""
        return all(finding.ok for finding in self.findings)

    @property
    def exit_code(self) -> int:
        """What a program ends with."""
        return EXIT_OK if self.ok else EXIT_FAILED

    @property
    def failures(self) -> tuple[str, ...]:
        """One line for each failure: what, why, and what to do."""
        return tuple(str(finding) for finding in self.findings if not finding.ok)

    def describe(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        checks = {
            finding.name: {"ok": finding.ok, "found": finding.found, "todo": finding.todo} for finding in self.findings
        }
        return {"ok": self.ok, "checks": checks}


@frozen
class _Run:
    """One preflight under way. Times are those of the event loop."""

    began: float
    # The open time limits, and whether something has failed (then: when everything must be over).
    scopes: set[asyncio.Timeout] = field(factory=set)
    ends: list[float] = field(factory=list)

    async def one(self, check: Check) -> Finding:
        """Ask, and turn whatever happens into a finding."""
        now = asyncio.get_running_loop().time
        limit = min([self.began + check.limit, *self.ends])
        scope = asyncio.timeout_at(limit)
        try:
            async with scope:
                self.scopes.add(scope)
                found, todo = await check.ask(), ""
        except CheckFailed as failure:
            found, todo = failure.why, failure.todo
        except TimeoutError:
            if self.ends and scope.when() != self.began + check.limit:
                found, todo = "not finished when something else failed", "mend that first"
            else:
                found, todo = f"no answer within {check.limit:g} s", check.todo
        except Exception as error:  # noqa: BLE001 - a preflight's own failure is a finding, too
            found, todo = shorten(f"{type(error).__name__}: {error}"), check.todo
        finally:
            self.scopes.discard(scope)
        if todo:
            self._hurry(now())
        found, words = shorten(found, MAX_WORDS), shorten(todo, MAX_WORDS)
        return Finding(name=check.name, ok=not todo, found=found, todo=words, seconds=now() - self.began)

    def _hurry(self, now: float) -> None:
        """Let the other checks end soon."""
        if self.ends:
            return
        self.ends.append(max(self.began + VERDICT_WITHIN, now + LAST_WORDS))
        for scope in self.scopes:
            when = scope.when()
            if not scope.expired() and (when is None or when > self.ends[0]):
                scope.reschedule(self.ends[0])


async def run(checks: Sequence[Check]) -> Report:
    """Run all checks side by side and return what they found."""
    loop = asyncio.get_running_loop()
    preflight = _Run(loop.time())
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(preflight.one(check), name=f"preflight {check.name}") for check in checks]
    return Report(tuple(task.result() for task in tasks), loop.time() - preflight.began)
