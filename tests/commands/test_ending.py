"""How commands end before their time: by a signal, or because nobody takes what they say. All in real processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from polymirror.commands.ending import Ending, signals_end_it, whole_step
from tests.core.builders import Exchange

PATIENCE = 60.0
"""Seconds after which a test gives up; no verdict depends on them."""

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


class Running:
    """A command in a session of its own, with pipes."""

    def __init__(self, *arguments, start=(), **options):
        self.process = subprocess.Popen(  # noqa: S603 - our own words
            [*start, sys.executable, "-W", "error", "-m", "polymirror", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, **options,
        )  # fmt: skip

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate(timeout=PATIENCE)

    def end(self, number) -> tuple[int, str, str]:
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, out.decode(), err.decode()

    def first_line(self) -> str:
        return self.process.stdout.readline().decode()

    def others(self) -> list[int]:
        """The other processes of its session that are there, those that nobody has asked for yet left out."""
        listed = subprocess.run(["ps", "-A", "-o", "pid=,pgid=,stat="], capture_output=True, text=True, check=True)  # noqa: S607
        rows = [line.split() for line in listed.stdout.splitlines()]
        own = self.process.pid
        return [int(pid) for pid, group, stat in rows if int(group) == own != int(pid) and not stat.startswith("Z")]


def wait_until(holds) -> None:
    until = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < until, "it never happens"
        time.sleep(0.02)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_the_demo_with_its_summary(number):
    with Running("demo", "--seconds", "600") as demo:
        assert "polymirror demo: 6 books" in demo.first_line()
        # Its next line tells that books are read.
        assert "reads" in demo.first_line()
        code, out, err = demo.end(number)
    assert (code, err) == (128 + number, "")
    assert "Interrupted." in out
    assert "granted" in out


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_the_torture_with_its_object_and_leaves_no_worker(number):
    with Running("torture", "--seeds", "1000", "--minutes", "100", "--json") as torture:
        # The workers, and what Python starts to look after them.
        wait_until(lambda: len(torture.others()) > 1)
        code, out, err = torture.end(number)
        wait_until(lambda: not torture.others())
    assert (code, err) == (128 + number, "")
    summary = json.loads(out)
    assert summary["interrupted"]
    assert summary["violations"] == 0


def test_a_torture_that_is_killed_leaves_no_worker():
    with Running("torture", "--seeds", "1000", "--minutes", "100", "--json") as torture:
        wait_until(lambda: len(torture.others()) > 1)
        torture.end(signal.SIGKILL)
        wait_until(lambda: not torture.others())


def test_a_ctrl_c_that_the_whole_session_hears_is_no_traceback():
    with Running("torture", "--seeds", "1000", "--minutes", "100") as torture:
        wait_until(lambda: len(torture.others()) > 1)
        os.killpg(torture.process.pid, signal.SIGINT)
        out, err = torture.process.communicate(timeout=PATIENCE)
    assert torture.process.returncode == 130
    assert err == b""
    assert b"0 violations" in out


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_a_replay_with_what_was_read_so_far(number):
    exchange = Exchange()
    with Running("replay", "-", "--json", stdin=subprocess.PIPE) as replay:
        # More than a pipe holds: once it is written, the most of it was read.
        for _ in range(2_000):
            replay.process.stdin.write(exchange.opening().encode() + b"\n")
        replay.process.stdin.flush()
        code, out, err = replay.end(number)
    assert (code, err) == (128 + number, "")
    summary = json.loads(out)
    assert summary["interrupted"]
    assert summary["snapshots"] > 0


def test_a_signal_ends_the_doctor_with_the_answers_it_has():
    # It takes connections and never answers.
    with socket.create_server(("127.0.0.1", 0)) as silent:
        where = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with Running("doctor", "--json", "--venue", where) as doctor:
            silent.settimeout(PATIENCE)
            with silent.accept()[0]:
                code, out, err = doctor.end(signal.SIGTERM)
    assert (code, err) == (143, "")
    report = json.loads(out)
    assert report["interrupted"]
    assert report["checks"]["python"]["ok"]
    assert report["checks"]["clob"]["found"] == "no answer yet"


@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_ends_a_server(number):
    with Running("serve", "--json") as served:
        assert json.loads(served.first_line())["markets"]
        assert served.end(number) == (128 + number, "", "")


def test_a_signal_ends_a_soak_with_its_object():
    with Running("torture", "--sockets", "--seconds", "600", "--tokens", "2", "--json") as soak:
        # It says nothing before its end: it is at work once it holds sockets.
        wait_until(lambda: len(sockets_of(soak.process.pid)) > 4)
        code, out, err = soak.end(signal.SIGTERM)
    assert (code, err) == (143, "")
    assert json.loads(out)["interrupted"]


def sockets_of(pid: int) -> list[str]:
    found = []
    for each in Path(f"/proc/{pid}/fd").iterdir():
        # One that was closed meanwhile is none.
        with suppress(FileNotFoundError):
            found.append(each.readlink().name)
    return [name for name in found if name.startswith("socket:")]


def test_what_was_ignored_at_the_start_stays_ignored():
    with Running("serve", "--json", start=["nohup"], stdin=subprocess.DEVNULL) as served:
        assert served.first_line()
        served.process.send_signal(signal.SIGHUP)
        assert served.end(signal.SIGTERM)[0] == 143


def test_a_command_that_was_started_in_the_background_ends_by_sigterm():
    # A shell without job control has what it starts with & ignore SIGINT.
    start = ["sh", "-c", 'trap "" INT; exec "$@"', "sh"]
    with Running("serve", "--json", start=start) as served:
        assert served.first_line()
        assert served.end(signal.SIGTERM) == (143, "", "")


# ---- The handler itself --------------------------------------------------------------------------------


def test_the_first_signal_asks_and_the_second_does_not():
    asked, ending = [], Ending()
    ending.cancel = lambda: asked.append(True)
    ending.handle(signal.SIGTERM, None)
    assert (asked, ending.code) == ([True], 143)
    with pytest.raises(KeyboardInterrupt):
        ending.handle(signal.SIGINT, None)
    # The first one tells why it ended.
    assert ending.code == 143


def test_handlers_are_given_back():
    before = [signal.getsignal(each) for each in SIGNALS]
    with signals_end_it():
        assert [signal.getsignal(each) for each in SIGNALS] != before
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_a_step_is_finished_before_a_signal_ends_what_it_is_part_of():
    done = []

    def step(number):
        signal.raise_signal(signal.SIGTERM)
        done.append(number)

    with signals_end_it() as ending:
        with pytest.raises(KeyboardInterrupt):
            whole_step(step, 1)
        assert (done, ending.code) == ([1], 143)


# ---- Nobody takes what is said -------------------------------------------------------------------------


def one_line(err: bytes) -> str:
    assert err.count(b"\n") == 1
    return err.decode()


TELLING = [["--help"], ["torture", "--seeds", "1", "--minutes", "1", "--tokens", "2", "--json"],
           ["demo", "--seconds", "1", "--tokens", "2"], ["demo", "--seconds", "1", "--tokens", "2", "--json"],
           ["serve", "--seconds", "1"], ["serve", "--seconds", "1", "--json"]]  # fmt: skip


@pytest.mark.parametrize("arguments", TELLING)
def test_a_closed_pipe_is_one_line(arguments):
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "polymirror", *arguments]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, timeout=PATIENCE, check=False)  # noqa: S603
    os.close(writer)
    assert "nobody reads the output" in one_line(done.stderr)
    assert done.returncode == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
@pytest.mark.parametrize("arguments", TELLING)
def test_a_full_disk_is_one_line(arguments):
    command = [sys.executable, "-m", "polymirror", *arguments]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, timeout=PATIENCE, check=False)  # noqa: S603
    assert "No space left on device" in one_line(done.stderr)
    assert done.returncode == 2


def test_an_output_that_is_closed_is_no_mistake():
    script = 'exec "$0" -m polymirror torture --seeds 1 --minutes 1 --tokens 2 >&-'
    done = subprocess.run(["sh", "-c", script, sys.executable], stderr=subprocess.PIPE, timeout=PATIENCE, check=False)  # noqa: S603, S607
    assert (done.returncode, done.stderr) == (0, b"")


# ---- Before it has begun -------------------------------------------------------------------------------

INTERRUPTED = """
import os, signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Finder())
sys.argv = ["polymirror", "faults"]
from polymirror_command import main
main()
"""


@pytest.mark.parametrize(
    "module", ["polymirror", "msgspec", "polymirror.core.token", "polymirror.commands.app", "typer"]
)
def test_ctrl_c_while_the_library_is_imported_is_quiet(module):
    done = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-W", "error", "-c", INTERRUPTED.format(module=module)],
        capture_output=True, text=True, check=False, timeout=PATIENCE,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (128 + signal.SIGINT, "", "")


def test_a_command_in_the_background_of_a_script_goes_on_while_it_is_imported():
    code = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n" + INTERRUPTED.format(module="msgspec")
    done = subprocess.run(  # noqa: S603 - our own words
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=PATIENCE
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout != ""
