"""Calls of contracts and transactions as bytes: selectors, words of 32 bytes, and RLP, to be read."""

from __future__ import annotations

from functools import cache
from typing import Final

from polymirror.simulator.orders.keccak import keccak256

WORD: Final = 32

MAX_ITEMS: Final = 1_000
"""More entries of an array are not read."""


@cache
def selector(signature: str) -> bytes:
    """The first four bytes of a call of this function, such as ``approve(address,uint256)``."""
    return keccak256(signature.encode())[:4]


class Arguments:
    """The arguments of a call. Reading what is not there raises :class:`ValueError`."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def word(self, index: int) -> bytes:
        """The 32 bytes of an argument."""
        found = self._data[index * WORD : (index + 1) * WORD]
        if len(found) != WORD:
            raise ValueError("the call is too short")
        return found

    def number(self, index: int) -> int:
        """An argument as a number."""
        return int.from_bytes(self.word(index), "big")

    def address(self, index: int) -> str:
        """An argument as an address in lower case."""
        return f"0x{self.word(index)[12:].hex()}"

    def array(self, index: int) -> Arguments:
        """The entries of an array: its own arguments, as many as :meth:`count` says of it."""
        start = self.number(index)
        count = int.from_bytes(self._data[start : start + WORD], "big")
        if count > MAX_ITEMS or len(self._data) < start + WORD * (count + 1):
            raise ValueError("the array is too long")
        return Arguments(self._data[start + WORD : start + WORD * (count + 1)])

    def count(self) -> int:
        """How many arguments there are."""
        return len(self._data) // WORD


def number(value: int) -> str:
    """A number as a function returns it."""
    return f"0x{value:064x}"


def numbers(values: list[int]) -> str:
    """An array of numbers as a function returns it."""
    return "0x" + "".join(f"{value:064x}" for value in (WORD, len(values), *values))


def rlp_list(data: bytes) -> list[bytes]:
    """The texts of an RLP list; lists inside are left as they are. Raises :class:`ValueError`."""
    start, end, is_list = _item(data, 0)
    if not is_list or end != len(data):
        raise ValueError("not an RLP list")
    found: list[bytes] = []
    while start < end and len(found) < MAX_ITEMS:
        begin, stop, _ = _item(data, start)
        found.append(data[begin:stop])
        start = stop
    if start != end:
        raise ValueError("not an RLP list")
    return found


def _item(data: bytes, at: int) -> tuple[int, int, bool]:
    """Where the content of the item at a place begins and ends, and whether it is a list."""
    if at >= len(data):
        raise ValueError("the item is cut off")
    first = data[at]
    if first < 0x80:
        return at, at + 1, False
    is_list = first >= 0xC0
    size = first - (0xC0 if is_list else 0x80)
    begin = at + 1
    if size > 55:
        width = size - 55
        size, begin = int.from_bytes(data[begin : begin + width], "big"), begin + width
    if begin + size > len(data):
        raise ValueError("the item is cut off")
    return begin, begin + size, is_list
