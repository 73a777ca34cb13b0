"""What a run is to do: one TOML file of data sets and settings. Values are checked as those of the bots are.

A file has the tables ``[signal]``, ``[size]`` and ``[fills]``, whose keys are those of
:class:`~bots.oracle_lag.signal.SignalSettings`, :class:`~bots.common.money.sizing.SizeLimits` and
:class:`~bots.research.fills.FillModel`; ``[eras]``, the lines of :class:`~bots.research.eras.Eras`; and one
``[data.NAME]`` for each data set. Paths are relative to the file.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve, field, frozen

from bots.common.money.sizing import SizeLimits
from bots.common.operate.settings import SettingsError, build, read
from bots.common.ranges import decimal_range, one_of, whole
from bots.oracle_lag.signal import SignalSettings
from bots.research.eras import Eras
from bots.research.fills import FillModel
from bots.research.loaders.layouts import LAYOUTS
from bots.research.series import Play

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MAX_DATA: Final = 200


@frozen(kw_only=True)
class Data:
    """One data set."""

    layout: str = field(validator=one_of(*LAYOUTS))
    path: str
    """Of the file or folder, relative to the configuration."""
    licence: str = "none stated"
    note: str = ""
    """What people should know of it, for the report."""
    table: str = ""
    """Of a SQLite file: the table to read."""
    columns: dict[str, str] = field(factory=dict)
    """Of the layout ``table``: what our columns are called there."""
    price: Decimal = field(default=Decimal("0.29"), validator=decimal_range("0.01", "0.99", "pUSD"))
    """Of pairs without a limit of their own: the price of each leg."""
    derived: bool = True
    """Whether a side whose price is derived from the other's may be bought."""


@frozen(kw_only=True)
class Config:
    """The whole file."""

    seed: int = field(default=7, validator=whole(0, 2**32 - 1, "as a seed"))
    processes: int = field(default=0, validator=whole(0, 256, "processes"))
    """How many work at once; 0: as many as there are processors."""
    min_left_share: Decimal = field(default=Decimal(1) / 3, validator=decimal_range("0", "1", "of the window"))
    """The time that must be left. The bot's own 300 seconds are a third of a quarter of an hour; five-minute windows
    have no more than that in all."""
    signal: SignalSettings = field(factory=SignalSettings)
    size: SizeLimits = field(factory=SizeLimits)
    fills: FillModel = field(factory=lambda: FillModel(limit="highest"))
    """An order may trade up to the highest price of the settings: how deep the books were was mostly not recorded, so
    which limit the bot would have sent is not known. The results at its own limit stand beside it."""
    eras: Eras = field(factory=Eras)

    @property
    def play(self) -> Play:
        """What is judged."""
        dearest = self.signal.max_price - Decimal("0.0001")
        size = evolve(self.size, max_price=min(self.size.max_price, dearest))
        return Play(signal=self.signal, size=size, fills=self.fills, min_left_share=self.min_left_share)


def load(path: Path) -> tuple[Config, dict[str, Data]]:
    """Read a configuration. Raises SettingsError with a line for each problem."""
    values = read(path)
    sets = values.pop("data", {})
    if not isinstance(sets, dict) or not sets or len(sets) > MAX_DATA:
        raise SettingsError((f"data is not allowed: it must be 1 to {MAX_DATA} tables [data.NAME]",))
    fills = {"limit": "highest"} | values.get("fills", {})
    config = build(Config, {**values, "fills": fills}, environment={})
    return config, {name: _data(name, each) for name, each in sets.items()}


def _data(name: str, values: Mapping[str, Any]) -> Data:
    try:
        return build(Data, values, environment={})
    except SettingsError as error:
        raise SettingsError(tuple(f"data.{name}.{problem}" for problem in error.problems)) from None
