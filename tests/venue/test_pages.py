"""Slugs are read from whatever people copy: the slug itself, or the address of a page."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polymirror import ConfigError
from polymirror.venue.pages import event_of, slug_of

SLUG = "btc-updown-15m-1790000100"


@pytest.mark.parametrize(
    "text",
    [
        SLUG,
        f"https://polymarket.com/event/{SLUG}",
        f"https://polymarket.com/event/{SLUG}/",
        f"https://polymarket.com/event/{SLUG}?tid=1790000123456",
        f"https://polymarket.com/event/{SLUG}/?tid=1&x=a/b#comments",
        f"https://polymarket.com/event/some-event/{SLUG}",
        f"https://polymarket.com/event/some-event/{SLUG}?tid=2",
        f"https://polymarket.com/market/{SLUG}/",
        f"https://polymarket.com/de/event/{SLUG}",
        f"https://www.polymarket.com/pt-BR/event/some-event/{SLUG}",
        f"https://polymarket.com/zh-Hant/market/{SLUG}",
        f"http://polymarket.com/event/{SLUG}",
        f"HTTPS://Polymarket.com:443//event/{SLUG}",
        f"polymarket.com/event/{SLUG}?tid=3",
    ],
)
def test_the_slug_of_a_market_is_read_from_its_page(text):
    assert slug_of(text) == SLUG


@pytest.mark.parametrize(
    "text",
    [
        "some-event",
        "https://polymarket.com/event/some-event",
        "https://polymarket.com/fr/event/some-event/?tid=1",
        f"https://polymarket.com/event/some-event/{SLUG}",
    ],
)
def test_the_slug_of_an_event_is_read_from_its_page_or_that_of_a_market(text):
    assert event_of(text) == "some-event"


def test_a_market_page_tells_no_event():
    with pytest.raises(ConfigError, match="this is a market's"):
        event_of(f"https://polymarket.com/market/{SLUG}")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"https://example.com/event/{SLUG}", "on polymarket.com"),
        (f"https://polymarket.com.example.com/event/{SLUG}", "on polymarket.com"),
        (f"https://polymarket.com@example.com/event/{SLUG}", "on polymarket.com"),
        (f"ftp://polymarket.com/event/{SLUG}", "on polymarket.com"),
        ("https://[::1/event/a", "the address of a page"),
        ("https://polymarket.com", "the page of an event or a market"),
        ("https://polymarket.com/profile/0x1", "the page of an event or a market"),
        ("https://polymarket.com/event/a/b/c", "the page of an event or a market"),
        ("https://polymarket.com/event/a%2Fb", "a slug such as"),
        ("https://polymarket.com/event/a%0Ab", "a slug such as"),
        ("a/b", "on polymarket.com"),
        ("", "a slug such as"),
        (f" {SLUG}", "a slug such as"),
        (f"{SLUG}\n", "a slug such as"),
        (f"{SLUG}?tid=1", "a slug such as"),
        ("two words", "a slug such as"),
    ],
)
def test_what_is_neither_is_refused_with_what_is_allowed(text, told):
    for read in (slug_of, event_of):
        with pytest.raises(ConfigError, match=told):
            read(text)


@given(st.text(max_size=30) | st.from_regex(r"https://polymarket\.com/\S{0,20}", fullmatch=True))
def test_a_slug_or_a_refusal_and_nothing_else(text):
    for read in (slug_of, event_of):
        try:
            slug = read(text)
        except ConfigError:
            continue
        assert slug
        assert "/" not in slug
        assert not any(map(str.isspace, slug))
        assert read(slug) == slug
