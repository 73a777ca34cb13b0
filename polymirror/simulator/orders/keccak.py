"""Keccak-256, the hash of Ethereum, which Python's own library does not have (its SHA-3 pads differently).

Pure and slow, about a millisecond for an order, which is all that the simulated venue hashes with it: the ids of
orders and what logins sign (:mod:`polymirror.simulator.orders.signing`).
"""

from __future__ import annotations

from typing import Final

RATE: Final = 136
"""Bytes that are taken in between two permutations, for an output of 256 bits."""

_MASK: Final = (1 << 64) - 1
_PAD: Final = 0x01
_ROUNDS: Final = 24


def _round_constants() -> tuple[int, ...]:
    """The constants of the 24 rounds, from the shift register of the specification."""
    register, found = 1, []
    for _ in range(_ROUNDS):
        constant = 0
        for power in range(7):
            if register & 1:
                constant |= 1 << ((1 << power) - 1)
            register <<= 1
            if register & 0x100:
                register ^= 0x171
        found.append(constant)
    return tuple(found)


def _moves() -> tuple[tuple[int, int, int], ...]:
    """Where each lane goes and how far it is turned: (from, to, bits), lanes counted as x + 5 * y."""
    x, y, found = 1, 0, [(0, 0, 0)]
    for step in range(_ROUNDS):
        turned = (step + 1) * (step + 2) // 2 % 64
        found.append((x + 5 * y, y + 5 * ((2 * x + 3 * y) % 5), turned))
        x, y = y, (2 * x + 3 * y) % 5
    return tuple(found)


_CONSTANTS: Final = _round_constants()
_MOVES: Final = _moves()


def keccak256(data: bytes) -> bytes:
    """The 32 bytes of the hash."""
    missing = RATE - len(data) % RATE
    padded = bytearray(data) + bytearray(missing)
    padded[len(data)] |= _PAD
    padded[-1] |= 0x80
    lanes = [0] * 25
    for start in range(0, len(padded), RATE):
        for index in range(RATE // 8):
            at = start + 8 * index
            lanes[index] ^= int.from_bytes(padded[at : at + 8], "little")
        lanes = _permuted(lanes)
    return b"".join(lane.to_bytes(8, "little") for lane in lanes[:4])


def _permuted(lanes: list[int]) -> list[int]:
    moved = [0] * 25
    for constant in _CONSTANTS:
        columns = [lanes[x] ^ lanes[x + 5] ^ lanes[x + 10] ^ lanes[x + 15] ^ lanes[x + 20] for x in range(5)]
        mixed = []
        for x in range(5):
            right = columns[(x + 1) % 5]
            mixed.append(columns[x - 1] ^ ((right << 1 | right >> 63) & _MASK))
        for source, target, bits in _MOVES:
            lane = lanes[source] ^ mixed[source % 5]
            moved[target] = (lane << bits | lane >> (64 - bits)) & _MASK
        lanes = [
            moved[row + x] ^ (~moved[row + (x + 1) % 5] & moved[row + (x + 2) % 5])
            for row in (0, 5, 10, 15, 20)
            for x in range(5)
        ]
        lanes[0] ^= constant
    return lanes
