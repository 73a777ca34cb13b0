"""Every code block of README.md and docs/*.md runs here, in the order of the page.

``python`` blocks of one page share one namespace and may use ``await`` at the top level; ``console``
blocks are lines ``$ polymirror ...``, which must exit with 0. A block that needs the real venue is
marked ``<!-- not executed: why -->`` right before it, and there may be only a few of those. The pages
are also held to what they say about the code: commands, states, reasons and transitions.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import logging
import os
import re
import shlex
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from markdown_it import MarkdownIt

from polymirror.core.states import LEGAL_TRANSITIONS, BookState, Reason

if TYPE_CHECKING:
    from collections.abc import Iterator

REPOSITORY = Path(__file__).parents[1]
README = REPOSITORY / "README.md"
PAGES = [README, *sorted((REPOSITORY / "docs").glob("*.md"))]

EXECUTED = {"python", "console"}
BOTS = ["bots"], ["bots.cheap"], ["bots.oracle_lag"], ["bots.pair_cost"], ["bots.research"]
SHOWN = {"text", "toml", "json", "bash", "ini", "yaml", "dockerfile"}  # the last three: test_docs_operations
DIRECTIVES = {
    "{toctree}",
    "{image}",
    "{include}",
    "{literalinclude}",
    "{eval-rst}",
    "{automodule}",
    "{autoclass}",
    "{note}",
    "{warning}",
}

MAX_NOT_EXECUTED = 3
MAX_BLOCK_SECONDS = 600.0
"""Only what hangs takes that long, on a busy machine too: no verdict depends on it."""
MAX_PAGE_SECONDS = 2 * MAX_BLOCK_SECONDS

NOT_EXECUTED = re.compile(r"<!-- not executed: \S.*\S -->")
INSTALLS = re.compile(r"^(python3 -m venv|(python3 -m )?pip install|npm install|git clone|cd |\.venv/bin/|bash \.ci/)")


class Block(NamedTuple):
    """One fenced block: where it is, its language, its text, and the comment right before it."""

    page: Path
    line: int
    language: str
    text: str
    comment: str

    @property
    def is_executed(self) -> bool:
        return self.language in EXECUTED and not NOT_EXECUTED.fullmatch(self.comment)

    def __str__(self) -> str:
        return f"{self.page.relative_to(REPOSITORY) if self.page.is_relative_to(REPOSITORY) else self.page}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    tokens = MarkdownIt("commonmark").parse(page.read_text(encoding="utf-8"))
    return [
        Block(
            page=page,
            line=(token.map or [0])[0] + 1,
            language=token.info.split()[0] if token.info.split() else "",
            text=token.content,
            comment=before.content.strip() if before and before.type == "html_block" else "",
        )
        for before, token in pairwise([None, *tokens])
        if token and token.type in {"fence", "code_block"}
    ]


def run_page(blocks: list[Block]) -> None:
    """Run the blocks of one page: one namespace, one event loop, a time limit for each block."""
    namespace: dict[str, object] = {"__name__": "__main__"}
    with asyncio.Runner() as runner:
        for block in blocks:
            if not block.is_executed:
                continue
            if block.language == "console":
                run_commands(block)
            else:
                run_python(block, namespace, runner)
        leftover = [task for task in asyncio.all_tasks(runner.get_loop()) if not task.done()]
        assert leftover == [], "an example leaves tasks behind"


def run_python(block: Block, namespace: dict[str, object], runner: asyncio.Runner) -> None:
    # Leading newlines make a traceback name the line of the page.
    source = "\n" * block.line + block.text
    code = compile(source, str(block.page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    if not code.co_flags & inspect.CO_COROUTINE:
        exec(code, namespace)  # noqa: S102 - our own pages
        return

    async def limited() -> None:
        async with asyncio.timeout(MAX_BLOCK_SECONDS):
            await eval(code, namespace)  # noqa: S307 - our own pages

    runner.run(limited())


def run_commands(block: Block) -> None:
    lines = [line.removeprefix("$ ") for line in block.text.splitlines() if line.startswith("$ ")]
    assert lines, f"{block}: a console block needs a line that starts with '$ '"
    for line in lines:
        command = as_argv(line)
        assert command, f"{block}: only polymirror's own commands are run, without a shell: {line}"
        done = subprocess.run(  # noqa: S603 - our own pages
            command,
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=MAX_BLOCK_SECONDS,
        )
        assert done.returncode == 0, f"{block}: {line}\n{done.stdout}\n{done.stderr}"


def as_argv(line: str) -> list[str]:
    """The command of a console line for this interpreter, or nothing if it is not one of ours."""
    if re.search(r"[|<>&;`]", line):
        return []
    words = shlex.split(line)
    if words[:3] == ["python", "-m", "polymirror"]:
        return [sys.executable, "-m", "polymirror", *words[3:]]
    if words[:2] == ["python", "-m"] and words[2:3] in BOTS:
        return [sys.executable, *words[1:]]
    if words[:1] == ["polymirror"]:
        # What the installed script does, without needing it on the PATH.
        return [sys.executable, "-c", "import sys; from polymirror.cli import main; sys.exit(main())", *words[1:]]
    return []


@pytest.fixture
def own_logging() -> Iterator[None]:
    """Examples set up logging for their whole process, which is not theirs alone here."""
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield
    root.setLevel(level)
    root.handlers[:] = handlers


WITH_A_SERVER = {"relay-nats.md"}
"""Pages whose examples need a program that is not there everywhere: tests/relay/broker/test_page.py runs them."""

# The front page has a bot trade for hours; its commands have tests of their own.
RUNS = [
    pytest.param(page, marks=[pytest.mark.slow] * (page == README), id=page.name)
    for page in PAGES
    if page.name not in WITH_A_SERVER
]


@pytest.mark.parametrize("page", RUNS)
@pytest.mark.timeout(MAX_PAGE_SECONDS)
@pytest.mark.usefixtures("own_logging")
def test_every_example_of_the_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_page(blocks_of(page))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_of_the_page_says_what_it_is(page: Path) -> None:
    unknown = [str(block) for block in blocks_of(page) if block.language not in EXECUTED | SHOWN | DIRECTIVES]
    assert unknown == []
    shell = [
        f"{block}: {line}"
        for block in blocks_of(page)
        if block.language == "bash"
        for line in block.text.splitlines()
        if not INSTALLS.match(line)
    ]
    assert shell == [], "bash blocks are for installing and checking; what polymirror does goes into console blocks"


def test_only_a_few_examples_are_not_executed() -> None:
    blocks = [block for page in PAGES for block in blocks_of(page)]
    skipped = [str(block) for block in blocks if block.language in EXECUTED and not block.is_executed]
    assert len(skipped) <= MAX_NOT_EXECUTED, skipped


def made_up(tmp_path: Path, text: str) -> list[Block]:
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    return blocks_of(page)


def test_an_example_that_raises_fails_and_names_its_line(tmp_path: Path) -> None:
    page = made_up(tmp_path, "# A page\n\n```python\nx = 1\nassert x == 2\n```\n")
    with pytest.raises(AssertionError) as caught:
        run_page(page)
    assert caught.traceback[-1].lineno + 1 == 5


def test_an_example_may_await_and_sees_the_names_of_the_blocks_before(tmp_path: Path) -> None:
    text = "```python\nimport asyncio\nx = await asyncio.sleep(0, 7)\n```\n\ntext\n\n```python\nassert x == 7\n```\n"
    run_page(made_up(tmp_path, text))


def test_an_example_may_be_a_whole_program_with_a_loop_of_its_own(tmp_path: Path) -> None:
    text = "```python\nimport asyncio\nasync def main():\n    pass\nasyncio.run(main())\n```\n"
    run_page(made_up(tmp_path, text))


def test_an_example_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "MAX_BLOCK_SECONDS", 0.01)
    with pytest.raises(TimeoutError):
        run_page(made_up(tmp_path, "```python\nimport asyncio\nawait asyncio.Event().wait()\n```\n"))


def test_an_example_that_leaves_a_task_behind_fails(tmp_path: Path) -> None:
    text = "```python\nimport asyncio\nt = asyncio.ensure_future(asyncio.Event().wait())\nawait asyncio.sleep(0)\n```\n"
    with pytest.raises(AssertionError, match="leaves tasks behind"):
        run_page(made_up(tmp_path, text))


def test_a_command_that_fails_or_is_not_ours_fails_the_page(tmp_path: Path) -> None:
    for line in ("rm -rf x", "polymirror demo | cat", "polymirror demo; ls", "python x.py"):
        assert as_argv(line) == []
    with pytest.raises(AssertionError):
        run_page(made_up(tmp_path, "```console\n$ polymirror no-such-command\n```\n"))
    with pytest.raises(AssertionError, match="needs a line"):
        run_page(made_up(tmp_path, "```console\npolymirror demo\n```\n"))


def test_a_block_is_left_out_only_with_a_reason_right_before_it(tmp_path: Path) -> None:
    reasons = ["<!-- not executed: it needs the real venue -->", "<!-- not executed -->", "<!-- not executed:  -->"]
    executed = [made_up(tmp_path, f"{reason}\n\n```python\n1\n```\n")[0].is_executed for reason in reasons]
    assert executed == [False, True, True]
    (first, second) = made_up(tmp_path, f"{reasons[0]}\n\n```python\n1\n```\n\n```python\n2\n```\n")
    assert (first.is_executed, second.is_executed) == (False, True)


def test_the_readme_gives_one_command_for_each_of_its_two_promises() -> None:
    commands = {block.comment: block.text for block in blocks_of(README) if block.comment.startswith("<!-- command:")}
    assert set(commands) == {"<!-- command: demo -->", "<!-- command: test -->"}
    assert all(text.startswith("python3 -m venv .venv && ") for text in commands.values())
    assert all(len(text.splitlines()) == 1 for text in commands.values())


def test_the_table_of_states_is_the_one_the_code_holds() -> None:
    page = (REPOSITORY / "docs" / "states.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([A-Z]+)` \| (.*?) \|$", page, flags=re.MULTILINE)
    written = {BookState[state]: {BookState[name] for name in re.findall(r"`([A-Z]+)`", cell)} for state, cell in rows}
    assert written == {state: set(targets) for state, targets in LEGAL_TRANSITIONS.items()}


def test_the_page_on_states_explains_every_state_and_every_reason() -> None:
    page = (REPOSITORY / "docs" / "states.md").read_text(encoding="utf-8")
    assert [name for name in [*BookState.__members__, *Reason.__members__] if f"**{name}**" not in page] == []
