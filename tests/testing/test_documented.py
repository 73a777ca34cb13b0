"""The tests on the page about testing are run as what they are: a test file, with the plugin and nothing else."""

from __future__ import annotations

from tests.test_docs import REPOSITORY, blocks_of

pytest_plugins = ["pytester"]


def test_the_tests_of_the_page_pass_in_a_file_of_their_own(pytester) -> None:
    page = blocks_of(REPOSITORY / "docs" / "testing.md")
    source = "\n\n".join(block.text for block in page if block.comment == "<!-- pytest -->")
    tests = source.count("def test_")
    assert tests >= 5
    pytester.makepyfile(source)
    result = pytester.runpytest_inprocess("-p", "pytest_polymirror", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=tests)
