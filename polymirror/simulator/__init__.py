"""The embedded exchange: the venue's REST and WebSocket surface, seeded order flow, and the truth.

``Simulator`` runs it on a real socket in this process; ``Exchange`` and ``Session`` are its pure
parts, driven by whoever owns the time; ``make_faults`` builds what may go wrong. Nothing here shares
the library's checksum, book, token or engine: what judges them must not repeat their mistakes.
"""

from polymirror.simulator.exchange.exchange import Exchange
from polymirror.simulator.exchange.market import Ending
from polymirror.simulator.exchange.oracle import OracleTick, PriceProcess
from polymirror.simulator.exchange.round import Round
from polymirror.simulator.faults.base import ClientFault, Fault, Plan
from polymirror.simulator.faults.catalogue import FAULTS, make_faults
from polymirror.simulator.faults.line import FaultLine
from polymirror.simulator.server import Simulator
from polymirror.simulator.settings import ExchangeConfig, FlowConfig, OracleConfig, RoundsConfig
from polymirror.simulator.surface.session import Session

__all__ = [
    "FAULTS",
    "ClientFault",
    "Ending",
    "Exchange",
    "ExchangeConfig",
    "Fault",
    "FaultLine",
    "FlowConfig",
    "OracleConfig",
    "OracleTick",
    "Plan",
    "PriceProcess",
    "Round",
    "RoundsConfig",
    "Session",
    "Simulator",
    "make_faults",
]
