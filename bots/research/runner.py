"""A whole run: read the data, play each era in all processes, judge, and put everything into one plain object.

What is done is kept in ``parts/`` beside the report, by a hash of data, settings and the bots' own code: a run that was
stopped goes on there. Two runs with the same hashes give the same object.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import defaultdict
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from decimal import Decimal
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
from attrs import evolve, frozen

from bots.research import calibration, lag, pairs
from bots.research.claims import claims_of, first_sentences
from bots.research.falsify.plays import BASE, STALE, chunks, join, play_chunk, plays_of
from bots.research.falsify.suite import conclude, every, judge_all
from bots.research.loaders.layouts import LAYOUTS
from bots.research.stats import blocks_of, mean_interval, wilson
from bots.research.summary import describe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from concurrent.futures import Executor
    from contextlib import AbstractContextManager

    from bots.research.config import Config, Data
    from bots.research.falsify.plays import Results
    from bots.research.series import Play
    from bots.research.windows import Window

AT_ONCE: Final = 12
"""Into so many tasks the work is split at least, by variants if the pieces are fewer: few windows keep all processes
busy, too, and of many windows each piece is sent to a process once."""

CODE: Final = Path(__file__).parents[1]


@frozen
class Run:
    """One run. ``tell`` is told how far it is."""

    config: Config
    data: Mapping[str, Data]
    base: Path
    """What the paths of the data are relative to."""
    out: Path
    tell: Callable[[str], None]

    def result(self) -> dict[str, Any]:
        """Do everything that is not done yet. Raises DataError for data that cannot be used."""
        config_hash = _hash(self.config, {name: attrs.asdict(each) for name, each in self.data.items()})
        hashes = {name: hash_of(self.base / each.path) for name, each in self.data.items()}
        code = _hash(*[path.read_text(encoding="utf-8") for path in sorted(CODE.rglob("*.py"))])
        found: dict[str, list[Any]] = defaultdict(list)
        workers = self.config.processes or os.cpu_count() or 1
        with _pool(workers) as pool:
            for number, (name, each) in enumerate(self.data.items(), start=1):
                key = _hash(config_hash, hashes[name], code, name)
                kept = self.out / "parts" / f"{key}.json"
                if kept.is_file():
                    self.tell(f"{number}/{len(self.data)} {name}: done before")
                    part = json.loads(kept.read_bytes())
                else:
                    self.tell(f"{number}/{len(self.data)} {name}")
                    part = self._part(name, each, pool)
                    kept.parent.mkdir(parents=True, exist_ok=True)
                    draft = kept.with_suffix(".draft")
                    draft.write_text(json.dumps(part, allow_nan=False), encoding="utf-8")
                    draft.replace(kept)
                for kind, content in part.items():
                    found[kind] += content
        result: dict[str, Any] = {
            "seed": self.config.seed,
            "config_hash": config_hash,
            "data_hash": _hash(hashes),
            "code_hash": code,
            "data": {
                name: {"layout": each.layout, "licence": each.licence, "note": each.note, "hash": hashes[name]}
                for name, each in self.data.items()
            },
            **found,
        }
        claims = claims_of(result)
        return {"first": first_sentences(result), "claims": claims, **result}

    def _part(self, name: str, data: Data, pool: Executor | None) -> dict[str, list[Any]]:
        layout, path = LAYOUTS[data.layout], self.base / data.path
        if layout.kind == "windows":
            more = {"columns": data.columns, "table": data.table} if data.layout == "table" else {}
            windows = layout.read(path, self.config.eras, name, **more)
            return {"studies": [self._study(name, era, each, data, pool) for era, each in _by_era(windows)]}
        records = layout.read(path)
        if layout.kind == "labels":
            return {"labels": [_labels(name, records)]}
        if layout.kind == "pairs":
            return {"pairs": pairs.judge(name, records, data.price, self.config.eras)}
        return {"others": [_tails(name, records) if layout.kind == "tails" else _paper(name, records)]}

    def _study(self, name: str, era: str, windows: list[Window], data: Data, pool: Executor | None) -> dict[str, Any]:
        """Judge the oracle-lag strategy in one era of one data set."""
        base = evolve(self.config.play, derived=data.derived)
        playable = [each for each in windows if len(each.oracle.at_ms) and each.up is not None and each.strike_e8]
        results = self._played(f"{name}, {era}", playable, plays_of(base), pool)
        trades = results.trades(BASE)
        findings = judge_all(playable, results, base.fills, self.config.seed)
        conclusion = conclude(trades, findings)
        why = conclusion.why if playable else "The oracle and token prices were not recorded together."
        return {
            "source": name,
            "era": era,
            "windows": len(windows),
            "playable": len(playable),
            "days": len({each.day for each in windows}),
            "every_s": every(windows) / 1000,
            "oracle": windows[0].oracle_name,
            "receive_times": all(each.receives for each in windows),
            "verdict": conclusion.verdict,
            "why": why,
            "summary": describe(trades),
            "at_the_old_price": describe(results.trades(STALE)),
            "counts": dict(sorted(results.played[BASE].counts.items())),
            "findings": [each.to_dict() for each in findings],
            "lag": lag.measure(windows, self.config.seed),
            "prices": calibration.of_prices(windows),
            "signals": calibration.of_signals(windows, base),
            "both_at_once": pairs.simultaneous(windows),
        }

    def _played(
        self, name: str, windows: Sequence[Window], plays: Mapping[str, Play], pool: Executor | None
    ) -> Results:
        pieces = list(chunks(windows))
        cuts = min(-(-AT_ONCE // max(len(pieces), 1)), len(plays))
        parts = [dict(list(plays.items())[first::cuts]) for first in range(cuts)]
        work = [(piece, part) for piece in pieces for part in parts]
        done = []
        for number, each in enumerate(_played(work, pool), start=1):
            done.append(each)
            self.tell(f"   {name}: {number} of {len(work)}")
        return join(done) if done else play_chunk((), plays)


def _played(work: Sequence[tuple[list[Window], dict[str, Play]]], pool: Executor | None) -> Iterator[Results]:
    if pool is None:
        yield from (play_chunk(piece, part) for piece, part in work)
        return
    for future in [pool.submit(play_chunk, piece, part) for piece, part in work]:
        yield future.result()


def _pool(workers: int) -> AbstractContextManager[Executor | None]:
    """Open so many processes; one is this one."""
    return nullcontext() if workers == 1 else ProcessPoolExecutor(workers, mp_context=get_context("spawn"))


def hash_of(path: Path) -> str:
    """Return a hash of a file, or of all files in a folder, with their names."""
    found = hashlib.sha256()
    for each in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if each.is_file():
            found.update(each.relative_to(path.parent).as_posix().encode() + b"\0")
            with each.open("rb") as file:
                found.update(hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()[:16]


def _hash(*values: object) -> str:
    return hashlib.sha256(repr(values).encode()).hexdigest()[:16]


def _by_era(windows: Iterable[Window]) -> list[tuple[str, list[Window]]]:
    groups: dict[str, list[Window]] = {}
    for each in sorted(windows, key=lambda window: (window.start_ms, window.asset)):
        groups.setdefault(each.rules.era, []).append(each)
    return list(groups.items())


def _labels(name: str, records: Sequence[Any]) -> dict[str, Any]:
    up = sum(each.up_won for each in records)
    agree = sum(each.agrees for each in records)
    count = len(records)
    return {
        "source": name,
        "windows": count,
        "up": wilson(up, count).to_dict(),
        "agree": wilson(agree, count).to_dict(),
    }


def _tails(name: str, records: Sequence[Any]) -> dict[str, Any]:
    table = calibration.table((each.price_e4 / 10_000, each.won) for each in records)
    won = wilson(sum(each.won for each in records), len(records))
    stated = sum(each.price_e4 for each in records) / 10_000 / max(len(records), 1)
    return {
        "source": name,
        "kind": "tails",
        "cases": len(records),
        "stated": round(stated, 4),
        "won": won.to_dict(),
        "bins": table,
    }


def _paper(name: str, records: Sequence[Any]) -> dict[str, Any]:
    blocks = blocks_of([each.start_ms for each in records])
    per_share = mean_interval([float(each.profit / each.shares) for each in records], blocks)
    return {
        "source": name,
        "kind": "paper trades",
        "cases": len(records),
        "windows": len({each.start_ms for each in records}),
        "won": wilson(sum(each.won for each in records), len(records)).to_dict(),
        "per_share": per_share.to_dict(),
        "profit": str(sum((each.profit for each in records), Decimal(0))),
    }
