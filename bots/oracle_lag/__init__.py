"""The reference bot: when the oracle has moved and the book has not, buy. docs/bots.md walks through it."""
