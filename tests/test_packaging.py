"""The wheel: what is in it, and that it alone makes a server."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.processes import PATIENCE, Server, copy_of_source, make_environment


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = copy_of_source(folder / "source")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(source)],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        check=True,
        timeout=5 * PATIENCE,
    )
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_holds_the_package_and_one_plugin_file(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    plugin = "twisted/plugins/mctwist_plugin.py"
    assert "mctwist/tap.py" in names
    # An __init__.py beside the plugin would stand in the way of Twisted's own plugins.
    assert {name for name in names if not name.startswith("mctwist/")} == {plugin}


def test_the_wheel_brings_the_plugin_of_pytest(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        (entry_points,) = [each for each in archive.namelist() if each.endswith("entry_points.txt")]
        assert b"[pytest11]\nmctwist = mctwist.pytest_plugin\n" in archive.read(entry_points)
    assert import_module("mctwist.pytest_plugin")


def test_the_wheel_brings_the_types_that_its_classifier_promises(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        assert "mctwist/py.typed" in archive.namelist()


def test_the_wheel_alone_makes_a_server(wheel: Path, tmp_path: Path) -> None:
    programs = make_environment(sys.executable, tmp_path / "venv", wheel)
    with Server(tmp_path, twistd=str(programs / "twistd")) as server:
        with server.connect() as connection:
            assert connection.ask(b"set k 0 0 1\r\nv\r\n") == b"STORED\r\n"
            answer = connection.ask(b"get k\r\n", b"END\r\n")
        assert answer == b"VALUE k 0 1\r\nv\r\nEND\r\n"
        assert str(programs) in server.log()
        server.terminate()
        server.start()
        with server.connect() as connection:
            assert connection.ask(b"get k\r\n", b"END\r\n") == answer
    # A throw-away server needs neither its programs in the PATH nor the source.
    throwaway = "from mctwist.throwaway import *; s = ThrowawayServer(); s.start(); print(s.log())"
    started = subprocess.run(
        [str(programs / "python"), "-c", throwaway],
        cwd=tmp_path,
        env={"PATH": ""},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert f"({programs}/python " in started.stdout, started.stderr
    command = subprocess.run(
        [str(programs / "mctwist")], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (command.returncode, command.stdout) == (1, "")
    assert command.stderr == ("mctwist: this command needs click: pip install 'mctwist[shell]'\n")
