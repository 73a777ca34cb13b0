"""``polymirror journal export``: a journal in the format of another tool."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from polymirror.commands.replay import read_moment
from polymirror.commands.screen import kept_warnings, make_console, print_json
from polymirror.config import one_of
from polymirror.errors import ConfigError, PolymirrorError
from polymirror.journal.export.hftbacktest import write_hftbacktest
from polymirror.journal.export.parquet import write_parquet
from polymirror.journal.export.rows import rows_of
from polymirror.journal.export.tardis import write_tardis
from polymirror.journal.replay import Replay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from polymirror.journal.export.rows import Row

CSV_NAME: Final = "polymarket_incremental_book_L2.csv.gz"

FORMATS: Final[dict[str, Callable[[Iterable[Row], Path], dict[str, int]]]] = {
    "parquet": write_parquet,
    "tardis": lambda rows, folder: {CSV_NAME: write_tardis(rows, folder / CSV_NAME)},
    "hftbacktest": write_hftbacktest,
}


def run_export(
    folder: str, to: str, out: str, *, start: str | None, until: str | None, tokens: tuple[str, ...], json: bool
) -> int:
    """Export and tell what was written; return the exit code. Raises ConfigError, PolymirrorError and MissingExtra."""
    if to not in FORMATS:
        raise ConfigError("--to", to, one_of(to, FORMATS))
    if not Path(folder).exists():
        raise PolymirrorError(f"there is no {folder}: give the folder of a journal, or one of its files")
    bounds = read_moment("--from", start), read_moment("--until", until)
    replay = Replay(Path(folder), tokens=tokens, start=bounds[0], end=bounds[1])
    rows = _some((row for row in rows_of(replay) if not tokens or row.token in tokens), folder)
    try:
        with kept_warnings():
            written = FORMATS[to](rows, Path(out))
    except FileExistsError as error:
        raise PolymirrorError(f"{error.filename} is there already: choose another --out") from error
    except OSError as error:
        raise PolymirrorError(f"{out} cannot be written: {error.strerror or error}") from error
    result: dict[str, Any] = {"format": to, "folder": out, "rows": written, "exact": replay.exact, "lost": replay.lost}
    if json:
        print_json(result)
    else:
        console = make_console()
        for name, count in written.items():
            console.print(f"{count:>12,}  {name}", soft_wrap=True)
        if replay.lost:
            console.print(f"{replay.lost:,} lines are missing: see 'polymirror journal check'", style="yellow")
    return 0


def _some(rows: Iterable[Row], folder: str) -> Iterator[Row]:
    """Pass rows on. Raises PolymirrorError if there is none, so that nothing is written."""
    row = None
    for row in rows:
        yield row
    if row is None:
        raise PolymirrorError(f"nothing in {folder} is of that time and these tokens: see 'polymirror journal check'")
