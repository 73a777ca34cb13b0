"""Tick replay: recorded frames and oracle ticks through the real mirror, strategy, order manager and paper account."""
