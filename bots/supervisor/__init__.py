"""Many markets, one mirror, one wallet: which markets, an engine for each, and a fair share of the wallet for all."""
