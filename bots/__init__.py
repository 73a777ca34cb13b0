"""Bots on polymirror: examples to copy, run from a checkout, no part of the wheel. They come with a later version."""
