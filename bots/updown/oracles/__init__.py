"""Price oracles: one interface over several feeds of the prices that settle up/down markets.

:func:`~bots.updown.oracles.factory.make_oracle` picks one by its setting. All of them write one
:class:`~bots.updown.oracles.buffer.OracleBuffer`, and none of them knows markets or strategies.
"""
