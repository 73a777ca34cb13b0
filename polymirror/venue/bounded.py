"""Bounds for the HTTP client of somebody else's library: what its answers may cost, however it reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


def bound_answers(client: httpx.Client | httpx.AsyncClient, limit: int) -> None:
    """Have a client read no more than ``limit`` bytes of an answer, and no compressed one, which could be any length.

    What is beyond that fails with httpx.DecodingError, as a broken answer does.
    """
    client.headers["Accept-Encoding"] = "identity"

    def bound(response: httpx.Response) -> None:
        if response.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
            raise httpx.DecodingError("the answer is compressed, which was not asked for", request=response.request)
        response.stream = _Bounded(response.stream, limit)

    async def bound_async(response: httpx.Response) -> None:
        bound(response)

    hook: Any = bound_async if isinstance(client, httpx.AsyncClient) else bound
    client.event_hooks = {**client.event_hooks, "response": [*client.event_hooks["response"], hook]}


class _Bounded(httpx.AsyncByteStream, httpx.SyncByteStream):
    """The bytes of an answer, up to a bound."""

    def __init__(self, inner: Any, limit: int) -> None:
        self._inner = inner
        self._limit = limit
        self._left = limit

    def _take(self, piece: bytes) -> bytes:
        self._left -= len(piece)
        if self._left < 0:
            raise httpx.DecodingError(f"the answer is longer than {self._limit} bytes")
        return piece

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._inner:
            yield self._take(piece)

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._inner:
            yield self._take(piece)

    async def aclose(self) -> None:
        await self._inner.aclose()

    def close(self) -> None:
        self._inner.close()
