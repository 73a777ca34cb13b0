"""What is written down when two relays state different books for one time: one small bundle for each.

``polymirror explain`` tells what is in it. Runs on the reader's thread and never waits; files are the business of
:mod:`polymirror.journal.incident.store`.
"""

from __future__ import annotations

import platform
import secrets
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Final

from attrs import asdict

from polymirror.config import JournalConfig
from polymirror.core.states import Reason
from polymirror.core.units import PRICE_SCALE, price_to_wire, size_to_wire
from polymirror.errors import ConfigError
from polymirror.journal.format import FORMAT, Header, Incident, Relayed, Shown, Stated, stamp, weight
from polymirror.journal.incident.limits import Limits
from polymirror.journal.incident.store import Bundle, Store, file_name
from polymirror.relay.recent import Recent
from polymirror.relay.wire import encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from polymirror.config import RemoteConfig
    from polymirror.journal.format import Line
    from polymirror.relay.link import Link
    from polymirror.relay.replica import Disagreement

LEVEL_BYTES: Final = 40
"""Bytes of one level in a bundle, at most."""

CLOSE_SECONDS: Final = 5.0
"""Bundles that wait to be written at the end are waited for, so long at most."""


class Contradictions:
    """Writes bundles to ``folder``. ``wall`` is the time of day in seconds. Raises ConfigError for what is no path."""

    def __init__(
        self, folder: object, config: RemoteConfig, wall: Callable[[], float], name_of: Callable[[str], str]
    ) -> None:
        if not isinstance(folder, (str, Path)) or not str(folder):
            raise ConfigError("incidents", folder, "the path of a folder")
        self._folder = Path(folder)
        self._config = config
        self._wall = wall
        self._name_of = name_of
        self._limits = Limits(config.incidents)
        self._store = Store(self._folder, config.incidents, JournalConfig().min_free_bytes)
        self._session = secrets.token_hex(6)
        self._skipped = self._untold = 0

    def start(self, links: Iterable[Link]) -> None:
        """Begin to keep what these relays say, and to write."""
        for link in links:
            link.recent = Recent()
        self._store.start()

    def put(self, found: Disagreement, links: Iterable[Link], now: float) -> Path | None:
        """Have one written, right when it is noticed; return where. None: there are too many."""
        market = next((copy.book.market for link in links if (copy := link.copy(found.token)) and copy.book), "")
        if not self._limits.allow(market, now):
            self._skipped += 1
            self._untold += 1
            return None
        wall = self._wall()
        mine = [link for link in links if link.name in found.relays]
        stated = [each for link in mine if (each := _stated(link, found.token, now)) is not None]
        room = self._config.incidents.bundle_bytes
        room -= sum(LEVEL_BYTES * (len(each.book.bids) + len(each.book.asks)) for each in stated)
        said, cut = _newest([line for link in mine for line in _said(link, found.token)], room)
        told = Incident(
            n=0, t=stamp(now), w=round(wall * 1e9), market=market, tokens=(found.token,),
            names=(self._name_of(found.token) or found.token,), token=found.token, reason=Reason.DISAGREEMENT.name,
            detail=f"both were stated for {found.overlap_ms / 1000:.3f} s of the venue's time", until=stamp(now),
            ending="live", skipped=self._skipped,
        )  # fmt: skip
        header = Header(
            n=0, t=stamp(now), w=round(wall * 1e9), format=FORMAT, session=self._session, file=0,
            polymirror=version("polymirror"), python=platform.python_version(), seed=0, engine=asdict(self._config),
        )  # fmt: skip
        path = self._folder / file_name(wall, market, self._store.suffix)
        lines: list[Line] = [*stated, *said]
        self._store.put(Bundle(path, header, told, tuple(lines), cut, sum(weight(line) for line in lines)))
        return path

    def tell(self, warn: Callable[[str, str], None]) -> None:
        """Tell what became of bundles since the last call."""
        for kind, told in self._store.told():
            warn(kind, told)
        if self._untold:
            warn("incidents skipped", f"{self._untold} incidents have no bundle: there are too many at once")
            self._untold = 0

    def stop(self, warn: Callable[[str, str], None]) -> None:
        """Write what waits, for a few seconds at most."""
        complete = self._store.close(CLOSE_SECONDS)
        self.tell(warn)
        if not complete:
            warn("incident", "not all bundles could be written")


def _stated(link: Link, token: str, now: float) -> Stated | None:
    copy, low = link.copy(token), link.offset.low(now)
    if copy is None or copy.told is None or copy.proof is None or low is None:
        return None
    as_of, levels = link.as_of(token, now), copy.levels
    bids = zip(reversed(levels.bid_keys), reversed(levels.bid_sizes), strict=True)
    asks = zip(reversed(levels.ask_keys), reversed(levels.ask_sizes), strict=True)
    return Stated(
        n=0, t=stamp(now), w=0, relay=link.name, run=link.relay, seq=copy.seq, reason=copy.told.reason,
        settled=copy.told.settled, as_of_ms=copy.proof.as_of_ms, silent=now - copy.sent - low,
        width=link.offset.width(now), digest=copy.digest, counts=dict(link.counts),
        book=Shown(
            token, copy.told.state, copy.exchange_ms, None if as_of is None else now - as_of, copy.proof.proof,
            tuple((price_to_wire(key), size_to_wire(size)) for key, size in bids),
            tuple((price_to_wire(PRICE_SCALE - key), size_to_wire(size)) for key, size in asks),
        ),
    )  # fmt: skip


def _said(link: Link, token: str) -> Iterator[Relayed]:
    for said in () if link.recent is None else link.recent.of(token):
        yield Relayed(
            n=0, t=stamp(said.at), w=0, relay=link.name, sent=said.sent, data=encode(said.item, "json").decode()
        )


def _newest(said: list[Relayed], room: int) -> tuple[list[Relayed], bool]:
    """Return the newest lines for which there is room, oldest first, and whether some are missing."""
    said.sort(key=lambda line: -float(line.t))
    kept: list[Relayed] = []
    for line in said:
        room -= weight(line)
        if room < 0:
            break
        kept.append(line)
    return kept[::-1], len(kept) < len(said)
