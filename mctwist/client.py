"""
A connection to a server, as a client has it.

It is pymemcache's `Client`, connected to whichever address of a name answers, and logged in where
that is asked for. What is sent and how its answer is read is for the caller, for pymemcache knows
nothing of ranges, of whole records, or of answers that are too long to be taken at once.

The rule: whoever asks reads the answer whole, or closes the connection. What is left of an answer
would be taken for the next one's.
"""

import re
import socket
import ssl
from contextlib import suppress
from io import BytesIO
from typing import Any, BinaryIO, Callable, NamedTuple, Optional, TypeVar, Union

from pymemcache.client.base import Client  # type: ignore[import-untyped]  # it has no types
from pymemcache.exceptions import (  # type: ignore[import-untyped]
    MemcacheClientError,
    MemcacheServerError,
    MemcacheUnexpectedCloseError,
)

#: What it looks like when a connection fails.
LOST = (OSError, MemcacheUnexpectedCloseError)
#: What it looks like when a server answers with an error. (pymemcache takes a connection that is
#: closed for one of these: who tells them apart looks for LOST first.)
REFUSED = (MemcacheClientError, MemcacheServerError)

PORT = 11211

#: The most that a server may be set up to take: bytes (memcached's -I goes to 1 GB).
MOST_VALUE = 1 << 30

#: Bytes of a line; those of any server have some hundreds.
MOST_LINE = 1 << 20

#: A host and a port, or the path of a UNIX socket.
Address = Union[tuple[str, int], str]

T = TypeVar("T")
Read = Callable[[BinaryIO], T]

_HOST = re.compile(r"(?:\[(?P<six>[^]]+)\]|(?P<host>[^:]*))(?::(?P<port>\d{1,5}))?\Z").match


def address_of(text: str) -> Address:
    """
    The address that is written `HOST`, `HOST:PORT`, `[HOST]:PORT` or `unix:PATH`.

    :raises ValueError: it is none of these; with a text for people.
    """
    if text.startswith("unix:") and len(text) > len("unix:"):
        return text[len("unix:") :]
    match = _HOST(text)
    host = match and (match["six"] or match["host"])
    port = int((match and match["port"]) or PORT)
    if not host or not 0 < port < 1 << 16:
        raise ValueError(f"{text!r} is not HOST:PORT, [HOST]:PORT or unix:PATH")
    return host, port


def written(address: Address) -> str:
    """An address, as `address_of` takes it."""
    if isinstance(address, str):
        return f"unix:{address}"
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Connection(Client):  # type: ignore[misc]  # it has no types
    """
    One connection.

    :param login: the name and the password of a user; None: nobody is asked for one.
    :ivar answers: what the server sends, to be read.
    """

    sock: Any

    def __init__(self, server: Any, login: Optional[tuple[str, str]], **options: Any) -> None:
        super().__init__(server, **options)
        self._address = server
        self._login = login
        self.answers: BinaryIO = BytesIO()

    def open(self) -> None:
        """
        Be connected. One that the server has closed meanwhile is replaced.

        :raises OSError: the server cannot be reached.
        :raises MemcacheClientError: the user is refused.
        """
        if self.sock is not None and not self._is_stale():
            return
        self.close()
        self._connect()
        self.answers = self.sock.makefile("rb")
        if self._login is not None and self._wants_login():
            words = " ".join(self._login).encode()
            self.ask(b"set login 0 0 %d\r\n%b\r\n" % (len(words), words), line)

    def send(self, request: bytes) -> None:
        """
        Send all of `request`, whose answer is read later.

        A server may stop reading until its answers are read: who sends much reads meanwhile.
        """
        try:
            self.sock.sendall(request)
        except BrokenPipeError:
            # It is the server that is gone, and not who reads the output of a command.
            raise MemcacheUnexpectedCloseError from None

    def ask(self, request: bytes, read: "Read[T]", wait: float = 0.0) -> T:
        """
        Send `request`, and read its answer.

        :param wait: seconds that the server may take, beyond the timeout of the connection.
        """
        if self.timeout is not None:
            self.sock.settimeout(self.timeout + wait)
        self.send(request)
        return read(self.answers)

    def close(self) -> None:
        with suppress(OSError):
            self.answers.close()
        super().close()

    def _connect(self) -> None:
        # pymemcache's takes the first address of a name and no other, where `localhost` may be ::1
        # and the server on 127.0.0.1; and of a UNIX socket a relative path for a host.
        self.close()
        try:
            if isinstance(self._address, str):
                self.sock = socket.socket(socket.AF_UNIX)
                self.sock.settimeout(self.connect_timeout)
                self.sock.connect(self._address)
            else:
                self.sock = socket.create_connection(self._address, self.connect_timeout)
                self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if self.tls_context is not None:
                    self.sock = self.tls_context.wrap_socket(
                        self.sock, server_hostname=self._address[0]
                    )
        except ValueError:
            # Too long for a name, or with a NUL in it.
            raise OSError("no such name") from None
        self.sock.settimeout(self.timeout)

    def _wants_login(self) -> bool:
        # A login is a `set`: a server that asks nobody would store the password, for all to read.
        try:
            self.ask(b"version\r\n", line)
        except MemcacheClientError:
            return True
        return False

    def _is_stale(self) -> bool:
        # Nobody is asked anything, so there is nothing to read but an end. (Under TLS there may be
        # what is not for us, such as the tickets for a later session; so it is not poll's to tell.)
        self.sock.settimeout(0)
        try:
            self.sock.recv(1)
        except (BlockingIOError, ssl.SSLWantReadError):
            return False
        except OSError:
            return True
        finally:
            self.sock.settimeout(self.timeout)
        return True


class Server(NamedTuple):
    """
    A server that is to be asked.

    :ivar login: the name and the password of a user; None: it asks for none.
    :ivar tls: None: it is spoken to in clear.
    :ivar timeout: seconds that an answer may take, and that connecting may.
    """

    address: Address
    login: Optional[tuple[str, str]] = None
    tls: Optional[ssl.SSLContext] = None
    timeout: float = 10.0

    def connect(self, timeout: Optional[float] = None) -> Connection:
        """
        A new connection, open. Raises as `Connection.open` does.

        :param timeout: seconds that an answer may take on this one; None: as on all.
        """
        connection = Connection(
            self.address,
            self.login,
            connect_timeout=self.timeout,
            timeout=timeout or self.timeout,
            tls_context=self.tls,
        )
        try:
            connection.open()
        except BaseException:
            connection.close()
            raise
        return connection

    def __str__(self) -> str:
        return written(self.address)


def line(answers: BinaryIO) -> bytes:
    """
    The next line, without its end.

    :raises MemcacheServerError: it says so; :raises MemcacheClientError: it says so.
    :raises MemcacheUnexpectedCloseError: the connection has ended.
    """
    words = raw_line(answers)
    if words.startswith(b"SERVER_ERROR "):
        raise MemcacheServerError(readable(words[13:]))
    if words.startswith((b"CLIENT_ERROR ", b"ERROR")):
        raise MemcacheClientError(readable(words))
    return words


def readable(words: bytes) -> str:
    """What a server has said, for people."""
    return escaped(words.decode(errors="backslashreplace"))


def escaped(text: str, but: str = "") -> str:
    """`text`, in which whatever would do something to a terminal is spelt, `but` for these."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in but else repr(each)[1:-1] for each in text)


def raw_line(answers: BinaryIO) -> bytes:
    """The next line, whatever it says, without its end, which may be a bare LF."""
    words = answers.readline(MOST_LINE)
    if not words.endswith(b"\n"):
        if len(words) == MOST_LINE:
            raise MemcacheServerError("a line without an end")
        raise MemcacheUnexpectedCloseError
    return words[:-2] if words.endswith(b"\r\n") else words[:-1]


def block(answers: BinaryIO, size: int) -> bytes:
    """
    A value of `size` bytes, which is next.

    :raises ValueError: no value has that size, so it was no memcached's answer.
    """
    if not 0 <= size <= MOST_VALUE:
        raise ValueError(f"a value of {size} bytes")
    value = answers.read(size + 2)
    if len(value) < size + 2:
        raise MemcacheUnexpectedCloseError
    return value[:-2]


def stats(answers: BinaryIO) -> "dict[str, str]":
    """
    What `stats`, or a part of it, answers.

    :raises MemcacheServerError: something else, as what speaks another protocol does.
    """
    told: dict[str, str] = {}
    while True:
        words = line(answers)
        if words in (b"END", b"RESET", b"OK"):
            return told
        if not words.startswith(b"STAT "):
            raise MemcacheServerError(readable(words))
        name, _, value = readable(words[5:]).partition(" ")
        told[name] = value
