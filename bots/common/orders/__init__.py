"""Orders: what they are, what manages them, and what settles with the venue what became of them."""
