"""Writing the report: the page and the JSON file. Nothing in them depends on when or where it was written."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from bots.research.report.page import page

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def write(result: Mapping[str, Any], out: Path) -> tuple[Path, Path]:
    """Write ``report.html`` and ``report.json`` into a folder, which is made if need be; return both."""
    out.mkdir(parents=True, exist_ok=True)
    html, raw = out / "report.html", out / "report.json"
    raw.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    html.write_text(page(result), encoding="utf-8")
    return html, raw
