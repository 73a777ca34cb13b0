"""Torture: the engine in a simulated world, and the whole mirror on real sockets, with everything going wrong.

In the simulated world one seed decides venue, network, faults and time. Its modules do no I/O and look at no clock,
so hours pass in seconds, and a seed that shows a fault shows it again on every machine. The soak over sockets
(``sockets``, ``judge``, ``leaks``, ``weather``, ``tally``, and the proxy in ``proxy``, ``pipe`` and ``toxics``) runs in
real time: its seed decides what goes wrong and when, not how the machine takes it.
"""
