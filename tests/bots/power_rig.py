"""A disk that loses power: what was not synced is kept, lost, or kept in part, and a name is not a file's data.

:class:`PowerCutOs` stands in for the module ``os`` in :mod:`bots.common.ledger.files`. Every call passes an instant of
:class:`~tests.bots.crash_rig.Fate` before and after it takes effect, a write also in the middle.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from types import SimpleNamespace

from attrs import define, field

from tests.bots.crash_rig import Fate


@define(eq=False)
class Inode:
    data: bytes = b""
    synced: bytes = b""


@define(eq=False)
class Handle:
    path: str
    inode: Inode | None
    offset: int = 0


@define(eq=False)
class PowerCutOs:
    fate: Fate = field(factory=Fate)
    names: dict = field(factory=dict)
    synced_names: dict = field(factory=dict)
    handles: dict = field(factory=dict)
    calls: list = field(factory=list)
    deaf: frozenset = frozenset()
    """Guards that are removed: ``file`` or ``folder`` is not synced."""

    def __getattr__(self, name):
        if name.startswith("O_"):
            return getattr(os, name)
        raise AttributeError(name)

    def open(self, path, flags, _mode=0o777):
        path = str(path)
        self.fate.pass_one()
        inode = None
        if not Path(path).is_dir():
            inode = self.names.get(path)
            if inode is None:
                if not flags & os.O_CREAT:
                    raise FileNotFoundError(path)
                inode = self.names[path] = Inode()
            if flags & os.O_TRUNC:
                inode.data = b""
            self.fate.pass_one()
        self.calls.append(("open", path))
        number = 100 + len(self.calls)
        self.handles[number] = Handle(path, inode)
        return number

    def read(self, number, count):
        handle = self.handles[number]
        part = handle.inode.data[handle.offset : handle.offset + count]
        handle.offset += len(part)
        return part

    def write(self, number, data):
        data = bytes(data)
        inode = self.handles[number].inode
        self.fate.pass_one()
        first = (len(data) + 1) // 2
        inode.data += data[:first]
        self.fate.pass_one()
        self.calls.append(("write", self.handles[number].path))
        return first

    def fsync(self, number):
        self.fate.pass_one()
        handle = self.handles[number]
        if handle.inode is None:
            if "folder" not in self.deaf:
                self.synced_names = dict(self.names)
        elif "file" not in self.deaf:
            handle.inode.synced = handle.inode.data
        self.calls.append(("fsync", handle.path))
        self.fate.pass_one()

    def ftruncate(self, number, size):
        self.fate.pass_one()
        self.handles[number].inode.data = self.handles[number].inode.data[:size]
        self.fate.pass_one()

    def fstat(self, number):
        return SimpleNamespace(st_size=len(self.handles[number].inode.data), st_mode=stat.S_IFREG)

    def close(self, number):
        del self.handles[number]

    def replace(self, old, new):
        self.fate.pass_one()
        self.names[str(new)] = self.names.pop(str(old))
        self.calls.append(("replace", str(new)))
        self.fate.pass_one()

    def unlink(self, path):
        self.fate.pass_one()
        if str(path) not in self.names:
            raise FileNotFoundError(path)
        del self.names[str(path)]
        self.fate.pass_one()

    def end(self, how, rng):
        """The process is gone: ``kill`` keeps everything, ``cut`` what was synced, ``mixed`` anything between."""
        self.handles.clear()
        if how == "kill":
            return
        self.names = self._names_left(how, rng)
        for inode in set(self.names.values()):
            inode.data = self._data_left(inode, how, rng)
        for inode in self.names.values():
            inode.synced = inode.data
        self.synced_names = dict(self.names)

    def _names_left(self, how, rng):
        if how == "cut":
            return dict(self.synced_names)
        left = {}
        for path in {*self.names, *self.synced_names}:
            inode = rng.choice((self.names, self.synced_names)).get(path)
            if inode is not None:
                left[path] = inode
        return left

    @staticmethod
    def _data_left(inode, how, rng):
        if how == "cut" or inode.data == inode.synced:
            return inode.synced
        if not inode.data.startswith(inode.synced):
            return rng.choice((inode.data, inode.synced))
        new = inode.data[len(inode.synced) :]
        kept = new[: rng.randint(0, len(new))]
        # A file system may have noted the length before the data was there.
        nothing = b"\0" * rng.choice((0, len(new) - len(kept)))
        return inode.synced + kept + nothing
