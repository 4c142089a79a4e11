"""
pytest's plugin: a throw-away server for each test that asks for one.

It is loaded into every run of pytest where mctwist is installed, so it imports nothing but what
starts a process: no Twisted, whose reactor others want to choose, and nothing of the server.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from mctwist.throwaway import ThrowawayServer


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini(
        "mctwist_options",
        "options of `twistd mctwist` for the server of every test",
        type="args",
        default=[],
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "mctwist(*options, storage=None, sync='never'): options of `twistd mctwist` for the "
        "mctwist_server of this test",
    )


@pytest.fixture
def mctwist_server(request: pytest.FixtureRequest) -> "Iterator[ThrowawayServer]":
    """
    A mctwist server for this test alone: fresh, empty, in a process of its own.

    Its options are those of the ini file and of the markers `mctwist`; where they contradict each
    other, the nearest holds. Its log is shown when the test fails.
    """
    options = list(request.config.getini("mctwist_options"))
    keywords: dict[str, Any] = {}
    for marker in reversed(list(request.node.iter_markers("mctwist"))):
        options += marker.args
        keywords.update(marker.kwargs)
    with ThrowawayServer(*options, **keywords) as server:
        yield server
        request.node.add_report_section("teardown", "mctwist log", server.log())


@pytest.fixture(scope="session")
def mctwist_session_server(pytestconfig: pytest.Config) -> "Iterator[ThrowawayServer]":
    """
    A mctwist server for all tests that ask for it. Nobody empties it in between: have a client
    do that, by `flush_all`.
    """
    with ThrowawayServer(*pytestconfig.getini("mctwist_options")) as server:
        yield server
