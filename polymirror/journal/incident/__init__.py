"""Incidents: when a book loses trust for a reason worth it, what led to it is written down as one small bundle."""
