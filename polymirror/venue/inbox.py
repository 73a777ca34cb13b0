"""The bounded queue between the task that drains a socket and the one that applies its frames.

Two bounds, frames and bytes; a frame that does not fit is refused and nothing is dropped to make
room: the connection decides what a refusal means. Not safe across threads: one event loop uses it.
"""

from __future__ import annotations

from collections import deque

from attrs import define, field


@define
class Inbox:
    """Frames in order of arrival, each with the time it was read from the socket (seconds, monotonic)."""

    max_frames: int
    max_bytes: int
    # The bytes of all frames that wait, so that a few huge frames count like many small ones.
    waiting_bytes: int = field(default=0, init=False)
    # The most frames that ever waited at once.
    deepest: int = field(default=0, init=False)
    _frames: deque[tuple[float, bytes]] = field(factory=deque, init=False)

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def room(self) -> int:
        """How many more frames may wait, whatever their bytes."""
        return self.max_frames - len(self._frames)

    def put(self, received_at: float, data: bytes) -> bool:
        """Append a frame; ``False``, and nothing is kept of it, when a bound would be passed."""
        if len(self._frames) >= self.max_frames or self.waiting_bytes + len(data) > self.max_bytes:
            return False
        self._frames.append((received_at, data))
        self.waiting_bytes += len(data)
        self.deepest = max(self.deepest, len(self._frames))
        return True

    def pop(self) -> tuple[float, bytes]:
        """Remove and return the oldest frame; :class:`IndexError` when there is none."""
        frame = self._frames.popleft()
        self.waiting_bytes -= len(frame[1])
        return frame

    def discard(self) -> int:
        """Forget all frames and return how many there were."""
        forgotten = len(self._frames)
        self._frames.clear()
        self.waiting_bytes = 0
        return forgotten
