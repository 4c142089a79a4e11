"""The options: memcached's, whole, and ours; what is made of them and what is refused."""

import contextlib
import io
import os
import tempfile
from pathlib import Path
from typing import Any, Optional

from twisted.application.service import IService
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint
from twisted.trial.unittest import SynchronousTestCase

from mctwist import tap
from mctwist.listen import Listen
from mctwist.options import Options, UsageError, size_of
from mctwist.testing import ManualReactor

QUIET, WARNED, REFUSED, ENDS = "quiet", "warned of", "refused", "ends"

#: Every option of memcached 1.6.45 (memcached.c:4911-4987): its letter, its name where it has
#: one, an argument where it takes one, and what becomes of it here.
MEMCACHED: "list[tuple[str, Optional[str], Optional[str], str]]" = [
    ("a", "unix-mask", "770", QUIET),
    ("A", "enable-shutdown", None, QUIET),
    ("Z", "enable-ssl", None, REFUSED),
    ("p", "port", "11212", QUIET),
    ("s", "unix-socket", "/tmp/s", QUIET),
    ("U", "udp-port", "11211", REFUSED),
    ("U", "udp-port", "0", QUIET),
    ("m", "memory-limit", "64", QUIET),
    ("M", "disable-evictions", None, QUIET),
    ("c", "conn-limit", "4096", QUIET),
    ("k", "lock-memory", None, WARNED),
    ("h", "help", None, ENDS),
    ("i", "license", None, ENDS),
    ("V", "version", None, ENDS),
    ("r", "enable-coredumps", None, WARNED),
    ("v", "verbose", None, QUIET),
    ("d", "daemon", None, WARNED),
    ("l", "listen", "127.0.0.1", QUIET),
    ("u", "user", "memcache", WARNED),
    ("P", "pidfile", "/run/memcached.pid", WARNED),
    ("f", "slab-growth-factor", "1.25", WARNED),
    ("n", "slab-min-size", "48", WARNED),
    ("t", "threads", "4", WARNED),
    ("t", "threads", "1", QUIET),
    ("L", "enable-largepages", None, WARNED),
    ("R", "max-reqs-per-event", "20", QUIET),
    ("C", "disable-cas", None, WARNED),
    ("b", "listen-backlog", "1024", QUIET),
    ("B", "protocol", "auto", QUIET),
    ("B", "protocol", "ascii", QUIET),
    ("B", "protocol", "binary", QUIET),
    ("I", "max-item-size", "5m", QUIET),
    ("S", "enable-sasl", None, REFUSED),
    ("F", "disable-flush-all", None, QUIET),
    ("X", "disable-dumping", None, QUIET),
    ("W", "disable-watch", None, QUIET),
    ("Y", "auth-file", "/etc/memcached.auth", QUIET),
    ("e", "memory-file", "/tmp/m", WARNED),
    ("o", "extended", "modern", WARNED),
    ("N", "napi-ids", "2", WARNED),
    ("D", "stat-key-prefix", ":", QUIET),
]

#: The option lines of Debian's /etc/memcached.conf, those that are commented out too.
DEBIAN = """
-d
# -v
# -vv
-m 64
-p 11211
-u memcache
-l 127.0.0.1
# -c 1024
# -k
# -M
# -r
-P /var/run/memcached/memcached.pid
""".strip().splitlines()


def parsed(*words: str) -> Options:
    """The options of the command line `words`."""
    options = Options()
    options.parseOptions(list(words))
    return options


class OptionsCase(SynchronousTestCase):
    """How a command line is refused."""

    def refusal(self, *words: str) -> str:
        """The one line with which `words` are refused."""
        error = self.assertRaises(SystemExit, parsed, *words)
        text = error.code
        self.assertIsInstance(text, str, f"{words} ended with {text!r}")
        self.assertNotIn("\n", text)
        self.assertTrue(text.startswith("mctwist: "), text)
        return str(text)


class MemcachedTests(OptionsCase):
    """Whoever comes from memcached keeps his command line."""

    def test_every_option_is_known_by_its_letter_and_by_its_name(self) -> None:
        for letter, name, argument, fate in MEMCACHED:
            spellings = [[f"-{letter}"] if argument is None else [f"-{letter}", argument]]
            if argument is not None:
                spellings.append([f"-{letter}{argument}"])
            if name is not None:
                spellings.append([f"--{name}" if argument is None else f"--{name}={argument}"])
            for words in spellings:
                if fate == ENDS:
                    with contextlib.redirect_stdout(io.StringIO()) as out:
                        error = self.assertRaises(SystemExit, parsed, *words)
                    self.assertEqual(error.code, 0)
                    self.assertTrue(out.getvalue())
                elif fate == REFUSED:
                    self.assertIn(f"--{name}", self.refusal(*words))
                else:
                    warnings = parsed(*words).warnings
                    self.assertEqual(len(warnings), fate == WARNED, (words, warnings))
                    if name is not None:
                        self.assertTrue(all(f"--{name}" in line for line in warnings), warnings)

    def test_idle_timeout_is_one_of_the_further_options(self) -> None:
        for words, seconds, warned in (
            (["-o", "idle_timeout=60"], 60, 0),
            (["-o", "modern,idle_timeout=60,hashpower=20"], 60, 2),
            (["-o", "idle_timeout=60", "-o", "tail_repair_time=0"], 60, 1),
            (["--extended=idle_timeout=60", "--idle-timeout", "5"], 5, 0),
            (["-o", "", "-o", ","], 0, 0),
        ):
            options = parsed(*words)
            self.assertEqual((options["idle-timeout"], len(options.warnings)), (seconds, warned))
        for value in ("idle_timeout", "idle_timeout=", "idle_timeout=-1", "idle_timeout=x"):
            self.assertIn("idle_timeout", self.refusal("-o", value))

    def test_each_is_warned_of_once(self) -> None:
        options = parsed("-f", "1", "-f", "2", "-k", "-k", "-d", "-U", "0")
        self.assertEqual(len(options.warnings), 3)
        for name in ("slab-growth-factor", "lock-memory", "daemon"):
            self.assertEqual(sum(f"--{name}" in line for line in options.warnings), 1, name)

    def test_debians_file(self) -> None:
        uncommented: list[str] = []
        for line in DEBIAN:
            words = line.lstrip("# ").split()
            parsed(*words)
            if not line.startswith("#"):
                uncommented += words
        options = parsed(*uncommented)
        self.assertEqual(options["listen"], [Listen("auto", ("127.0.0.1", 11211))])
        everything = [word for line in DEBIAN for word in line.lstrip("# ").split()]
        options = parsed(*everything)
        self.assertEqual((options["conn-limit"], options["verbose"]), (1024, 3))

    def test_letters_may_be_joined(self) -> None:
        options = parsed("-dvvAp11212")
        self.assertEqual((options["verbose"], options["port"]), (2, 11212))
        self.assertTrue(options["enable-shutdown"])

    def test_what_there_is_not(self) -> None:
        self.assertIn("--bogus", self.refusal("--bogus"))
        self.assertIn("-q", self.refusal("-q"))
        self.assertIn("stray", self.refusal("-d", "stray"))

    def test_help_names_every_option(self) -> None:
        text = str(Options())
        for _, name, _, _ in MEMCACHED:
            if name is not None:
                self.assertIn(f"--{name}", text)


class DefaultTests(OptionsCase):
    """What holds when nothing is said."""

    def test_defaults(self) -> None:
        options = parsed()
        for name, value in (
            ("listen", [Listen("auto", ("127.0.0.1", 11211))]),
            ("auth-file", None),
            ("udp-port", 0),
            ("storage", ("lmdb", "mctwist-data")),
            ("storage-limit", 10 << 30),
            ("sync", "always"),
            ("inline-reads", "auto"),
            ("conn-limit", 1024),
            ("idle-timeout", 0),
            ("stop-timeout", 10),
            ("listen-backlog", 1024),
            ("max-item-size", 1 << 20),
            ("max-reply", 64 << 20),
            ("log-format", "text"),
            ("log-level", "info"),
            ("verbose", 0),
            ("ports-file", None),
        ):
            self.assertEqual(options[name], value, name)
        self.assertEqual(options.warnings, [])
        self.assertFalse(options["enable-shutdown"] or options["disable-flush-all"])


class ListenTests(OptionsCase):
    """Where it listens."""

    def test_forms(self) -> None:
        for words, listen in (
            ([], [("127.0.0.1", 11211)]),
            (["-p", "11212"], [("127.0.0.1", 11212)]),
            (["--interface", "0.0.0.0"], [("0.0.0.0", 11211)]),
            (["--interface=::1", "-p", "7"], [("::1", 7)]),
            (["-l", "10.0.0.1"], [("10.0.0.1", 11211)]),
            (["-l", "10.0.0.1:7"], [("10.0.0.1", 7)]),
            (["-l", "localhost:7"], [("localhost", 7)]),
            (["-l", "a.example"], [("a.example", 11211)]),
            (["-l", "10.0.0.1", "-p", "7"], [("10.0.0.1", 7)]),
            (["-p", "7", "-l", "10.0.0.1"], [("10.0.0.1", 7)]),
            (["-l", "10.0.0.1,10.0.0.2:7"], [("10.0.0.1", 11211), ("10.0.0.2", 7)]),
            (["-l", "10.0.0.1", "-l", "::1"], [("10.0.0.1", 11211), ("::1", 11211)]),
            (["-l", "::1"], [("::1", 11211)]),
            (["-l", "[::1]"], [("::1", 11211)]),
            (["-l", "[::1]:7"], [("::1", 7)]),
            (["-l", "[fe80::1%lo]:7"], [("fe80::1%lo", 7)]),
            (["-l", "::1,127.0.0.1:7"], [("::1", 11211), ("127.0.0.1", 7)]),
            (["-l", "tcp:7"], ["tcp:7"]),
            (["-l", "tcp6:7:interface=\\:\\:1"], ["tcp6:7:interface=\\:\\:1"]),
            (["-l", "unix:/run/m.sock:mode=770"], ["unix:/run/m.sock:mode=770"]),
            (["-l", "ssl:7:privateKey=k.pem"], ["ssl:7:privateKey=k.pem"]),
            (["-l", "systemd:domain=INET:index=0"], ["systemd:domain=INET:index=0"]),
            (["-l", "haproxy:tcp:7"], ["haproxy:tcp:7"]),
            (["-s", "/run/m.sock"], ["unix:/run/m.sock:mode=700"]),
            (["-s", "/run/m.sock", "-a", "0777"], ["unix:/run/m.sock:mode=777"]),
            (["-s", "/run/a:b=c"], ["unix:/run/a\\:b\\=c:mode=700"]),
            (["-s", "/run/m.sock", "-p", "7"], [("127.0.0.1", 7), "unix:/run/m.sock:mode=700"]),
            (["-p", "11211", "-s", "/m"], [("127.0.0.1", 11211), "unix:/m:mode=700"]),
            (["-p", "-1", "-s", "/m"], [("127.0.0.1", 0), "unix:/m:mode=700"]),
            (["-p", "7", "-s", "/m", "-l", "::1"], [("::1", 7), "unix:/m:mode=700"]),
            (["-p", "0", "-s", "/m", "-l", "::1"], ["unix:/m:mode=700"]),
            (["-p", "0", "-s", "/run/m.sock"], ["unix:/run/m.sock:mode=700"]),
            (["-s", "/run/m.sock", "-l", "::1"], [("::1", 11211), "unix:/run/m.sock:mode=700"]),
            # 0 is none, as memcached has it, and -1 a free one, which sockets call 0.
            (["-p", "-1"], [("127.0.0.1", 0)]),
            (["-l", "10.0.0.1", "-p", "-1"], [("10.0.0.1", 0)]),
            (["-p", "0", "-l", "10.0.0.1:7,10.0.0.2"], [("10.0.0.1", 7)]),
        ):
            found = [(dialect, where) for dialect, where, _, _ in parsed(*words)["listen"]]
            self.assertEqual(found, [("auto", where) for where in listen], words)

    def test_a_path_is_made_absolute_now(self) -> None:
        (listen,) = parsed("-s", "m.sock")["listen"]
        self.assertEqual(listen.where, f"unix:{Path('m.sock').absolute()}:mode=700")

    def test_each_may_name_its_dialect(self) -> None:
        for words, listen in (
            (["lite=tcp:7"], [("lite", "tcp:7")]),
            (["text=tcp:7:interface=::1"], [("text", "tcp:7:interface=::1")]),
            (["text=unix:/m.sock"], [("text", "unix:/m.sock")]),
            (["text=::1"], [("text", ("::1", 11211))]),
            (["text=::1,10.0.0.1:7"], [("text", ("::1", 11211)), ("text", ("10.0.0.1", 7))]),
            (["text=::1", "::1"], [("text", ("::1", 11211)), ("auto", ("::1", 11211))]),
        ):
            found = parsed(*(f"--listen={word}" for word in words))["listen"]
            self.assertEqual(found, [Listen(*each) for each in listen], words)

    def test_protocol_is_the_dialect_of_those_that_name_none(self) -> None:
        for protocol, dialect in (("auto", "auto"), ("ascii", "text"), ("binary", "binary")):
            for words in ([], ["-s", "/m"], ["-l", "::1"], ["-l", "tcp:7"], ["-l", "unix:/m"]):
                (listen,) = parsed("-B", protocol, *words)["listen"]
                self.assertEqual(listen.dialect, dialect, words)
            (listen,) = parsed("-l", "lite=tcp:7", "-B", protocol)["listen"]
            self.assertEqual(listen.dialect, "lite")

    def test_one_may_be_open_to_everybody(self) -> None:
        (listen,) = parsed("-l", "text,anonymous=127.0.0.1:7")["listen"]
        self.assertEqual(listen, Listen("text", ("127.0.0.1", 7), False, True))
        (listen,) = parsed("-l", "lite,anonymous=unix:/m:mode=600")["listen"]
        self.assertEqual(listen, Listen("lite", "unix:/m:mode=600", False, True))
        for word in ("text,nobody=tcp:7", "text,=tcp:7", ",anonymous=tcp:7"):
            self.assertIn("--listen", self.refusal("-l", word))

    def test_what_is_no_address(self) -> None:
        for text in ("", "10.0.0.1:", "10.0.0.1:port", "10.0.0.1:65536", "10.0.0.1:-1", "[::1",
                     "[::1]7", "a b", "/run/m.sock", "10.0.0.1,", "A=b", "::g"):  # fmt: skip
            self.assertIn("--listen", self.refusal(f"--listen={text}"), text)

    def test_nowhere(self) -> None:
        for words in (["-p", "0"], ["-p", "0", "-l", "10.0.0.1"], ["-l", "10.0.0.1:0"]):
            self.assertIn("--port", self.refusal(*words))


class TLSTests(OptionsCase):
    """What is told of TLS."""

    FILES = ("-Z", "--ssl-chain-cert=c.pem", "--ssl-key=k.pem")

    def test_addresses_are_tls_and_the_others_are_what_they_say(self) -> None:
        for word, tls, warned in (
            ("::1", [True], False),
            ("::1,10.0.0.1:7", [True, True], False),
            ("notls:10.0.0.1:7,[::1]:7", [False, True], False),
            ("::1,notls:::1", [True, False], False),
            ("text=notls:10.0.0.1,::1", [False, True], False),
            ("unix:/m", [False], False),
            ("tcp:7", [False], True),
            ("haproxy:tcp:7", [False], True),
            ("ssl:7:privateKey=k", [True], False),
            ("haproxy:ssl:7:privateKey=k", [True], False),
        ):
            options = parsed(*self.FILES, "-l", word, "-l", "127.0.0.1")
            self.assertEqual([each.tls for each in options["listen"]], [*tls, True], word)
            self.assertEqual(len(options.warnings), warned, options.warnings)
            for warning in options.warnings:
                self.assertIn("in clear", warning)
                self.assertIn(word, warning)
        (listen,) = parsed(*self.FILES)["listen"]
        self.assertTrue(listen.tls)
        tcp, unix = parsed(*self.FILES, "-p", "7", "-s", "/m")["listen"]
        self.assertEqual((tcp.tls, unix.tls), (True, False))

    def test_without_it_nothing_is_but_an_endpoint_that_says_so(self) -> None:
        for word, tls in (("::1", False), ("tcp:7", False), ("ssl:7:privateKey=k", True)):
            (listen,) = parsed("-l", word)["listen"]
            self.assertEqual(listen.tls, tls)
        self.assertIn("notls:::1", self.refusal("-l", "notls:::1"))

    def test_memcacheds_spelling(self) -> None:
        options = parsed(
            "-Z",
            "-o",
            "ssl_chain_cert=c,ssl_key=k,ssl_keyformat=2,ssl_ca_cert=a,ssl_verify_mode=3",
            "-o",
            "ssl_min_version=3,ssl_ciphers=AES128-SHA:AES256-SHA,idle_timeout=60",
        )
        for name, value in (
            ("chain-cert", "c"), ("key", "k"), ("keyformat", 2), ("ca-cert", "a"),
            ("verify-mode", 3), ("min-version", 3), ("ciphers", "AES128-SHA:AES256-SHA"),
        ):  # fmt: skip
            self.assertEqual(options[f"ssl-{name}"], value, name)
        self.assertEqual(options["idle-timeout"], 60)
        self.assertEqual(options.warnings, [])
        for word in ("ssl_wbuf_size=16", "ssl_session_cache", "ssl_kernel_tls"):
            (warning,) = parsed("-o", word).warnings
            self.assertIn(word.partition("=")[0], warning)
        for word in ("ssl_verify_mode=4", "ssl_verify_mode", "ssl_min_version=1.2", "ssl_key=",
                     "ssl_keyformat=3", "ssl_chain_cert"):  # fmt: skip
            name = word.partition("=")[0]
            self.assertIn(f"--extended {name}: ", self.refusal(*self.FILES, "-o", word))

    def test_defaults(self) -> None:
        options = parsed(*self.FILES)
        self.assertEqual((options["ssl-min-version"], options["ssl-verify-mode"]), (2, 0))
        self.assertEqual(options.warnings, [])

    def test_what_only_seems_to_protect_is_refused(self) -> None:
        for words, told in (
            (["-Z"], "--ssl-chain-cert"),
            (["-Z", "--ssl-key=k"], "--ssl-chain-cert"),
            (["-Z", "--ssl-chain-cert=c"], "--ssl-key"),
            (["--ssl-chain-cert=c", "--ssl-key=k"], "--ssl-chain-cert: nothing is TLS"),
            (["--ssl-verify-mode=2"], "--ssl-verify-mode: nothing is TLS"),
            (["-o", "ssl_min_version=3"], "--ssl-min-version: nothing is TLS"),
            ([*self.FILES, "--ssl-verify-mode=2"], "--ssl-ca-cert"),
            ([*self.FILES, "-s", "/m"], "no TCP address"),
            ([*self.FILES, "-l", "notls:::1"], "no TCP address"),
        ):
            self.assertIn(told, self.refusal(*words), words)
        (warning,) = parsed(*self.FILES, "--ssl-ca-cert=a").warnings
        self.assertIn("--ssl-verify-mode 2", warning)


class UserTests(OptionsCase):
    """What is told of users."""

    def setUp(self) -> None:
        self.patch(os, "environ", {})

    def dialects(self, *words: str) -> "list[str]":
        return [each.dialect for each in parsed(*words)["listen"]]

    def test_sasl_serves_binary_only(self) -> None:
        os.environ["MEMCACHED_SASL_PWDB"] = "/users"
        self.assertEqual(parsed("-S")["auth-file"], "/users")
        self.assertEqual(self.dialects("-S", "-l", "::1,10.0.0.1", "-s", "/m"), ["binary"] * 3)
        self.assertEqual(self.dialects("-S", "-B", "binary"), ["binary"])
        for word in ("text=::1", "lite=tcp:7"):
            self.assertIn("binary only", self.refusal("-S", "-l", word))
        found = self.dialects("-S", "-l", "text,anonymous=tcp:7", "-l", "auto,anonymous=::1", "-p7")
        self.assertEqual(found, ["text", "binary"])

    def test_an_auth_file_opens_the_others_to_the_same_users(self) -> None:
        os.environ["MEMCACHED_SASL_PWDB"] = "/others"
        words = ("-S", "-Y", "users", "-l", "::1", "-l", "text=tcp:7")
        self.assertEqual(self.dialects(*words), ["auto", "text"])
        self.assertEqual(parsed(*words)["auth-file"], "users")

    def test_sasl_without_users_and_without_binary_is_refused(self) -> None:
        told = self.refusal("-S")
        self.assertIn("--auth-file", told)
        self.assertIn("MEMCACHED_SASL_PWDB", told)
        self.assertIn("--protocol ascii", self.refusal("-S", "-Y", "users", "-B", "ascii"))

    def test_without_sasl_the_environment_names_no_users(self) -> None:
        os.environ["MEMCACHED_SASL_PWDB"] = "/users"
        self.assertIsNone(parsed()["auth-file"])
        self.assertEqual(parsed("-Y", "users")["auth-file"], "users")
        self.assertEqual(self.dialects("-Y", "users"), ["auto"])


class ValueTests(OptionsCase):
    """What the options take."""

    def test_sizes(self) -> None:
        for text, size in (
            ("0", 0),
            ("1048576", 1 << 20),
            ("1k", 1 << 10),
            ("64K", 1 << 16),
            ("5m", 5 << 20),
            ("2M", 2 << 20),
            ("10g", 10 << 30),
            ("1G", 1 << 30),
            ("007", 7),
        ):
            self.assertEqual(size_of(text), size, text)
        for text in ("", "k", "1.5m", "-1", "+1", "1 m", " 1", "1kb", "1t", "0x10", "1_0", "1\n",
                     "\u0661", "1e3", "9" * 16):  # fmt: skip
            self.assertRaises(UsageError, size_of, text)

    def test_wrong_values_are_refused_by_the_name_of_the_option(self) -> None:
        for name, values in (
            ("port", ("65536", "-2", "abc", "", "1.5", "1_0", "+1", " 1", "\u0661", "1" * 20)),
            ("conn-limit", ("0", "-1", "abc", "", "2000000")),
            ("listen-backlog", ("0", "-1", "abc", "")),
            ("idle-timeout", ("-1", "abc", "", "1.5")),
            ("stop-timeout", ("0", "-1", "abc", "", "4000")),
            ("unix-mask", ("8", "abc", "", "77777", "-1", "0x1")),
            ("max-item-size", ("0", "1", "1023", "2g", "abc", "", "-1", "1.5m")),
            ("max-reply", ("0", "1023", "abc", "", "-1", "1t")),
            ("storage-limit", ("abc", "", "-1", "1t")),
            ("sync", ("abc", "", "Always")),
            ("inline-reads", ("yes", "")),
            ("log-format", ("xml", "")),
            ("log-level", ("loud", "", "INFO")),
            ("protocol", ("text", "negotiating", "")),
            ("udp-port", ("11211", "1", "-1", "", "x")),
            ("auth-file", ("",)),
            ("stat-key-prefix", ("",)),
        ):
            for value in values:
                self.assertIn(f"--{name}", self.refusal(f"--{name}={value}"), (name, value))

    def test_right_values_are_taken(self) -> None:
        for name, value, taken in (
            ("port", "65535", 65535),
            ("max-item-size", "1k", 1024),
            ("max-item-size", "1g", 1 << 30),
            ("max-reply", "1m", 1 << 20),
            ("storage-limit", "1m", 1 << 20),
            ("unix-mask", "660", 0o660),
            ("conn-limit", "1", 1),
            ("sync", "relaxed", "relaxed"),
            ("sync", "never", "never"),
            ("inline-reads", "never", "never"),
            ("log-format", "json", "json"),
            ("log-level", "critical", "critical"),
            ("ports-file", "ports", "ports"),
            ("stat-key-prefix", "::", b":"),
            ("storage", "memory:", ("memory", "")),
            ("storage", "lmdb:data", ("lmdb", "data")),
            ("storage", "directory:/a:b", ("directory", "/a:b")),
            ("storage", "/data", ("lmdb", "/data")),
        ):
            self.assertEqual(parsed(f"--{name}={value}")[name], taken, (name, value))

    def test_verbosity_adds_up(self) -> None:
        for words, verbosity in (([], 0), (["-v"], 1), (["-vvv"], 3), (["--verbose", "-v"], 2)):
            self.assertEqual(parsed(*words)["verbose"], verbosity)


class ServiceTests(OptionsCase):
    """The server that is made of them; nothing of it is started."""

    def made(self, *words: str) -> Any:
        return tap.assemble(parsed(*words), ManualReactor())

    def test_nothing_is_opened(self) -> None:
        with tempfile.TemporaryDirectory(prefix="mctwist-") as directory:
            path = Path(directory) / "store"
            for kind in ("lmdb", "directory"):
                service = self.made(f"--storage={kind}:{path}", "--ports-file", f"{path}.ports")
                self.assertTrue(IService.providedBy(service))
            self.assertEqual(list(Path(directory).iterdir()), [])

    def test_what_is_unknown_there_is_refused_by_the_name_of_the_option(self) -> None:
        for words, option in (
            (["--storage=valkey:x"], "--storage"),
            (["--storage=lmdb:"], "--storage"),
            (["-l", "bogus=tcp:7"], "--listen"),
            (["-l", "tcp:abc"], "--listen"),
            (["-l", "tcp:7:bogus=1"], "--listen"),
            (["-l", "ssl:7:privateKey=/nowhere"], "--listen"),
        ):
            error = self.assertRaises(SystemExit, tap.make_service, parsed(*words))
            self.assertIn(option, str(error.code), words)
            self.assertNotIn("\n", str(error.code))

    def test_who_opens_the_door_is_told(self) -> None:
        for interface, warned in (
            ("127.0.0.1", False),
            ("::1", False),
            ("127.9.9.9", False),
            ("localhost", False),
            ("0.0.0.0", True),
            ("::", True),
            ("10.0.0.1", True),
            ("a.example", True),
        ):
            for words in (["--interface", interface], ["-l", interface]):
                warnings = self.made("--storage=memory:", *words)._warnings
                self.assertEqual(any(interface in line for line in warnings), warned, words)

    def test_an_address_is_an_endpoint_of_its_family(self) -> None:
        for interface, kind in (("127.0.0.1", TCP4ServerEndpoint), ("::1", TCP6ServerEndpoint)):
            (listener,) = self.made("--storage=memory:", "--interface", interface)._listeners
            self.assertIsInstance(listener.endpoint, kind)
