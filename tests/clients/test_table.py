"""The table of clients in the docs is what the tests say. No client is needed for this."""

from __future__ import annotations

from tests.clients.table import PAGE, WHERE, Row, rows, rows_of, versions, with_table

MODULE = """
no_orders = pytest.mark.xfail(strict=True, reason="not there")
NAME, OTHER = "a", "b"

@pytest.mark.client(NAME, "one, two")
async def test_first():
    pass

@pytest.mark.client(OTHER, "three", note="differs")
@no_orders
def test_second():
    pass

def test_that_tries_no_client():
    pass
"""


def test_a_marked_test_is_a_row_and_fails_if_it_is_expected_to():
    first, second = rows_of(MODULE)
    assert first == Row("a", "one, two", "", "")
    assert second == Row("b", "three", "not there", "differs")
    assert [row.result for row in (first, second, second._replace(fails=""))] == [
        "works",
        "not yet: not there",
        "differs",
    ]


def test_the_page_has_the_table_of_the_present_tests():
    page = PAGE.read_text(encoding="utf-8")
    assert with_table(page) == page, "python -m tests.clients.table"


def test_each_client_is_known_and_tried():
    assert {row.client for row in rows()} == set(WHERE)
    assert set(WHERE) == set(versions()) - {"viem"}
