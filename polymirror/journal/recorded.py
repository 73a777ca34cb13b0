"""What a mirror has recorded so far: :attr:`polymirror.mirror.Mirror.recorded`."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - typing.get_type_hints of what users read finds it

from attrs import frozen


@frozen
class Recorded:
    """What was recorded so far."""

    session: str
    """Names this run; the names of its files begin with it."""
    folder: Path
    files: int
    lines: int
    """Lines that were made; those that are lost are among them."""
    lost: int
    bytes: int
    """Bytes in the files."""
