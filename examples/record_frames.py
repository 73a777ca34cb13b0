"""Record a market's raw frames: ``python examples/record_frames.py FILE SLUG``; then ``polymirror replay FILE``.

One JSON object a line: the frame as it was received, and the time of day at which it was read, in ms.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

from polymirror import Endpoints, Mirror, RawFrame


async def main(path: Path, slug: str, endpoints: Endpoints | None = None, seconds: float = 3600) -> int:
    """Record for so many seconds; return the number of frames."""
    count = 0
    mirror = Mirror.for_slug(slug, endpoints=endpoints)
    with path.open("w", encoding="utf-8") as file:

        def record(frame: RawFrame) -> None:
            nonlocal count
            count += 1
            age_ms = (mirror.now() - frame.received_at) * 1000
            text = frame.data if isinstance(frame.data, str) else frame.data.decode()
            file.write(json.dumps({"recv_ms": round(time.time() * 1000 - age_ms), "frame": text}) + "\n")

        mirror.on_frame(record)
        async with mirror:
            await asyncio.sleep(seconds)
    return count


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
