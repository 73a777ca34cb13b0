"""The credentials of feeds that want them. Their values never show in a repr or in an error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen

from polymirror.errors import ConfigError

if TYPE_CHECKING:
    from attrs import Attribute


def _present(_self: object, attribute: Attribute[str], value: object) -> None:
    # The value stays out of the message: it may be a secret that was only pasted with a line feed.
    if not isinstance(value, str) or not value.strip() or not value.isascii() or not value.isprintable():
        raise ConfigError(attribute.name, "(not shown)", "a text in ASCII that is not empty, in one line")


@frozen(kw_only=True)
class ClobKeys:
    """The API credentials of the venue, which PolyBolt asks for."""

    api_key: str = field(repr=False, validator=_present)
    secret: str = field(repr=False, validator=_present)
    passphrase: str = field(repr=False, validator=_present)


@frozen(kw_only=True)
class ChainlinkKeys:
    """The credentials of Chainlink Data Streams."""

    client_id: str = field(repr=False, validator=_present)
    user_secret: str = field(repr=False, validator=_present)
