"""Reading fields of the venue's REST answers exactly: numbers never pass through a float.

The services write the same field as a number here and as a string there, and put lists into strings. A
:class:`Reader` knows which call it reads for, so that every complaint names the call and the field. Pure.
"""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from attrs import frozen

from polymirror.errors import BadResponse
from polymirror.venue.failures import page_in
from polymirror.venue.pieces import is_light

MAX_TEXT: Final = 4_000
"""Characters of a text that is kept: it may become part of a request's address, and those hold 65,536."""

MAX_JSON_BYTES: Final = 4 * 2**20
MAX_JSON_VALUES: Final = 100_000
"""What is read in one go of any answer but books. An event of 128 markets has some 700,000 bytes and 15,000 values."""

MAX_NUMBER: Final = 1_000
"""Characters of a number."""

MAX_EXPONENT: Final = 30
"""No figure of the venue is anywhere near 10 to this power; one that is must not become a long string."""


def parse_json(body: bytes, call: str, status: int | None = None) -> Any:
    """Decode JSON with decimals instead of floats.

    Raises :class:`~polymirror.errors.BadResponse`, also for what is so much that reading it would hold up others.
    """
    if not is_light(body, MAX_JSON_BYTES, MAX_JSON_VALUES):
        limits = f"at most {MAX_JSON_BYTES} bytes and {MAX_JSON_VALUES} values are read"
        raise BadResponse(call, f"{len(body)} bytes are too much: {limits}", status)
    try:
        return json.loads(body, parse_int=_integer, parse_float=_decimal, parse_constant=_refuse)
    except (ValueError, RecursionError, ArithmeticError) as error:
        # The last: an exponent that no decimal can have.
        page = page_in(body)
        detail = f"not JSON: {page}" if page else f"not JSON but {len(body)} bytes: {error}"
        raise BadResponse(call, detail[:200], status) from error


def _integer(text: str) -> int:
    return int(_bounded(text))


def _decimal(text: str) -> Decimal:
    return Decimal(_bounded(text))


def _bounded(text: str) -> str:
    if len(text) > MAX_NUMBER:
        msg = f"a number of {len(text)} characters"
        raise ValueError(msg)
    return text


def _refuse(constant: str) -> Any:
    msg = f"{constant} is not a number"
    raise ValueError(msg)


@frozen
class Reader:
    """The fields of one JSON object of the answer to ``call``."""

    call: str
    fields: dict[str, Any]

    @classmethod
    def of(cls, call: str, value: Any) -> Reader:
        """Wrap ``value``, which must be an object."""
        if not isinstance(value, dict):
            raise BadResponse(call, f"an object was expected, not {type(value).__name__}")
        return cls(call, value)

    def bad(self, name: str, wanted: str) -> BadResponse:
        """Make the error that says what field ``name`` should have been."""
        value = repr(self.fields.get(name))
        return BadResponse(self.call, f"field {name} must be {wanted}, not {value[:60]}")

    def text(self, name: str) -> str:
        """Read a string that is not empty."""
        value = self.fields.get(name)
        if not isinstance(value, str) or not value or not _is_sendable(value):
            raise self.bad(name, "a text")
        return value

    def optional_text(self, name: str) -> str | None:
        """Read a string; ``None`` when it is absent, null or empty."""
        return self.text(name) if self.fields.get(name) not in (None, "") else None

    def flag(self, name: str, *, default: bool | None = None) -> bool:
        """Read a truth value, also written as a string; ``default`` when absent or null, if one is given."""
        value = self.fields.get(name)
        if value is None and default is not None:
            return default
        if isinstance(value, str) and value.lower() in {"true", "false"}:
            return value.lower() == "true"
        if not isinstance(value, bool):
            raise self.bad(name, "true or false")
        return value

    def decimal(self, name: str) -> Decimal:
        """Read a number, also written as a string, exactly."""
        value = self.fields.get(name)
        try:
            if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal)):
                raise self.bad(name, "a number")
            if isinstance(value, str) and len(value) > MAX_NUMBER:
                raise self.bad(name, "a number of reasonable size")
            # Only objects decoded by somebody else hold floats; their shortest text is what was on the wire.
            number = Decimal(repr(value) if isinstance(value, float) else value)
        except InvalidOperation as error:
            raise self.bad(name, "a number") from error
        if not number.is_finite() or abs(number.adjusted()) > MAX_EXPONENT:
            raise self.bad(name, "a number of reasonable size")
        return number

    def optional_decimal(self, name: str) -> Decimal | None:
        """Read a number; ``None`` when it is absent, null or empty."""
        return self.decimal(name) if self.fields.get(name) not in (None, "") else None

    def integer(self, name: str) -> int:
        """Read a whole number, also written as a string or with a zero fraction."""
        number = self.decimal(name)
        if number != number.to_integral_value():
            raise self.bad(name, "a whole number")
        return int(number)

    def positive(self, name: str) -> str:
        """Read a number above zero as the venue writes it on the wire: ``0.01``, ``5``."""
        number = self.decimal(name)
        if number <= 0:
            raise self.bad(name, "above zero")
        return wire(number)

    def texts(self, name: str) -> tuple[str, ...]:
        """Read a list of strings, which may itself be written as a string; empty when absent."""
        value = self.fields.get(name)
        if isinstance(value, str) and value:
            try:
                value = parse_json(value.encode(), self.call)
            except (BadResponse, UnicodeError) as error:
                raise self.bad(name, "a list of texts") from error
        if value in (None, ""):
            return ()
        if not isinstance(value, list) or not all(isinstance(each, str) and _is_sendable(each) for each in value):
            raise self.bad(name, "a list of texts")
        return tuple(value)

    def objects(self, name: str) -> tuple[Reader, ...]:
        """Read a list of objects; empty when absent."""
        value = self.fields.get(name)
        if value is None:
            return ()
        if not isinstance(value, list):
            raise self.bad(name, "a list of objects")
        return tuple(Reader.of(f"{self.call} {name}", each) for each in value)

    def object(self, name: str) -> Reader | None:
        """Read an object; ``None`` when it is absent or null."""
        value = self.fields.get(name)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.bad(name, "an object")
        return Reader(f"{self.call} {name}", value)


def _is_sendable(text: str) -> bool:
    """Whether a text can be encoded again: JSON can state half of a surrogate pair, and no request can carry it."""
    return len(text) <= MAX_TEXT and (text.isascii() or not any("\ud800" <= each <= "\udfff" for each in text))


def wire(number: Decimal) -> str:
    """Write a number as the venue does: no exponent, no zeros behind the last digit."""
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
