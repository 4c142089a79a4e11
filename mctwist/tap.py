"""
The composition root: the server that is made of the options of `twistd mctwist`.

The only module that knows which dialects and which backends there are. Nothing is opened here:
twistd forks after `makeService`.
"""

import ipaddress
import os
import re
import resource
import signal
import socket
import stat
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Callable, Optional

from attrs import evolve
from twisted.application.service import IService
from twisted.internet.endpoints import (
    TCP4ServerEndpoint,
    TCP6ServerEndpoint,
    UNIXServerEndpoint,
    serverFromString,
)
from twisted.internet.interfaces import IStreamServerEndpoint
from twisted.internet.threads import deferToThread
from twisted.logger import ILogObserver, Logger
from twisted.python.components import Componentized
from zope.interface import implementer

from mctwist.auth import Users
from mctwist.backends.directory import DirectoryBackend
from mctwist.backends.lmdb import LMDBBackend
from mctwist.backends.memory import MemoryBackend
from mctwist.interfaces import MOST_STEPS, IBackend, StartError
from mctwist.listen import Listen
from mctwist.log import LazyFile, Verbosity, make_observer
from mctwist.options import Options, UsageError
from mctwist.protocols import resp, simpledb, statistics
from mctwist.protocols.binary import BinaryProtocol
from mctwist.protocols.frames import MAGIC
from mctwist.protocols.lite import LiteProtocol
from mctwist.protocols.resp import RespProtocol
from mctwist.protocols.resp_requests import ARRAY
from mctwist.protocols.services import Services, Settings
from mctwist.protocols.simpledb import SimpleDBProtocol
from mctwist.protocols.sniff import SniffingProtocol
from mctwist.protocols.text import TextProtocol
from mctwist.server import BuildConnection, ConnectionFactory, Connections, Listener, RootService
from mctwist.stats import Prefixes, Stats
from mctwist.storage import MOST_BATCH_STEPS, StorageService
from mctwist.watch import Watchers

try:
    from mctwist.tls import VERIFY_MODES, Certificates, TLSSettings
except ImportError:
    # pyOpenSSL is not installed; it is asked for by the extra of that name.
    HAVE_TLS = False
else:
    HAVE_TLS = True

__all__ = ["BACKENDS", "DIALECTS", "CannotStart", "Options", "assemble", "make_service"]

#: What may stand before the colon in `--storage`, and what is made of what stands behind it.
BACKENDS: "dict[str, Callable[[str, Options], IBackend]]" = {
    "lmdb": lambda path, options: LMDBBackend(path, options["sync"], *_limit(options)),
    "directory": lambda path, options: DirectoryBackend(path, options["sync"], *_limit(options)),
    "memory": lambda path, options: MemoryBackend(*_limit(options)),
}

#: What may stand before the equals sign in `--listen`, and the connections that speak it.
DIALECTS: "dict[str, Callable[..., BuildConnection]]" = {
    "auto": lambda services: partial(
        SniffingProtocol,
        services,
        dialects={MAGIC: BinaryProtocol, ARRAY: RespProtocol},
        otherwise=TextProtocol,
    ),
    "text": lambda services: partial(TextProtocol, services),
    "binary": lambda services: partial(BinaryProtocol, services),
    "resp": lambda services: partial(RespProtocol, services),
    "simpledb": lambda services: partial(SimpleDBProtocol, services),
    "lite": lambda services: partial(LiteProtocol, services),
}

#: Those of them that have no way to log in.
WITHOUT_LOGIN = frozenset({"simpledb", "lite"})

#: Files and sockets that the server has open besides its clients': the store, the log, the
#: listeners, and newcomers who are told that there is no room.
SPARE_FILES = 128


class CannotStart(SystemExit, Exception):
    """
    An exit without a traceback that twistd still takes for an exception: it removes its pid file,
    and in daemon mode tells the process that waits for the daemon.

    :ivar fault: why; it is in the log.
    """

    def __init__(self, fault: StartError) -> None:
        super().__init__(1)
        self.fault = fault


class CommandService(RootService):
    """
    The server as a command: what keeps it from starting is one line in the log, and exit 1.

    :param files: how many files it needs to open; None: that is not for it to see to.
    :param files_to_read: what reads them, before anything is started.
    :param signals: takes the process's signals, before anybody can know that it serves.
    """

    def __init__(
        self,
        *args: Any,
        observer: Optional[ILogObserver] = None,
        files: Optional[int] = None,
        files_to_read: "Sequence[Callable[[], None]]" = (),
        signals: "Optional[Callable[[], None]]" = None,
        **more: Any,
    ) -> None:
        super().__init__(*args, **more)
        self._observer = observer
        self._files = files
        self._files_to_read = list(files_to_read)
        self._signals = signals

    def setServiceParent(self, parent: Any) -> None:
        """Also give the application, where there is one, the observer that twistd asks it for."""
        super().setServiceParent(parent)
        if self._observer is not None and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, self._observer)

    def privilegedStartService(self) -> None:
        """What twistd has done before it gives up its privileges: they may be needed for this."""
        super().privilegedStartService()
        if self._files is not None:
            self._warnings += allow_files(self._files)
        self._read_files()

    def startService(self) -> None:
        # Where this is a part of something else, nothing may have been done before.
        self._read_files()
        if self._signals is not None:
            self._signals()
        self._try(super().startService)

    def _read_files(self) -> None:
        to_read, self._files_to_read = self._files_to_read, []
        for read in to_read:
            self._try(read)

    def _try(self, start: "Callable[[], None]") -> None:
        try:
            start()
        except StartError as fault:
            self.log.critical("cannot start: {fault}", fault=fault)
            raise CannotStart(fault) from None


def make_service(options: Options) -> IService:
    """
    The server that `options`, parsed, describe.

    :raises SystemExit: an option names what there is not; with one line that says so.
    """
    from twisted.internet import reactor

    try:
        return assemble(options, reactor)
    except UsageError as error:
        raise SystemExit(f"mctwist: {error} (see twistd mctwist --help)") from None


def assemble(options: Options, reactor: Any) -> "CommandService":
    """
    `make_service` for whoever has a reactor: outside twistd, the server leaves alone the process
    that it is in, its signals and its log.

    :raises UsageError: an option names what there is not.
    """
    stats = Stats(reactor.seconds)
    seconds = steady_clock()
    storage = StorageService(_backend(options), reactor, options["inline-reads"], seconds=seconds)
    watchers = Watchers(stats, seconds, storage.on_eviction)
    connections = Connections(options["conn-limit"], stats, reactor, options["idle-timeout"])
    certificates = _certificates(options, stats)
    users = _users(options, reactor)
    verbosity = Verbosity(options["log-level"], options["verbose"])
    settings = Settings(
        max_item_size=options["max-item-size"],
        max_reply=options["max-reply"],
        flush_enabled=not options["disable-flush-all"],
        watch_enabled=not options["disable-watch"],
        shutdown=reactor.stop if options["enable-shutdown"] else None,
        dump_enabled=not options["disable-dumping"],
        refresh_certs=certificates.reload if certificates is not None else None,
        set_verbosity=verbosity.set,
        set_limit=storage.resize,
        told=_told(options),
    )
    services = Services(storage, stats, settings, watchers, reactor, users)
    anonymous = evolve(services, users=None)
    stats.connections = connections.live
    stats.of_store = storage.figures
    delimiter = options["stat-key-prefix"]
    if delimiter is not None:
        stats.prefixes = Prefixes(delimiter, counting=True)
    listeners = []
    warnings = list(options.warnings)
    for listen in options["listen"]:
        dialect, where = listen.dialect, listen.where
        if dialect not in DIALECTS:
            raise UsageError(f"--listen {dialect}=: the dialects are {', '.join(DIALECTS)}")
        asks = users is not None and not listen.anonymous
        if asks and dialect in WITHOUT_LOGIN:
            raise UsageError(
                f"--listen {dialect}=: nobody can log in there: with users it must say "
                f"{dialect},anonymous="
            )
        reached = _open_to(listen)
        if reached and not asks and not (listen.tls and options["ssl-verify-mode"] > 1):
            warnings.append(f"whoever can reach {reached} may read and write everything")
        build = DIALECTS[dialect](anonymous if listen.anonymous else services)
        factory: Any = ConnectionFactory(connections, build)
        if certificates is not None and listen.tls and isinstance(where, tuple):
            factory = certificates.around(factory, reactor)
        listeners.append(
            Listener(
                dialect,
                where if isinstance(where, str) else f"{where[0]} port {where[1] or 'any'}",
                _endpoint(where, options["listen-backlog"], reactor),
                factory,
                listen.tls,
            )
        )

    reloaded: list[Any] = [each for each in (certificates, users) if each is not None]

    def reload() -> None:
        for each in reloaded:
            each.reload()

    log_file = _log_file(options)
    service = CommandService(
        storage,
        connections,
        listeners,
        ports_file=options["ports-file"] and os.path.abspath(options["ports-file"]),
        warnings=warnings,
        stop_timeout=options["stop-timeout"],
        files=options["conn-limit"] + SPARE_FILES if _twistd(options) else None,
        files_to_read=[each.load for each in reloaded],
        observer=log_file and make_observer(log_file, options["log-format"], verbosity),
        signals=lambda: _take_signals(reactor, log_file, reload) if _twistd(options) else None,
    )
    stats.listeners = service.listeners
    return service


def _told(options: Options) -> "dict[str, object]":
    """What `stats settings` shows of the options, besides what the text protocol goes by."""
    return {
        **_told_of_tls(options),
        "binding_protocol": _BINDING.get(options["protocol"], options["protocol"]),
        "auth_enabled_sasl": statistics.yes(options["enable-sasl"]),
        "auth_enabled_ascii": options["auth-file"] or "no",
        "verbosity": min(options["verbose"], 2),
        "evictions": "off" if options["disable-evictions"] else "on",
        "umask": f"{options['unix-mask']:o}",
        "reqs_per_event": MOST_STEPS,
        "tcp_backlog": options["listen-backlog"],
        "idle_timeout": options["idle-timeout"],
        "storage": options["storage"][0],
        "sync": options["sync"],
        "inline_reads": options["inline-reads"],
        "batch_steps": MOST_BATCH_STEPS,
        "stop_timeout": options["stop-timeout"],
        **resp.BOUNDS,
        **simpledb.BOUNDS,
    }


#: What memcached calls it (memcached.c, prot_text).
_BINDING = {"auto": "auto-negotiate"}


def _told_of_tls(options: Options) -> "dict[str, object]":
    """As of a memcached with TLS; one that has none shows none of it."""
    if not options["enable-ssl"]:
        return {}
    return {
        "ssl_enabled": "yes",
        "ssl_chain_cert": options["ssl-chain-cert"],
        "ssl_key": options["ssl-key"],
        "ssl_verify_mode": VERIFY_MODES[options["ssl-verify-mode"]],
        "ssl_keyformat": options["ssl-keyformat"],
        "ssl_ciphers": options["ssl-ciphers"] or "NULL",
        "ssl_ca_cert": options["ssl-ca-cert"] or "NULL",
        "ssl_wbuf_size": 0,
        "ssl_session_cache": "no",
        "ssl_kernel_tls": "no",
        "ssl_min_version": f"tlsv1.{options['ssl-min-version']}",
    }


def _certificates(options: Options, stats: Stats) -> "Optional[Certificates]":
    """Of the TLS that is asked for; None: it is not."""
    if not options["enable-ssl"]:
        return None
    if not HAVE_TLS:
        raise UsageError("--enable-ssl needs pyOpenSSL: pip install 'mctwist[tls]'")
    authorities = options["ssl-ca-cert"]
    # Made absolute now: a daemon changes its directory.
    return Certificates(
        TLSSettings(
            chain=os.path.abspath(options["ssl-chain-cert"]),
            key=os.path.abspath(options["ssl-key"]),
            key_format=options["ssl-keyformat"],
            authorities=authorities and os.path.abspath(authorities),
            verify_mode=options["ssl-verify-mode"],
            min_version=options["ssl-min-version"],
            ciphers=options["ssl-ciphers"],
        ),
        stats,
    )


def _users(options: Options, reactor: Any) -> "Optional[Users]":
    """Who may come in; None: everybody."""
    path = options["auth-file"]
    if path is None:
        return None
    # Made absolute now: a daemon changes its directory. The reactor's own threads have little to
    # do, and one password is checked at a time.
    return Users(os.path.abspath(path), reactor, deferToThread)


def steady_clock() -> Callable[[], float]:
    """Seconds since the epoch, counted on from now: setting the machine's clock changes nothing."""
    start = time.time() - time.monotonic()
    return lambda: start + time.monotonic()


def _backend(options: Options) -> IBackend:
    kind, argument = options["storage"]
    if kind not in BACKENDS:
        raise UsageError(f"--storage {kind}: is unknown; the kinds are {', '.join(BACKENDS)}")
    if kind == "memory":
        return BACKENDS[kind](argument, options)
    if not argument:
        raise UsageError(f"--storage {kind}: needs a path")
    # Made absolute now: a daemon changes its directory.
    return BACKENDS[kind](os.path.abspath(argument), options)


def _limit(options: Options) -> "tuple[int, bool]":
    """How many bytes may be stored, and whether there is eviction."""
    return options["storage-limit"], not options["disable-evictions"]


def _endpoint(where: Any, backlog: int, reactor: Any) -> IStreamServerEndpoint:
    if isinstance(where, tuple):
        interface, port = where
        if ":" in interface:
            return TCP6ServerEndpoint(reactor, port, backlog, interface)
        return TCP4ServerEndpoint(reactor, port, backlog, interface)
    try:
        endpoint: IStreamServerEndpoint = serverFromString(reactor, where)
    except Exception as fault:
        # Each kind of endpoint has its own way to say what is wrong with its description.
        raise UsageError(f"--listen {where}: {fault}") from None
    return Unblocked(endpoint) if isinstance(endpoint, UNIXServerEndpoint) else endpoint


@implementer(IStreamServerEndpoint)
class Unblocked:
    """
    A UNIX socket's endpoint that first removes a socket on which nobody listens.

    One is left by kill -9. Twisted's own guard, a link to the number of the process that had it,
    blocks every start from then on when another process has got that number, as in a container
    the next server often has. So it is not used: who listens is found out by asking.
    """

    def __init__(self, endpoint: UNIXServerEndpoint) -> None:
        self._endpoint = endpoint
        self._path = os.fsencode(endpoint._address)
        endpoint._wantPID = False

    def listen(self, protocolFactory: Any) -> Any:
        with suppress(OSError):
            if stat.S_ISSOCK(os.lstat(self._path).st_mode) and not _is_listened_on(self._path):
                os.unlink(self._path)
        return self._endpoint.listen(protocolFactory)


def _is_listened_on(path: bytes) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        client.setblocking(False)
        try:
            client.connect(path)
        except ConnectionRefusedError:
            return False
        except OSError:
            # One whose backlog is full, or that we may not ask.
            return True
    return True


def allow_files(needed: int, limits: Any = resource) -> "list[str]":
    """
    Have this process allowed to open so many files and sockets, with its privileges if it has any.

    :param limits: gets and sets what is allowed, as the module `resource` does.
    :return: what people must be told if it cannot be.
    """
    infinite = limits.RLIM_INFINITY
    soft, hard = limits.getrlimit(limits.RLIMIT_NOFILE)
    if soft == infinite or soft >= needed:
        return []
    enough = hard == infinite or hard >= needed
    for wanted in [(needed, hard if enough else needed), (hard, hard)]:
        try:
            limits.setrlimit(limits.RLIMIT_NOFILE, wanted)
        except (OSError, ValueError):
            continue
        soft = wanted[0]
        break
    if soft >= needed:
        return []
    return [
        f"only {max(soft - SPARE_FILES, 0)} of the {needed - SPARE_FILES} connections of "
        f"--conn-limit fit: no more than {soft} files may be open; allow {needed}, as with "
        f"`ulimit -n {needed}`"
    ]


def _open_to(listen: Listen) -> Optional[str]:
    """The address by which others than this machine's own can reach a listener, if they can."""
    if isinstance(listen.where, tuple):
        interface = listen.where[0]
    elif _TCP.match(listen.where):
        # Twisted's endpoints listen on all of them where they are not told one.
        named = _INTERFACE.search(listen.where)
        interface = named[1].replace("\\", "") if named else "every address"
    else:
        return None
    try:
        loopback = ipaddress.ip_address(interface).is_loopback
    except ValueError:
        loopback = interface == "localhost"
    return None if loopback else interface


_TCP = re.compile(r"(haproxy:)?(tcp|tcp4|tcp6|ssl):")
_INTERFACE = re.compile(r":interface=((?:[^:\\]|\\.)+)")


def _twistd(options: Options) -> "dict[str, Any]":
    """The options of twistd itself; empty: it is not twistd that has these parsed."""
    return getattr(options, "parent", None) or {}


def _log_file(options: Options) -> Any:
    """Where the log goes; None: twistd has been told of an observer, which has its own place."""
    twistd = _twistd(options)
    if twistd.get("logger") or twistd.get("syslog"):
        return None
    path = twistd.get("logfile")
    if path is None and twistd and not twistd.get("nodaemon"):
        path = "twistd.log"
    return sys.stdout if path in (None, "-") else LazyFile(os.path.abspath(path))


def _take_signals(reactor: Any, log_file: Any, reload: "Callable[[], None]") -> None:
    """
    SIGTERM ends the server with status 0, for it is how one is meant to be stopped; twistd would
    kill itself with it once more at the end. SIGUSR1 has the log reopened, SIGHUP has `reload`
    read files anew.
    """
    log = Logger()

    def stop(*args: Any) -> None:
        log.info("Received SIGTERM, shutting down.")
        reactor.callFromThread(reactor.stop)

    def reopen(*args: Any) -> None:
        if isinstance(log_file, LazyFile):
            reactor.callFromThread(log_file.reopen)

    def read_anew(*args: Any) -> None:
        reactor.callFromThread(reload)

    # At once: who sees the ports file may send one, and left alone it would end the process.
    signal.signal(signal.SIGUSR1, reopen)
    signal.signal(signal.SIGHUP, read_anew)
    # For this one the reactor sets a handler of its own when it starts to run.
    reactor.callWhenRunning(signal.signal, signal.SIGTERM, stop)


#: The name that `twistd` looks for.
makeService = make_service
