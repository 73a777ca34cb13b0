"""Settings of a bot: one TOML file and the environment in, validated attrs classes out.

:func:`load` builds any tree of attrs classes by their annotations; what a value may be is said by the classes' own
validators, which raise :class:`~polymirror.errors.ConfigError`. Every problem is told at once, each by the full key
and the allowed range. Every key may come from the environment, which wins over the file: :func:`variable_of`.
Secrets come from the environment alone, which they are taken out of, so that no child of the process has them: a file
that holds one is refused. Which settings there are is a bot's own.
"""

from __future__ import annotations

import difflib
import math
import os
import tomllib
import types
import typing
from collections.abc import Mapping
from contextlib import suppress
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, Union

import attrs

from bots.common.errors import BotError, shorten
from bots.common.secrets import LEAST, Secret
from polymirror.errors import MAX_MESSAGE, ConfigError, spelled
from polymirror.files import read_bounded
from polymirror.harmless import harmless

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

T = TypeVar("T")

MAX_FILE_BYTES: Final = 2**20
PREFIX: Final = "POLYMIRROR_BOT_"
"""With this begins the environment variable of every setting that is no secret."""

ENVIRONMENT: Final = "polymirror.environment"
"""The key of a field's metadata that names its environment variable."""


class SettingsError(BotError, ValueError):
    """The settings cannot be used. ``problems`` has one line for each thing that is wrong."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(harmless(each, MAX_MESSAGE) for each in problems)

    def __str__(self) -> str:
        return "\n".join(self.problems)


def from_environment(variable: str) -> dict[str, str]:
    """Return the metadata of a field that is read from this environment variable, and nowhere else.

    Such a field is a secret: ``key: Secret = field(default=NOTHING, metadata=from_environment("A_KEY"))``.
    """
    return {ENVIRONMENT: variable}


def variable_of(key: str) -> str:
    """Return the environment variable of a full key: ``oracle.source`` is ``POLYMIRROR_BOT_ORACLE_SOURCE``."""
    return PREFIX + key.replace(".", "_").upper()


def load(
    kind: type[T],
    path: Path | None,
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> T:
    """Read a file, or no file, and the environment into ``kind``. Raises SettingsError.

    The environment wins over the file. An empty variable counts as none; a list is written ``btc,eth`` or as in TOML.
    ``overrides`` are values by full key (``"risk.max_trade"``), as a file would give them; they win over both.
    """
    return build(kind, {} if path is None else read(path), environment, overrides)


def read(path: Path) -> dict[str, Any]:
    """Read a TOML file; its decimal numbers become exact Decimals. Raises SettingsError."""
    try:
        data = read_bounded(path, MAX_FILE_BYTES)
        return tomllib.loads(data.decode(), parse_float=_exact)
    except OSError as error:
        raise SettingsError((f"{path}: cannot be read ({error.strerror})",)) from error
    except (ValueError, RecursionError) as error:
        raise SettingsError((f"{path}: {error}",)) from error


def build(
    kind: type[T],
    values: Mapping[str, Any],
    environment: Mapping[str, str] | None = None,
    overrides: Mapping[str, Any] | None = None,
) -> T:
    """Build ``kind`` from nested dicts, as TOML gives them. Raises SettingsError."""
    environment = os.environ if environment is None else environment
    builder = _Builder()
    # Before anything is told of: a secret may stand in the wrong place, too.
    builder.take_secrets(kind, environment)
    hints = dict(keys_of(kind))
    variables = {variable_of(key): key for key in hints}
    for name in environment:
        if name.startswith(PREFIX) and name not in variables:
            builder.problems.append(f"{shorten(name)} sets nothing: {_nearest(name, variables)}")
    given = {key: text for name, key in variables.items() if (text := environment.get(name, "").strip())}
    from_environment = {key: _raw(hints[key], text) for key, text in given.items()}
    built = builder.structure(kind, _merge(_merge(values, from_environment), overrides or {}), "")
    if builder.problems:
        raise SettingsError(tuple(builder.problems))
    return typing.cast("T", built)


class _Wrong(Exception):  # noqa: N818 - never leaves this module
    """A value of the wrong type; carries what is allowed."""


class _Builder:
    """One attempt; collects what is wrong."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._secrets: dict[str, Secret] = {}

    def take_secrets(self, kind: type[Any], environment: Mapping[str, str]) -> None:
        """Read every secret, and take it out of the real environment, which children would inherit."""
        for name, each in typing.get_type_hints(kind).items():
            if attrs.has(each):
                self.take_secrets(each, environment)
            elif (variable := getattr(attrs.fields(kind), name).metadata.get(ENVIRONMENT)) is not None:
                text = environment.get(variable, "").strip()
                if environment is os.environ:
                    os.environ.pop(variable, None)
                self._secrets[variable] = Secret(text)
                if text and not (text.isascii() and text.isprintable() and len(text) >= LEAST):
                    self.problems.append(
                        f"{variable} is no credential: one is a line of ASCII, {LEAST} letters or more"
                    )

    def structure(self, kind: type[Any], values: object, path: str) -> Any:
        """Build an attrs class; ``None`` after a problem, which was noted."""
        if not isinstance(values, dict):
            self.problems.append(f"{path}={shorten(spelled(values))} is not allowed: it must be a table")
            return None
        before = len(self.problems)
        hints = typing.get_type_hints(kind)
        arguments: dict[str, Any] = {}
        fields = {each.name: each for each in attrs.fields(kind) if each.init}
        self._refuse_unknown(values, fields, path)
        for name, each in fields.items():
            key = f"{path}.{name}" if path else name
            alias = each.alias or name
            if (variable := each.metadata.get(ENVIRONMENT)) is not None:
                arguments[alias] = self._secrets[variable]
                if name in values:
                    self.problems.append(
                        f"{key} is a secret and stays out of files: set the environment variable {variable}"
                    )
            elif name in values:
                arguments[alias] = self._convert(hints[name], values[name], key)
            elif attrs.has(hints[name]):
                # A table that is left out may have secrets in it all the same.
                arguments[alias] = self.structure(hints[name], {}, key)
            elif each.default is attrs.NOTHING:
                self.problems.append(f"{key} is missing")
        return self._make(kind, arguments, path) if len(self.problems) == before else None

    def _make(self, kind: type[Any], arguments: dict[str, Any], path: str) -> Any:
        try:
            return kind(**arguments)
        except ConfigError as error:
            key = f"{path}.{error.field}" if path else error.field
            self.problems.append(f"{key}={_shown(error.value)} is not allowed: it must be {error.allowed}")
        return None

    def _refuse_unknown(self, values: Mapping[str, Any], fields: Mapping[str, attrs.Attribute[Any]], path: str) -> None:
        known = [name for name, each in fields.items() if ENVIRONMENT not in each.metadata]
        for name in values:
            if name not in fields:
                key = f"{path}.{name}" if path else name
                self.problems.append(f"{shorten(key)} is no setting: {_nearest(name, known)}")

    def _convert(self, hint: Any, value: object, key: str) -> Any:
        if attrs.has(hint):
            return self.structure(hint, value, key)
        try:
            return _converted(hint, value)
        except _Wrong as wrong:
            self.problems.append(f"{key}={_shown(value)} is not allowed: it must be {wrong}")
        return None


def _converted(hint: Any, value: object) -> Any:
    """Return ``value`` as the type ``hint``. Raises _Wrong."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in {Union, types.UnionType}:
        return _one_of(parts, value)
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise _Wrong("a list")
        return tuple(_converted(parts[0], inner) for inner in value)
    if origin in {dict, Mapping}:
        if not isinstance(value, dict):
            raise _Wrong("a table")
        return {name: _converted(parts[1], inner) for name, inner in value.items()}
    if isinstance(hint, type) and issubclass(hint, Enum):
        for member in hint:
            if value in {member.value, member.name.lower()}:
                return member
        raise _Wrong("one of " + ", ".join(str(member.value) for member in hint))
    return _plain(hint, value)


def _one_of(parts: tuple[Any, ...], value: object) -> Any:
    reasons = []
    for part in parts:
        if part is not type(None):
            try:
                return _converted(part, value)
            except _Wrong as wrong:
                reasons.append(str(wrong))
    raise _Wrong(" or ".join(reasons))


def _plain(hint: Any, value: object) -> Any:
    if hint is Decimal:
        if isinstance(value, (int, Decimal)) and not isinstance(value, bool):
            return Decimal(value)
        if isinstance(value, str) and (number := _decimal(value)) is not None:
            return number
        raise _Wrong("a number")
    if hint is float:
        if isinstance(value, (int, float, Decimal)) and not isinstance(value, bool):
            with suppress(OverflowError):
                if math.isfinite(value := float(value)):
                    return value
        raise _Wrong("a number")
    if hint is Path and isinstance(value, str):
        return Path(value).expanduser()
    words = {int: "a whole number", bool: "true or false", str: "a text", Path: "a path"}
    if type(value) is not hint:
        raise _Wrong(words.get(hint, f"a {getattr(hint, '__name__', hint)}"))
    return value


def _decimal(text: str) -> Decimal | None:
    try:
        return Decimal(text)
    except ArithmeticError:
        return None


def _exact(text: str) -> Decimal:
    """Read a number of a file as it is written. Raises ValueError for one that nothing could hold."""
    if (number := _decimal(text)) is None:
        raise ValueError(f"{shorten(text, 60)} is too large a number")
    return number


def _nearest(name: str, known: Iterable[str]) -> str:
    """Say what somebody may have meant."""
    names = tuple(known)
    near = difflib.get_close_matches(name, names, 1)
    return f"did you mean {near[0]}?" if near else f"there is {', '.join(names) or 'nothing to set'}"


def keys_of(kind: type[Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the full key and the type of every setting that is no secret."""
    hints = typing.get_type_hints(kind)
    for each in attrs.fields(kind):
        key = f"{path}.{each.name}" if path else each.name
        if attrs.has(hints[each.name]):
            yield from keys_of(hints[each.name], key)
        elif each.init and ENVIRONMENT not in each.metadata:
            yield key, hints[each.name]


def _raw(hint: Any, text: str) -> Any:
    """Return what a file would give for the text of an environment variable; the text itself when that fits nothing."""
    if hint is str or (str in typing.get_args(hint) and typing.get_origin(hint) in {Union, types.UnionType}):
        return text
    if typing.get_origin(hint) is tuple and not text.startswith("["):
        return [_raw(typing.get_args(hint)[0], part.strip()) for part in text.split(",")]
    try:
        parsed = tomllib.loads(f"value = {text}", parse_float=_exact)
        return parsed["value"] if len(parsed) == 1 else text
    except (ValueError, RecursionError):
        return text


def _merge(values: Mapping[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``values`` with each override, whose key may have dots, in its place."""
    merged = dict(values)
    for key, value in overrides.items():
        head, _, rest = key.partition(".")
        inner = merged.get(head)
        merged[head] = _merge(inner if isinstance(inner, dict) else {}, {rest: value}) if rest else value
    return merged


def _shown(value: object) -> str:
    """Return a value as a person wrote it, shortened."""
    if isinstance(value, (Decimal, Enum)):
        return shorten(str(getattr(value, "value", value)))
    return shorten(spelled(value))
