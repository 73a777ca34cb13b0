"""The page of the fault matrix for the documentation, made from the results of a run.

Everything in it that is a claim comes from the results, from the adapters' statements, or from the definitions that
the arena uses.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.arena import GRID, LATENCY_MS, LIMITS, MARKETS, RATE, WARM_UP
from benchmarks.peers import COLUMNS, OWN, installed, load
from benchmarks.results import BEYOND_PROOF, METRICS
from benchmarks.schedule import NEEDS_RECONNECTION, NO_FAULT, PERIOD
from polymirror.simulator.faults.catalogue import FAULTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.peers import Column
    from benchmarks.results import Matrix, Metric

TINY = 0.05

INTRODUCTION = """\
# Fault matrix

What a program shows you while the venue or the network misbehaves. The same simulated {minutes:g} minutes were run once
for each of the {faults} [faults](faults.md), against polymirror and against other programs that can
hold a Polymarket book, each driven through its own code. All get the same frames at the same moments, except where
what they do themselves changes that: when they reconnect, or subscribe anew.

All figures are seconds of the run of {minutes:g} minutes, the mean over the {books} books that were read.

"""

METHOD = """\
## Definitions

- **The exchange** is polymirror's [embedded one](testing.md): {markets} markets of two tokens, {rate:g} batches a
  second in each, on a virtual clock. Its books at every moment are known.
- **The network** takes {latency} ms each way, for all frames and calls alike, and keeps the order of a connection.
- **Faults** strike at the same moments in every column, about once in {period:g} s, less often when one occurrence
  lasts longer, and three times at most for those that end a market. A fault is armed at its moment and takes the
  first chance after it, so a program that has lost its connection then is struck when it is back. Faults of new
  connections ({reconnections}) come with a disconnection at the same moment.
- **Reading**: every {grid:g} ms of virtual time, each book is read once in each column as a user would read it, from
  {warm_up:g} s after the start on. polymirror is read by `live(token)` and by `live(token, max_proof_age=0.25)`, from
  the same run.
- **Wrong**: the reading was granted, and the exchange did not have exactly these levels at any time in the last *A*
  seconds and the delay. The delay is that of the network and the longest one that the fault of the row adds, so that
  nobody is blamed for frames that were still on their way. *A* is {limits}: the first is polymirror's default
  promise, the second what it promises to who asks for 0.25 s. The same *A* is applied to every column. After
  the settlement of a market, its book is the empty one.
- **Unavailable**: the exchange had a book with levels, and the reading was refused, absent or without any level.
- **Sums** leave out {beyond}: what rewrites everything consistently cannot be told from the truth by anybody, since the
  hash has no key. Its row is shown.

"""

CAVEATS = """\
## Where polymirror loses

{losses}

## Caveats

- Sockets are simulated. How each program keeps a connection (heartbeat, when it gives up, how it returns) is taken
  from its source and applied by the simulated network; what it does with frames, and with the loss of a connection,
  is its own code.
- All programs subscribe to all tokens in one frame, and get the same opening array. Only polymirror asks for the
  venue's custom events; they carry no levels, but one of them announces a settlement.
- A half-open or silent connection comes back to life here after the length of the fault, with the frames between
  lost. Real ones mostly stay dead.
- Readers poll. A program that awaits events, as ccxt's users do, may notice silence by itself; nothing tells it what
  the silence means.
- How fast a wrong level heals by itself depends on the traffic: a level is overwritten by its next change, and every
  trade brings a whole book. Quieter books stay wrong for longer.
- Sums weigh all faults alike, which no venue does; a few rows make most of them. Read the rows that you meet.
- What lasts to the end of the run (a settled market, a changed price grid) weighs more in a longer run.
- Calls for books over REST are made by polymirror alone, so faults of those calls cannot hurt the other columns.
- Authors of polymirror wrote this. The adapters are short; read them in `benchmarks/peers`, and tell us what is unfair.

"""


def render(matrix: Matrix) -> str:
    """Return the whole page in Markdown."""
    minutes = matrix.seconds / 60
    parts = [
        INTRODUCTION.format(minutes=minutes, faults=len(matrix.faults) - 1, books=2 * MARKETS),
        "## In short\n\n",
        _table(
            ["sum over all faults", *(column.title for column in matrix.columns)],
            [
                [metric.title, *(_number(matrix.total(metric, column)) for column in matrix.columns)]
                for metric in METRICS
            ],
        ),
        "\n",
        *(f"- **{column.title}**: not measured, {matrix.absent[column.module]}.\n" for column in _absent(matrix)),
        _method(),
        "## Programs\n\n",
        *_programs(matrix),
        *(_section(matrix, metric) for metric in METRICS),
        _unstruck(matrix),
        CAVEATS.format(losses=_losses(matrix)),
        "## Repeat it\n\n```text\n",
        "pip install -e '.[benchmarks]'\n",
        f"python -m benchmarks.fault_matrix --minutes {minutes:g} --seed {matrix.seed} --write\n```\n\n",
        f"Seed {matrix.seed}. The result does not depend on the machine; only how long it takes does.\n",
    ]
    return "".join(parts)


def _method() -> str:
    return METHOD.format(
        markets=MARKETS,
        rate=RATE,
        latency=LATENCY_MS,
        period=PERIOD,
        reconnections=", ".join(f"`{fault}`" for fault in FAULTS if fault in NEEDS_RECONNECTION),
        grid=GRID * 1000,
        warm_up=WARM_UP,
        beyond=", ".join(f"`{fault}`" for fault in sorted(BEYOND_PROOF)),
        limits=" and ".join(f"{limit:g} s" for limit in LIMITS),
    )


def _programs(matrix: Matrix) -> Iterable[str]:
    yield (
        f"- **polymirror** {installed('polymirror')}. Promises: a granted reading was proven at full depth no longer "
        "ago than 15 s, or than asked for; else it is refused. Driven: its engine, in the world of its own torture.\n"
    )
    for column in COLUMNS:
        if column.module in OWN:
            continue
        if column.module in matrix.absent:
            yield f"- **{column.title}**: not measured where this page was made ({matrix.absent[column.module]}).\n"
            continue
        adapter = load(column.module)
        number = f" {installed(column.package)}" if column.package else ""
        yield f"- **{column.title}**{number}. Promises: {adapter.promise} Driven: {adapter.driven}\n"
    yield "\n"


def _section(matrix: Matrix, metric: Metric) -> str:
    shown = [fault for fault in matrix.faults if not matrix.is_quiet(metric, fault)]
    quiet = [fault for fault in matrix.faults if matrix.is_quiet(metric, fault)]
    columns = matrix.columns
    rows = [[_name(fault), *(_number(matrix.figure(metric, fault, column)) for column in columns)] for fault in shown]
    rows.append(["**sum**", *(f"**{_number(matrix.total(metric, column))}**" for column in columns)])
    text = f"## {metric.title}\n\n{metric.explanation}\n\n"
    text += _table(["fault", *(column.title for column in columns)], rows)
    if quiet:
        text += f"\n0 in every column: {', '.join(map(_name, quiet))}.\n"
    return text + "\n"


def _unstruck(matrix: Matrix) -> str:
    missing = matrix.unstruck()
    if not missing:
        return ""
    text = (
        "## Faults that found no chance\n\nThey did not strike once in these columns, so their zeros say nothing:\n\n"
    )
    everywhere = [fault for fault, titles in missing.items() if len(titles) == len(matrix.columns)]
    if everywhere:
        text += f"- in any column: {', '.join(map(_name, everywhere))}\n"
    by_columns: dict[str, list[str]] = {}
    for fault, titles in missing.items():
        if fault not in everywhere:
            by_columns.setdefault(", ".join(titles), []).append(_name(fault))
    return text + "".join(f"- {titles}: {', '.join(faults)}\n" for titles, faults in by_columns.items()) + "\n"


def _losses(matrix: Matrix) -> str:
    """State in figures what fail-closed reading costs."""
    unavailable = METRICS[-1]
    own = [column for column in matrix.columns if column.module in OWN]
    others = [column for column in matrix.columns if column.module not in OWN]
    run = len(matrix.counted) * (matrix.seconds - WARM_UP)
    figures = {column.key: matrix.total(unavailable, column) for column in matrix.columns}
    lines = []
    for column in own:
        share = 100 * figures[column.key] / run
        seconds = _number(figures[column.key])
        lines.append(f"- {column.title}: unavailable for {seconds} s of all rows together, {share:.2f} % of them.")
    if others:
        least = min(others, key=lambda column: figures[column.key])
        most = max(others, key=lambda column: figures[column.key])
        lines.append(
            f"- The others: from {_number(figures[least.key])} s ({least.title}) to {_number(figures[most.key])} s "
            f"({most.title}); they go on reading what they hold."
        )
    lines += _worse(matrix, own, others)
    quiet = matrix.figure(unavailable, NO_FAULT, own[-1]) if own and NO_FAULT in matrix.faults else 0.0
    share = 100 * quiet / (matrix.seconds - WARM_UP)
    lines.append(
        f"- Asked for a proof of the last 0.25 s, polymirror refuses {share:.0f} % of the time even without a fault: "
        f"at {RATE:g} batches a second there often was nothing in 0.25 s that could prove anything. Busier books fare "
        "better, and `await mirror.prove(token)` asks for a proof at once; the readers here do not wait for one."
    )
    return "\n".join(lines)


def _worse(matrix: Matrix, own: Sequence[Column], others: Sequence[Column]) -> Iterable[str]:
    """Name the rows in which polymirror was wrong for longer than some other column."""
    for metric in METRICS[:-1]:
        for column in own if others else ():
            lost = [
                f"{_name(fault)} ({_number(matrix.figure(metric, fault, column))} s)"
                for fault in matrix.faults
                if matrix.figure(metric, fault, column) > min(matrix.figure(metric, fault, each) for each in others)
            ]
            if lost:
                faults = ", ".join(lost)
                yield f"- {metric.title}: {column.title} was so for longer than the best of the others in {faults}."


def _absent(matrix: Matrix) -> list[Column]:
    return [column for column in COLUMNS if column.module in matrix.absent]


def _name(fault: str) -> str:
    return "no fault" if fault == NO_FAULT else f"`{fault}`"


def _number(seconds: float) -> str:
    if not seconds:
        return "0"
    return "<0.1" if seconds < TINY else f"{seconds:.1f}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---", *("---:" for _ in heads[1:])], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
