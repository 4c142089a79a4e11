"""`mctwist.testing.serve` under trial; the tests are in `serving`."""

import subprocess
import sys
from pathlib import Path

from tests.processes import PATIENCE, ROOT


def test_a_server_in_trials_reactor_serves_and_leaves_nothing(tmp_path: Path) -> None:
    trial = subprocess.run(
        [
            *(sys.executable, "-b", "-W", "error", "-m", "twisted.trial"),
            *(f"--temp-directory={tmp_path}/trial", "tests.serving"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert "PASSED (successes=7)" in trial.stdout, trial.stdout + trial.stderr
