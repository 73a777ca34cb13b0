"""The dashboard and the alerts ask for what a mirror exports, and an alert fires when it should and not before."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest

from polymirror import Mirror
from polymirror.core.proofs import Verdict
from polymirror.core.states import BookState, Reason
from polymirror.metrics import MirrorMetrics
from polymirror.status.metrics import COUNTERS, GAUGES, HISTOGRAMS
from polymirror.venue.closing import CloseKind

FOLDER = Path(__file__).parents[2] / "docs" / "observability"
ALERTS = FOLDER / "alerts.yml"
PROMTOOL = shutil.which("promtool")

with_promtool = pytest.mark.skipif(PROMTOOL is None, reason="there is no promtool: apt-get install prometheus")

KNOWN: dict[str, set[str]] = {
    **{name: set(labels) for name, (_, *labels) in GAUGES.items()},
    **{f"{name}_total": set(labels) for name, (_, *labels) in COUNTERS.items()},
    **{f"{name}_{part}": set(labels) for name, (_, *labels) in HISTOGRAMS.items() for part in ("count", "sum")},
    **{f"{name}_bucket": {*labels, "le"} for name, (_, *labels) in HISTOGRAMS.items()},
}
"""The labels of each series, by the name under which Prometheus has it."""

VALUES = {
    "state": {*BookState.__members__, "open", "closed"},
    "from": set(BookState.__members__),
    "to": set(BookState.__members__),
    "reason": set(Reason.__members__),
    "verdict": {verdict.value for verdict in Verdict},
    "cause": set(CloseKind.__members__),
    "outcome": {"granted", "refused", "answered", "failed"},
}

SELECTOR = re.compile(r"(polymirror_\w+)(?:\{([^}]*)\})?")
LABEL = re.compile(r'(\w+)(=~|!=|=)"([^"]*)"')
GROUPED = re.compile(r"by \(([^)]*)\) \((?:\w+\()?(polymirror_\w+)")


def wrong_with(expression: str) -> list[str]:
    """What an expression asks for that no mirror exports."""
    found = [name for name, _ in SELECTOR.findall(expression) if name not in KNOWN]
    for name, labels in SELECTOR.findall(expression):
        for label, _, value in LABEL.findall(labels):
            if label == "instance":
                continue
            if label not in KNOWN.get(name, {label}):
                found.append(f"{name} has no {label}")
            found += [f"{label}={each}" for each in value.split("|") if each not in VALUES[label]]
    for labels, name in GROUPED.findall(expression):
        found += [f"{name} has no {each}" for each in labels.split(", ") if each not in KNOWN.get(name, {each})]
    return found


def rules() -> list[dict[str, str]]:
    (group,) = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return group["rules"]


def dashboard() -> dict:
    return json.loads((FOLDER / "dashboard.json").read_text(encoding="utf-8"))


def targets() -> list[dict[str, str]]:
    return [target for panel in dashboard()["panels"] for target in panel.get("targets", ())]


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_what_is_exported(rule):
    assert SELECTOR.search(rule["expr"])
    assert wrong_with(rule["expr"]) == []
    for label in re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]):
        assert f"by ({label})" in rule["expr"]


@pytest.mark.parametrize("target", targets(), ids=lambda target: target["expr"][:60])
def test_the_dashboard_asks_for_what_is_exported(target):
    assert SELECTOR.search(target["expr"])
    assert wrong_with(target["expr"]) == []
    for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
        assert label in target["expr"].partition(")")[0]


def test_the_dashboard_shows_every_metric_and_its_panels_do_not_cover_each_other():
    asked = " ".join(target["expr"] for target in targets())
    names = [*GAUGES, *(f"{name}_total" for name in COUNTERS), *HISTOGRAMS]
    assert [name for name in names if name not in asked] == []
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [(each["x"], each["y"], each["w"], each["h"]) for each in (panel["gridPos"] for panel in panels)]
    cells = [(x + i, y + j) for x, y, w, h in places for i in range(w) for j in range(h)]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


@pytest.mark.parametrize(
    ("expression", "wrong"),
    [
        ("sum(polymirror_bokks)", ["polymirror_bokks"]),
        ('polymirror_books{reason="STALE"}', ["polymirror_books has no reason"]),
        ('polymirror_books{state="LIFE"}', ["state=LIFE"]),
        ("sum by (kind) (rate(polymirror_reads_total[5m]))", ["polymirror_reads_total has no kind"]),
        ("polymirror_apply_seconds", ["polymirror_apply_seconds"]),
    ],
)
def test_what_is_not_exported_is_found(expression, wrong):
    assert wrong_with(expression) == wrong


def promtool(*arguments, text=None):
    done = subprocess.run(  # noqa: S603 - a program of the system, fixed words
        [PROMTOOL, *map(str, arguments)], capture_output=True, text=True, input=text, timeout=60, check=False
    )
    return done.returncode, done.stdout + done.stderr


@with_promtool
def test_prometheus_takes_the_alerts_and_what_the_dashboard_asks(tmp_path):
    code, said = promtool("check", "rules", ALERTS)
    assert (code, f"{len(rules())} rules found" in said) == (0, True), said
    asked = [
        target["expr"].replace("$instance", ".*").replace("$__rate_interval", "5m") for target in targets()
    ]  # fmt: skip
    records = [{"record": f"panel:{number}", "expr": each} for number, each in enumerate(asked)]
    (tmp_path / "panels.yml").write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": records}]}))
    code, said = promtool("check", "rules", tmp_path / "panels.yml")
    assert (code, f"{len(asked)} rules found" in said) == (0, True), said


@with_promtool
def test_prometheus_has_nothing_to_say_against_the_names():
    registry, mirror = CollectorRegistry(), Mirror()
    MirrorMetrics(mirror, registry)
    mirror.pulse.frame_age.observe(0.01)
    assert promtool("check", "metrics", text=generate_latest(registry).decode()) == (0, "")


WELL = {
    'polymirror_books{state="LIVE"}': "40x60",
    'polymirror_books{state="SUSPECT"}': "0x60",
    'polymirror_books{state="RETIRED"}': "4x60",
    "polymirror_missing": "0x60",
    'polymirror_book_untrusted_seconds_total{reason="DISCONNECT"}': "0+1x60",
    "polymirror_longest_outage_seconds": "0 3 0 0 1 0x55",
    "polymirror_proof_age_seconds": "9x60",
    'polymirror_proofs_total{kind="hash",verdict="match"}': "0+60000x60",
    'polymirror_proofs_total{kind="hash",verdict="mismatch"}': "0+6x60",
    'polymirror_resyncs_total{reason="SCHEDULED"}': "0+40x60",
    'polymirror_resyncs_total{reason="DISCONNECT"}': "0 0 40x58",
    'polymirror_reconnects_total{cause="RESET"}': "0 0 1x58",
    "polymirror_rest_calls_left": "190x60",
    "polymirror_apply_lag_seconds": "0.1x60",
    'polymirror_loop_lag_seconds_bucket{le="0.2"}': "0+1000x60",
    'polymirror_loop_lag_seconds_bucket{le="0.5"}': "0+1000x60",
    'polymirror_loop_lag_seconds_bucket{le="+Inf"}': "0+1000x60",
    'polymirror_malformed_total{kind="frame"}': "0 0 1x58",
    "polymirror_callback_failures_total": "0x60",
}
"""A mirror to which what is everyday happens: a value a minute for an hour."""

ILL = {
    "PolymirrorGone": dict.fromkeys(('polymirror_books{state="LIVE"}', 'polymirror_books{state="SUSPECT"}',
                                     'polymirror_books{state="RETIRED"}'), "_x60"),
    "PolymirrorNothingLive": {'polymirror_books{state="LIVE"}': "0x60", 'polymirror_books{state="SUSPECT"}': "40x60"},
    "PolymirrorMissing": {"polymirror_missing": "1x60"},
    "PolymirrorUntrusted": {'polymirror_book_untrusted_seconds_total{reason="DISCONNECT"}': "0+12x60"},
    "PolymirrorBookOut": {"polymirror_longest_outage_seconds": "0+60x60"},
    "PolymirrorProofsOld": {"polymirror_proof_age_seconds": "14x60"},
    "PolymirrorMismatches": {'polymirror_proofs_total{kind="hash",verdict="mismatch"}': "0+900x60"},
    "PolymirrorRebuilding": {'polymirror_resyncs_total{reason="DISCONNECT"}': "0+40x60"},
    "PolymirrorReconnects": {'polymirror_reconnects_total{cause="RESET"}': "0+2x60"},
    "PolymirrorRestSpent": {"polymirror_rest_calls_left": "0x60"},
    "PolymirrorLate": {"polymirror_apply_lag_seconds": "0.7x60"},
    "PolymirrorLoopBusy": {'polymirror_loop_lag_seconds_bucket{le="0.2"}': "0+900x60"},
    "PolymirrorMalformed": {'polymirror_malformed_total{kind="frame"}': "0+1x60"},
    "PolymirrorCallbacksFail": {"polymirror_callback_failures_total": "0+1x60"},
}  # fmt: skip
"""What is different when an alert is to fire."""


def fired(tmp_path, alert, series):
    """Whether an alert fires after half an hour of this."""
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "alert_rule_test": [{"eval_time": "30m", "alertname": alert, "exp_alerts": []}],
    }
    path = tmp_path / "test.yml"
    path.write_text(yaml.safe_dump({"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": [test]}))
    code, said = promtool("test", "rules", path)
    assert code == 0 or f"alertname: {alert}" in said, said
    return code != 0


@with_promtool
@pytest.mark.parametrize("alert", [rule["alert"] for rule in rules()])
def test_an_alert_fires_when_it_should_and_not_in_everyday_life(tmp_path, alert):
    assert not fired(tmp_path, alert, WELL)
    assert fired(tmp_path, alert, WELL | ILL[alert])
