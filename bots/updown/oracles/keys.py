"""The credentials of feeds that want them. Their values never show in a repr or in an error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen

from bots.common.secrets import Secret, secret_of
from polymirror.errors import ConfigError

if TYPE_CHECKING:
    from attrs import Attribute


def _present(_self: object, attribute: Attribute[Secret], secret: Secret) -> None:
    # The value stays out of the message: it may be a secret that was only pasted with a line feed.
    value = secret.reveal()
    if not value.strip() or not value.isascii() or not value.isprintable():
        raise ConfigError(attribute.name, "(not shown)", "a text in ASCII that is not empty, in one line")


@frozen(kw_only=True)
class ClobKeys:
    """The API credentials of the venue, which PolyBolt asks for."""

    api_key: Secret = field(converter=secret_of, validator=_present)
    secret: Secret = field(converter=secret_of, validator=_present)
    passphrase: Secret = field(converter=secret_of, validator=_present)


@frozen(kw_only=True)
class ChainlinkKeys:
    """The credentials of Chainlink Data Streams."""

    client_id: Secret = field(converter=secret_of, validator=_present)
    user_secret: Secret = field(converter=secret_of, validator=_present)
