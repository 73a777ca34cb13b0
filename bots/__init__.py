"""Bots on polymirror: examples to copy, run from a checkout, no part of the wheel. docs/bots.md walks through them."""
