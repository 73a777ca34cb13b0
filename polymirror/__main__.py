"""``python -m polymirror``: the same as the ``polymirror`` command."""

from polymirror.cli import main

if __name__ == "__main__":
    main()
