"""Recordings: what a mirror heard and did, written down, read again, played again and handed on in other formats."""
