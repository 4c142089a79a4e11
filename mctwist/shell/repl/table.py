"""All commands of the shell, by their names."""

from mctwist.shell.repl import classic, meta, own

COMMANDS = {command.name: command for command in (*classic.COMMANDS, *meta.COMMANDS, *own.COMMANDS)}
