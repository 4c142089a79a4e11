"""Users of a real server: one file for every dialect, read anew while it serves."""

import os
import signal
from pathlib import Path

from mctwist.passwords import User, hash_password, spell
from tests.processes import Connection, Server, complaints, eventually, stats_of
from tests.test_binary import (
    GET,
    NOOP,
    SASL_AUTH,
    SASL_LIST,
    UNAUTHORIZED,
    Answer,
    answers_in,
    ask,
    failed,
    hit,
)
from tests.test_login import DENIED, FAILURE, STORED, UNAUTHENTICATED, introduce, plain

HIT = b"VALUE k 0 1\r\n1\r\nEND\r\n"


def line(name: bytes, password: bytes, read_only: bool = False, prefix: bytes = b"") -> bytes:
    return spell(User(name, hash_password(password, ln=4), read_only, prefix)) + b"\n"


def users(folder: Path, *lines: bytes) -> Path:
    path = folder / "users"
    path.touch(0o600)
    path.write_bytes(b"".join(lines))
    return path


def server(folder: Path, *options: str) -> Server:
    path = users(folder, line(b"ann", b"a"), line(b"reader", b"r", True), b"plain:secret word\n")
    return Server(folder, "--auth-file", str(path), *options)


def log_in(connection: Connection, words: bytes) -> bytes:
    return connection.ask(introduce(words))


def answer_of(connection: Connection, request: bytes) -> Answer:
    """The only answer to a binary request."""
    connection.send(request)
    header = connection.exactly(24)
    (answer,) = answers_in(header + connection.exactly(int.from_bytes(header[8:12], "big")))
    return answer


def test_one_file_for_text_and_binary_on_one_port(tmp_path: Path) -> None:
    with server(tmp_path) as running, running.connect() as text, running.connect() as binary:
        assert text.ask(b"get k\r\n") == UNAUTHENTICATED
        assert log_in(text, b"ann wrong") == FAILURE
        assert log_in(text, b"ann a") == STORED
        assert text.ask(b"set k 0 0 1\r\n1\r\n") == STORED
        assert answer_of(binary, ask(SASL_LIST)).value == b"PLAIN"
        assert answer_of(binary, plain(b"ann", b"b")) == failed(SASL_AUTH, UNAUTHORIZED)
        assert answer_of(binary, plain(b"plain", b"secret word")).value == b"Authenticated"
        assert answer_of(binary, ask(GET, b"k")) == hit(GET, b"1", 1)
        report = stats_of(text)
        assert (report["auth_cmds"], report["auth_errors"]) == ("4", "2")
        with running.connect() as reader:
            assert log_in(reader, b"reader r") == STORED
            assert reader.ask(b"get k\r\n", b"END\r\n") == HIT
            assert reader.ask(b"delete k\r\n") == DENIED
        with running.connect() as stranger:
            assert answer_of(stranger, ask(NOOP)) == failed(NOOP, UNAUTHORIZED)
            assert stranger.until_closed() == b""
        log = running.log()
        assert "1 of 3 passwords in clear" in log
        assert "refused user 'ann' from 127.0.0.1" in log
        assert "wrong" not in log
        assert complaints(log) == []


def test_the_file_is_read_anew_and_a_broken_one_is_not(tmp_path: Path) -> None:
    def logged(what: str) -> None:
        eventually(lambda: what in running.log(), what)

    with server(tmp_path) as running, running.connect() as before:
        assert log_in(before, b"ann a") == STORED
        users(tmp_path, line(b"ann", b"new"), line(b"bob", b"b"))
        os.kill(running.pid, signal.SIGHUP)
        logged("has 2 users")
        with running.connect() as after:
            assert log_in(after, b"ann a") == FAILURE
            assert log_in(after, b"bob b") == STORED
        assert before.ask(b"get k\r\n") == b"END\r\n"
        users(tmp_path, b"nonsense\n")
        os.kill(running.pid, signal.SIGHUP)
        logged("the users stay as they were")
        with running.connect() as after:
            assert log_in(after, b"ann new") == STORED
        assert running.terminate() == 0


def test_what_is_pipelined_behind_the_password_is_answered_in_order(tmp_path: Path) -> None:
    with server(tmp_path) as running, running.connect() as connection:
        requests = [introduce(b"plain secret word")]
        requests += [b"set k%d 0 0 1\r\n1\r\n" % number for number in range(20_000)]
        assert connection.exchange(b"".join(requests)) == STORED * 20_001


def test_guessers_by_the_thousand_disturb_nobody(tmp_path: Path) -> None:
    with server(tmp_path) as running, running.connect() as known:
        assert log_in(known, b"ann a") == STORED
        assert known.ask(b"set k 0 0 1\r\n1\r\n") == STORED
        guessers = [running.connect() for _ in range(500)]
        for number, guesser in enumerate(guessers):
            guesser.send(introduce(b"ann guess%d" % number) + introduce(b"ann more%d" % number))
        try:
            for _ in range(300):
                assert known.ask(b"get k\r\n", b"END\r\n") == HIT
                with running.connect() as again:
                    # Whose password has been right before is known at once, wherever he comes from.
                    assert log_in(again, b"ann a") == STORED
        finally:
            for guesser in guessers:
                guesser.close()
        assert int(stats_of(known)["auth_errors"]) < 100
        assert complaints(running.log()) == []


def test_a_listener_may_be_open_to_all(tmp_path: Path) -> None:
    place = "tcp:0:interface=127.0.0.1"
    places = (*("--listen", f"text,anonymous={place}"), *("--listen", place))
    with server(tmp_path, *places) as running:
        answers = []
        for number in range(len(running.addresses())):
            with running.connect(number) as connection:
                answers.append(connection.ask(b"get k\r\n"))
        assert answers.count(b"END\r\n") == 1
        assert set(answers) == {b"END\r\n", UNAUTHENTICATED}


def test_sasl_alone_serves_binary_alone(tmp_path: Path) -> None:
    path = users(tmp_path, b"ann:a\n")
    environment = {"MEMCACHED_SASL_PWDB": str(path)}
    with Server(tmp_path, "-S", environment=environment) as running:
        with running.connect() as text:
            text.send(introduce(b"ann a") + b"get k\r\n")
            assert text.until_closed() == b""
        with running.connect() as binary:
            assert answer_of(binary, plain(b"ann", b"a")).value == b"Authenticated"
            assert answer_of(binary, ask(NOOP)) == Answer(NOOP)


def test_a_file_that_cannot_be_read_keeps_it_from_starting(tmp_path: Path) -> None:
    for path, words in (
        (tmp_path / "nowhere", "No such file"),
        (users(tmp_path, b"x\n"), "line 1"),
    ):
        running = Server(tmp_path, "--auth-file", str(path))
        running.launch()
        assert running.ended() == 1
        assert words in running.log()
        assert "Traceback" not in running.log()
