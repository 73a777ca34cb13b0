"""What may be lost: limits, what has been used of them, and the kill switch."""
