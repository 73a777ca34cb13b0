"""The files in ``deploy/``: what they promise (not root, read-only, a health check, a gentle end) is what they say."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from bots.common.operate.settings import build, read
from bots.oracle_lag.config import BotSettings

REPOSITORY = Path(__file__).parents[1]
DEPLOY = REPOSITORY / "deploy"


def dockerfile() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile with their arguments, continued lines joined."""
    text = re.sub(r"\\\n\s*", " ", (DEPLOY / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(word, rest) for word, _, rest in (line.strip().partition(" ") for line in lines)]


def compose() -> dict:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def service() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(DEPLOY / "polymirror-bot.service")
    return parser


def test_every_image_has_a_version_and_none_is_the_latest():
    images = [rest.split()[0] for word, rest in dockerfile() if word == "FROM"]
    images += [each["image"] for each in compose()["services"].values() if "image" in each]
    assert len(images) == 4
    assert all(re.search(r":v?\d+\.\d+", image) and "latest" not in image for image in images)


def test_the_image_is_not_run_as_root_and_says_how_it_is_and_how_it_ends():
    last = dict(dockerfile())
    assert last["USER"].isdigit()
    assert int(last["USER"]) > 0
    assert last["STOPSIGNAL"] == "SIGTERM"
    assert "/health" in last["HEALTHCHECK"]
    assert last["ENTRYPOINT"].startswith("[")
    assert last["CMD"].startswith("[")
    assert not any(word == "ADD" or "sudo" in rest for word, rest in dockerfile())


def test_what_is_installed_has_been_tried_with_hashes_and_leaves_no_cache():
    runs = [part for word, rest in dockerfile() if word == "RUN" for part in rest.split("&&") if "pip install" in part]
    assert len(runs) == 2
    assert all("--no-cache-dir" in run for run in runs)
    assert "--require-hashes" in runs[0]
    assert "--no-deps" in runs[1]


def test_everything_that_is_copied_is_there_and_is_not_ignored():
    kept = [line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    for word, rest in dockerfile():
        if word == "COPY" and not rest.startswith("--from"):
            for source in rest.split()[:-1]:
                assert (REPOSITORY / source).exists(), source
                assert any(source == each or source.startswith(f"{each}/") for each in kept), source


def test_no_service_may_more_than_it_must():
    services = compose()["services"]
    assert set(services) == {"bot", "prometheus", "grafana"}
    for name, each in services.items():
        assert each["cap_drop"] == ["ALL"], name
        assert each["security_opt"] == ["no-new-privileges:true"], name
        assert "privileged" not in each
        assert each["restart"]
        assert all(port.startswith("127.0.0.1:") for port in each.get("ports", ())), name
    assert services["bot"]["read_only"] is True
    assert int(services["bot"]["stop_grace_period"].rstrip("s")) >= 35
    named = {volume.split(":")[0] for each in services.values() for volume in each["volumes"]}
    assert {name for name in named if not name.startswith(".")} == set(compose()["volumes"])


def test_every_file_that_a_service_mounts_is_there():
    for each in compose()["services"].values():
        for volume in each["volumes"]:
            source = volume.split(":")[0]
            assert not source.startswith(".") or (DEPLOY / source).resolve().is_file(), source


def test_prometheus_scrapes_the_port_that_the_bot_serves():
    scraped = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"][0]["static_configs"][0]
    settings = build(BotSettings, read(DEPLOY / "bot.toml"), environment={})
    port = settings.status.http.rpartition(":")[2]
    assert scraped["targets"] == [f"bot:{port}"]
    assert "bot" in settings.status.names
    assert f"EXPOSE {port}" in (DEPLOY / "Dockerfile").read_text()


def test_the_unit_restarts_what_failed_and_not_what_a_person_must_mend():
    unit = service()["Service"]
    assert unit["Restart"] == "on-failure"
    assert unit["RestartPreventExitStatus"] == "2 3"
    assert unit["KillSignal"] == "SIGTERM"
    assert int(unit["TimeoutStopSec"]) >= 35
    for name, value in (("DynamicUser", "yes"), ("NoNewPrivileges", "yes"), ("ProtectSystem", "strict")):
        assert unit[name] == value


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path):
    text = (DEPLOY / "polymirror-bot.service").read_text()
    # Whether the program is there is a matter of the machine.
    unit = tmp_path / "polymirror-bot.service"
    unit.write_text(text.replace("/srv/bot/.venv/bin/python", "/bin/true"))
    done = subprocess.run(  # noqa: S603 - our own file
        ["systemd-analyze", "verify", "--man=no", str(unit)],  # noqa: S607 - wherever it is
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert "polymirror-bot.service:" not in done.stderr, done.stderr
