"""The second bot: both tokens of a market for less than the dollar that they pay together. See docs/bots.md."""
