"""Where another thread is, for an error that must say what holds it up."""

from __future__ import annotations

import sys
import traceback
from pathlib import PurePath
from typing import Final

FRAMES: Final = 3
"""Innermost frames that are shown."""


def whereabouts(ident: int | None) -> str:
    """Say where the thread with this ident is, innermost last."""
    frame = sys._current_frames().get(ident or 0)  # noqa: SLF001 - there is no other way to see it
    stack = traceback.extract_stack(frame)[-FRAMES:] if frame is not None else []
    return " > ".join(f"{PurePath(at.filename).name}:{at.lineno} {at.name}" for at in stack) or "nowhere"
