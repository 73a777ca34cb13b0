"""The report: one JSON file for machines, and one HTML page that needs nothing beside it."""
