"""A stand-in for the blockchain behind the venue: as much of it as splitting, merging and redeeming needs."""
