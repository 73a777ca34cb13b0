"""What a user gets by installing: the right files, few dependencies, one version, extras by name."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement

if TYPE_CHECKING:
    from collections.abc import Iterator
    from email.message import Message

REPOSITORY = Path(__file__).parents[1]
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]

DEPENDENCIES = {"attrs", "httpx", "msgspec", "tenacity", "websockets"}
EXTRAS = {"cli", "simulator", "metrics", "status", "frames", "recordings", "export", "bots",
          "relay", "research", "live", "test", "clients", "benchmarks", "docs", "dev"}  # fmt: skip


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Iterator[zipfile.ZipFile]:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=REPOSITORY, check=True, capture_output=True, timeout=60)  # noqa: S603 - fixed words
    (path,) = folder.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        yield archive


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> Message:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return Parser().parsestr(wheel.read(name).decode())


def test_the_wheel_holds_the_library_its_types_and_its_licence_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    beside = {"polymirror_command.py", "pytest_polymirror.py", f"polymirror-{PROJECT['version']}.dist-info"}
    assert {name.split("/")[0] for name in names} == {"polymirror", *beside}
    assert "polymirror/py.typed" in names
    assert any(name.endswith("/licenses/LICENSE") for name in names)
    sources = {path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / "polymirror").rglob("*.py")}
    assert {name for name in names if name.startswith("polymirror/") and name.endswith(".py")} == sources
    page = {path.relative_to(REPOSITORY).as_posix() for path in (REPOSITORY / "polymirror/status/page").iterdir()}
    assert page <= set(names)


def test_the_library_needs_five_packages(metadata: Message) -> None:
    needed = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert sorted(re.split(r"\W", line)[0] for line in needed) == sorted(DEPENDENCIES)


def test_each_package_has_a_lowest_version(metadata: Message) -> None:
    # What is pinned to one version has one as well, and what is another extra of ours needs none.
    needed = [line for line in metadata.get_all("Requires-Dist", []) if not line.startswith("polymirror[")]
    assert [line for line in needed if not re.search(r"[=>]=", line.partition(";")[0])] == []


BY_TIME = {"attrs", "pyarrow"}  # a major number of theirs says nothing
USERS = ("bots", "cli", "export", "frames", "live", "metrics", "recordings", "simulator", "status")


def test_no_major_release_that_nobody_has_tried_is_installed() -> None:
    extras = PROJECT["optional-dependencies"]
    needed = [*PROJECT["dependencies"], *(line for name in USERS for line in extras[name])]
    open_ended = [line for line in needed if "<" not in line and not line.startswith("polymirror[")]
    assert {re.split(r"[^\w-]", line)[0] for line in open_ended} == BY_TIME


def test_the_locked_versions_are_those_that_the_bots_may_have_each_with_its_hashes() -> None:
    text = (REPOSITORY / "bots" / "requirements.txt").read_text(encoding="utf-8")
    assert "://" not in text
    locked = [
        line.split() for line in text.replace("\\\n", " ").splitlines() if line and not line.startswith((" ", "#"))
    ]
    assert all(any(word.startswith("--hash=sha256:") for word in words) for words in locked)
    versions = dict(words[0].split("==") for words in locked)
    extras = PROJECT["optional-dependencies"]
    for line in [*PROJECT["dependencies"], *extras["bots"], *extras["live"], *extras["status"], *extras["metrics"]]:
        wanted = Requirement(line)
        assert wanted.name == "polymirror" or wanted.specifier.contains(versions[wanted.name]), line


def test_the_extras_are_the_documented_ones(metadata: Message) -> None:
    assert set(metadata.get_all("Provides-Extra", [])) == EXTRAS


def test_the_version_is_written_once(metadata: Message) -> None:
    assert metadata["Version"] == PROJECT["version"]
    literal = re.compile(r"""version__?\s*(:[^=]*)?=\s*["']\d""", re.IGNORECASE)
    sources = (REPOSITORY / "polymirror").rglob("*.py")
    assert [path.name for path in sources if literal.search(path.read_text("utf-8"))] == []


def test_the_changelog_knows_the_version() -> None:
    assert PROJECT["version"] in (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("module", ["polymirror", "polymirror.errors", "polymirror.config"])
def test_importing_the_library_imports_no_extra(module: str) -> None:
    extras = ["starlette", "uvicorn", "typer", "click", "rich", "prometheus_client", "pydantic", "telegram", "bots"]
    extras += ["pandas", "polars"]
    # httpx imports click and rich for its own command line wherever they are installed: that is not ours to judge.
    code = (
        f"import sys, httpx; before = set(sys.modules); import {module}; "
        f"print(*[name for name in {extras!r} if name in sys.modules and name not in before])"
    )
    done = subprocess.run(  # noqa: S603 - fixed words
        [sys.executable, "-W", "error", "-c", code],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert done.stdout.split() == []


def test_importing_the_library_leaves_alone_what_only_a_connection_needs() -> None:
    later = ["httpx", "websockets", "tenacity", "zoneinfo", "email", "urllib.request", "importlib.metadata"]
    code = (
        "import sys; before = set(sys.modules); import polymirror; "
        f"print(*[name for name in {later!r} if name in sys.modules and name not in before])"
    )
    done = subprocess.run(  # noqa: S603 - fixed words
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout.split() == []


def test_pytest_finds_its_plugin_by_the_name_of_the_module_so_that_p_does_not_load_it_twice() -> None:
    assert PROJECT["entry-points"]["pytest11"] == {"pytest_polymirror": "pytest_polymirror"}


def test_the_command_is_a_callable_without_arguments() -> None:
    assert PROJECT["scripts"] == {"polymirror": "polymirror_command:main"}
    code = "import sys; sys.argv = ['polymirror', '--help']; from polymirror_command import main; main()"
    done = subprocess.run(  # noqa: S603 - fixed words
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=30
    )
    assert done.returncode == 0, done.stderr
    assert "demo" in done.stdout


def test_each_link_of_the_readme_works_outside_of_the_repository() -> None:
    # PyPI shows this page and has none of the files beside it.
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)]+)\)", readme) + re.findall(r"^\[[^\]]+\]: (\S+)$", readme, re.MULTILINE)
    base = PROJECT["urls"]["Documentation"]
    pages = {f"{base}{path.stem}.html" for path in (REPOSITORY / "docs").glob("*.md")}
    pictures = {f"{base}_images/{path.name}" for path in (REPOSITORY / "docs").glob("*.svg")}
    assert {link.partition("#")[0] for link in links} - pages - pictures == set()


def test_each_name_that_the_readme_links_has_its_address() -> None:
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\[([^\]]+)\]: ", readme, re.MULTILINE))
    # [text][name], and [name] alone; never inside code.
    text = re.sub(r"```.*?```|`[^`]*`|^\[[^\]]+\]: .*?$", "", readme, flags=re.DOTALL | re.MULTILINE)
    found = re.findall(r"\[([^\]]+)\](?:\[([^\]]+)\])?(?!\()", text)
    assert {(name or words).lower() for words, name in found} == named
