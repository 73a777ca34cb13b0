"""Money: the venue's grids, fees and the size of a purchase. Pure, and exact."""
