"""Tables for pandas and polars, made of raw ints: exact Decimals, or floats for whoever asks for them.

Both libraries are an extra, and are imported when a table is asked for. Called by
:meth:`polymirror.core.view.BookView.to_frame` and :meth:`polymirror.history.History.to_frame`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from polymirror.config import check_flag
from polymirror.core.units import price_to_decimal, size_to_decimal
from polymirror.errors import ConfigError, MissingExtra

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from decimal import Decimal

PRICE: Final = 4
"""Decimals of a price column."""

SIZE: Final = 6
"""Decimals of a size column."""

_DECIMALS: Final[Mapping[int, Callable[[int], Decimal]]] = {PRICE: price_to_decimal, SIZE: size_to_decimal}


def make_frame(
    library: str, columns: Mapping[str, Sequence[object]], decimals: Mapping[str, int], *, floats: bool
) -> Any:
    """Return a DataFrame of one of the two libraries, ``pandas`` or ``polars``.

    ``decimals`` names the columns that hold raw ints (or None), and how many decimals they have: :data:`PRICE` or
    :data:`SIZE`. These become Decimals (pandas: objects; polars: its Decimal), with ``floats`` the nearest 64-bit
    floats. Raises ConfigError for another library, and MissingExtra for one that is not installed.
    """
    check_flag("floats", floats)
    table = {name: _read(values, decimals.get(name), floats=floats) for name, values in columns.items()}
    try:
        if library == "pandas":
            import pandas as pd  # noqa: PLC0415 - an extra

            return pd.DataFrame(table)
        if library == "polars":
            import polars as pl  # noqa: PLC0415 - an extra

            kinds = {name: pl.Float64 if floats else pl.Decimal(38, places) for name, places in decimals.items()}
            return pl.DataFrame(table, schema_overrides=kinds)
    except ImportError as error:
        raise MissingExtra(f"a {library} frame", "frames") from error
    raise ConfigError("library", library, "'pandas' or 'polars'")


def _read(values: Sequence[Any], places: int | None, *, floats: bool) -> Sequence[object]:
    if places is None:
        return values
    if floats:
        # One division of whole numbers: the nearest float there is.
        return [None if value is None else value / 10**places for value in values]
    return [None if value is None else _DECIMALS[places](value) for value in values]
