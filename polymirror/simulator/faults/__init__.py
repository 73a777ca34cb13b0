"""What goes wrong between the venue and a client: the faults by id, when they strike, and the line that carries them.

:mod:`~polymirror.simulator.faults.base` is what all of them are, :mod:`~polymirror.simulator.faults.catalogue` lists
them, :mod:`~polymirror.simulator.faults.line` applies them; the others hold the faults, by what they spoil.
"""

from polymirror.simulator.faults.base import ClientFault, Fault, Link, Plan
from polymirror.simulator.faults.catalogue import FAULTS, make_faults
from polymirror.simulator.faults.line import FaultLine

__all__ = ["FAULTS", "ClientFault", "Fault", "FaultLine", "Link", "Plan", "make_faults"]
