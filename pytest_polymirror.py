"""The pytest plugin: the fixtures ``venue`` and ``mirror`` for tests of bots, and a mark that says how they are.

pytest imports this in every run where polymirror is installed. So it is beside the package and not in it, and imports
nothing of it before a test asks for a fixture: other people's tests pay nothing, and their coverage misses nothing.

An ``async`` test that asks for one of the fixtures runs in the venue's own event loop, in virtual time unless marked
otherwise, whatever plugins for async tests are there; all other tests are theirs. What each example of a property-based
test needs, a venue of its own, is :func:`polymirror.testing.play`.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from polymirror.mirror import Mirror
    from polymirror.testing import Stage, StagedVenue

MARK = "polymirror"
STAGE: pytest.StashKey[Stage] = pytest.StashKey()


def pytest_configure(config: pytest.Config) -> None:
    """Describe the mark."""
    config.addinivalue_line(
        "markers",
        f"{MARK}(**settings): how the venue and the mirror of a test are, such as markets=2, seed=7 or loopback=True; "
        "polymirror.testing.StageConfig has all of them",
    )


@pytest.fixture
def venue(request: pytest.FixtureRequest) -> Iterator[StagedVenue]:
    """A venue of this test's own, open from before the test until after it."""
    from polymirror.testing import Stage, StageConfig  # noqa: PLC0415 - for those who ask

    if hasattr(getattr(request.node, "obj", None), "hypothesis"):
        raise pytest.UsageError(
            "each example of a property-based test needs a venue of its own: leave the fixtures out of its arguments, "
            "and let polymirror.testing.play run an async function with them"
        )
    settings: dict[str, Any] = {}
    for mark in reversed([*request.node.iter_markers(MARK)]):
        if mark.args:
            raise pytest.UsageError(f"@pytest.mark.{MARK} takes settings by name alone, such as seed=7")
        settings |= mark.kwargs
    with Stage(StageConfig.of(**settings)) as stage:
        request.node.stash[STAGE] = stage
        yield stage.venue


@pytest.fixture
def mirror(request: pytest.FixtureRequest, venue: StagedVenue) -> Mirror:
    """A mirror of all markets of the venue, LIVE and running until after the test."""
    stage: Stage | None = request.node.stash.get(STAGE, None)
    if stage is None:
        raise pytest.UsageError(
            f"the fixture 'mirror' of polymirror needs its fixture 'venue', and another one is in its place: {venue!r}"
        )
    return stage.mirror()


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_pycollect_makeitem() -> Generator[None, Any, Any]:
    """Take the async tests that ask for a fixture of this module, before other plugins do."""
    made = yield
    for item in made if isinstance(made, list) else ():
        _take(item)
    return made


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Take them again: a test that is run once more has been given back its own function."""
    _take(item)


def _take(item: object) -> None:
    """Let an async test that is ours be a plain one, which runs its coroutine on the stage."""
    if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj) and _is_ours(item):
        item.obj = _on_stage(item, item.obj)


def _is_ours(item: pytest.Function) -> bool:
    """Whether a fixture of this module serves this test, perhaps by way of one that replaces it and asks for it."""
    found = item._fixtureinfo.name2fixturedefs  # noqa: SLF001 - as others do: there is no public way
    for name in ("venue", "mirror"):
        for definition in reversed(found.get(name, ())):
            if definition.func.__module__ == __name__:
                return True
            if name not in definition.argnames:
                break
    return False


def _on_stage(item: pytest.Function, test: Any) -> Any:
    @functools.wraps(test)
    def on_stage(*args: Any, **kwargs: Any) -> Any:
        return item.stash[STAGE].run(test(*args, **kwargs))

    return on_stage
