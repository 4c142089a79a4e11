"""
The options that commands have in common: which server, and as whom.

    @click.command()
    @of_server
    def command(server: Server) -> None: ...

An environment variable stands for each: MCTWIST_SERVER, MCTWIST_USER, MCTWIST_PASSWORD. A password
is never part of a command line, where others could see it.
"""

import os
import ssl
from functools import wraps
from math import isnan
from typing import Any, Callable, Optional

import click

from mctwist import client
from mctwist.client import Server

#: Where a server is, unless it is told.
DEFAULT = "127.0.0.1:11211"

#: Seconds for which anything can be waited; of more a system may not know what to make.
LONGEST = 1e6


class Seconds(click.FloatRange):
    """A time. What is no number is in any range, as click sees it."""

    def convert(
        self, value: Any, param: Optional[click.Parameter], ctx: Optional[click.Context]
    ) -> float:
        seconds: float = super().convert(value, param, ctx)
        if isnan(seconds):
            self.fail(f"{value!r} is no time.", param, ctx)
        return seconds


def of_server(command: Callable[..., Any]) -> Callable[..., Any]:
    """Have `command` called with `server`, which its options describe."""

    @click.option(
        "-s",
        "--server",
        metavar="ADDRESS",
        envvar="MCTWIST_SERVER",
        default=DEFAULT,
        show_default=True,
        help="HOST:PORT or unix:PATH; also MCTWIST_SERVER.",
    )
    @click.option("--tls", is_flag=True, envvar="MCTWIST_TLS", help="Speak TLS.")
    @click.option(
        "--tls-ca",
        metavar="FILE",
        envvar="MCTWIST_TLS_CA",
        type=click.Path(exists=True, dir_okay=False),
        help="Who vouches for the server's certificate, instead of the system's authorities.",
    )
    @click.option(
        "--tls-cert",
        metavar="FILE",
        envvar="MCTWIST_TLS_CERT",
        type=click.Path(exists=True, dir_okay=False),
        help="The certificate and key to show the server.",
    )
    @click.option("--tls-insecure", is_flag=True, help="Take any certificate.")
    @click.option(
        "-u",
        "--user",
        envvar="MCTWIST_USER",
        help="Log in; the password is MCTWIST_PASSWORD, or asked for.",
    )
    @click.option(
        "--timeout",
        type=Seconds(0, LONGEST, min_open=True),
        default=10.0,
        show_default=True,
        metavar="SECONDS",
        help="How long an answer may take.",
    )
    @wraps(command)
    def with_server(
        *args: Any,
        server: str,
        tls: bool,
        tls_ca: Optional[str],
        tls_cert: Optional[str],
        tls_insecure: bool,
        user: Optional[str],
        timeout: float,
        **options: Any,
    ) -> Any:
        try:
            address = client.address_of(server)
        except ValueError as fault:
            raise click.BadParameter(str(fault), param_hint="--server") from None
        context = None
        if tls or tls_ca or tls_cert or tls_insecure:
            context = _context(tls_ca, tls_cert, tls_insecure)
        login = None if user is None else (user, _password(user))
        return command(*args, server=Server(address, login, context, timeout), **options)

    return with_server


def _context(
    authorities: Optional[str], certificate: Optional[str], insecure: bool
) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=authorities)
        if certificate is not None:
            context.load_cert_chain(certificate)
    except (OSError, ValueError) as fault:
        raise click.ClickException(f"a certificate cannot be used: {fault}") from None
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _password(user: str) -> str:
    password = os.environ.get("MCTWIST_PASSWORD")
    if password is None:
        password = click.prompt(f"Password of {user}", hide_input=True, err=True)
    return password


as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
