"""The pytest plugin in runs of pytest, and the examples of docs/testing.md, as they are."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import PATIENCE, ROOT

PAGE = (ROOT / "docs" / "testing.md").read_text()

#: The examples: the name in their first line, and the text.
EXAMPLES = {
    match[2]: match[1] for match in re.finditer(r"```\w+\n(# (\S+)\n.*?)```", PAGE, re.DOTALL)
}


@pytest.fixture
def run(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> "Run":
    return Run(pytester, monkeypatch)


class Run:
    """Runs pytest, strictly, with this plugin alone: where it is installed it would come twice."""

    def __init__(self, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pytester = pytester
        monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def __call__(self, *words: str) -> pytest.RunResult:
        plugin = ("-p", "mctwist.pytest_plugin", "--strict-markers", "-W", "error")
        return self.pytester.runpytest_subprocess(*plugin, *words, timeout=PATIENCE)


def test_there_are_examples_for_all_that_is_promised() -> None:
    assert {"test_greeting.py", "test_django.py", "test_flask.py", "test_twisted.py"} <= set(
        EXAMPLES
    )


def test_the_examples_for_pytest_pass(run: Run) -> None:
    for name, text in EXAMPLES.items():
        if name != "test_twisted.py":
            run.pytester.path.joinpath(name).write_text(text)
    passed = run().parseoutcomes()
    assert set(passed) == {"passed"}
    # The parameters of test_many.py are 20.
    assert passed["passed"] == 19 + sum(text.count("def test_") for text in EXAMPLES.values()) - 1


def test_the_example_for_trial_passes(tmp_path: Path) -> None:
    (tmp_path / "test_twisted.py").write_text(EXAMPLES["test_twisted.py"])
    trial = subprocess.run(
        [sys.executable, "-W", "error", "-m", "twisted.trial", "test_twisted"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert "PASSED (successes=1)" in trial.stdout, trial.stdout + trial.stderr


ISOLATION = """
import os
import pytest
from pymemcache import Client

seen = []

@pytest.mark.parametrize("number", [1, 2])
def test_fresh(mctwist_server, number):
    client = Client(mctwist_server.address)
    assert client.add("k", "v", noreply=False)
    client.close()
    assert mctwist_server.pid not in seen
    seen.append(mctwist_server.pid)
    if number == 2:
        with pytest.raises(ProcessLookupError):
            os.kill(seen[0], 0)

@pytest.mark.parametrize("number", [1, 2])
def test_shared(mctwist_session_server, number):
    client = Client(mctwist_session_server.address)
    assert client.add("k", "v", noreply=False) is (number == 1)
    assert client.stats("settings")[b"maxconns"] == 17
    client.close()

@pytest.mark.mctwist("--conn-limit", "18", "--idle-timeout", "7", sync="always")
class TestMarked:
    @pytest.mark.mctwist("--conn-limit", "19")
    def test_nearest(self, mctwist_server):
        client = Client(mctwist_server.address)
        settings = client.stats("settings")
        assert (settings[b"maxconns"], settings[b"idle_timeout"]) == (19, 7)
        assert settings[b"sync"] == b"always"
        client.close()
"""


def test_a_server_is_for_one_test_or_for_all_with_the_nearest_options(run: Run) -> None:
    run.pytester.makeini("[pytest]\nmctwist_options = --conn-limit 17\n")
    run.pytester.makepyfile(ISOLATION)
    run().assert_outcomes(passed=5)


FAILING = """
import pytest

def test_fails(mctwist_server):
    assert not mctwist_server.port

def test_passes(mctwist_server):
    # As a test may of how a program ends without its cache.
    mctwist_server.stop()

@pytest.mark.mctwist("--sinc", "never")
def test_cannot_start(mctwist_server):
    pass
"""


def test_what_the_server_has_to_say_is_in_the_report(run: Run) -> None:
    run.pytester.makepyfile(FAILING)
    result = run()
    result.assert_outcomes(failed=1, passed=1, errors=1)
    result.stdout.fnmatch_lines(
        ["*mctwist log teardown*", "*listening for auto on tcp 127.0.0.1 *"]
    )
    result.stdout.fnmatch_lines(["E * mctwist: option --sinc not recognized *"])
    assert str(result.stdout).count("mctwist log teardown") == 1


UNUSED = """
import sys

def test_nothing_is_loaded():
    loaded = set(sys.modules)
    assert {name for name in loaded if name.split(".")[0] == "mctwist"} == {
        "mctwist", "mctwist.pytest_plugin", "mctwist.throwaway"
    }
    assert not {name for name in loaded if name.split(".")[0] in ("twisted", "lmdb", "zope")}
"""


def test_who_does_not_use_it_loads_nothing_of_twisted(run: Run) -> None:
    run.pytester.makepyfile(UNUSED)
    run().assert_outcomes(passed=1)
    run("--markers").stdout.fnmatch_lines(["@pytest.mark.mctwist(*): options of *"])
