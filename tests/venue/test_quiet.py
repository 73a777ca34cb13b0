"""Requests of the mirror do not flood the log of a program that looks at its own; it can have them all the same."""

from __future__ import annotations

import logging
import random

import httpx
import pytest
from attrs import evolve

from polymirror.config import Endpoints, RestConfig
from polymirror.venue.network import REAL
from polymirror.venue.rest import Clob

pytestmark = pytest.mark.anyio


def answer(_: httpx.Request) -> httpx.Response:
    return httpx.Response(200, text="1790000000")


@pytest.fixture
def lines(caplog):
    caplog.set_level(logging.INFO)

    async def ask() -> list[str]:
        network = evolve(REAL, transport=lambda: httpx.MockTransport(answer))
        async with Clob(RestConfig(), Endpoints(), rng=random.Random(1), network=network) as clob:
            await clob.time()
        return [record.name for record in caplog.records if "HTTP Request" in record.getMessage()]

    return ask


async def test_a_root_logger_at_info_has_no_line_for_each_request(lines) -> None:
    assert await lines() == []


@pytest.mark.parametrize("level", [logging.INFO, logging.DEBUG])
async def test_a_level_of_the_logger_itself_is_a_choice_and_brings_them_back(lines, level) -> None:
    logger = logging.getLogger("httpx")
    logger.setLevel(level)
    try:
        assert await lines() == ["httpx"]
    finally:
        logger.setLevel(logging.NOTSET)


async def test_other_clients_of_the_program_log_as_ever(lines, caplog) -> None:
    assert await lines() == []
    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        await client.get("http://example.invalid/mine")
    assert sum("HTTP Request" in record.getMessage() for record in caplog.records) == 1
