"""
mctwist as a Twisted application: `twistd -n --pidfile= -y mctwist.tac`.

Each setting is an option of `twistd mctwist` and may be overridden by an environment variable,
such as MCTWIST_PORT or MCTWIST_STORAGE: the option in capitals, with `_` for `-`.
"""

import os

from twisted.application.service import Application

from mctwist.tap import Options, makeService

SETTINGS = {
    "port": "11211",
    "interface": "127.0.0.1",
    "storage": "mctwist-data",
    "storage-limit": "10g",
    "sync": "always",
    "max-item-size": "1m",
    "conn-limit": "1024",
    "idle-timeout": "0",
    "stop-timeout": "10",
    "inline-reads": "auto",
    "log-format": "text",
    "log-level": "info",
}

# These are for the environment alone: each stands for something that may be absent.
OPTIONAL = (
    "listen",
    "unix-socket",
    "unix-mask",
    "ports-file",
    "protocol",
    "auth-file",
    "ssl-chain-cert",
    "ssl-key",
    "ssl-ca-cert",
    "ssl-verify-mode",
    "ssl-min-version",
    "ssl-ciphers",
)

settings = dict(SETTINGS)
if "MCTWIST_UNIX_SOCKET" in os.environ:
    # A UNIX socket by itself replaces TCP; with MCTWIST_PORT both serve.
    del settings["port"]
for name in (*SETTINGS, *OPTIONAL):
    value = os.environ.get("MCTWIST_" + name.upper().replace("-", "_"))
    if value is not None:
        settings[name] = value

# TLS is what has a certificate.
flags = ["--enable-ssl"] if "ssl-chain-cert" in settings else []

options = Options()
options.parseOptions(flags + [f"--{name}={value}" for name, value in settings.items()])

application = Application("mctwist")
makeService(options).setServiceParent(application)
