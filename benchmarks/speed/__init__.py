"""How fast the mirror is, beside other programs and bare floors, in one run: ``python -m benchmarks``."""
