"""Who takes part beside polymirror, and why somebody cannot."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from benchmarks.speed.book_libraries import CcxtSides, CryptofeedBook, DepthCache, NautilusLean, SortedBooks
from benchmarks.speed.rivals import CcxtHandler, NautilusAdapterPath, OfficialModels

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.speed.rivals import Rival

PROGRAMS: tuple[type[Rival], ...] = (NautilusAdapterPath, CcxtHandler, OfficialModels)
"""Each with its own way from the text of a frame to its own book."""

LIBRARIES: tuple[type[Rival], ...] = (NautilusLean, CcxtSides, SortedBooks, CryptofeedBook, DepthCache)
"""Books alone."""

CONTESTANTS: Mapping[str, type[Rival]] = {each.name: each for each in (*PROGRAMS, *LIBRARIES)}

NEEDS: Mapping[str, tuple[str, ...]] = {
    NautilusAdapterPath.name: ("nautilus_trader.adapters.polymarket.data",),
    CcxtHandler.name: ("ccxt.prediction.polymarket",),
    OfficialModels.name: ("polymarket",),
    NautilusLean.name: ("nautilus_trader.model.book",),
    CcxtSides.name: ("ccxt.async_support", "orjson"),
    SortedBooks.name: ("sortedcontainers",),
    CryptofeedBook.name: ("cryptofeed.types", "yapic.json"),
    DepthCache.name: ("unicorn_binance_local_depth_cache", "orjson"),
}
"""What each one imports."""

LEFT_OUT = {
    "hftbacktest": "its book lives inside its backtester and live bot; frames cannot be handed to it from Python",
    "order_book 1.x": "needs Python 3.12; the 0.6 that is installed with cryptofeed is what cryptofeed's row measures",
    "rs-clob, polyfill-rs": "Rust programs; this page compares what a Python program can use",
}


def absent() -> Mapping[str, str]:
    """Return why each contestant that cannot run here cannot run, by name."""
    reasons = {}
    for name, modules in NEEDS.items():
        try:
            for module in modules:
                importlib.import_module(module)
        except ImportError as error:
            reasons[name] = f"not installed ({type(error).__name__}: {error})"
    return reasons
