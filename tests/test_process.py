"""
A server process seen from outside, by good clients and by bad ones: whole answers, bounded memory,
nobody else disturbed, and a log with nothing in it.

Of memory the server may take some buffers for each client, never what the client announced or
asked for. The kernel keeps the peak, so no moment is missed.
"""

import os
import resource
import select
import signal
import socket
import ssl
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from threading import Event, Thread

import pytest
from cryptography.x509 import load_der_x509_certificate

from tests.certificates import Identity, make_identity
from tests.processes import (
    PATIENCE,
    Address,
    Connection,
    Server,
    complaints,
    eventually,
    stats_of,
)

#: Seconds after which a client takes itself for stuck, and a server that was full for lost.
STUCK, RECOVERY = 10.0, 60.0

KINDS = ["lmdb", "directory", "memory"]
MEGABYTE = 1 << 20
STORED = b"STORED\r\n"
NO_ROOM = b"SERVER_ERROR out of memory storing object\r\n"

#: A value just short of the limit.
BIG = b"x" * 1_000_000

#: What is sent, and what comes.
SESSION = [
    (b"get k\r\n", b"END\r\n"),
    (b"set k 7 0 5\r\nvalue\r\n", STORED),
    (b"get k\r\n", b"VALUE k 7 5\r\nvalue\r\nEND\r\n"),
    (b"add k 0 0 1\r\nx\r\n", b"NOT_STORED\r\n"),
    (b"append k 0 0 1\r\n!\r\n", STORED),
    (b"prepend k 0 0 2\r\n\r\n\r\n", STORED),
    (b"get none k none\r\n", b"VALUE k 7 8\r\n\r\nvalue!\r\nEND\r\n"),
    (b"replace none 0 0 1\r\nx\r\n", b"NOT_STORED\r\n"),
    (b"cas none 0 0 1 1\r\nx\r\n", b"NOT_FOUND\r\n"),
    (b"cas k 0 0 1 999999999\r\nx\r\n", b"EXISTS\r\n"),
    (b"set n 0 0 2\r\n10\r\n", STORED),
    (b"incr n 5\r\n", b"15\r\n"),
    (b"decr n 6\r\n", b"9\r\n"),
    (b"get n\r\n", b"VALUE n 0 2\r\n9 \r\nEND\r\n"),
    (b"incr k 1\r\n", b"CLIENT_ERROR cannot increment or decrement non-numeric value\r\n"),
    (b"incr none 1\r\n", b"NOT_FOUND\r\n"),
    (b"touch k 100\r\n", b"TOUCHED\r\n"),
    (b"gat 200 k\r\n", b"VALUE k 7 8\r\n\r\nvalue!\r\nEND\r\n"),
    (b"set quiet 0 0 1 noreply\r\nq\r\nget quiet\r\n", b"VALUE quiet 0 1\r\nq\r\nEND\r\n"),
    (b"delete quiet\r\n", b"DELETED\r\n"),
    (b"delete quiet\r\n", b"NOT_FOUND\r\n"),
    (b"set late 0 -1 1\r\nx\r\nget late\r\n", b"STORED\r\nEND\r\n"),
    (b"set big 0 0 1000000\r\n" + BIG + b"\r\n", STORED),
    (b"get big\r\n", b"VALUE big 0 1000000\r\n" + BIG + b"\r\nEND\r\n"),
    (b"set k 0 0 2000000\r\n" + 2 * BIG + b"\r\n", b"SERVER_ERROR object too large for cache\r\n"),
    (b"get k\r\n", b"END\r\n"),
    (b"set k 0 0 3\r\nlongest\r\n", b"CLIENT_ERROR bad data chunk\r\nERROR\r\n"),
    (b"no such command\r\n", b"ERROR\r\n"),
    (b"flush_all\r\n", b"OK\r\n"),
    (b"get n big\r\n", b"END\r\n"),
]


def check_session(connection: Connection) -> None:
    for request, answer in SESSION:
        connection.send(request)
        assert connection.exactly(len(answer)) == answer, request[:60]


def check_served(server: Server) -> None:
    """Somebody else sets and gets as if nothing were the matter."""
    with server.connect() as other:
        assert other.ask(b"set other 0 0 5\r\nother\r\n") == STORED
        answer = other.ask(b"get other\r\n", b"END\r\n")
    assert answer == b"VALUE other 0 5\r\nother\r\nEND\r\n"


def check_unharmed(server: Server) -> None:
    """It serves, and has nothing to say of what was done to it."""
    check_served(server)
    assert complaints(server.log()) == []


@contextmanager
def bounded_memory(server: Server, growth: int) -> "Iterator[None]":
    """Meanwhile, and until the server has done all that it will, it grows by less than this."""
    check_served(server)
    server.forget_memory()
    before = server.most_memory()
    yield
    hits: list[int] = []

    def is_quiet() -> bool:
        check_served(server)
        with server.connect() as observer:
            hits.append(int(stats_of(observer)["get_hits"]))
        # One in each round is of `check_served`.
        return len(hits) > 20 and hits[-1] - hits[-10] == 9

    eventually(is_quiet, "the server is quiet")
    assert server.most_memory() - before < growth


# Good clients


@pytest.mark.parametrize("reads", ["always", "never"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_session_is_the_same_over_every_store(tmp_path: Path, kind: str, reads: str) -> None:
    with Server(tmp_path, "--inline-reads", reads, kind=kind) as server:
        with server.connect() as connection:
            check_session(connection)
        assert complaints(server.log()) == []


@pytest.mark.parametrize("reads", ["always", "never"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_pipeline_behind_which_the_client_half_closes_is_answered_whole(
    tmp_path: Path, kind: str, reads: str
) -> None:
    requests, answers = [], []
    for number in range(100):
        key, value = b"key-%d" % number, b"v" * number
        for request, answer in [
            (b"set %b 1 0 %d\r\n%b\r\n" % (key, number, value), STORED),
            (b"get %b\r\n" % key, b"VALUE %b 1 %d\r\n%b\r\nEND\r\n" % (key, number, value)),
            (b"append %b 0 0 1 noreply\r\n!\r\n" % key, b""),
            (b"get %b\r\n" % key, b"VALUE %b 1 %d\r\n%b!\r\nEND\r\n" % (key, number + 1, value)),
            (b"touch %b 100\r\n" % key, b"TOUCHED\r\n"),
            (b"get none\r\n", b"END\r\n"),
            (b"nonsense\r\n", b"ERROR\r\n"),
            (b"delete %b\r\n" % key, b"DELETED\r\n"),
            (b"incr %b 1\r\n" % key, b"NOT_FOUND\r\n"),
            (b"add %b 0 0 2\r\n10\r\n" % key, STORED),
        ]:
            requests.append(request)
            answers.append(answer)
    assert len(requests) == 1000
    with Server(tmp_path, "--inline-reads", reads, kind=kind) as server:
        with server.connect() as connection:
            assert connection.exchange(b"".join(requests)) == b"".join(answers)
        assert complaints(server.log()) == []


@pytest.mark.parametrize("reads", ["always", "never"])
def test_30000_noreply_sets_take_effect_in_their_order(tmp_path: Path, reads: str) -> None:
    requests, answers = [], []
    for number in range(30_000):
        requests.append(b"set k 0 0 5 noreply\r\n%05d\r\n" % number)
        if number % 1000 == 999:
            requests.append(b"get k\r\n")
            answers.append(b"VALUE k 0 5\r\n%05d\r\nEND\r\n" % number)
    with Server(tmp_path, "--inline-reads", reads) as server, server.connect() as connection:
        sender = connection.send_aside(b"".join(requests))
        check_served(server)
        for answer in answers:
            assert connection.exactly(len(answer)) == answer
        sender.join(PATIENCE)


@pytest.mark.parametrize("piece", [1 << 20, 1000], ids=["whole", "in pieces"])
def test_a_get_of_a_thousand_keys_may_take_128_kb(tmp_path: Path, piece: int) -> None:
    keys = [b"%0125d" % number for number in range(1050)]
    line = b"get %b\r\n" % b" ".join(keys)
    assert len(line) > 128 * 1024
    with Server(tmp_path) as server, server.connect() as connection:
        sets = b"".join(b"set %b 0 0 1 noreply\r\nx\r\n" % key for key in keys[::2])
        sender = connection.send_aside(sets)
        for start in range(0, len(line), piece):
            sender.join(PATIENCE)
            sender = connection.send_aside(line[start : start + piece])
        answer = connection.until(b"END\r\n")
    assert answer == b"".join(b"VALUE %b 0 1\r\nx\r\n" % key for key in keys[::2]) + b"END\r\n"


def test_a_unix_socket_is_served(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with Server(tmp_path, "-s", str(path), "-a", "600") as server:
        assert server.addresses() == [str(path)]
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with server.connect() as connection:
            check_session(connection)
        # One that is killed leaves its socket behind.
        server.kill()
        assert path.is_socket()
        server.start()
        check_unharmed(server)


def test_stats_tell_of_connections_and_listeners(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with Server(tmp_path, "-l", "127.0.0.1", "-l", f"unix:{path}") as server:
        listening = f"tcp:127.0.0.1:{server.addresses()[0][1]}"
        with server.connect(0) as one, server.connect(1) as other:
            own = ":".join(map(str, one.socket.getsockname()))
            other.send(b"set k 0 0 10\r\nab")
            eventually(
                lambda: b"conn_nread" in one.ask(b"stats conns\r\n", b"END\r\n"), "it is read"
            )
            report = stats_of(one, "conns")
        rows: dict[str, dict[str, str]] = {}
        for name, figure in report.items():
            number, _, field = name.partition(":")
            rows.setdefault(number, {})[field] = figure
        for row in rows.values():
            assert 0 <= int(row.pop("secs_since_last_cmd")) <= PATIENCE
        assert sorted(rows.values(), key=str) == sorted(
            [
                {"addr": listening, "state": "conn_listening"},
                {"addr": f"unix:{path}", "state": "conn_listening"},
                {
                    "addr": f"tcp:{own}",
                    "listen_addr": listening,
                    "state": "conn_parse_cmd",
                },
                {"addr": "unix:?", "listen_addr": f"unix:{path}", "state": "conn_nread"},
            ],
            key=str,
        )


def test_a_unix_socket_that_was_left_behind_is_in_nobodys_way(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    for where in (["-s", str(path)], ["-l", f"unix:{path}"]):
        with closing(socket.socket(socket.AF_UNIX)) as left:
            left.bind(str(path))
        # As Twisted's own lock would have it, of a process that is alive.
        path.with_name("socket.lock").symlink_to("1")
        with Server(tmp_path, *where) as server:
            check_unharmed(server)
            assert server.terminate() == 0
        assert not path.exists()
        path.with_name("socket.lock").unlink()


def test_a_unix_socket_that_is_served_and_a_file_are_left_alone(tmp_path: Path) -> None:
    served, file = tmp_path / "served", tmp_path / "file"
    file.write_text("precious")
    with closing(socket.socket(socket.AF_UNIX)) as other:
        other.bind(str(served))
        other.listen(5)
        for path in (served, file):
            server = Server(tmp_path, "-s", str(path))
            server.launch()
            assert server.ended() == 1
            assert "cannot listen on" in server.log()
        assert served.is_socket()
        with Connection(str(served)):
            pass
    assert file.read_text() == "precious"


# Over TLS


class Wiretap:
    """Hands one connection on to `address`, and keeps all bytes that pass, either way."""

    def __init__(self, address: Address) -> None:
        self.passed: list[bytes] = []
        self._server = Connection(address)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address: Address = self._listener.getsockname()[:2]
        self._thread = Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        client.settimeout(PATIENCE)
        there = Thread(target=self._hand_on, args=(client, self._server.socket), daemon=True)
        there.start()
        self._hand_on(self._server.socket, client)
        there.join(PATIENCE)
        client.close()

    def _hand_on(self, source: socket.socket, target: socket.socket) -> None:
        while data := source.recv(65536):
            self.passed.append(data)
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._thread.join(PATIENCE)
        self._server.close()
        self._listener.close()


def trusting(identity: Identity) -> ssl.SSLContext:
    """How a client that knows this server speaks TLS."""
    return ssl.create_default_context(cafile=str(identity.certificate_file))


def begin_tls(connection: Connection, context: ssl.SSLContext) -> None:
    connection.socket = context.wrap_socket(connection.socket, server_hostname="127.0.0.1")


@pytest.mark.parametrize("reads", ["always", "never"])
@pytest.mark.parametrize("way", ["endpoint", "option"])
def test_nothing_of_a_tls_connection_is_readable_on_the_wire(
    tmp_path: Path, way: str, reads: str
) -> None:
    identity = make_identity(tmp_path)
    key, certificate = identity.key_file, identity.certificate_file
    if way == "option":
        options = [*identity.options, "-l", "127.0.0.1"]
    else:
        options = ["-l", f"ssl:0:privateKey={key}:certKey={certificate}:interface=127.0.0.1"]
    secret = b"the-secret-of-the-value"
    value = secret * 20_000
    with Server(tmp_path, *options, "--inline-reads", reads) as server:
        assert server.ports_file.read_text().startswith("auto tls 127.0.0.1 ")
        with closing(Wiretap(server.addresses()[0])) as tap, Connection(tap.address) as client:
            begin_tls(client, trusting(identity))
            check_session(client)
            line = b"set %b 0 0 %d\r\n" % (secret, len(value))
            assert client.ask(line + value + b"\r\n") == STORED
            answer = b"VALUE %b 0 %d\r\n%b\r\nEND\r\n" % (secret, len(value), value)
            client.send(b"get %b\r\n" % secret * 10)
            assert client.exactly(10 * len(answer)) == 10 * answer
            assert "conn_parse_cmd" in stats_of(client, "conns").values()
            client.send(b"quit\r\n")
            assert client.until_closed() == b""
        passed = b"".join(tap.passed)
        assert len(passed) > 11 * len(value)
        # Four bytes such as `get ` come by chance in five megabytes, once in some hundred runs.
        for word in (secret, b"VALUE", b"STORED"):
            assert word not in passed
        assert complaints(server.log()) == []


@contextmanager
def tls_and_plain(folder: Path, *options: str) -> "Iterator[tuple[Server, ssl.SSLContext]]":
    """A server whose first listener is plain and whose second is TLS."""
    identity = make_identity(folder)
    where = ("-l", "notls:127.0.0.1,127.0.0.1")
    with Server(folder, *identity.options, *where, *options) as server:
        yield server, trusting(identity)


def test_tls_and_plain_listeners_serve_at_the_same_time(tmp_path: Path) -> None:
    with tls_and_plain(tmp_path) as (server, context):
        with server.connect(0) as plain, server.connect(1) as client:
            begin_tls(client, context)
            assert plain.ask(b"set k 0 0 5\r\nvalue\r\n") == STORED
            assert client.ask(b"get k\r\n", b"END\r\n") == b"VALUE k 0 5\r\nvalue\r\nEND\r\n"
            told = stats_of(client, "settings")
            for name, figure in (
                ("ssl_enabled", "yes"), ("ssl_min_version", "tlsv1.2"), ("ssl_verify_mode", "0"),
                ("ssl_key", f"{tmp_path}/127.0.0.1.key"), ("ssl_ciphers", "NULL"),
            ):  # fmt: skip
                assert told[name] == figure, name
            assert 0 <= int(stats_of(plain)["time_since_server_cert_refresh"]) < PATIENCE
        # Who does not speak TLS to the one hears nothing that he would take for an answer.
        with server.connect(1) as wrong:
            answer = wrong.exchange(b"version\r\n" * 10)
            assert b"VERSION" not in answer
            assert b"ERROR" not in answer
        with server.connect(0) as plain:
            assert stats_of(plain)["ssl_handshake_errors"] == "1"
        check_unharmed(server)


def test_who_does_not_show_a_certificate_is_not_served(tmp_path: Path) -> None:
    authority = make_identity(tmp_path, "authority")
    friend = make_identity(tmp_path, "friend", authority)
    required = f"ssl_verify_mode=2,ssl_ca_cert={authority.certificate_file}"
    with tls_and_plain(tmp_path, "-o", required) as (server, context):
        with server.connect(1) as stranger:
            begin_tls(stranger, context)
            with suppress(ssl.SSLError):
                stranger.send(b"set k 0 0 1\r\nx\r\n")
            with pytest.raises(ssl.SSLError):
                stranger.until_closed()
        context.load_cert_chain(friend.certificate_file, friend.key_file)
        with server.connect(1) as client:
            begin_tls(client, context)
            assert client.ask(b"get k\r\n") == b"END\r\n"
            check_session(client)
        check_unharmed(server)


def serial_of(server: Server) -> int:
    """The number of the certificate that newcomers are shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with server.connect(1) as client:
        begin_tls(client, context)
        assert isinstance(client.socket, ssl.SSLSocket)
        shown = client.socket.getpeercert(binary_form=True)
    assert shown is not None
    return load_der_x509_certificate(shown).serial_number


def test_certificates_are_read_anew_while_it_serves(tmp_path: Path) -> None:
    with tls_and_plain(tmp_path) as (server, context):
        with server.connect(0) as plain, server.connect(1) as client:
            begin_tls(client, context)
            renewed = make_identity(tmp_path).certificate.serial_number
            assert serial_of(server) != renewed
            os.kill(server.pid, signal.SIGHUP)
            eventually(lambda: serial_of(server) == renewed, "the new one is shown")
            again = make_identity(tmp_path).certificate.serial_number
            assert plain.ask(b"refresh_certs\r\n") == b"OK\r\n"
            assert serial_of(server) == again
            assert complaints(server.log()) == []
            # Those that are of no use change nothing.
            key = tmp_path / "127.0.0.1.key"
            key.write_text("nonsense")
            answer = plain.ask(b"refresh_certs\r\n")
            assert answer.startswith(b"Error loading the key: %b : " % bytes(key))
            assert answer.endswith(b"\r\n")
            os.kill(server.pid, signal.SIGHUP)
            eventually(lambda: server.log().count("stay what they were") == 2, "it is told twice")
            assert serial_of(server) == again
            assert client.ask(b"get k\r\n") == b"END\r\n"
        assert len(complaints(server.log())) == 2
        assert server.terminate() == 0


@pytest.mark.parametrize("reads", ["always", "never"])
@pytest.mark.parametrize(("size", "count"), [(1_000_000, 300), (100, 300_000)])
def test_clients_that_ask_for_much_over_tls_and_never_read_cost_little_memory(
    tmp_path: Path, reads: str, size: int, count: int
) -> None:
    value = b"v" * size
    answer = b"VALUE k 0 %d\r\n%b\r\nEND\r\n" % (size, value)
    with tls_and_plain(tmp_path, "--inline-reads", reads) as (server, context):
        with ExitStack() as stack:
            with server.connect() as connection:
                assert connection.ask(b"set k 0 0 %d\r\n%b\r\n" % (size, value)) == STORED
            check_served(server)
            descriptors = server.descriptors()
            with bounded_memory(server, 64 * MEGABYTE):
                hogs = [stack.enter_context(server.connect(1)) for _ in range(5)]
                for hog in hogs:
                    begin_tls(hog, context)
                    hog.send_aside(b"get k\r\n" * count)
            with bounded_memory(server, 64 * MEGABYTE):
                # One of them reads after all, and nothing has been forgotten.
                for _ in range(0, count, 100):
                    assert hogs[0].exactly(100 * len(answer)) == 100 * answer
            for hog in hogs:
                hog.reset()
            eventually(lambda: server.descriptors() <= descriptors, "the descriptors are back")
        check_unharmed(server)


def test_who_does_not_read_over_tls_does_not_hold_up_the_end(tmp_path: Path) -> None:
    with tls_and_plain(tmp_path, "--stop-timeout", "2") as (server, context):
        with server.connect(1) as hog, server.connect(1) as silent, server.connect(1) as client:
            begin_tls(hog, context)
            begin_tls(client, context)
            assert hog.ask(b"set k 0 0 1000000\r\n" + BIG + b"\r\n") == STORED
            hog.send_aside(b"get k\r\n" * 100)
            assert client.ask(b"get none\r\n") == b"END\r\n"
            assert server.terminate() == 0
            assert client.until_closed() == b""
            assert silent.until_closed() == b""
        assert complaints(server.log()) == []


def test_one_too_many_over_tls_is_refused_in_words_and_not_kept(tmp_path: Path) -> None:
    with tls_and_plain(tmp_path, "-c", "1") as (server, context), server.connect(0) as guest:
        assert guest.ask(b"version\r\n").startswith(b"VERSION ")
        with server.connect(1) as refused:
            begin_tls(refused, context)
            assert refused.until_closed() == b"ERROR Too many open connections\r\n"
        # One that never says a word has no place either.
        with server.connect(1) as silent:
            assert silent.until_closed() == b""
        assert complaints(server.log()) == []


def test_without_pyopenssl_tls_is_one_clear_line(tmp_path: Path) -> None:
    identity = make_identity(tmp_path)
    (tmp_path / "OpenSSL.py").write_text("raise ImportError('it is not installed')\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    environment = {"PYTHONPATH": path}
    server = Server(tmp_path, *identity.options, environment=environment)
    server.launch()
    assert server.ended() != 0
    (line,) = server.log().splitlines()
    assert "--enable-ssl needs pyOpenSSL: pip install 'mctwist[tls]'" in line
    with Server(tmp_path, "--port", "-1", environment=environment) as server:
        check_served(server)


# Sockets that others have made, and connections that others hand on

#: What systemd does: descriptor 3 is the socket, and the environment says so.
ACTIVATE = """\
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1", LISTEN_FDNAMES="mctwist.socket")
os.execv(sys.argv[2], sys.argv[2:])
"""


@pytest.mark.parametrize("family", ["INET", "UNIX"])
def test_a_socket_of_systemds_is_served(tmp_path: Path, family: str) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_INET if family == "INET" else socket.AF_UNIX) as listener:
        listener.bind(("127.0.0.1", 0) if family == "INET" else str(path))
        listener.listen(5)
        address = listener.getsockname()
        # Who is there before the server waits for it.
        early = Connection(address)
        number = os.dup(listener.fileno())
    os.set_inheritable(number, True)
    server = Server(tmp_path, "-l", f"systemd:domain={family}:index=0")
    server.command = [sys.executable, "-c", ACTIVATE, str(number), *server.command]
    server.inherited = [number]
    try:
        with server, early:
            assert server.addresses() == [address]
            check_session(early)
            check_unharmed(server)
            assert server.terminate() == 0
    finally:
        os.close(number)


def test_a_proxy_tells_who_its_clients_are(tmp_path: Path) -> None:
    with Server(tmp_path, "-l", "haproxy:tcp:0:interface=127.0.0.1") as server:
        header = b"PROXY TCP4 192.0.2.1 192.0.2.2 5678 11211\r\n"
        for pieces in ([header + b"get k\r\n"], [header[:9], header[9:], b"get k\r\n"]):
            with server.connect() as client:
                for piece in pieces:
                    client.send(piece)
                assert client.line() == b"END\r\n"
        with server.connect() as client:
            client.send(header)
            check_session(client)
            report = stats_of(client, "conns")
        addresses = {value for name, value in report.items() if name.endswith(":addr")}
        assert addresses == {"tcp:192.0.2.1:5678", f"tcp:127.0.0.1:{server.addresses()[0][1]}"}
        # Who says nothing of it is no proxy.
        with server.connect() as liar:
            liar.send(b"set k 0 0 1\r\nx\r\n")
            assert liar.until_closed() == b""
        with server.connect() as client:
            assert client.ask(header + b"get k\r\n") == b"END\r\n"
        assert complaints(server.log()) == []


# Clients that take much and give little


@pytest.mark.parametrize("reads", ["always", "never"])
@pytest.mark.parametrize(("size", "count"), [(1_000_000, 300), (100, 300_000)])
def test_clients_that_ask_for_much_and_never_read_cost_little_memory(
    tmp_path: Path, reads: str, size: int, count: int
) -> None:
    value = b"v" * size
    answer = b"VALUE k 0 %d\r\n%b\r\nEND\r\n" % (size, value)
    with Server(tmp_path, "--inline-reads", reads) as server, ExitStack() as stack:
        with server.connect() as connection:
            assert connection.ask(b"set k 0 0 %d\r\n%b\r\n" % (size, value)) == STORED
        check_served(server)
        descriptors = server.descriptors()
        with bounded_memory(server, 64 * MEGABYTE):
            hogs = [stack.enter_context(server.connect()) for _ in range(5)]
            for hog in hogs:
                hog.send_aside(b"get k\r\n" * count)
        with bounded_memory(server, 64 * MEGABYTE):
            # One of them reads after all, and nothing has been forgotten.
            for _ in range(0, count, 100):
                assert hogs[0].exactly(100 * len(answer)) == 100 * answer
        for hog in hogs:
            hog.reset()
        eventually(lambda: server.descriptors() <= descriptors, "the descriptors are back")
        check_unharmed(server)


def test_a_pipeline_that_is_longer_than_memory_is_read_as_fast_as_it_is_answered(
    tmp_path: Path,
) -> None:
    with Server(tmp_path) as server:
        with bounded_memory(server, 64 * MEGABYTE), server.connect() as connection:
            answer = connection.exchange(b"get k\r\n" * 1_000_000)
        assert answer == b"END\r\n" * 1_000_000
        check_unharmed(server)


@pytest.mark.parametrize("begin", [b"", b"set k 0 0 1 ", b"get ", b"gets "])
def test_a_line_of_8_mb_that_does_not_end_is_cut_off(tmp_path: Path, begin: bytes) -> None:
    with Server(tmp_path) as server:
        with bounded_memory(server, 16 * MEGABYTE), server.connect() as connection:
            sender = connection.send_aside(begin + b"a" * (8 * MEGABYTE))
            assert connection.until_closed() == b""
            sender.join(PATIENCE)
        check_unharmed(server)


@pytest.mark.parametrize(
    ("size", "answer"),
    [(1_000_000, b""), (2_000_000_000, b"SERVER_ERROR object too large for cache\r\n")],
)
def test_values_that_are_announced_and_never_come_cost_no_memory(
    tmp_path: Path, size: int, answer: bytes
) -> None:
    with Server(tmp_path) as server, ExitStack() as stack:
        with bounded_memory(server, 32 * MEGABYTE):
            for number in range(50):
                connection = stack.enter_context(server.connect())
                connection.send(b"version\r\nset k%d 0 0 %d\r\nand" % (number, size))
                assert connection.line().startswith(b"VERSION ")
                assert connection.exactly(len(answer)) == answer
        check_unharmed(server)


def test_a_thousand_values_half_sent_cost_little_memory(tmp_path: Path) -> None:
    with Server(tmp_path, "-c", "2000") as server, ExitStack() as stack:
        with bounded_memory(server, 16 * MEGABYTE):
            for number in range(1000):
                connection = stack.enter_context(server.connect())
                connection.send(b"version\r\nset k%d 0 0 1024\r\n%b" % (number, b"v" * 500))
                assert connection.line().startswith(b"VERSION ")
        connection.send(b"v" * 524 + b"\r\n")
        assert connection.line() == STORED
        check_unharmed(server)


@pytest.mark.parametrize("reads", ["always", "never"])
def test_a_line_of_very_many_keys_costs_a_few_times_its_length(tmp_path: Path, reads: str) -> None:
    line = b"get" + b" ab" * ((MEGABYTE - 8) // 3) + b"\r\n"
    with Server(tmp_path, "--inline-reads", reads) as server:
        with bounded_memory(server, 16 * MEGABYTE), server.connect() as connection:
            for _ in range(3):
                assert connection.ask(line, b"END\r\n") == b"END\r\n"
        check_unharmed(server)


def test_a_thousand_idle_connections_cost_less_than_20_mb(tmp_path: Path) -> None:
    with Server(tmp_path, "-c", "2000") as server, ExitStack() as stack:
        with bounded_memory(server, 20 * MEGABYTE):
            for _ in range(1000):
                connection = stack.enter_context(server.connect())
                assert connection.ask(b"get none\r\n") == b"END\r\n"
        check_unharmed(server)


def test_slow_clients_hold_nobody_up(tmp_path: Path) -> None:
    with Server(tmp_path, "-c", "2000") as server, ExitStack() as stack:

        def connect() -> Connection:
            return stack.enter_context(server.connect())

        assert connect().ask(b"set big 0 0 1000000\r\n" + BIG + b"\r\n") == STORED
        with bounded_memory(server, 64 * MEGABYTE):
            for _ in range(30):
                connect().ask(b"get big\r\n", b"x")
            writers = [connect() for _ in range(200)]
            for writer in writers:
                writer.send(b"set slow 0 0 10000\r\n" + b"v" * 1000)
            lines = [connect() for _ in range(500)]
            for line in lines:
                line.send(b"get slo")
            longest = 0.0
            for number in range(200):
                writers[number].send(b"v" * 1000)
                lines[number].send(b"w")
                start = time.monotonic()
                check_served(server)
                longest = max(longest, time.monotonic() - start)
            assert longest < 2
        writers[0].send(b"v" * 8000 + b"\r\n")
        assert writers[0].line() == STORED
        check_unharmed(server)


def test_watchers_that_never_read_cost_lines_and_nothing_else(tmp_path: Path) -> None:
    line = b"get" + (b" " + b"#" * 200) * 200 + b"\r\n"
    with Server(tmp_path) as server, ExitStack() as stack:
        with bounded_memory(server, 32 * MEGABYTE):
            for _ in range(20):
                watcher = stack.enter_context(server.connect())
                assert watcher.ask(b"watch fetchers\r\n") == b"OK\r\n"
            with server.connect() as client:
                assert client.ask(b"watch\r\n").startswith(b"WATCHER_TOO_MANY")
                for _ in range(200):
                    assert client.ask(line, b"END\r\n") == b"END\r\n"
                stats = stats_of(client)
        assert stats["log_watchers"] == "20"
        skipped, sent = int(stats["log_watcher_skipped"]), int(stats["log_watcher_sent"])
        assert skipped > 0
        assert skipped + sent == 20 * int(stats["log_worker_written"])
        # One that begins to read is told how many it has missed.
        lines = [watcher.line() for _ in range(100)]
        assert all(line.startswith(b"ts=") for line in lines)

        def missed() -> bool:
            check_served(server)
            watcher.socket.settimeout(0.05)
            with suppress(socket.timeout):
                return any(watcher.line().startswith(b"skipped=") for _ in range(10_000))
            return False

        eventually(missed, "the watcher is told")
        check_unharmed(server)


# Clients that make no sense

SIZES = [
    *(b"-1", b"-2", b"-2147483648", b"-2147483649", b"-9223372036854775809", b"-0", b"--1", b"-"),
    *(b"2147483646", b"2147483647", b"2147483648", b"4294967295", b"4294967296", b"4294967299"),
    *(b"9223372036854775807", b"9223372036854775808", b"18446744073709551621", b"1" + b"0" * 30),
    *(b"1e3", b"0x2", b"1_0", b"+5", b"1.0", b"1,0", b"0b1", b"NaN", b"inf", b"five", b"5\0"),
    *("٣".encode(), "²".encode(), b"\xff", b"9" * 300, b"9" * 1500, b"\t5", b"5\t", b"noreply"),
]


@pytest.mark.parametrize(
    "line", [b"set k 0 0 %b", b"append k 0 0 %b", b"cas k 0 0 %b 1", b"add k 0 0 %b noreply"]
)
def test_a_size_that_is_none_gets_nobody_stuck(tmp_path: Path, line: bytes) -> None:
    stuck = []
    with Server(tmp_path) as server:
        for size in SIZES:
            with server.connect() as connection:
                connection.socket.settimeout(STUCK)
                # One that is taken for a small size may swallow some of these.
                connection.send(line % size + b"\r\n" + b"version\r\n" * 10)
                try:
                    answer = connection.until(b"VERSION")
                except socket.timeout:
                    stuck.append(size)
                else:
                    assert b"STORED" not in answer
        assert stuck == []
        check_unharmed(server)


@pytest.mark.parametrize("pieces", [1, 2], ids=["whole", "in pieces"])
@pytest.mark.parametrize("word", [b"GET", b"POST", b"OPTIONS"])
def test_a_browser_is_hung_up_on_and_its_body_is_not_run(
    tmp_path: Path, word: bytes, pieces: int
) -> None:
    head = b"%b /k HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 26\r\n\r\n" % word
    body = b"set k 0 0 3\r\nbad\r\n" * 3
    with Server(tmp_path) as server:
        with server.connect() as connection:
            for piece in [head + body] if pieces == 1 else [head, body]:
                connection.send_aside(piece).join(PATIENCE)
            assert connection.until_closed() == b""
        with server.connect() as connection:
            assert connection.ask(b"get k\r\n") == b"END\r\n"
        check_unharmed(server)


# Many clients


def test_one_connection_too_many_is_refused_in_words(tmp_path: Path) -> None:
    with Server(tmp_path, "-c", "10") as server, ExitStack() as stack:
        guests = [stack.enter_context(server.connect()) for _ in range(10)]
        for guest in guests:
            assert guest.ask(b"version\r\n").startswith(b"VERSION ")
        for _ in range(3):
            with server.connect() as refused:
                assert refused.until_closed() == b"ERROR Too many open connections\r\n"
        assert stats_of(guests[0])["rejected_connections"] == "3"
        guests.pop().close()

        def is_served() -> bool:
            with server.connect() as newcomer:
                return newcomer.ask(b"version\r\n").startswith(b"VERSION ")

        eventually(is_served, "there is room for another")
        assert complaints(server.log()) == []


def test_the_limit_of_open_files_is_raised_for_so_many_connections(tmp_path: Path) -> None:
    server = Server(tmp_path, "-c", "2048")
    server.command = ["sh", "-c", 'ulimit -Sn 256 && exec "$@"', "sh", *server.command]
    with server, ExitStack() as stack:
        assert "--conn-limit" not in server.log()
        for _ in range(1100):
            guest = stack.enter_context(server.connect())
            assert guest.ask(b"version\r\n").startswith(b"VERSION ")
        check_unharmed(server)


def test_who_says_nothing_for_long_is_closed(tmp_path: Path) -> None:
    with Server(tmp_path, "--idle-timeout", "1") as server, ExitStack() as stack:
        silent, line, value, watcher, talking = (
            stack.enter_context(server.connect()) for _ in range(5)
        )
        assert watcher.ask(b"watch connevents\r\n") == b"OK\r\n"
        assert silent.ask(b"get k\r\n") == b"END\r\n"
        line.send(b"get k\r\nget so")
        value.send(b"get k\r\nset k 0 0 10\r\nhalf")
        waiting = {silent, line, value}
        ends: list[bytes] = []

        def all_closed() -> bool:
            assert talking.ask(b"get k\r\n") == b"END\r\n"
            readable, _, _ = select.select([each.socket for each in waiting], [], [], 0)
            for each in [each for each in waiting if each.socket in readable]:
                ends.append(each.until_closed())
                waiting.discard(each)
            return not waiting

        line.line()
        value.line()
        eventually(all_closed, "those who say nothing are closed")
        assert ends == [b""] * 3
        assert stats_of(talking)["idle_kicks"] == "3"
        for _ in range(3):
            assert b" reason=idle_timeout " in watcher.line()
        check_unharmed(server)


def test_what_happens_can_be_watched(tmp_path: Path) -> None:
    with Server(tmp_path) as server, ExitStack() as stack:
        watcher = stack.enter_context(server.connect())
        assert watcher.ask(b"watch fetchers mutations deletions connevents\r\n") == b"OK\r\n"
        with server.connect() as client:
            assert client.ask(b"set k 0 0 5\r\nvalue\r\n") == STORED
            assert client.ask(b"get k\r\n", b"END\r\n").endswith(b"END\r\n")
            assert client.ask(b"delete k\r\n") == b"DELETED\r\n"
            port = client.socket.getsockname()[1]
        lines = [watcher.line().decode().split() for _ in range(6)]
        for number, line in enumerate(lines, 1):
            assert abs(float(line[0][3:]) - time.time()) < PATIENCE
            assert line[1] == f"gid={number}"
        fields = [dict(word.split("=") for word in line[2:]) for line in lines]
        kinds = [each["type"] for each in fields]
        assert kinds == ["conn_new", "item_store", "item_get", "item_get", "deleted", "conn_close"]
        assert len({each["cfd"] for each in fields if "cfd" in each}) == 1
        assert (fields[0]["rip"], fields[0]["rport"]) == ("127.0.0.1", str(port))
        assert fields[5]["reason"] == "normal"
        check_unharmed(server)


@pytest.mark.parametrize("kind", ["lmdb", "memory"])
def test_evictions_can_be_watched_and_counted(tmp_path: Path, kind: str) -> None:
    with Server(tmp_path, "--storage-limit", "1m", kind=kind) as server:
        watcher, client = server.connect(), server.connect()
        assert watcher.ask(b"watch evictions\r\n") == b"OK\r\n"
        count = 0

        def fill() -> bool:
            nonlocal count
            for number in range(100):
                key = b"k%d" % (count + number)
                assert client.ask(b"set %b 0 0 10000\r\n%b\r\n" % (key, BIG[:10000])) == STORED
            count += 100
            return int(stats_of(client)["evictions"]) > 0

        eventually(fill, "something is evicted")
        fields = dict(word.split("=") for word in watcher.line().decode().split())
        assert fields["type"] == "eviction"
        assert fields["key"] in {f"k{number}" for number in range(count)}
        assert (fields["fetch"], fields["ttl"], fields["size"]) == ("no", "-1", "10000")
        assert stats_of(client)["limit_maxbytes"] == str(1 << 20)
        assert client.ask(b"cache_memlimit 64\r\n")[:2] in (b"OK", b"ME")
        watcher.close()
        client.close()
        check_unharmed(server)


@pytest.mark.parametrize("kind", ["lmdb", "directory", "memory"])
def test_a_dump_while_others_write(tmp_path: Path, kind: str) -> None:
    count = 2_000 if kind == "directory" else 50_000
    with Server(tmp_path, kind=kind) as server, ExitStack() as stack:
        writer, stalled, reader = (stack.enter_context(server.connect()) for _ in range(3))
        for start in range(0, count, 1000):
            sets = [b"set k%d 0 0 3 noreply\r\nabc\r\n" % (start + n) for n in range(1000)]
            assert writer.ask(b"".join(sets) + b"get none\r\n") == b"END\r\n"
        # One that does not read holds up neither those who write nor those who read.
        stalled.send(b"lru_crawler metadump all\r\n")
        assert stalled.line() == b"OK\r\n"
        stop = Event()
        answers: list[bytes] = []

        def write() -> None:
            lines = b"set k%d 0 0 5\r\nagain\r\nset new%d 0 0 1\r\nx\r\ndelete new%d\r\n"
            while not stop.is_set():
                number = len(answers)
                line = lines % (number % count, number, number)
                answers.append(writer.ask(line, b"DELETED\r\n"))

        thread = Thread(target=write)
        thread.start()
        stack.callback(thread.join)
        stack.callback(stop.set)
        check_served(server)
        stalled.close()

        def dump() -> bytes:
            reader.send(b"lru_crawler metadump all\r\nget k0\r\n")
            first = reader.line()
            return b"" if first.startswith(b"BUSY") else first + reader.until(b"END\r\n")

        def dumped() -> bytes:
            lines = dump()
            answer = reader.until(b"END\r\n")
            assert answer.startswith(b"VALUE k0 0 "), answer
            return lines

        told = eventually(dumped, "the turn of the one that has gone is free")
        keys = [line.split(b" ")[0][4:] for line in told.splitlines()[1:-1]]
        kept = sorted(key for key in keys if key.startswith(b"k"))
        assert kept == sorted(b"k%d" % number for number in range(count))
        stop.set()
        thread.join()
        assert len(answers) > 1
        assert set(answers) == {STORED + STORED + b"DELETED\r\n"}
        check_unharmed(server)


def test_dumps_cost_no_memory_and_take_turns(tmp_path: Path) -> None:
    # In memory, for what is read of a file in LMDB counts as memory, too.
    with Server(tmp_path, kind="memory") as server, ExitStack() as stack:
        with server.connect() as client:
            for start in range(0, 100_000, 1000):
                sets = [b"set %0200d 0 0 1 noreply\r\nx\r\n" % (start + n) for n in range(1000)]
                assert client.ask(b"".join(sets) + b"get none\r\n") == b"END\r\n"
            slow = stack.enter_context(server.connect())
            with bounded_memory(server, 16 * MEGABYTE):
                slow.send(b"lru_crawler metadump all\r\n")
                assert slow.line() == b"OK\r\n"
                for _ in range(20):
                    other = stack.enter_context(server.connect())
                    assert other.ask(b"lru_crawler metadump all\r\n").startswith(b"BUSY ")
                check_served(server)
            assert slow.until(b"END\r\n").count(b"key=0") == 100_000
        check_unharmed(server)


def test_watching_can_be_forbidden(tmp_path: Path) -> None:
    with Server(tmp_path, "-W") as server, server.connect() as client:
        assert client.ask(b"watch\r\n") == b"CLIENT_ERROR watch commands not allowed\r\n"
        assert complaints(server.log()) == []


def test_by_default_the_1025th_connection_is_refused(tmp_path: Path) -> None:
    with Server(tmp_path) as server, ExitStack() as stack:
        for _ in range(1024):
            stack.enter_context(server.connect())
        with server.connect() as refused:
            assert refused.until_closed() == b"ERROR Too many open connections\r\n"


def test_resets_and_churn_leave_nothing_behind(tmp_path: Path) -> None:
    with Server(tmp_path) as server:
        with server.connect() as connection:
            assert connection.ask(b"set big 0 0 1000000\r\n" + BIG + b"\r\n") == STORED
        check_served(server)
        descriptors = server.descriptors()
        for number in range(500):
            connection = server.connect()
            if number % 5 == 0:
                # In the midst of answers, of writes under way, and of a value.
                connection.send(b"get big\r\n" * 5 + b"set k 0 0 1\r\nv\r\n" * 50)
                connection.send(b"set k 0 0 100000\r\n" + b"v" * 5000)
                connection.reset()
            else:
                connection.close()
        eventually(lambda: server.descriptors() <= descriptors, "the descriptors are back")
        with server.connect() as connection:
            eventually(lambda: stats_of(connection)["curr_connections"] == "1", "it is alone")
        check_unharmed(server)


def test_no_client_keeps_it_from_stopping(tmp_path: Path) -> None:
    with Server(tmp_path, "--stop-timeout", "3") as server, ExitStack() as stack:
        idle, line, value, hog = (stack.enter_context(server.connect()) for _ in range(4))
        assert hog.ask(b"set big 0 0 1000000\r\n" + BIG + b"\r\n") == STORED
        hog.send(b"get big\r\n" * 100)
        assert idle.ask(b"get none\r\n") == b"END\r\n"
        assert line.ask(b"get none\r\nget no") == b"END\r\n"
        assert value.ask(b"get none\r\nset k 0 0 100\r\nhalf") == b"END\r\n"
        server.terminate()
        for connection in (idle, line, value):
            assert connection.until_closed() == b""
        assert complaints(server.log()) == []
        assert f"closed lmdb:{server.store}" in server.log()


def test_a_client_that_never_reads_does_not_keep_it_from_stopping_in_time(tmp_path: Path) -> None:
    with Server(tmp_path, "--stop-timeout", "2") as server, ExitStack() as stack:
        hogs = [stack.enter_context(server.connect()) for _ in range(3)]
        assert hogs[0].ask(b"set big 0 0 1000000\r\n" + BIG + b"\r\n") == STORED
        for hog in hogs:
            hog.send_aside(b"get big\r\n" * 100_000)
        check_served(server)
        start = time.monotonic()
        assert server.terminate() == 0
        assert 1 < time.monotonic() - start < 4
        assert f"closed lmdb:{server.store}" in server.log()


def test_clients_that_are_idle_hardly_hold_it_up(tmp_path: Path) -> None:
    with Server(tmp_path) as server, ExitStack() as stack:
        idle = [stack.enter_context(server.connect()) for _ in range(50)]
        for connection in idle:
            assert connection.ask(b"get none\r\n") == b"END\r\n"
        start = time.monotonic()
        assert server.terminate() == 0
        assert time.monotonic() - start < 4
        assert all(connection.until_closed() == b"" for connection in idle)


def test_a_client_that_still_sends_while_it_stops_gets_its_last_answer(tmp_path: Path) -> None:
    answer = b"VALUE big 0 1000000\r\n" + BIG + b"\r\nEND\r\n"
    with Server(tmp_path) as server:
        with server.connect() as connection:
            assert connection.ask(b"set big 0 0 1000000\r\n" + BIG + b"\r\n") == STORED
        with closing(socket.socket()) as client:
            # Most of the answer is still to be taken from the server when it closes.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(PATIENCE)
            address = server.addresses()[0]
            client.connect(address)
            client.sendall(b"get big\r\n")
            received = client.recv(100)
            client.sendall(b"set k 0 0 1000\r\n")
            os.kill(server.pid, signal.SIGTERM)

            def is_refused() -> bool:
                try:
                    Connection(address).close()
                except ConnectionRefusedError:
                    return True
                return False

            eventually(is_refused, "the port is closed")
            for _ in range(20):
                with suppress(ConnectionError):
                    client.sendall(b"v")
                time.sleep(0.01)  # each is a packet
            with suppress(ConnectionError):
                while piece := client.recv(65536):
                    received += piece
        assert received == answer
        assert server.ended() == 0


class Writer:
    """
    A client that pipelines sets without an end, and reads what comes.

    :ivar answers: as far as they have come; :ivar whole: they ended with the stream, not a reset.
    """

    def __init__(self, connection: Connection, name: bytes, count: int) -> None:
        self._connection = connection
        self._name = name
        self._count = count
        self.answers = b""
        self.whole = False
        commands = [b"set %b 0 0 1\r\nv\r\n" % self.key(number) for number in range(count)]
        self._sender = connection.send_aside(b"".join(commands))
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def key(self, number: int) -> bytes:
        return b"%b-%d" % (self._name, number)

    def _read(self) -> None:
        try:
            while piece := self._connection.socket.recv(65536):
                self.answers += piece
            self.whole = True
        except OSError:
            return

    def join(self) -> None:
        self._reader.join(PATIENCE)
        self._connection.close()
        self._sender.join(PATIENCE)

    def acknowledged(self) -> int:
        count = self.answers.count(STORED)
        assert self.answers == STORED * count
        assert count < self._count, "it was stopped too late for this test"
        return count


def test_sigterm_in_the_midst_of_pipelined_sets_loses_nothing_and_answers_all(
    tmp_path: Path,
) -> None:
    with Server(tmp_path) as server, ExitStack() as stack:
        connections = [stack.enter_context(server.connect()) for _ in range(50)]
        writers = [
            Writer(connection, b"w%d" % number, 20_000)
            for number, connection in enumerate(connections)
        ]
        eventually(lambda: all(writer.answers for writer in writers), "all have been answered")
        assert server.terminate() == 0
        for writer in writers:
            writer.join()
        assert all(writer.whole for writer in writers)
        server.start()
        with server.connect() as connection:
            for writer in writers:
                acknowledged = writer.acknowledged()
                for start in range(0, acknowledged, 500):
                    keys = [writer.key(n) for n in range(start, min(start + 500, acknowledged))]
                    answer = connection.ask(b"get %b\r\n" % b" ".join(keys), b"END\r\n")
                    assert answer.count(b"VALUE ") == len(keys)
                # And nothing was stored of which the client has not heard.
                assert connection.ask(b"get %b\r\n" % writer.key(acknowledged)) == b"END\r\n"
        assert complaints(server.log()) == []


# No room


def limit_files(server: Server, size: int) -> None:
    """Have the disk full for the server: no file of its may grow beyond `size`."""
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (size, size))


def fill(connection: Connection, size: int, most: int) -> int:
    """Store values of `size` bytes until there is no room, at most `most`; how many there are."""
    for number in range(most):
        answer = connection.ask(b"set k%d 0 0 %d\r\n%b\r\n" % (number, size, b"v" * size))
        if answer != STORED:
            assert answer == NO_ROOM
            return number
    pytest.fail("the store took everything")


def check_full(server: Server, size: int, most: int) -> None:
    """Fill the store; reads and deletes go on; what has been deleted is room for others."""
    with server.connect() as connection:
        count = fill(connection, size, most)
        assert count > 10
        data = b"set again 0 0 %d\r\n%b\r\n" % (size, b"v" * size)
        for _ in range(50):
            connection.ask(data)
        assert server.log().count("the store answers errors") == 1
        for number in range(count):
            answer = b"VALUE k%d 0 %d\r\n%b\r\nEND\r\n" % (number, size, b"v" * size)
            assert connection.ask(b"get k%d\r\n" % number, b"END\r\n") == answer
        for number in range(count):
            assert connection.ask(b"delete k%d\r\n" % number) == b"DELETED\r\n", number
        eventually(lambda: connection.ask(data) == STORED, "there is room again", RECOVERY)
        # Room comes with the next checkpoint, so the first try may end early.
        eventually(
            lambda: fill(connection, size, most) > count // 2, "there is room for many", RECOVERY
        )
    assert "Traceback" not in server.log()


@pytest.mark.parametrize("megabytes", [4, 24])
def test_a_store_at_its_limit_refuses_what_needs_room_and_nothing_else(
    tmp_path: Path, megabytes: int
) -> None:
    with Server(tmp_path, "-M", "--storage-limit", f"{megabytes}m") as server:
        check_full(server, 16_384, megabytes * 100)


# Less than a journal grows to, and more.
@pytest.mark.parametrize("megabytes", [6, 24])
def test_a_full_disk_refuses_what_needs_room_and_nothing_else(
    tmp_path: Path, megabytes: int
) -> None:
    with Server(tmp_path) as server:
        limit_files(server, megabytes * MEGABYTE)
        check_full(server, 16_384, megabytes * 100)
        server.kill()
        server.start()
        check_served(server)


def test_a_file_for_which_the_disk_has_no_room_spoils_no_other(tmp_path: Path) -> None:
    with Server(tmp_path, kind="directory") as server:
        limit_files(server, MEGABYTE // 2)
        with server.connect() as connection:
            for request, answer in [
                (b"set k 0 0 1\r\nv\r\n", STORED),
                (b"set k 0 0 1000000\r\n" + BIG + b"\r\n", NO_ROOM),
                (b"get k\r\n", b"VALUE k 0 1\r\nv\r\nEND\r\n"),
                (b"delete k\r\n", b"DELETED\r\n"),
                (b"set k 0 0 1\r\nw\r\n", STORED),
                # As one batch: what comes in one piece.
                (
                    b"set a 0 0 1\r\na\r\nset b 0 0 1000000\r\n" + BIG + b"\r\nget k a b\r\n",
                    STORED + NO_ROOM + b"VALUE k 0 1\r\nw\r\nVALUE a 0 1\r\na\r\nEND\r\n",
                ),
            ]:
                connection.send(request)
                assert connection.exactly(len(answer)) == answer
        assert server.log().count("the store answers errors") == 1
