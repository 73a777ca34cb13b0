"""Settings in layers: a profile for all, a named one over it, a file, the environment; and where each value is from.

:func:`layered` builds the settings as :func:`~bots.common.operate.settings.load` does, from several files of which the
later wins. :func:`shown` lists every value with its origin, for ``--print-config``; of a secret it says only whether
there is one.
"""

from __future__ import annotations

import os
import typing
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
from attrs import frozen

from bots.common.operate.settings import ENVIRONMENT, SettingsError, build, keys_of, read, variable_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

T = TypeVar("T")

BASE = "base"
"""The profile under all others."""


@frozen
class Layered(typing.Generic[T]):
    """Settings, and where each value comes from, by full key: what is not in it is the setting's own default."""

    settings: T
    origins: Mapping[str, str]


def profiles_in(folder: Path | None) -> tuple[str, ...]:
    """Name the profiles that a folder has. :data:`BASE` is always one: without a file, or a folder, it is empty."""
    return tuple(sorted({BASE} | {path.stem for path in (folder.glob("*.toml") if folder is not None else ())}))


def layered(
    kind: type[T],
    folder: Path | None,
    profile: str = BASE,
    path: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> Layered[T]:
    """Build settings from the base profile, the named one, a file and the environment. Raises SettingsError."""
    environment = os.environ if environment is None else environment
    known = profiles_in(folder)
    if profile not in known:
        raise SettingsError((f"--profile {profile} is not allowed: it must be one of {', '.join(known)}",))
    named = [] if folder is None else [(each, folder / f"{each}.toml") for each in dict.fromkeys((BASE, profile))]
    files = [(f"profile {each}", file) for each, file in named if each != BASE or file.exists()]
    files += [] if path is None else [(str(path), path)]
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for origin, file in files:
        found = read(file)
        origins |= dict.fromkeys(_flat(found), origin)
        values = _over(values, found)
    for key, _ in keys_of(kind):
        if environment.get(variable_of(key), "").strip():
            origins[key] = f"environment {variable_of(key)}"
    return Layered(build(kind, values, environment), origins)


def shown(layers: Layered[Any]) -> str:
    """List every value with its origin, one a line; ``(set)`` or ``(not set)`` for a secret."""
    lines = [f"{key} = {value}  # {layers.origins.get(key, 'default')}" for key, value in _values(layers.settings)]
    return "\n".join(lines)


def _values(settings: Any, path: str = "") -> Iterator[tuple[str, str]]:
    for each in attrs.fields(type(settings)):
        key, value = f"{path}.{each.name}" if path else each.name, getattr(settings, each.name)
        if ENVIRONMENT in each.metadata:
            yield key, "(set)" if value else "(not set)"
        elif attrs.has(type(value)):
            yield from _values(value, key)
        elif each.init:
            yield key, str(value)


def _flat(values: Mapping[str, Any], path: str = "") -> Iterator[str]:
    for name, value in values.items():
        key = f"{path}.{name}" if path else name
        if isinstance(value, dict):
            yield from _flat(value, key)
        else:
            yield key


def _over(values: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for name, value in later.items():
        below = merged.get(name)
        merged[name] = _over(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged
