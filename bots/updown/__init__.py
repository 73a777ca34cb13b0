"""What bots on up/down markets share: oracles, rounds, strikes, and the bot that trades them."""
