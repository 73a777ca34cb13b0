"""Measurements side by side with other programs. Never imported by the library; needs the extra ``benchmarks``."""
