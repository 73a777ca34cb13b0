"""The pytest plugin, by test files that use it: what passes, what is refused and how, and what it leaves alone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
WITH = ("-p", "pytest_polymirror", "-p", "no:cacheprovider")
pytest_plugins = ["pytester"]

WITHOUT_THE_EXTRA = """
import sys

@pytest.fixture(autouse=True)
def without(monkeypatch):
    monkeypatch.setitem(sys.modules, 'polymirror.serving.server', None)

@pytest.mark.polymirror(loopback=True)
async def test_one(without, venue):
    pass
"""


def outcome(
    pytester: pytest.Pytester, source: str, *options: str, run: str = "runpytest_inprocess"
) -> pytest.RunResult:
    # Of a second run in one process pytest says that it cannot rewrite the asserts of a plugin any more.
    pytester.makeini("[pytest]\nfilterwarnings =\n  error\n  ignore:Module already imported")
    pytester.makepyfile("import asyncio\nimport pytest\n" + source)
    found: pytest.RunResult = getattr(pytester, run)(*WITH, *options)
    return found


def test_an_async_test_runs_in_virtual_time_with_a_live_mirror_and_no_other_plugin(pytester: pytest.Pytester) -> None:
    outcome(
        pytester,
        """
async def test_hours(venue, mirror):
    up, down = venue.tokens
    venue.set_book(up, bids=[("0.47", 10)], asks=[("0.48", 5)])
    await asyncio.sleep(3_000)
    assert mirror.live(up).levels.bid_keys == (4_700,)
""",
        *("-p", "no:anyio", "-p", "no:asyncio"),
    ).assert_outcomes(passed=1)


def test_the_mark_says_how_the_venue_is_and_the_nearest_mark_wins(pytester: pytest.Pytester) -> None:
    outcome(
        pytester,
        """
pytestmark = pytest.mark.polymirror(markets=2, seed=3)

@pytest.mark.polymirror(seed=4)
class TestOfAClass:
    seen = 0

    def setup_method(self):
        self.seen += 1

    @pytest.mark.polymirror(markets=3)
    @pytest.mark.parametrize("number", [1, 2])
    async def test_nearest(self, venue, number):
        assert (len(venue.slugs), venue.config.seed, number in {1, 2}, self.seen) == (3, 4, True, 1)

    async def test_inherited(self, venue):
        assert (len(venue.slugs), venue.config.seed) == (2, 4)

async def test_of_the_module(venue):
    assert (len(venue.slugs), venue.config.seed) == (2, 3)

@pytest.mark.polymirror(loopback=True)
async def test_over_sockets(venue, mirror):
    venue.set_book(venue.tokens[0], bids=[("0.47", 10)])
    await venue.until_shown(mirror, venue.tokens[0])
    assert venue.endpoints.clob.startswith("http://127.0.0.1")
""",
        "--strict-markers",
        # What a run in this process is the first to import, it forgets again: servers do not stand a second copy.
        run="runpytest_subprocess",
    ).assert_outcomes(passed=5)


def test_fixtures_of_ones_own_may_stand_on_these_and_plain_tests_run_what_they_like(pytester: pytest.Pytester) -> None:
    outcome(
        pytester,
        """
@pytest.fixture
def venue(venue):
    venue.set_book(venue.tokens[0], bids=[("0.47", 10)])
    return venue

@pytest.fixture
def bot(venue, mirror):
    venue.run(venue.until_shown(mirror, venue.tokens[0]))
    return lambda: mirror.live(venue.tokens[0]).levels.bid_keys

async def test_by_way_of_another(bot):
    await asyncio.sleep(1)
    assert bot() == (4_700,)

def test_plain(bot, venue):
    venue.run(asyncio.sleep(60))
    assert bot() == (4_700,)
""",
    ).assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (
            "@pytest.mark.polymirror(market=2)\nasync def test_one(venue):\n    pass",
            "*ConfigError: setting='market' is not allowed: it must be markets, if that was meant*",
        ),
        (
            "@pytest.mark.polymirror(2)\nasync def test_one(venue):\n    pass",
            "*UsageError: @pytest.mark.polymirror takes settings by name alone, such as seed=7*",
        ),
        (
            "@pytest.fixture\ndef venue():\n    return 'mine'\nasync def test_one(mirror):\n    pass",
            "*UsageError: the fixture 'mirror' of polymirror needs its fixture 'venue', and another one*: 'mine'*",
        ),
        (
            "from hypothesis import given, strategies as st\n@given(st.none())\nasync def test_x(venue, x):\n    pass",
            "*UsageError: each example of a property-based test needs a venue of its own*polymirror.testing.play*",
        ),
        (
            WITHOUT_THE_EXTRA,
            "*MissingExtra: the simulated venue needs an extra: pip install 'polymirror?simulator?'*",
        ),
    ],
)
def test_what_cannot_be_is_an_error_with_a_sentence_and_never_skipped(
    pytester: pytest.Pytester, source: str, sentence: str
) -> None:
    result = outcome(pytester, source)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([sentence])


def test_a_failure_shows_the_line_of_the_test_and_what_was_compared(pytester: pytest.Pytester) -> None:
    result = outcome(
        pytester,
        """
async def test_wrong(venue, mirror):
    seen = len(venue.tokens)
    assert seen == 3
""",
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*seed=0*", "*assert seen == 3", "E*assert 2 == 3", "*.py:6: AssertionError"])
    assert "on_stage" not in result.stdout.str()


def test_a_test_that_is_repeated_runs_again_on_a_stage_of_its_own(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item, nextitem):
    for _ in range(2):
        item._initrequest()
        for report in runtestprotocol(item, nextitem=nextitem, log=False):
            item.ihook.pytest_runtest_logreport(report=report)
        item._obj = item._getobj()
    return True
"""
    )
    outcome(
        pytester,
        """
class TestIt:
    async def test_again(self, venue):
        began = venue.wall_ms()
        await asyncio.sleep(5)
        assert venue.wall_ms() == began + 5_000 == venue.exchange.config.start_ms + 5_000
""",
    ).assert_outcomes(passed=2)


def test_beside_anyio_each_takes_its_own_tests(pytester: pytest.Pytester) -> None:
    outcome(
        pytester,
        """
pytestmark = pytest.mark.anyio

@pytest.fixture
def anyio_backend():
    return "asyncio"

async def test_theirs():
    assert type(asyncio.get_running_loop()).__name__ != "VirtualLoop"

async def test_ours(venue):
    assert type(asyncio.get_running_loop()).__name__ == "VirtualLoop"
""",
    ).assert_outcomes(passed=2)


def test_a_venue_of_somebody_elses_is_left_to_him(pytester: pytest.Pytester) -> None:
    outcome(
        pytester,
        """
@pytest.fixture
def anyio_backend():
    return "asyncio"

@pytest.fixture
async def venue():
    yield asyncio.get_running_loop()

@pytest.mark.anyio
async def test_theirs(venue):
    assert asyncio.get_running_loop() is venue
""",
    ).assert_outcomes(passed=1)


def test_loading_it_imports_nothing_of_the_library() -> None:
    code = "import sys, pytest_polymirror; print(*[name for name in sys.modules if name.split('.')[0] == 'polymirror'])"
    done = subprocess.run(  # noqa: S603 - fixed words
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == []


def test_the_mark_is_described_where_people_look_for_marks(pytester: pytest.Pytester) -> None:
    pytester.runpytest_inprocess(*WITH, "--markers").stdout.fnmatch_lines(["@pytest.mark.polymirror(?*settings):*"])
    result = pytester.runpytest_inprocess(*WITH, "--fixtures")
    result.stdout.fnmatch_lines(["venue -- *", "*A venue of this test's own*", "mirror -- *", "*LIVE and running*"])
