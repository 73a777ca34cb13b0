"""The shape of the house: which module may import what, how long it may be, what may not be written.

The import lint holds promise P4. Core modules must give the same output for the same input and the
same times, so whatever brings its own time, randomness or I/O is banned there, also by an alias.
Each ban is shown to work on a made-up source below.
"""

from __future__ import annotations

import ast
import re
import statistics
from typing import TYPE_CHECKING

import pytest

from tests.reading import (
    CORE,
    PACKAGE,
    REPOSITORY,
    SOURCES,
    dotted,
    each,
    imported_names,
    imports,
    is_within,
    module_name,
    parsed,
)

if TYPE_CHECKING:
    from pathlib import Path

SIMULATOR = sorted((PACKAGE / "simulator").rglob("*.py"))
STAND_INS = [REPOSITORY / "bots" / "testing" / "telegram.py"]
"""Services beside the simulated exchange that only bots talk to; as pure as it is."""

SERVERS = {"app", "connections", "server"}
COMMON = sorted((REPOSITORY / "bots" / "common").rglob("*.py"))
MAX_LINES = 500
MAX_MEDIAN_LINES = 250

IMPURE = {
    **dict.fromkeys(("time", "sched", "datetime.datetime.now", "datetime.datetime.utcnow"), "a clock"),
    **dict.fromkeys(("datetime.datetime.today", "datetime.date.today"), "a clock"),
    **dict.fromkeys(("random", "secrets", "uuid"), "ambient randomness"),
    **dict.fromkeys(("asyncio", "anyio", "trio", "threading", "multiprocessing", "concurrent"), "concurrency"),
    **dict.fromkeys(("_thread", "contextvars", "signal"), "concurrency"),
    **dict.fromkeys(("socket", "ssl", "select", "selectors", "http", "urllib.request", "subprocess"), "I/O"),
    **dict.fromkeys(("httpx", "websockets", "starlette", "uvicorn", "io", "tempfile", "shutil"), "I/O"),
    **dict.fromkeys(("open", "input"), "I/O"),
    **dict.fromkeys(("os", "sys.argv", "sys.stdin", "platform", "getpass"), "the environment"),
    **dict.fromkeys(("importlib", "__import__", "exec", "eval"), "imports this lint cannot see"),
    **dict.fromkeys(("logging.handlers", "logging.config", "logging.basicConfig"), "logging handlers"),
    **dict.fromkeys(("logging.StreamHandler", "logging.FileHandler", ".addHandler"), "logging handlers"),
}
"""Dotted names that pure code may not use, nor anything below them, and what each would bring in.

A name that starts with a dot is an attribute of anything.
"""

HANDED_IN = {"random.Random"}
"""Exceptions: named only to annotate an object that the caller made."""


def import_lint(source: str, module: str, *, randomness_is_seeded_here: bool = False) -> list[str]:
    """Every impure name that ``source``, the text of ``module``, uses: one line of text for each."""
    tree = parsed(source)
    nodes = list(ast.walk(tree))
    aliases: dict[str, str] = {}
    uses: list[tuple[int, str]] = []
    for node in nodes:
        for alias, meaning, name in imported_names(node, module):
            aliases[alias] = meaning
            may_name_it = randomness_is_seeded_here or is_under_type_checking(tree, node)
            if name in HANDED_IN and not may_name_it:
                uses.append((node.lineno, "random"))
            elif name != "random" or not may_name_it:
                uses.append((node.lineno, name))
    for node in nodes:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id not in aliases:
            uses.append((node.lineno, node.func.id))
        elif isinstance(node, ast.Attribute):
            root, _, rest = dotted(node).partition(".")
            uses.append((node.lineno, f"{aliases.get(root, '')}.{rest}"))
            uses.append((node.lineno, f".{node.attr}"))
    return sorted({f"{module}:{line}: {name} brings in {why}" for line, name in uses for why in verdicts(name)})


def verdicts(name: str) -> set[str]:
    """What the use of a dotted name would bring into pure code: nothing, if it is allowed."""
    if any(is_within(name, allowed) for allowed in HANDED_IN):
        return set()
    return {why for banned, why in IMPURE.items() if is_within(name, banned)}


def is_under_type_checking(tree: ast.Module, wanted: ast.AST) -> bool:
    return any(
        wanted is inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and dotted(node.test).rpartition(".")[2] == "TYPE_CHECKING"
        for statement in node.body
        for inner in ast.walk(statement)
    )


def test_every_file_that_is_wrong_is_named() -> None:
    @each([REPOSITORY / "a.py", REPOSITORY / "b.py", REPOSITORY / "c.py"])
    def no_file_but_b(path: Path) -> None:
        assert path.stem == "b"

    with pytest.raises(AssertionError, match=r"(?s)^a: .*\n.*c: "):
        no_file_but_b()


@each(CORE)
def test_core_has_no_clock_io_or_ambient_randomness(path: Path) -> None:
    assert import_lint(path.read_text(encoding="utf-8"), module_name(path)) == []


@each([p for p in (*SIMULATOR, *STAND_INS) if p.stem not in SERVERS and p.parent.name != "virtual"])
def test_the_simulated_exchange_is_pure_apart_from_its_server_and_its_event_loop(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    assert import_lint(source, module_name(path), randomness_is_seeded_here=True) == []


@each(CORE)
def test_core_knows_only_itself_the_errors_and_the_settings(path: Path) -> None:
    allowed = ("polymirror.core", "polymirror.errors", "polymirror.config")
    own = {n for n in imports(path.read_text(encoding="utf-8"), module_name(path)) if is_within(n, "polymirror")}
    assert {n for n in own if not any(is_within(n, package) for package in allowed)} == set()


@each(SIMULATOR)
def test_the_simulator_cannot_repeat_a_mistake_of_the_core(path: Path) -> None:
    judged = [f"polymirror.core.{name}" for name in ("checksum", "book", "token", "engine")]
    names = imports(path.read_text(encoding="utf-8"), module_name(path))
    assert {n for n in names if any(is_within(n, package) for package in judged)} == set()


@each(sorted((PACKAGE / "simulator" / "exchange").rglob("*.py")))
def test_the_exchange_itself_knows_neither_faults_nor_orders_nor_connections(path: Path) -> None:
    allowed = [
        f"polymirror.{name}" for name in ("errors", "simulator.exchange", "simulator.frames", "simulator.settings")
    ]
    own = {n for n in imports(path.read_text(encoding="utf-8"), module_name(path)) if is_within(n, "polymirror")}
    assert {n for n in own if not any(is_within(n, package) for package in allowed)} == set()


@each(SOURCES)
def test_the_library_does_not_know_the_bots(path: Path) -> None:
    names = imports(path.read_text(encoding="utf-8"), module_name(path))
    assert {n for n in names if is_within(n, "bots")} == set()


@each(COMMON)
def test_what_any_bot_needs_knows_no_kind_of_bot(path: Path) -> None:
    names = imports(path.read_text(encoding="utf-8"), module_name(path))
    assert {n for n in names if is_within(n, "bots") and not is_within(n, "bots.common")} == set()


@pytest.mark.parametrize(
    "source",
    [
        "import asyncio",
        "import asyncio.queues as q",
        "from asyncio import Queue",
        "import logging.handlers",
        "if TYPE_CHECKING:\n    x = 1\nelse:\n    import random",
        "import socket",
        "import ssl",
        "import threading",
        "from concurrent.futures import ThreadPoolExecutor",
        "import time",
        "from time import monotonic as now",
        "def f():\n    import time",
        "if TYPE_CHECKING:\n    import asyncio",
        "import datetime\ndatetime.datetime.now()",
        "import datetime as dt\nx = dt.datetime.utcnow",
        "from datetime import datetime\ndatetime.now(tz)",
        "from datetime import datetime as d\nd.today()",
        "from datetime import date\ndate.today()",
        "import random",
        "import random\nrandom.Random(7)",
        "from random import Random",
        "from random import random",
        "if TYPE_CHECKING:\n    import random\nrandom.shuffle(x)",
        "if TYPE_CHECKING:\n    from random import choice",
        "import os",
        "from os import environ",
        "import os\nos.environ['A']",
        "import uuid",
        "import secrets",
        "from logging.handlers import QueueHandler",
        "import logging\nlogging.basicConfig()",
        "import logging\nlogging.StreamHandler()",
        "log.addHandler(h)",
        "import httpx",
        "from websockets.asyncio.client import connect",
        "open('x')",
        "__import__('time')",
        "import importlib",
    ],
)
def test_the_import_lint_catches(source: str) -> None:
    assert import_lint(source, "polymirror.core.made_up") != []


@pytest.mark.parametrize(
    "source",
    [
        "import bisect\nfrom hashlib import sha1\nfrom decimal import Decimal",
        "if TYPE_CHECKING:\n    import random\n\ndef f(rng: random.Random) -> float:\n    return rng.random()",
        "if TYPE_CHECKING:\n    from random import Random\n\ndef f(r: Random) -> float:\n    return r.uniform(0, 1)",
        "def f(now: float, time: int) -> float:\n    return now + time",
        "from datetime import datetime\n\ndef f(t: datetime) -> int:\n    return t.year",
        "import logging\nlog = logging.getLogger(__name__)\nlog.warning('x')",
        "from polymirror.core.states import Reason",
        "book.open(1)",
    ],
)
def test_the_import_lint_allows(source: str) -> None:
    assert import_lint(source, "polymirror.core.made_up") == []


def test_the_import_lint_lets_only_the_simulator_make_its_own_seeded_randomness() -> None:
    seeded, ambient = "import random\nrandom.Random(7)", "import random\nrandom.random()"
    assert import_lint(seeded, "polymirror.simulator.made_up", randomness_is_seeded_here=True) == []
    assert import_lint(ambient, "polymirror.simulator.made_up", randomness_is_seeded_here=True) != []


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("from polymirror.core import engine", "polymirror.core.engine"),
        ("from polymirror.core.engine import Engine", "polymirror.core.engine.Engine"),
        ("from ..venue import rest", "polymirror.venue.rest"),
        ("from . import book", "polymirror.core.book"),
        ("from .book import BookView", "polymirror.core.book.BookView"),
        ("import bots.common as c", "bots.common"),
        ("if TYPE_CHECKING:\n    from polymirror import mirror", "polymirror.mirror"),
    ],
)
def test_imports_are_seen_in_every_spelling(source: str, name: str) -> None:
    assert name in imports(source, "polymirror.core.made_up")


# ---- No import circle --------------------------------------------------------------------------------


def import_graph(sources: dict[str, str]) -> dict[str, set[str]]:
    """Which of these modules each of them imports, under TYPE_CHECKING or not; ``sources`` are texts by module."""

    def module_of(name: str) -> str | None:
        while name and name not in sources:
            name = name.rpartition(".")[0]
        return name or None

    return {
        module: {found for name in imports(text, module) if (found := module_of(name)) not in {None, module}}
        for module, text in sources.items()
    }


def circles(graph: dict[str, set[str]]) -> list[str]:
    """The modules that import each other, directly or not: one line of text for each such group."""
    reach = {module: set(targets) for module, targets in graph.items()}
    for middle in graph:
        for targets in reach.values():
            if middle in targets:
                targets.update(reach[middle])
    groups = {
        frozenset(other for other in targets if module in reach[other]) for module, targets in reach.items()
    }  # fmt: skip
    return sorted(" <-> ".join(sorted(group)) for group in groups if group)


def test_no_module_imports_itself_by_a_detour_not_even_for_its_types() -> None:
    paths = [
        path for folder in (PACKAGE, REPOSITORY / "bots") for path in folder.rglob("*.py") if path.stem != "__init__"
    ]
    sources = {module_name(path): path.read_text(encoding="utf-8") for path in paths}
    assert len(sources) > 200
    assert circles(import_graph(sources)) == []


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ({"p.a": "from p.b import B", "p.b": "import json"}, []),
        ({"p.a": "from p import b", "p.b": "from p.a import A"}, ["p.a <-> p.b"]),
        ({"p.a": "if TYPE_CHECKING:\n    from p.b import B", "p.b": "import p.a"}, ["p.a <-> p.b"]),
        ({"p.a": "def f():\n    from .b import B", "p.b": "from . import a"}, ["p.a <-> p.b"]),
        ({"p.a": "import p.b", "p.b": "import p.c", "p.c": "import p.a", "p.d": "import p.a"}, ["p.a <-> p.b <-> p.c"]),
        ({"p.a": "import p.c", "p.b": "import p.c", "p.c": ""}, []),
    ],
)
def test_an_import_circle_is_found_in_every_spelling(sources: dict[str, str], expected: list[str]) -> None:
    assert circles(import_graph(sources)) == expected


def tracked_text() -> list[Path]:
    """The project's own text files: what git would list, found without needing git."""
    kinds = {".py", ".md", ".toml", ".cfg", ".ini", ".yml", ".yaml", ".json", ".jsonl", ".txt", ".sh", ".service"}
    left_out = {"_build", "build", "dist", "htmlcov", "__pycache__", "recordings", "incidents"}

    def is_ours(path: Path) -> bool:
        parts = path.relative_to(REPOSITORY).parts
        hidden = any(part.startswith(".") and part not in {".ci", ".gitignore"} for part in parts)
        return not hidden and not left_out.intersection(parts) and not any(p.endswith(".egg-info") for p in parts)

    named = {REPOSITORY / ".ci" / "run", REPOSITORY / ".gitignore", REPOSITORY / "LICENSE"}
    return sorted(path for path in REPOSITORY.rglob("*") if is_ours(path) and (path.suffix in kinds or path in named))


@each([path for path in tracked_text() if path.suffix == ".py"])
def test_no_module_is_too_long_to_be_read_in_one_sitting(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_LINES


def test_the_median_module_is_short() -> None:
    lengths = [len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES]
    assert statistics.median(length for length in lengths if length) <= MAX_MEDIAN_LINES


MACHINE_PATH = re.compile(r"(?<![\w.~$}])(?:/(?:home|Users|root|work|mnt|tmp|var/folders)/\w|[A-Za-z]:\\Users\\)")


def test_no_file_names_a_path_of_somebodys_machine() -> None:
    hits = [
        f"{path.relative_to(REPOSITORY)}:{number}"
        for path in tracked_text()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if MACHINE_PATH.search(line)
    ]
    assert hits == []


@pytest.mark.parametrize(
    ("line", "is_one"),
    [
        ("see " + "/" + "home/ann/x", True),
        ("cd " + "/" + "tmp/venv", True),
        ("C:" + "\\Users\\ann", True),
        ("https://example.org/home/x", False),
        ("../shared/corpus", False),
        (".venv/bin/pytest", False),
    ],
)
def test_a_machine_path_is_recognised(line: str, is_one: bool) -> None:
    assert bool(MACHINE_PATH.search(line)) is is_one
