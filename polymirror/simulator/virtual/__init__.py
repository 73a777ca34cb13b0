"""Virtual time: the real clients against the simulated venue, hours in seconds, the same every time.

``run_virtual`` runs a program on an event loop whose clock jumps; ``VirtualVenue`` is the venue inside it, with
its ``network`` for a mirror, a stream or a bot.
"""

from polymirror.simulator.virtual.loop import VirtualLoop, VirtualTimeError, run_virtual
from polymirror.simulator.virtual.venue import VirtualVenue
from polymirror.simulator.virtual.wire import NetworkConfig

__all__ = ["NetworkConfig", "VirtualLoop", "VirtualTimeError", "VirtualVenue", "run_virtual"]
