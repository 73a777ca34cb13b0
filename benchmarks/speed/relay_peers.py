"""Consumers of a relay at a broker, in a process of their own: ``crowd URL COUNT TOKEN...`` or ``reader URL TOKEN...``.

A crowd asks and listens as consumers do, and throws away what it hears: what relay and broker do for it is the same,
and a thousand fit on one machine. A reader is a real one, and prints what it saw as JSON when its input ends.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from secrets import token_hex
from urllib.parse import urlsplit

from polymirror.config import NatsConfig
from polymirror.relay.broker.connection import connected
from polymirror.relay.broker.follower import KEEP_EVERY
from polymirror.relay.broker.subjects import Subjects
from polymirror.relay.link import PING_EVERY
from polymirror.relay.remote import RemoteMirror
from polymirror.relay.wire import Ask, encode

BARE = "bench.bare"
"""A subject on which nothing but the time of sending is said: what the way takes without a relay."""


async def member(url: str, tokens: list[str], number: int, count: int) -> None:
    """Be one consumer that only listens."""
    parts = urlsplit(url)
    there = Subjects(parts.path[1:], "msgpack")
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    reply = there.replies + token_hex(16)
    subjects = [reply, *(there.book(token) for token in tokens)]
    writer.write(b'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\n')
    writer.write("".join(f"SUB {subject} {sid}\r\n" for sid, subject in enumerate(subjects, 1)).encode())

    async def ask() -> None:
        await asyncio.sleep(number / count * PING_EVERY)
        beats = 0
        while True:
            asked = Ask(ping=beats, want=tokens if beats == 0 else [])
            if beats and beats % int(KEEP_EVERY) == 0:
                asked = Ask(ping=beats, keep=tokens)
            data = encode(asked, "msgpack")
            writer.write(f"PUB {there.ask} {reply} {len(data)}\r\n".encode() + data + b"\r\n")
            beats += 1
            await asyncio.sleep(PING_EVERY)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(ask())
        while data := await reader.read(2**18):
            if data.endswith(b"PING\r\n"):
                writer.write(b"PONG\r\n")


async def crowd(url: str, count: int, tokens: list[str]) -> None:
    """Be many."""
    async with asyncio.TaskGroup() as tasks:
        for number in range(count):
            tasks.create_task(member(url, tokens, number, count))
        sys.stdout.write("ready\n")
        sys.stdout.flush()


async def reader(url: str, tokens: list[str]) -> None:
    """Be a real one: note how old the newest proof is when its update is told."""
    began = time.monotonic()
    seen: dict[str, float] = {}
    ages: list[float] = []
    bare: list[float] = []

    async def took(data: bytes, _: str) -> None:
        bare.append(time.clock_gettime(time.CLOCK_BOOTTIME) - float(data))

    server = url.rpartition("/")[0]
    async with (
        connected(server, NatsConfig(), "bare", sys.stderr.write) as connection,
        RemoteMirror(url, tokens=tokens) as remote,
    ):
        await connection.subscribe(BARE, took)
        await remote.wait_live(timeout=60)
        primed = time.monotonic() - began
        link = remote._links[0]  # noqa: SLF001 - the relay's own time, of a clock that is the same here

        def told(update: object) -> None:
            proof = link.copy(update.token).proof
            if proof.as_of != seen.get(update.token):
                seen[update.token] = proof.as_of
                ages.append(time.clock_gettime(time.CLOCK_BOOTTIME) - proof.as_of)

        remote.on_update(told)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        cpu, start = time.process_time(), time.monotonic()
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        share = (time.process_time() - cpu) / (time.monotonic() - start)
        pages = int(Path("/proc/self/statm").read_text().split()[1])  # noqa: ASYNC240 - no file of a disk
    result = {
        "ages": sorted(ages),
        "bare": sorted(bare),
        "cpu": share,
        "primed": primed,
        "mb": pages * 4096 / 2**20,
        "counts": link.counts,
    }
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    if sys.argv[1] == "crowd":
        asyncio.run(crowd(sys.argv[2], int(sys.argv[3]), sys.argv[4:]))
    else:
        asyncio.run(reader(sys.argv[2], sys.argv[3:]))
