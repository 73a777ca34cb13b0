from __future__ import annotations

from decimal import Decimal, localcontext

import pytest

from polymirror.core import units
from polymirror.core.units import (
    PRICES,
    SIZES,
    decimal_to_units,
    money_to_decimal,
    parse_price,
    parse_size,
    parse_tick,
    price_to_decimal,
    price_to_wire,
    size_to_decimal,
    size_to_wire,
)
from polymirror.errors import UnitError


@pytest.mark.parametrize(
    ("wire", "price"),
    [
        ("0.48", 4800), (".48", 4800), ("0.480", 4800), ("0.48000000", 4800), ("00.48", 4800),
        ("0.0001", 1), ("0.9975", 9975), ("0", 0), ("0.", 0), ("1", 10_000), ("1.0", 10_000),
    ],
)  # fmt: skip
def test_a_price_is_read_exactly_in_all_spellings_of_the_venue(wire, price):
    assert parse_price(wire) == PRICES[wire] == price


@pytest.mark.parametrize(
    "wire",
    [
        "", ".", "-0.48", "+0.48", "0.48 ", " 0.48", "0.48\n", "NaN", "nan", "inf", "1e-1", "0,48", "0.00001",
        "1.0001", "2", "0x1", "4_8", "\u0664", "0.4.8", "0." + "0" * 39,
    ],
)  # fmt: skip
def test_what_is_no_price_is_refused(wire):
    with pytest.raises(UnitError, match="price"):
        parse_price(wire)
    with pytest.raises(UnitError, match="price"):
        PRICES[wire]
    assert wire not in PRICES


@pytest.mark.parametrize(
    ("wire", "size"),
    [
        ("5", 5_000_000),
        ("1145.64", 1_145_640_000),
        ("0.000001", 1),
        ("0", 0),
        ("1" + "0" * 12, 10**18),
        ("5.", 5_000_000),
        (".5", 500_000),
        ("0.05", 50_000),
        ("7.1", 7_100_000),
        ("7.10", 7_100_000),
        ("007.1000000", 7_100_000),
        ("9" * 12 + ".99", 999_999_999_999_990_000),
    ],
)
def test_a_size_is_read_exactly(wire, size):
    assert parse_size(wire) == SIZES[wire] == size


@pytest.mark.parametrize(
    "wire",
    [
        "-5",
        "+5",
        "0.0000001",
        "NaN",
        "",
        ".",
        "1000000000000.000001",
        "9" * 41,
        "1e3",
        "1_0",
        " 5",
        "5 ",
        "1.2.3",
        "\u0665.5",
        "5.\u0665",
        "\u00b2",
    ],
)
def test_what_is_no_size_is_refused(wire):
    with pytest.raises(UnitError, match="size"):
        parse_size(wire)
    with pytest.raises(UnitError, match="size"):
        SIZES[wire]
    assert wire not in SIZES


def test_a_refusal_names_field_value_and_range_and_bounds_hostile_input():
    with pytest.raises(UnitError) as caught:
        parse_price("9" * 10_000)
    assert caught.value.field == "price"
    assert "between 0 and 1, at most 4 decimals" in str(caught.value)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("kind", [units._Memo, units._Sizes])
def test_the_memo_never_holds_more_than_its_bound(kind):
    memo = kind(parse_size, 3)
    assert [memo[str(n)] for n in range(10)] == [n * 1_000_000 for n in range(10)]
    assert len(memo) <= 3


@pytest.mark.parametrize("wire", ["0.1", "0.01", "0.005", "0.0025", "0.001", "0.0001"])
def test_the_six_ticks_of_the_venue_are_known(wire):
    assert price_to_wire(parse_tick(wire)) == wire


@pytest.mark.parametrize("wire", ["0.02", "0", "1", "-0.01", ""])
def test_another_tick_is_refused(wire):
    with pytest.raises(UnitError):
        parse_tick(wire)


@pytest.mark.parametrize("wire", ["0.48", "0.1", "0.999", "0.0001", "0", "1"])
def test_prices_are_written_as_the_venue_writes_them(wire):
    assert price_to_wire(parse_price(wire)) == wire


@pytest.mark.parametrize("wire", ["5", "1145.64", "0.000001", "100", "0"])
def test_sizes_are_written_as_the_venue_writes_them(wire):
    assert size_to_wire(parse_size(wire)) == wire


def test_decimals_at_the_edge_are_exact():
    assert price_to_decimal(4800) == Decimal("0.48")
    assert size_to_decimal(1_145_640_000) == Decimal("1145.64")
    assert money_to_decimal(4800 * 1_000_000) == Decimal("0.48")


@pytest.mark.parametrize(
    ("make", "raw", "shown"),
    [
        (price_to_decimal, 4800, "0.48"), (price_to_decimal, 0, "0"), (price_to_decimal, 10_000, "1"),
        (size_to_decimal, 100_000_000, "100"), (size_to_decimal, 50_500_000, "50.5"), (size_to_decimal, 1, "0.000001"),
        (money_to_decimal, 262_600_000_000, "26.26"), (money_to_decimal, 10**12, "100"),
    ],
)  # fmt: skip
def test_decimals_have_no_needless_zeros(make, raw, shown):
    assert str(make(raw)) == shown


@pytest.mark.parametrize("price", [-1, 10_001])
def test_what_is_no_price_has_no_decimal(price):
    with pytest.raises(UnitError, match="it must be between 0 and 10000 in 1/10000 of a pUSD"):
        price_to_decimal(price)


def test_exactness_does_not_depend_on_the_callers_decimal_context():
    with localcontext() as context:
        context.prec = 3
        assert size_to_decimal(1_145_640_000) == Decimal("1145.64")
        assert money_to_decimal(123_456_789_012_345) == Decimal("12345.6789012345")
        assert decimal_to_units("shares", "123456.789012", 6) == 123_456_789_012


@pytest.mark.parametrize(
    ("value", "expected"), [(Decimal("1.5"), 1_500_000), (2, 2_000_000), ("0.25", 250_000), (0, 0)]
)
def test_a_callers_number_is_read_exactly(value, expected):
    assert decimal_to_units("shares", value, 6) == expected


@pytest.mark.parametrize(
    "value",
    [
        1.5, True, None, "x", "NaN", "Infinity", -1, Decimal("-0.1"), "0.0000001", Decimal("1e99"),
        Decimal("1e999999"), Decimal("1." + "0" * 90 + "1"), Decimal("sNaN"),
    ],
)  # fmt: skip
def test_floats_negatives_and_what_is_no_number_are_refused(value):
    with pytest.raises(UnitError, match="shares"):
        decimal_to_units("shares", value, 6)
