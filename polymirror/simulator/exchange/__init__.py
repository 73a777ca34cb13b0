"""The exchange itself: markets that trade, rounds that end, prices that decide them, and the truth of every book.

Nothing here knows faults, orders or connections. :mod:`~polymirror.simulator.exchange.floor` is what trading, endings
and rounds stand on; the exchange puts them together.
"""

from polymirror.simulator.exchange.exchange import Exchange

__all__ = ["Exchange"]
