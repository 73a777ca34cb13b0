"""What docs/operations.md tells operators exists: reasons, metrics and their labels, units and files that parse."""

from __future__ import annotations

import configparser
import re
import shlex
from pathlib import Path

import pytest

from polymirror.core.states import Reason
from tests.test_docs import Block, blocks_of

PAGE = Path(__file__).parents[1] / "docs" / "operations.md"

UNIT_KEYS = {
    "Unit": {"Description", "Wants", "After"},
    "Service": {
        "ExecStart", "KillSignal", "TimeoutStopSec", "Restart", "RestartSec", "DynamicUser", "StateDirectory",
        "NoNewPrivileges", "ProtectSystem", "ProtectHome", "PrivateTmp", "LimitNOFILE", "CPUWeight", "MemoryMax",
    },
    "Install": {"WantedBy"},
}  # fmt: skip
"""As systemd spells them: it ignores any other with a warning that nobody reads."""

INSTRUCTIONS = {"FROM", "RUN", "WORKDIR", "COPY", "USER", "ENV", "STOPSIGNAL", "CMD"}


def only(language: str) -> Block:
    (block,) = [block for block in blocks_of(PAGE) if block.language == language]
    return block


def test_there_is_advice_for_every_reason_in_its_order_and_for_no_other() -> None:
    told = re.findall(r"^\| \*\*([A-Z_]+)\*\* \| \S.*\|$", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert told == list(Reason.__members__)


def metrics() -> dict[str, tuple[str, ...]]:
    """The labels of each metric, by the name under which Prometheus has it."""
    module = pytest.importorskip("polymirror.status.metrics")
    counters = {f"{name}_total": words[1:] for name, words in module.COUNTERS.items()}
    return counters | {name: words[1:] for name, words in (module.GAUGES | module.HISTOGRAMS).items()}


def test_the_table_of_metrics_has_each_of_them_with_its_labels_and_no_other() -> None:
    page = (PAGE.parent / "metrics.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (`polymirror_[^|]+)\|([^|]*)\|", page, flags=re.MULTILINE)
    told = {name: labels.strip() for names, labels in rows for name in re.findall(r"`(\w+)`", names)}
    assert told == {name: ", ".join(labels) for name, labels in metrics().items()}


def test_the_unit_parses_and_has_keys_that_systemd_knows() -> None:
    unit = configparser.ConfigParser(strict=True, interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # systemd minds the case
    unit.read_string(only("ini").text)
    assert {name: set(unit[name]) for name in unit.sections()} == UNIT_KEYS
    assert Path(shlex.split(unit["Service"]["ExecStart"])[0]).is_absolute()


def test_the_container_file_has_known_instructions_and_installs_what_there_is() -> None:
    lines = only("dockerfile").text.splitlines()
    assert {line.split()[0] for line in lines} == INSTRUCTIONS
    assert lines[0].startswith("FROM python:3.")
    pyproject = (PAGE.parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    for extra in re.findall(r"'\.\[(\w+)\]'", only("dockerfile").text):
        assert f"\n{extra} = [" in pyproject
