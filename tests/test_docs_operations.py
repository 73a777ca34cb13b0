"""What docs/operations.md tells operators exists: reasons, metrics and their labels, and units and files that parse."""

from __future__ import annotations

import configparser
import re
import shlex
from pathlib import Path

import pytest
import yaml

from polymirror.core.states import BookState, Reason
from tests.test_docs import Block, blocks_of

PAGE = Path(__file__).parents[1] / "docs" / "operations.md"

SELECTOR = re.compile(r"(polymirror_\w+)(?:\{(\w+)!?=\"(\w+)\"\})?")
GROUPED = re.compile(r"by \((\w+)\) \(\w+\((polymirror_\w+)")

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
    return counters | {name: words[1:] for name, words in module.GAUGES.items()}


def test_the_alerts_parse_and_ask_for_metrics_and_labels_that_exist() -> None:
    known = metrics()
    (group,) = yaml.safe_load(only("yaml").text)["groups"]
    expressions = {rule["alert"]: rule["expr"] for rule in group["rules"]}
    assert len(expressions) == len(group["rules"])
    for alert, expression in expressions.items():
        found = SELECTOR.findall(expression)
        assert found, alert
        for name, label, value in found:
            assert name in known, alert
            assert not label or label in known[name], alert
            assert label != "state" or value in BookState.__members__, alert
        for label, name in GROUPED.findall(expression):
            assert label in known[name], alert
    for rule in group["rules"]:
        for label in re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]):
            assert f"by ({label})" in rule["expr"]


def test_the_table_of_metrics_has_each_of_them() -> None:
    page = (PAGE.parent / "metrics.md").read_text(encoding="utf-8")
    assert [name for name in metrics() if f"`{name}`" not in page] == []


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
