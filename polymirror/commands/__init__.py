"""The commands behind ``polymirror``, one module each; :mod:`polymirror.commands.app` names their options.

Needs the extra ``cli``; ``demo`` and ``serve`` need ``simulator`` as well. Nothing in the library imports this.
"""
