"""The page about scale says what the model computes, and the model what is plain."""

from __future__ import annotations

import itertools

import pytest

from benchmarks import scale
from benchmarks.herd import Setting, simulate
from benchmarks.scale import HERDS, PAGE, READERS, VENUES, Far, Venue, between, mirror, serve
from polymirror.relay.app import MAX_CONSUMERS

TABLES = {
    "units": scale.units_table,
    "venues": scale.venues_table,
    "readers": scale.readers_table,
    "limits": scale.limits_table,
}


def of_page(name: str) -> str:
    text = PAGE.read_text()
    begin, end = between(text, name)
    return text[begin:end]


@pytest.mark.parametrize("name", sorted(TABLES))
def test_the_page_has_what_the_model_computes(name: str) -> None:
    assert of_page(name) == TABLES[name]()


def test_the_page_names_each_simulation() -> None:
    rows = of_page("herd").splitlines()[2:]
    assert [row.split(" | ")[0].removeprefix("| ") for row in rows] == [name for name, _ in HERDS]


@pytest.mark.slow
def test_the_page_has_what_the_first_simulation_gives() -> None:
    """The others take half a minute: ``python -m benchmarks.scale --simulate``."""
    name, setting = HERDS[0]
    *head, row = scale.herd_table([(name, simulate(setting))]).splitlines()
    assert of_page("herd").splitlines()[: len(head) + 1] == [*head, row]


def test_a_simulation_gives_the_same_again() -> None:
    small = Setting(hosts=3, tokens=4, seconds=8.0)
    assert simulate(small) == simulate(small)


def test_more_takes_more() -> None:
    for one, other in itertools.pairwise(VENUES):
        assert mirror(one).cores < mirror(other).cores
        assert mirror(one).memory_mb < mirror(other).memory_mb
    quiet = mirror(Venue("quiet", 10_000, 0))
    assert quiet.frames == 0
    assert quiet.cores == pytest.approx(0.0664)
    twice = serve(Far("", 20, 50, 500))
    assert twice.megabytes == pytest.approx(2 * serve(Far("", 10, 50, 500)).megabytes)


def test_no_relay_has_more_links_than_it_lets_in() -> None:
    for far in READERS:
        assert serve(far).relays * MAX_CONSUMERS >= far.links


def test_every_figure_says_where_it_is_from() -> None:
    performance = (PAGE.parent / "performance.md").read_text()
    for unit in scale.UNITS.values():
        assert unit.source
        row = unit.source.partition("`")[2].partition("`")[0]
        if unit.source.startswith(scale.PERFORMANCE) and row:
            line = next(line for line in performance.splitlines() if line.startswith(f"- `{row}`"))
            assert f"{unit.value:g}"[:4].rstrip("0") in line or f"{unit.value:g}" in performance
