"""
The `mctwist` command itself: its subcommands, and nothing of what they do.

click is asked for by nothing else, so a server is installed without it, and the command is there
even so: without click it says what is missing.
"""

import sys

try:
    import click
except ModuleNotFoundError:
    sys.exit("mctwist: this command needs click: pip install mctwist[shell]")

from mctwist.shell.passwd import passwd


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """What there is to do beside a running mctwist server."""


main.add_command(passwd)

if __name__ == "__main__":
    main(prog_name="mctwist")
