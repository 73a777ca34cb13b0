"""How the help is written: flags and arguments without a type, and no braces. What typer would add says nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:
    from collections.abc import Sequence


def _plain(params: Sequence[Any]) -> list[Any]:
    for each in params:
        if getattr(each, "is_flag", False) and each.metavar is None:
            each.metavar = ""
        if each.param_type_name == "argument":
            # Which of them the help asks depends on the version; 0.27 and 0.28 ask neither.
            each.display_type = each.display_type_rich = _no_type
    return list(params)


def _no_type(ctx: Any) -> None:
    """Tell no type of an argument: its name says what it is."""


def _plain_pieces(pieces: Sequence[str]) -> list[str]:
    return [piece.replace("{", "").replace("}", "") for piece in pieces]


class Command(TyperCommand):
    """A command with a plain help."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return its arguments and options, ``--help`` last."""
        return _plain(super().get_params(ctx))

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words of the line that says how it is called."""
        return _plain_pieces(super().collect_usage_pieces(ctx))


class Group(TyperGroup):
    """All commands, with a plain help."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return its options, ``--help`` last."""
        return _plain(super().get_params(ctx))
