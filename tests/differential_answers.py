"""Makes differential_meta.json anew: `python -m tests.differential_answers MEMCACHED`.

It asks the program named, which is to be a memcached 1.6.45, and the one that is installed, which
is to be the reference's 1.6.18, and writes down what the first answers where they differ.
"""

import json
import shutil
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.differential_meta import ANSWERS_FILE, SCRIPTS, reason_of
from tests.test_differential import empty, play, serve_memcached


def main(executable: str) -> None:
    installed = shutil.which("memcached")
    assert installed is not None
    serve = contextmanager(serve_memcached)
    answers = {}
    with ExitStack() as stack:
        newer, older = (
            stack.enter_context(
                serve(program, Path(stack.enter_context(tempfile.TemporaryDirectory())))
            )
            for program in (executable, installed)
        )
        for script in SCRIPTS:
            empty(newer)
            empty(older)
            answer = play(script, newer)
            if answer != play(script, older):
                answers[script.name] = answer.decode("latin-1")
                print(f"{script.name}: {reason_of(script.name)}")
    ANSWERS_FILE.write_text(json.dumps(answers, indent=0) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
