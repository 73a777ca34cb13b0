"""The table of other people's clients in ``docs/venue.md``, made from the tests that try them.

``python -m tests.clients.table`` writes it into the page; a test compares the two. Each test with the mark
``client(name, calls, note="")`` is a row. It works, unless the test is expected to fail: such marks are strict, so the
table cannot say less than what works. The tests are read, not imported: no client need be installed.
"""

from __future__ import annotations

import ast
import json
import tomllib
from pathlib import Path
from typing import NamedTuple

FOLDER = Path(__file__).parent
REPOSITORY = FOLDER.parents[1]
PAGE = REPOSITORY / "docs" / "venue.md"
BEGIN, END = "<!-- clients: begin -->", "<!-- clients: end -->"

WHERE = {
    "polymarket-client": "an `Environment` with other addresses, made by functions of its inside: there is no public "
    "way to make one",
    "py-clob-client-v2": "the first argument of `ClobClient`",
    "ccxt": '`exchange.urls["api"]` of `ccxt.prediction.polymarket`: `gamma`, `clob`, `data`, `ws` and `wsUser`',
    "nautilus_trader": "`base_url_http` and `base_url_ws` (which ends with `/ws/`) of `PolymarketDataClientConfig`",
    "@polymarket/clob-client": "the first argument of `ClobClient`",
    "@polymarket/clob-client-v2": "`host` of `ClobClient`",
    "@nevuamarkets/poly-websockets": "nowhere: the constructor of its WebSocket library is wrapped, so that its one "
    "address leads to loopback",
    "@polymarket/real-time-data-client": "`host` of `RealTimeDataClient`",
}
"""For each client, where its addresses are given. The order is that of the page."""


class Row(NamedTuple):
    """What one test says of a client."""

    client: str
    calls: str
    fails: str
    note: str

    @property
    def result(self) -> str:
        if self.fails:
            return f"not yet: {self.fails}"
        return self.note or "works"


def versions() -> dict[str, str]:
    """The versions that are tried: those of the extra, and those of the package file of Node."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pinned = (line.partition("==") for line in project["optional-dependencies"]["clients"] if "==" in line)
    packages = json.loads((FOLDER / "node" / "package.json").read_text(encoding="utf-8"))["dependencies"]
    return {name.partition("[")[0]: version for name, _, version in pinned} | packages


def rows() -> list[Row]:
    """All rows, in the order of the tests."""
    return [row for path in sorted(FOLDER.glob("test_*.py")) for row in rows_of(path.read_text(encoding="utf-8"))]


def rows_of(source: str) -> list[Row]:
    """The rows of one module of tests."""
    tree = ast.parse(source)
    names = dict(_names(tree))
    found = []
    for test in tree.body:
        if not isinstance(test, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        marks = [names.get(mark.id, mark) if isinstance(mark, ast.Name) else mark for mark in test.decorator_list]
        calls = {_mark(mark): mark for mark in marks if isinstance(mark, ast.Call)}
        if "client" not in calls:
            continue
        client, tried = (_text(argument, names) for argument in calls["client"].args)
        options = {word.arg: word.value for word in calls["client"].keywords}
        xfail = {word.arg: word.value for word in calls["xfail"].keywords} if "xfail" in calls else {}
        fails = _text(xfail["reason"], names) if xfail else ""
        found.append(Row(client, tried, fails, _text(options["note"], names) if "note" in options else ""))
    return found


def _names(tree: ast.Module) -> list[tuple[str, ast.expr]]:
    """What the names of a module stand for, as far as they are given by simple assignments."""
    found: list[tuple[str, ast.expr]] = []
    for statement in tree.body:
        if isinstance(statement, ast.Assign):
            for target in statement.targets:
                if isinstance(target, ast.Name):
                    found.append((target.id, statement.value))
                elif isinstance(target, ast.Tuple) and isinstance(statement.value, ast.Tuple):
                    pairs = zip(target.elts, statement.value.elts, strict=True)
                    found += [(name.id, value) for name, value in pairs if isinstance(name, ast.Name)]
    return found


def _mark(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def _text(node: ast.expr, names: dict[str, ast.expr]) -> str:
    value = ast.literal_eval(names[node.id] if isinstance(node, ast.Name) else node)
    if not isinstance(value, str):
        message = f"line {node.lineno}: a text is wanted"
        raise TypeError(message)
    return value


def table() -> str:
    """The generated part of the page, in Markdown."""
    found, known = rows(), versions()
    lines = []
    for client, where in WHERE.items():
        own = [row for row in found if row.client == client]
        works = sum(not row.fails for row in own)
        lines += [f"### {client} {known[client]}", "", f"Addresses: {where}. {works} of {len(own)} rows work.", ""]
        lines += ["| calls | result |", "|---|---|"]
        lines += [f"| {row.calls} | {row.result} |" for row in own]
        lines.append("")
    return "\n".join(lines).strip()


def with_table(page: str) -> str:
    """The page with a fresh table."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
