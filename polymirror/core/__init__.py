"""The pure core: no I/O, no clock, no ambient randomness. Start reading at :mod:`polymirror.core.engine`."""
