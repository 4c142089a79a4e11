"""
The `mctwist` command itself: its subcommands, and nothing of what they do.

Each is loaded when it is called for: who sets a password need not wait for a REPL to be imported.

The server needs none of the libraries that it is made with, and is installed without them; the
command is there even so, and says what is missing.
"""

import os
import sys
from importlib import import_module
from typing import Any, Optional

try:
    import click

    from mctwist.shell.output import Closed, ended
except ModuleNotFoundError as fault:
    sys.exit(f"mctwist: this command needs {fault.name}: pip install 'mctwist[shell]'")

#: The subcommands, by name: each is the function of that name in the module of that name. What is
#: said of them here is what `mctwist --help` shows.
COMMANDS = {
    "shell": "Speak with a server: a REPL.",
    "demo": "See what it does, on a server of its own.",
    "top": "Watch a server: operations, hits, latencies, the busiest keys.",
    "bench": "Load a server for a few seconds, and see how long answers take.",
    "dump": "Write every item of a server, or of a store, to a file.",
    "load": "Store what is in such a file.",
    "backup": "Copy a store while its server goes on serving.",
    "restore": "Put a backup back.",
    "check": "Verify a store that no server has open, and repair it.",
    "passwd": "Add a user to an auth file, or set a password.",
}


class Commands(click.Group):
    """The group of `COMMANDS`."""

    def list_commands(self, ctx: click.Context) -> "list[str]":
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> Optional[click.Command]:
        if cmd_name not in COMMANDS:
            return None
        try:
            module = import_module(f"mctwist.shell.{cmd_name}")
        except ModuleNotFoundError as fault:
            if (fault.name or "").startswith("mctwist"):
                raise
            raise click.ClickException(
                f"{cmd_name} needs {fault.name}: pip install 'mctwist[shell]'"
            ) from None
        command: click.Command = getattr(module, cmd_name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # Left to click it would be a status of 1.
            raise Closed from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mctwist", message="%(prog)s %(version)s")
def group() -> None:
    """What there is to do with a mctwist server, and with any memcached."""


def main() -> None:
    """The program."""
    # Closed by whoever has started it, they are None, and a connection would get their numbers.
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115  # as long as it runs
    with ended():
        # Which is the status, where a command has ended with one.
        status = group(prog_name="mctwist", standalone_mode=False)
    sys.exit(status)


if __name__ == "__main__":
    main()
