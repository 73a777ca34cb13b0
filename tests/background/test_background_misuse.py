"""A mirror in the background that is used in a way that cannot work says what to do; it starts and ends completely."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from polymirror import BackgroundMirror, ConfigError, Gate, Mirror, MirrorBusy, MirrorClosed
from tests.background_rig import InThread, held_up, until
from tests.loopback import PATIENCE

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def mirror(quiet):
    with quiet.background() as mirror:
        yield mirror


CALLS = [
    lambda mirror: mirror.live("1"),
    lambda mirror: mirror.top("1"),
    lambda mirror: mirror.peek("1"),
    lambda mirror: mirror.prove("1"),
    lambda mirror: mirror.wait_live(),
    lambda mirror: mirror.wait_settled("1"),
    lambda mirror: mirror.resync("1"),
    lambda mirror: mirror.add_slug("a"),
    lambda mirror: mirror.call(Mirror.status),
    lambda mirror: mirror.run(Mirror.wait_live),
    lambda mirror: mirror.lease("1").__enter__(),
]


@pytest.mark.parametrize("call", CALLS)
def test_before_the_start_and_after_the_end_a_call_says_that_it_does_not_run(quiet, call):
    mirror = quiet.background()
    with pytest.raises(MirrorClosed, match=r"does not run yet: call start\(\) first, or use it in a 'with' block"):
        call(mirror)
    with mirror:
        pass
    with pytest.raises(MirrorClosed, match="the mirror was stopped: make another one"):
        call(mirror)


def test_it_can_be_looked_at_before_the_start_and_after_the_end(quiet):
    mirror = quiet.background()
    assert not mirror.status().running
    assert mirror.markets == ()
    with mirror:
        assert mirror.status().running
    assert not mirror.status().running
    assert len(mirror.tokens) == 2
    assert mirror.reads == {"granted": 0, "refused": 0}


def test_it_is_started_once(quiet):
    mirror = quiet.background()
    mirror.stop()
    with mirror, pytest.raises(MirrorClosed, match="runs already, or has run: make another one"):
        mirror.start()
    with pytest.raises(MirrorClosed, match="runs already, or has run: make another one"):
        mirror.start()
    mirror.stop()


def test_asyncio_has_no_place_here(mirror):
    async def enter() -> None:
        async with mirror:
            pass

    async def iterate() -> None:
        async for _ in mirror.updates():
            pass

    with pytest.raises(TypeError, match="for programs without asyncio: 'with', or a Mirror and 'async with'"):
        asyncio.run(enter())
    with pytest.raises(TypeError, match="block: 'for', or a Mirror and 'async for'"):
        asyncio.run(iterate())
    with pytest.raises(ConfigError, match=r"books=.* a Mirror; a BackgroundMirror has a lease\(\) of its own"):
        Gate(mirror)


def test_what_it_is_given_is_checked_at_the_call(mirror):
    async def later(_=None) -> None:
        pass

    for wrong in ("a-slug", None, mirror):
        with pytest.raises(
            ConfigError, match=r"mirror=.* a Mirror to run: BackgroundMirror\.for_slug\(\.\.\.\) makes one"
        ):
            BackgroundMirror(wrong)
    for wrong in (0, -1, float("nan"), True, "5"):
        with pytest.raises(ConfigError, match=r"call_timeout=.* a number of seconds above 0"):
            BackgroundMirror(Mirror(), call_timeout=wrong)
        with pytest.raises(ConfigError, match=r"timeout=.* a number of seconds above 0"):
            mirror.updates(timeout=wrong)
    for wrong in (-1, float("inf"), float("nan"), None, True):
        for call in (
            mirror.wait_live,
            lambda timeout: mirror.run(later, timeout),
            lambda timeout: mirror.prove("1", timeout),
            lambda timeout: mirror.add_slug("a", timeout),
            lambda timeout: mirror.lease("1", timeout=timeout),
        ):
            with pytest.raises(ConfigError, match=r"timeout=.* a finite number of seconds from 0 on"):
                call(timeout=wrong)
    for wrong in (later, None, Mirror.wait_live):
        with pytest.raises(
            ConfigError, match=r"work=.* a plain function that takes the mirror: run\(\) is for async ones"
        ):
            mirror.call(wrong)
    with pytest.raises(ConfigError, match="a plain function that takes the mirror"):
        mirror.call(lambda it: it.wait_live())
    with pytest.raises(ConfigError, match="an async function that takes the mirror, not what it returns"):
        mirror.run(later())
    for wrong in (later, None):
        for on in (mirror.on_update, mirror.on_transition):
            with pytest.raises(
                ConfigError, match=r"callback=.* a plain function of one argument, not an async one: it has a thread"
            ):
                on(wrong)


def test_what_runs_in_the_mirrors_thread_may_read_and_must_not_wait(mirror):
    mirror.wait_live(timeout=PATIENCE)
    up = mirror.tokens[0]
    assert mirror.call(lambda _: mirror.live(up)).token == up
    for wait in (mirror.wait_live, lambda: mirror.prove(up), mirror.stop):
        with pytest.raises(
            RuntimeError, match=r"would wait for the thread that it is called in: call it in another one"
        ):
            mirror.call(lambda _, wait=wait: wait())


# ---- The start


def test_what_keeps_a_mirror_from_starting_is_raised_where_it_is_started(quiet):
    used = quiet.mirror()

    async def use() -> None:
        async with used:
            pass

    asyncio.run(use())
    with pytest.raises(MirrorClosed, match="runs already, or has run"):
        BackgroundMirror(used).start()
    mirror = quiet.background(max_tokens=1)
    with pytest.raises(ConfigError, match="max_tokens=1"):
        mirror.start()
    with pytest.raises(MirrorClosed, match=r"the mirror has ended: ConfigError: ") as closed:
        mirror.live("1")
    assert isinstance(closed.value.__cause__, ConfigError)


# ---- The end


def test_a_stop_ends_all_that_wait(quiet):
    mirror = quiet.background().start()
    mirror.wait_live(timeout=PATIENCE)
    entered = []

    async def forever(_) -> None:
        entered.append(True)
        await asyncio.Event().wait()

    mirror.resync(mirror.tokens[0])
    updates = mirror.updates()
    seen = InThread(lambda: list(updates))
    waiting = [InThread(lambda: mirror.run(forever, PATIENCE)) for _ in range(3)]
    until(lambda: len(entered) == 3)
    mirror.stop()
    assert isinstance(seen.outcome(), list)
    for waiter in waiting:
        with pytest.raises(MirrorClosed, match="the mirror was stopped"):
            waiter.outcome()
    mirror.stop()


def test_a_thread_that_does_not_end_is_told_of(quiet, monkeypatch):
    monkeypatch.setattr("polymirror.shell.loopthread.STOP_SECONDS", 0.1)
    mirror = quiet.background().start()
    with (
        held_up(mirror),
        pytest.raises(MirrorBusy, match=r"stop: not done within 0\.1 s; .*background_rig\.py:\d+ hold"),
    ):
        mirror.stop()
    monkeypatch.setattr("polymirror.shell.loopthread.STOP_SECONDS", PATIENCE)
    mirror.stop()


def test_a_mirror_that_fails_says_so_in_the_log_and_in_each_call(quiet, caplog):
    mirror = quiet.background().start()
    updates = mirror.updates()
    told: list[object] = []
    mirror.on_update(told.append)
    waiting = InThread(lambda: list(updates))

    async def fail() -> None:
        raise ZeroDivisionError("a bug")

    with caplog.at_level(logging.CRITICAL, "polymirror"):
        mirror.call(lambda it: it._spawn(fail(), "test") and None)
        until(lambda: mirror._thread.is_over)
    [record] = [record for record in caplog.records if record.levelno == logging.CRITICAL]
    assert record.getMessage() == "the mirror's thread has ended"
    assert record.exc_info[0] is ZeroDivisionError
    for call in (waiting.outcome, lambda: mirror.live("1"), lambda: next(mirror.updates())):
        with pytest.raises(MirrorClosed):
            call()
    with pytest.raises(MirrorClosed, match="the mirror has ended: ZeroDivisionError: a bug") as closed:
        next(updates)
    assert isinstance(closed.value.__cause__, ZeroDivisionError)
    mirror.stop()


def test_a_plain_function_for_run_is_told_of_call(mirror):
    for plain in (lambda it: it.tokens, print):
        with pytest.raises(ConfigError, match=r"an async function that takes the mirror: call\(\) is for plain ones"):
            mirror.run(plain)
    assert mirror.run(lambda it: it.wait_live(timeout=PATIENCE)) is None


# ---- Programs that end


PROGRAM = """
import os, signal, sys, threading, time
from polymirror import BackgroundMirror, Endpoints, Mirror, MirrorClosed

stream, base, slug = sys.argv[1:]
mirror = BackgroundMirror.for_slug(slug, endpoints=Endpoints(stream=stream, clob=base, gamma=base))
"""


def run_program(quiet, text: str, interrupt: bool = False) -> subprocess.CompletedProcess[str]:
    places = quiet.endpoints
    command = [sys.executable, "-W", "error", "-c", PROGRAM + text, places.stream, places.clob, quiet.slugs[0]]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(  # noqa: S603 - our own program
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as program:
        killer = threading.Timer(60, program.kill)
        killer.start()
        try:
            before = ""
            if interrupt:
                before = program.stdout.readline()
                program.send_signal(signal.SIGINT)
            out, err = program.communicate()
        finally:
            killer.cancel()
            killer.join()
    return subprocess.CompletedProcess(command, program.returncode, before + out, err)


ENDINGS = {
    "forgotten": "mirror.start().wait_live(); print('end')",
    "callbacks": "mirror.start(); mirror.on_update(lambda _: 0); mirror.on_transition(lambda _: None); print('end')",
    "iterating": """
updates = mirror.start().updates()
threading.Thread(target=list, args=[updates], daemon=True).start()
print('end')
""",
    "a thread of its own": """
def last():
    time.sleep(0.2)
    mirror.live(mirror.tokens[0])
    print('end')

mirror.start().wait_live()
threading.Thread(target=last).start()
""",
    "a thread that goes on without the main one": """
import asyncio
from concurrent.futures import thread

def last():
    while not thread._shutdown:
        time.sleep(0.01)
    print(mirror.run(lambda _: asyncio.get_running_loop().getaddrinfo("localhost", 80)) and 'end')

mirror.start()
threading.Thread(target=last).start()
""",
    "sys.exit": "with mirror:\n    print('end'); sys.exit(0)",
}


@pytest.mark.parametrize("text", ENDINGS.values(), ids=ENDINGS)
def test_a_program_that_ends_ends_its_mirror_without_a_word(quiet, text):
    done = run_program(quiet, text)
    assert (done.returncode, done.stderr) == (0, "")
    assert "end" in done.stdout.splitlines()


def test_what_forgets_to_stop_its_mirror_is_told_of_its_end_all_the_same(quiet):
    # Each line in one write, since two threads print.
    told = """
mirror.on_transition(lambda change: sys.stdout.write(change.reason.name + '\\n'))
mirror.start().wait_live()
sys.stdout.write('end\\n')
"""
    done = run_program(quiet, told)
    lines = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    assert lines[-1] == "DISCONNECT"
    assert lines.index("end") < lines.index("DISCONNECT")


def test_an_error_that_ends_the_program_is_the_one_that_is_shown(quiet):
    done = run_program(quiet, "mirror.start().wait_live()\nraise LookupError('of the program')")
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 1
    assert done.stderr.endswith("LookupError: of the program\n")


@pytest.mark.parametrize("wait", ["list(mirror.updates())", "mirror.run(forever, 60)", "time.sleep(60)"])
def test_ctrl_c_interrupts_whatever_waits_and_the_mirror_ends(quiet, wait):
    text = f"""
import asyncio
async def forever(_):
    await asyncio.Event().wait()
try:
    with mirror:
        mirror.wait_live()
        print("waiting", flush=True)
        {wait}
except KeyboardInterrupt:
    print("interrupted", [t.name for t in threading.enumerate() if "helper" not in t.name])
"""
    done = run_program(quiet, text, interrupt=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "waiting\ninterrupted ['MainThread']\n", "")


def test_ctrl_c_interrupts_a_start_and_a_stop_in_a_handler_of_signals_works(quiet):
    text = """
def stop(*_):
    mirror.stop()
    raise SystemExit(7)
signal.signal(signal.SIGINT, stop)
with mirror:
    print("started", flush=True)
    while True:
        mirror.tokens
"""
    done = run_program(quiet, text, interrupt=True)
    assert (done.returncode, done.stdout, done.stderr) == (7, "started\n", "")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_is_told_to_start_a_mirror_of_its_own(quiet):
    text = """
import warnings
warnings.simplefilter("ignore")  # Python's own warning about threads and fork
mirror.start().wait_live()
sys.stdout.flush()
if (child := os.fork()) == 0:
    for call in (lambda: mirror.live("1"), mirror.status, lambda: mirror.tokens):
        try:
            call()
        except MirrorClosed as error:
            print(error)
    mirror.stop()
    sys.exit(0)
assert os.waitpid(child, 0)[1] == 0
mirror.live(mirror.tokens[0])
print("parent")
"""
    done = run_program(quiet, text)
    assert (done.returncode, done.stderr) == (0, "")
    *child, parent = done.stdout.splitlines()
    assert parent == "parent"
    assert len(child) == 3
    assert all("start a mirror in each process, after the fork" in line for line in child)
