"""Readers of recorded data: one module for each layout, over :mod:`bots.research.loaders.tables`."""
