"""The smallest bot on many markets, to be copied: docs/own-bot.md."""
