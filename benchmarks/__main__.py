"""``python -m benchmarks``: all measurements of speed and scale. The fault matrix is ``benchmarks.fault_matrix``."""

from benchmarks.speed.command import main

if __name__ == "__main__":
    main()
