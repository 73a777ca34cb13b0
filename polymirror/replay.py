"""Where the replay of single frames was until 0.3; it is :mod:`polymirror.journal.frames` now."""

from polymirror.journal.frames import FrameReplay as Replay
from polymirror.journal.frames import open_envelope, replay_lines

__all__ = ["Replay", "open_envelope", "replay_lines"]
