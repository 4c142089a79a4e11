"""The memcached that is installed, as a process on a free port."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.processes import Server, program


@contextmanager
def memcached(folder: Path, *options: str) -> "Iterator[str]":
    """Its address, `HOST:PORT`, for as long as it runs."""
    listens = ("-u", "root", "-p", "-1", "-U", "0", "-l", "127.0.0.1", "-t", "1")
    command = [program("memcached"), *listens, *options]
    # It writes there what port it has found.
    written = {"MEMCACHED_PORT_FILENAME": str(folder / "ports")}
    with Server(folder, command=command, environment=written) as server:
        found = re.search(r"^TCP INET: (\d+)$", server.ports_file.read_text(), re.MULTILINE)
        assert found is not None
        yield f"127.0.0.1:{found[1]}"
