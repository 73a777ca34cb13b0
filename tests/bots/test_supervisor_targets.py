"""Where Prometheus finds a bot, and what a fleet serves."""

from __future__ import annotations

import json

from bots.supervisor.targets import write_targets


def test_the_file_is_what_file_sd_reads(tmp_path):
    path = tmp_path / "bots.json"
    write_targets(path, "http://127.0.0.1:8080/", "pairs")
    (entry,) = json.loads(path.read_text())
    assert entry == {"targets": ["127.0.0.1:8080"], "labels": {"job": "polymirror", "bot": "pairs"}}
    write_targets(path, "http://127.0.0.1:9000/", "pairs")
    assert json.loads(path.read_text())[0]["targets"][0].endswith(":9000")
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_there_keeps_no_bot_from_starting(tmp_path, caplog):
    write_targets(tmp_path / "none" / "bots.json", "http://127.0.0.1:8080/", "pairs")
    assert "is not written" in caplog.text
