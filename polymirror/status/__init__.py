"""The health of a running mirror, for people: what pages and metrics show."""
