from __future__ import annotations

import os

import pytest

from polymirror.commands.traders import from_file
from polymirror.errors import ConfigError, PolymirrorError, UnitError
from polymirror.files import read_bounded


def test_a_file_is_read_up_to_its_bound(tmp_path):
    path = tmp_path / "settings"
    path.write_bytes(b"x" * 10)
    assert read_bounded(path, 10) == b"x" * 10
    with pytest.raises(OSError, match="more than 9 bytes"):
        read_bounded(path, 9)
    with pytest.raises(FileNotFoundError):
        read_bounded(tmp_path / "nothing", 9)


def test_what_has_no_end_or_no_beginning_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for each in ("/dev/zero", tmp_path / "pipe", tmp_path):
        with pytest.raises(OSError, match="not a regular file"):
            read_bounded(type(tmp_path)(each), 10)
    with pytest.raises(PolymirrorError, match="cannot be read: /dev/zero: it is not a regular file"):
        from_file(type(tmp_path)("/dev/zero"), 1)


def test_a_number_that_python_does_not_write_is_told_all_the_same():
    huge = 16**10_000
    for error in (ConfigError("x", huge, "small"), UnitError("price", huge, "small")):
        assert "a number of 4300 digits or more is not" in str(error)
