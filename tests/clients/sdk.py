"""The venue's own Python SDK, ``polymarket-client``, told to look for the venue on loopback.

Its ``Environment`` cannot be constructed by the public way, so two functions of its inside are used to make one with
other addresses. Nothing of it is patched.
"""

from __future__ import annotations

import asyncio
import dataclasses
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from tests.clients.venue import ADDRESS, KEY, Venue, need

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

sdk = need("polymarket")
inside = need("polymarket._internal.environment")
streams = need("polymarket.streams")


def environment(venue: Venue) -> Any:
    config = dataclasses.replace(
        inside.PRODUCTION_CONFIG,
        clob_url=venue.http,
        gamma_url=venue.http,
        data_url=venue.http,
        relayer_url=venue.http,
        rfq_url=venue.http,
        rpc_url=venue.rpc,
        clob_market_ws_url=venue.market,
        clob_user_ws_url=venue.user,
        rtds_ws_url=venue.rtds,
        realtime_ws_url=venue.polybolt,
        relayer_poll_frequency_ms=100,
    )
    return inside.create_environment(name="loopback", config=config)


def public(venue: Venue) -> Any:
    return sdk.AsyncPublicClient(environment=environment(venue))


@asynccontextmanager
async def secure(venue: Venue, *, key: str = KEY, wallet: str | None = ADDRESS, **more: Any) -> AsyncIterator[Any]:
    """Log in as the account of KEY, which trades for itself, and close the client at the end."""
    client = await sdk.AsyncSecureClient.create(private_key=key, wallet=wallet, environment=environment(venue), **more)
    async with client:
        yield client


async def events(client: Any, spec: Any, count: int, seconds: float = 10.0) -> list[Any]:
    """Subscribe and return the first events."""
    async with asyncio.timeout(seconds):
        handle = await client.subscribe(spec)
        found: list[Any] = []
        async for event in handle:
            found.append(event)
            if len(found) == count:
                break
        await handle.close()
    return found
