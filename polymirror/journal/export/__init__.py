"""Recordings in the formats of other tools: Parquet, tardis-style CSV, events for hftbacktest; each both ways."""
