"""How many bytecode instructions a frame takes on the hot path: the same on every run and every machine.

Nanoseconds belong to a machine; instructions belong to the code (and to the version of the interpreter). What C code
does inside one of them is not seen, so this complements the clock and does not replace it. The tests hold a bound on
it, and ``python -m benchmarks.speed.instructions`` tells where they go.
"""

from __future__ import annotations

import gc
import json
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

from benchmarks.speed.frames import DENSE_48, make_frames, seconds_of
from benchmarks.speed.own import LINE, primed_engine
from polymirror.core.units import SIZES

if TYPE_CHECKING:
    from types import FrameType

    from benchmarks.speed.frames import Frames

WARM_UP = 200
COUNTED = 300


def count(*, hashed: bool) -> dict[str, Any]:
    """Return instructions, calls and kept containers of one frame, on the mean, and where the instructions are."""
    frames = make_frames(DENSE_48, WARM_UP + COUNTED)
    if not hashed:
        frames = frames.without_hashes()
    by_function = _trace(frames)
    return {
        "instructions": sum(by_function.values()) / COUNTED,
        "containers_kept": _containers(frames),
        "by_function": {name: n / COUNTED for name, n in by_function.most_common()},
    }


def _trace(frames: Frames) -> Counter[str]:
    # What earlier frames taught the memo must not make these cheaper.
    SIZES.clear()
    engine = primed_engine(frames)
    times = seconds_of(frames.stamps)
    spent: Counter[str] = Counter()

    def local(frame: FrameType, event: str, argument: object) -> Any:
        del argument
        if event == "opcode":
            spent[frame.f_code.co_qualname] += 1
        return local

    def entered(frame: FrameType, event: str, argument: object) -> Any:
        del event, argument
        frame.f_trace_lines, frame.f_trace_opcodes = False, True
        return local

    for frame, now in zip(frames.changes[:WARM_UP], times, strict=False):
        engine.receive(LINE, frame, now)
        engine.dirty()
    sys.settrace(entered)
    try:
        for frame, now in zip(frames.changes[WARM_UP:], times[WARM_UP:], strict=True):
            engine.receive(LINE, frame, now)
            engine.dirty()
    finally:
        sys.settrace(None)
    return spent


def _containers(frames: Frames) -> float:
    """Return how many objects that the collector must visit a frame leaves behind: each brings a pause nearer."""
    engine = primed_engine(frames)
    gc.collect()
    gc.disable()
    try:
        before = gc.get_count()[0]
        for frame, now in zip(frames.changes, seconds_of(frames.stamps), strict=True):
            engine.receive(LINE, frame, now)
            engine.dirty()
        return (gc.get_count()[0] - before) / len(frames.changes)
    finally:
        gc.enable()


if __name__ == "__main__":
    found = {name: count(hashed=hashed) for name, hashed in (("without_hash", False), ("with_proof", True))}
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
