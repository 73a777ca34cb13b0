"""Backtests on recorded data that try to falsify the bots. docs/research.md says what they found."""
