"""Reading an engine while time passes, and holding what was granted against the plain venue's truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import Factory, define

from tests.plain.venue import levels_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.plain.driver import Driver

NEVER = float("inf")


@define
class Read:
    """One granted read, judged. Times in seconds of the venue's clock."""

    at: float
    token: str
    view: Any
    true_age: float
    """How long ago the levels were last true; infinite if they never were."""

    @property
    def understated(self) -> float:
        """How much older the levels are than the view says."""
        return self.true_age - self.view.verified_age

    def __str__(self) -> str:
        kind = self.view.last_proof.kind.name if self.view.last_proof else "nothing"
        return (f"{self.at:.3f} {self.token}: true {self.true_age:.3f} s ago, verified_age "
                f"{self.view.verified_age:.3f} by {kind}, settled {self.view.settled}")  # fmt: skip


@define
class Tally:
    """All granted reads of a while."""

    reads: list[Read] = Factory(list)
    looks: int = 0

    @property
    def never_true(self) -> list[Read]:
        return [read for read in self.reads if read.true_age == NEVER]

    def older_than(self, seconds: float) -> list[Read]:
        return [read for read in self.reads if read.true_age > seconds]

    def understated_by(self, seconds: float) -> list[Read]:
        return [read for read in self.reads if read.understated > seconds]

    @property
    def share(self) -> float:
        """The share of looks that were granted."""
        return len(self.reads) / self.looks

    def of(self, *tokens: str) -> Tally:
        return Tally([read for read in self.reads if read.token in tokens], self.looks)


def look(driver: Driver, tally: Tally, tokens: Iterable[str], max_proof_age: float | None) -> None:
    for token in tokens:
        tally.looks += 1
        view = driver.read(token, max_proof_age)
        if view is not None:
            tally.reads.append(Read(driver.now, token, view, driver.truth(token).age(levels_of(view), driver.now)))


def watch(
    driver: Driver,
    until: float,
    *,
    tokens: Iterable[str] = (),
    step: float = 0.05,
    max_proof_age: float | None = 1.0,
) -> Tally:
    """Let time pass and read at every step."""
    tally, tokens = Tally(), tuple(tokens) or tuple(driver.market_of)
    steps = round((until - driver.now) / step)
    begin = driver.now
    for number in range(1, steps + 1):
        driver.run_to(begin + number * step)
        look(driver, tally, tokens, max_proof_age)
    return tally


def shown(reads: list[Read]) -> str:
    """The first and the last of them, for the message of an assertion."""
    return f"{len(reads)} reads: " + "; ".join(str(each) for each in [*reads[:2], *reads[-1:]])


def every(driver: Driver, seconds: float, work: Callable[[int], None], *, first: float, until: float = NEVER) -> None:
    """Have something happen at the venue again and again; it is told how often before."""

    def once(number: int) -> None:
        work(number)
        again = first + (number + 1) * seconds
        if again < until:
            driver.at(again, lambda: once(number + 1))

    driver.at(first, lambda: once(0))
