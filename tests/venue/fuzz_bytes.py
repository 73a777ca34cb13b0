"""What the fuzz of the edge sends: bytes in the place of HTTP answers, agreements to handshakes, and frames.

Everything is drawn from a given random generator. :mod:`tests.venue.fuzz_edge` feeds it to the libraries.
"""

from __future__ import annotations

import gzip
import json
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

MIB = 2**20


def bomb(mib: int) -> bytes:
    pack = zlib.compressobj(9, zlib.DEFLATED, 31)
    return b"".join([pack.compress(b" " * MIB) for _ in range(mib)]) + pack.flush()


def deflated(data: bytes) -> bytes:
    pack = zlib.compressobj(9, zlib.DEFLATED, -15)
    return pack.compress(data) + pack.flush(zlib.Z_SYNC_FLUSH)[:-4]


BOMBS = (bomb(2), bomb(40), gzip.compress(bomb(40)))
SMALL_BOMB = deflated(b" " * (2 * MIB))
BOOK = {
    "market": "0xm", "asset_id": "1", "timestamp": "1777366470133", "hash": "0" * 40,
    "bids": [{"price": "0.01", "size": "1"}],
    "asks": [], "min_order_size": "5", "tick_size": "0.01", "neg_risk": False, "last_trade_price": "",
}  # fmt: skip
MARKET = {
    "slug": "s", "question": "q", "conditionId": "0xc", "clobTokenIds": '["1", "2"]', "outcomes": '["Up", "Down"]',
    "closed": False, "active": True, "orderPriceMinTickSize": 0.01, "orderMinSize": 5,
    "endDate": "2026-01-01T00:00:00Z",
}  # fmt: skip
GOOD = (
    b"1790000000",
    json.dumps([BOOK]).encode(),
    json.dumps([MARKET]).encode(),
    b'{"error":"no","retry_after_seconds":2}',
)
ODD_VALUES = (
    "\ud800", "x" * 5_000, "", " ", None, True, -1, 1e308, 10**40, [], {}, "1e999999999", "NaN", "\u0660",
    "\x00", "0x1",
    "0001-01-01T00:00:00+23:59", [["\ud800"]], '["\\ud800"]', [{}] * 50,
)  # fmt: skip
LOCATIONS = (
    b"", b"/", b"/v2", b"//elsewhere.test/", b"https://portal.example/login", b"http://venue.test/again",
    b"http://[::1",
    b"http://venue.test:99999/", b"ws://venue.test/other", b"wss://venue.test/", b"/caf\xe9", b"\xff\xfe",
    b"javascript:x",
    b"http://u:p@venue.test/", b"?" + b"a" * 3_000, b"/a b", b"/%zz", b"ws://venue.test/#x", b"http://" + b"a" * 300,
)  # fmt: skip
WAITS = (
    b"1",
    b"99999999",
    b"-5",
    b"nan",
    b"soon",
    b"\xe9",
    b"Mon, 99 Foo 2026 99:99:99 GMT",
    b"Wed, 21 Oct 2015 07:28:00 GMT",
    b"",
)
HEADERS = (
    b"Set-Cookie: a=b", b"Set-Cookie: s=caf\xe9; Path=/; Domain=.test", b"Set-Cookie: " + b"x" * 3_000, b"X: \xff",
    b"X: " + b"y" * 9_000, b"Content-Type: text/html; charset=\xff",
    b"Content-Type: application/json; charset=utf-7", b"Connection: close", b"Upgrade: websocket",
    b"Upgrade: h2c, websocket",
    b"Sec-WebSocket-Accept: x", b"Sec-WebSocket-Protocol: a, b", b"Sec-WebSocket-Extensions: permessage-deflate; a=b",
    b"Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=99", b"Sec-WebSocket-Extensions: ,;=",
)  # fmt: skip
BAD_HEADERS = (
    b": empty",
    b"No colon",
    b"X: a\x00b",
    b" folded",
    b"X\xe9: y",
    b"Upgrade: websocket",
    b"X: " + b"z" * 120_000,
)
"""They end a call at once, so they are rare."""
ENCODINGS = (
    b"gzip",
    b"gzip, gzip",
    b"br",
    b"deflate",
    b"identity",
    b"GZIP",
    b"gzip\xe9",
    b"",
    b",,",
    b"x-gzip",
    b"zstd",
)
STATUSES = (
    *[200] * 40, 204, 206, 299, 300, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 407, 408, 413,
    425, 429, 451, 500,
    502, 503, 511, 599, 100, 101, 103, 199, 600, 999, 0,
)  # fmt: skip


# ---- What is sent --------------------------------------------------------------------------------


def body(rng: random.Random) -> bytes:
    """Something in the place of JSON."""
    kind = rng.randrange(10)
    if kind < 4:
        return rng.choice(GOOD)
    if kind < 7:
        known = dict(rng.choice((BOOK, MARKET)))
        for name in rng.sample(sorted(known), rng.randrange(1, 4)):
            known[name] = rng.choice(ODD_VALUES)
        return json.dumps([known]).encode()
    odd = (
        b"<html>", b"", b"\xff\xfe\x00", b"[" * 5_000, b'{"a":' * 3_000, b"1" * 6_000, b"1e9999999999999999999", b"NaN",
        b"null", rng.randbytes(50),
        b'"\\ud800"', b'{"error":"\\udfff","retry_after_seconds":1e999}', b"1" + b"0" * 30, b" " * 70_000,
    )  # fmt: skip
    return dense(rng) if rng.random() < 0.02 else rng.choice(odd)


UNITS = (
    b"1", b"1.5", b"{}", b"[]", b'""', b'{"a":1}', b'{"event_type":"book"}', b'{"asset_id":"1","bids":3}', b"9" * 900,
    b'{"slug":"s"}', b'{"price":0.5,"size":1}', b'{"event_type":"price_change","asset_id":1,"price_changes":[{}]}',
    b'{"asset_id":1,"market":1,"bids":[{"price":1,"size":1}],"asks":[],"timestamp":1}', b"[" * 400 + b"]" * 400,
)  # fmt: skip


def dense(rng: random.Random) -> bytes:
    """Very much of one thing, inside of something that fits it or not."""
    unit = rng.choice(UNITS)
    count = rng.choice((60_000, 250_000, 900_000)) // (len(unit) + 1)
    start, end = rng.choice(((b"[", b"]"), (b'[{"slug":"s","markets":[', b"]}]"), (b'{"asset_id":"1","bids":[', b"]}"),
        (b'[{"event_type":"book","market":"1","timestamp":"1","asset_id":"1","asks":[],"bids":[', b"]}]")))  # fmt: skip
    return start + b",".join([unit] * count) + end


def chunked(rng: random.Random, data: bytes) -> bytes:
    size = rng.choice((1, 7, 1_000, 100_000)) if len(data) < 10_000 else 50_000
    parts = [data[start : start + size] for start in range(0, len(data), size)][:300]
    ends = (b"0\r\n\r\n", b"0\r\nX: trailer\r\n\r\n", b"", b"0\r\n", b"-1\r\n\r\n", b"0\r\nX\xe9\r\n\r\n")
    extra = rng.choice((b"", b"", b"", b";x=y", b";" + b"z" * 500))
    lie = rng.choice((0, 0, 0, 0, 1))
    return b"".join(b"%x%s\r\n%s\r\n" % (len(part) + lie, extra, part) for part in parts) + rng.choice((ends[0], *ends))


def http_answer(rng: random.Random) -> bytes:
    """An answer to a call, or something in its place."""
    status = rng.choice(STATUSES)
    lines = [rng.choice((b"HTTP/1.1 %d Text", b"HTTP/1.0 %d", b"HTTP/1.1 %d \xff", b"HTTP/1.1 %d Text")) % status]
    if rng.random() < 0.03:
        lines[0] = rng.choice(
            (b"ICY 200 OK", b"HTTP/9.9 200", b"HTTP/1.1 -1 x", b"", b"\x16\x03\x01", rng.randbytes(20))
        )
    data = body(rng)
    if rng.random() < 0.35:
        coding = rng.choice(ENCODINGS)
        lines += [b"Content-Encoding: " + coding] * rng.choice((1, 1, 1, 2))
        packed = gzip.compress(data, 1)
        data = rng.choice((packed, packed, packed, data, packed[:-3], packed + packed, gzip.compress(packed), *BOMBS))
    lines += (
        [b"Location: " + rng.choice(LOCATIONS) for _ in range(rng.choice((0, 1, 1, 2)))] if status // 100 == 3 else []
    )
    lines += [b"Retry-After: " + rng.choice(WAITS) for _ in range(rng.choice((0, 0, 1, 2)))]
    lines += rng.choices(HEADERS, k=rng.choice((0, 0, 0, 1, 1, 3)))
    lines += [rng.choice(BAD_HEADERS)] if rng.random() < 0.05 else []
    length = rng.random()
    if length < 0.6:
        lines.append(b"Content-Length: %d" % len(data))
    elif length < 0.8:
        lines.append(b"Transfer-Encoding: " + rng.choice((*[b"chunked"] * 12, b"gzip, chunked", b"x\xe9")))
        data = chunked(rng, data)
    elif length < 0.83:
        lengths = (b"-1", b"x", b"9" * 25, b"%d" % (len(data) + 5), b"%d, %d" % (len(data), len(data)), b"0", b"\xb2")
        lines += [b"Content-Length: " + each for each in rng.choices(lengths, k=rng.choice((1, 2)))]
    rng.shuffle(tail := lines[1:])
    raw = b"\r\n".join([lines[0], *tail]) + b"\r\n\r\n" + data
    if rng.random() < 0.03:
        raw = b"HTTP/1.1 100 Continue\r\n\r\n" * rng.choice((1, 3, 200)) + raw
    return spoiled(rng, raw)


def spoiled(rng: random.Random, raw: bytes) -> bytes:
    """Now and then cut bytes short, or alter one."""
    how = rng.random()
    if how < 0.05:
        return raw[: rng.randrange(len(raw) + 1)]
    if how < 0.12 and raw:
        at = rng.randrange(min(len(raw), 2_000))
        return raw[:at] + rng.randbytes(1) + raw[at + 1 :]
    return raw


def cut(rng: random.Random, raw: bytes) -> list[bytes]:
    """Divide bytes into the reads in which they arrive."""
    size = rng.choice((65_536, 65_536, 65_536, 1_000, max(1, len(raw) // 10)))
    size = max(size, len(raw) // 50 + 1)
    return [raw[start : start + size] for start in range(0, len(raw), size)]


def agreement(rng: random.Random, key: bytes, *, honest: bool) -> bytes:
    """An answer to a handshake."""
    lines = [b"HTTP/1.1 101 Ok", b"Upgrade: websocket", b"Connection: Upgrade", b"Sec-WebSocket-Accept: " + key]
    if rng.random() < 0.3:
        lines.append(b"Sec-WebSocket-Extensions: permessage-deflate")
    if honest:
        return b"\r\n".join(lines) + b"\r\n\r\n"
    if rng.random() < 0.5:
        status = rng.choice(STATUSES)
        lines[0] = b"HTTP/1.1 %d Text" % status
        lines += [b"Location: " + rng.choice(LOCATIONS) for _ in range(rng.choice((0, 1, 1, 2)))]
        lines += [b"Retry-After: " + rng.choice(WAITS) for _ in range(rng.choice((0, 1, 2)))]
        lines.append(rng.choice((b"Content-Length: 3", b"Content-Length: x", b"Transfer-Encoding: chunked", b"X: y")))
    for _ in range(rng.randrange(3)):
        lines.insert(rng.randrange(1, len(lines) + 1), rng.choice((*HEADERS, *lines[1:])))
    if rng.random() < 0.2:
        del lines[rng.randrange(len(lines))]
    return spoiled(rng, b"\r\n".join(lines) + b"\r\n\r\n" + rng.choice((b"", b"abc", body(rng))))


def frame(rng: random.Random) -> bytes:
    """One frame, or something in its place."""
    (make,) = rng.choices(list(FRAMES), list(FRAMES.values()))
    return make(rng)


def _message(rng: random.Random) -> bytes:
    data = rng.choice((*GOOD[1:3], b"PONG", b"[]", b"\xff\xfe", b"\xed\xa0\x80", b"", b" " * 70_000))
    return _framed(rng.choice((0x81, 0x81, 0x82, 0x01, 0x00, 0x80)), data)


def _heartbeats(rng: random.Random) -> bytes:
    one = _framed(rng.choice((0x89, 0x8A)), rng.randbytes(rng.choice((0, 4, 125))))
    return one * rng.choice((1, 1, 1, 1, 1, 20))


def _close(rng: random.Random) -> bytes:
    code = rng.choice((0, 999, 1000, 1001, 1004, 1005, 1006, 1009, 1013, 1015, 2999, 3000, 4999, 5000, 65_535))
    resolved = b"all subscribed assets resolved"
    reason = rng.choice((b"", resolved, b"\xff\xfe", "caf\xe9".encode(), b"x" * 123, b"\x1b[2J"))
    return _framed(0x88, rng.choice((b"", b"\x03", code.to_bytes(2, "big") + reason)))


def _compressed(rng: random.Random) -> bytes:
    return _framed(rng.choice((0xC1, 0xC1, 0x41)), rng.choice((deflated(GOOD[1]), SMALL_BOMB, b"\xff" * 20, b"")))


def _long(rng: random.Random) -> bytes:
    """A length that is declared and never comes, or is written in a longer way than it may be."""
    length = rng.choice((2**64 - 1, 2**63 - 1, 2**32, 5, 0, MIB, MIB + 1))
    return rng.choice((b"\x81\x7f", b"\x89\x7f", b"\x01\x7f")) + length.to_bytes(8, "big") + b"x" * 20


def _dust(rng: random.Random) -> bytes:
    return _framed(0x01, b"") + b"\x00\x00" * rng.choice((*[10] * 40, 5_000))


def _anything(rng: random.Random) -> bytes:
    return bytes([rng.randrange(256), rng.randrange(256)]) + rng.randbytes(rng.randrange(60))


def _dense(rng: random.Random) -> bytes:
    return _framed(0x81, dense(rng)) if rng.random() < 0.05 else b""


FRAMES = {_message: 7, _dense: 1, _heartbeats: 3, _close: 2, _compressed: 2, _long: 2, _dust: 1, _anything: 3}
"""How to make frames, each with its share."""


def _framed(head: int, data: bytes) -> bytes:
    length = len(data)
    if length < 126:
        return bytes([head, length]) + data
    if length < 65_536:
        return bytes([head, 126]) + length.to_bytes(2, "big") + data
    return bytes([head, 127]) + length.to_bytes(8, "big") + data
