"""A file that tells Prometheus where a bot's metrics are: ``file_sd``, one entry, rewritten when the bot starts."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)


def write_targets(path: Path, url: str, bot: str) -> None:
    """Name the address of the status server, whole or not at all. A disk that does not take it is a warning."""
    entry = [{"targets": [urlsplit(url).netloc], "labels": {"job": "polymirror", "bot": bot}}]
    new = path.with_suffix(".new")
    try:
        new.write_text(json.dumps(entry) + "\n", encoding="utf-8")
        new.replace(path)
    except OSError as error:
        log.warning("%s is not written: %s", path, error)
