"""Keys: what their bytes mean, what they do, and that a terminal is given back as it was."""

from __future__ import annotations

import asyncio
import os
import sys
import termios
from types import SimpleNamespace

import pytest

from polymirror.commands.keys import SORTS, Key, Navigation, pressed_keys, read_keys

BOOKS = [f"token {number}" for number in range(30)]


@pytest.mark.parametrize(
    ("data", "names"),
    [
        (b"\x1b[A\x1b[B", ["up", "down"]),
        (b"\x1bOA", ["up"]),
        (b"\x1b[5~\x1b[6~ ", ["page up", "page down", "page down"]),
        (b"gG", ["first", "last"]),
        (b"b\r\x1b", ["book", "book", "back"]),
        (b"x\xff\x00\x1b[99;5u", []),
        (b"s\x1b[Zq", ["sort", "previous", "quit"]),
        (b"/\x7f", ["find", "erase"]),
    ],
)
def test_bytes_are_keys(data, names):
    assert [key.name for key in read_keys(data) if key.name] == names


def test_a_key_writes_what_names_are_made_of():
    assert [key.text for key in read_keys(b"b-9 \r\x1b[A\xc3\xa9\x07")] == ["b", "-", "9", " ", "", ""]


def pressed(*keys: str, **start) -> Navigation:
    navigation = Navigation(page=10, **start)
    for key in keys:
        navigation.press(Key(key, ""), BOOKS)
    return navigation


def written(text: str, *keys: str, **start) -> Navigation:
    """After a text was written, byte by byte, and then keys pressed."""
    navigation = Navigation(page=10, **start)
    for key in (*read_keys(text.encode()), *(Key(key, "") for key in keys)):
        navigation.press(key, BOOKS)
    return navigation


def test_what_is_looked_for_is_written_kept_and_forgotten():
    assert (written("/btc up").find, written("/btc up").typing) == ("btc up", True)
    # While it is written, letters are letters.
    assert not written("/quit").over
    assert written("/btc", "erase").find == "bt"
    kept = written("/btc", "book")
    assert (kept.find, kept.typing, kept.book) == ("btc", False, None)
    assert written("/btc", "back").find == ""
    assert written("/btc", "book", "back").find == ""
    assert not written("/btc", "book", "quit").typing
    assert len(written("/" + "x" * 100).find) == 40
    assert written("/b", book=BOOKS[3]).book is None
    assert written("/b", first=7).first == 0


def test_scrolling_ends_at_both_ends():
    assert pressed("down", "down", "up").first == 1
    assert pressed("up").first == 0
    assert pressed("page down").first == 10
    assert pressed("page down", "page down", "page down").first == 20
    assert pressed("last").first == 20
    assert pressed("last", "first").first == 0
    few = Navigation(page=10)
    few.press(Key("down", ""), BOOKS[:5])
    assert few.first == 0


def test_the_order_goes_round_and_starts_at_the_top():
    assert [pressed(*["sort"] * n).sort for n in range(6)] == [*SORTS, "trouble"]
    assert pressed("down", "sort").first == 0


def test_a_book_opens_is_turned_over_and_closed():
    assert pressed("book").book == BOOKS[0]
    # The first that is seen.
    assert pressed("down", "down", "book").book == BOOKS[2]
    assert pressed("book", "next").book == BOOKS[1]
    assert pressed("book", "previous").book == BOOKS[-1]
    assert pressed("book", "book").book is None
    assert pressed("book", "back").book is None
    assert pressed("back").book is None
    assert pressed("next").book is None
    # One that is gone meanwhile.
    assert pressed("next", book="token of old").book == BOOKS[0]
    nothing = Navigation()
    nothing.press(Key("book", ""), [])
    assert nothing.book is None


def test_quit_is_the_end_and_other_keys_are_not():
    assert pressed("quit").over
    assert not pressed("book", "down", "sort").over


def test_the_hint_says_what_can_be_done_now_in_40_columns():
    shown = [pressed(*["sort"] * n) for n in range(len(SORTS))]
    for navigation in (*shown, pressed("book"), written("/" + "x" * 40), written("/" + "x" * 40, "book")):
        assert len(navigation.hint) <= 40
    assert "by name" in pressed("sort").hint
    assert "back" in pressed("book").hint


def test_a_terminal_is_read_key_by_key_and_given_back(monkeypatch):
    ours, theirs = os.openpty()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(fileno=lambda: theirs))
    monkeypatch.setattr(os, "tcgetpgrp", lambda _fd: os.getpgrp())
    before = termios.tcgetattr(theirs)

    async def press() -> list[Key]:
        keys: list[str] = []
        with pressed_keys(keys.append) as there:
            assert there
            assert not termios.tcgetattr(theirs)[3] & (termios.ICANON | termios.ECHO)
            # Ctrl-C stays a signal.
            assert termios.tcgetattr(theirs)[3] & termios.ISIG
            os.write(ours, b"s\x1b[A")
            async with asyncio.timeout(30):
                while len(keys) < 2:  # noqa: ASYNC110 - the keys come from a reader
                    await asyncio.sleep(0.001)
        return keys

    assert [key.name for key in asyncio.run(press())] == ["sort", "up"]
    assert termios.tcgetattr(theirs) == before
    with pytest.raises(ZeroDivisionError):
        asyncio.run(fail())
    assert termios.tcgetattr(theirs) == before
    os.close(ours)
    os.close(theirs)


async def fail() -> None:
    with pressed_keys(lambda _key: None):
        raise ZeroDivisionError


@pytest.mark.parametrize("stdin", [None, SimpleNamespace(fileno=lambda: os.open(os.devnull, os.O_RDONLY))])
def test_without_a_terminal_there_are_no_keys(stdin, monkeypatch):
    monkeypatch.setattr(sys, "stdin", stdin)

    async def look() -> bool:
        with pressed_keys(lambda _key: None) as there:
            return there

    assert not asyncio.run(look())
