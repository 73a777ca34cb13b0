"""Out of a group of errors, the one that a caller is to see. Called where task groups end: streams and the mirror."""

from __future__ import annotations

from typing import Final

MAX_NOTE: Final = 200
"""Characters of a note about another error."""


def first_of(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first error that is no group itself; its notes tell of the others."""
    errors: list[BaseException] = []
    waiting: list[BaseException] = [group]
    while waiting:
        each = waiting.pop(0)
        if isinstance(each, BaseExceptionGroup):
            waiting[:0] = each.exceptions
        else:
            errors.append(each)
    for other in errors[1:]:
        errors[0].add_note(f"another failure: {type(other).__name__}: {other}"[:MAX_NOTE])
    return errors[0]
