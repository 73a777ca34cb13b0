"""Files of a bot are its owner's alone: in a folder that nobody else can write to, and never behind a link.

Whoever may write to the folder may put links and ledgers into it: such a folder is refused, with the command that
mends it, and so is a file in it that is a link or somebody else's. One that others could only read is closed to them.
On Windows nothing of this is looked at.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from bots.common.errors import BotError
from polymirror.files import create_private

if TYPE_CHECKING:
    from pathlib import Path

POSIX = os.name == "posix"


def own_folder(path: Path) -> None:
    """Make a folder, or make sure that it is ours and nobody else writes there. Raises BotError, OSError."""
    for each in reversed([path, *path.absolute().parents]):
        if not each.is_dir():
            each.mkdir(mode=0o700, exist_ok=True)
            sync(each.absolute().parent)
    if not POSIX:
        return
    found, ours = path.stat(), os.geteuid()
    if found.st_uid != ours:
        raise BotError(f"{path} belongs to user {found.st_uid}: chown {ours} {path}, or set another folder")
    if found.st_mode & 0o022:
        raise BotError(f"others may write to {path}: look at what they put there, then chmod 700 {path}")
    if found.st_mode & 0o055:
        path.chmod(0o700)
    for each in (path.absolute(), *path.absolute().parents):
        link, real = each.lstat(), each.stat()
        if stat.S_ISLNK(link.st_mode) and link.st_uid not in {0, ours}:
            raise BotError(f"{each} is a link of user {link.st_uid}: rm {each}")
        if real.st_mode & stat.S_IWOTH and not real.st_mode & stat.S_ISVTX:
            raise BotError(f"others may write to {each}, and so replace {path}: chmod o-w {each}")


def own_file(path: Path) -> None:
    """Make sure that a file, if it is there, is ours and no link, and close it to others. Raises BotError, OSError."""
    if not POSIX or not os.path.lexists(path):
        return
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1 or found.st_uid != os.geteuid():
        raise BotError(f"{path} is a link, or no file of ours: look where it comes from, then rm {path}")
    if found.st_mode & 0o077:
        path.chmod(0o600)


def new_file(path: Path) -> None:
    """Make an empty file for its owner alone, in the place of whatever had that name. Raises OSError."""
    path.unlink(missing_ok=True)
    os.close(create_private(path))


def changed_by_others(path: Path) -> str:
    """Say who else may change a file, and what mends that; "" when nobody but its owner, us or root, may."""
    found = path.stat()
    if not POSIX:
        return ""
    if found.st_uid not in {0, os.geteuid()}:
        return f"{path} belongs to user {found.st_uid}: chown {os.geteuid()} {path}"
    return f"others may write to {path}: chmod go-w {path}" if found.st_mode & 0o022 else ""


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the medium."""
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
