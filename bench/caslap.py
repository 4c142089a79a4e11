"""
Binary beside text, by a client that speaks both: libmemcached's generator memcaslap.

    python -m bench.caslap [--rounds N] [--seconds N] [--dir DIRECTORY]

50 connections, each with one get or set of 100 bytes under way. memcaslap never overwrites, so a
store grows from one run to the next, and a disk is not always as fast as it was: each round begins
with empty servers and runs text, binary, binary, text, and its figures are the means of two.
"""

import argparse
import sys
from collections import defaultdict
from pathlib import Path
from statistics import mean, median

from bench.__main__ import HERE, workspace
from bench.report import spread, table, thousands
from bench.results import CASLAP, keep
from bench.servers import NotStarted, running
from bench.witness import NoTestimony, memcaslap

SERVERS = ["memcached", "mctwist"]
KINDS = ["get", "set"]
DIALECTS = ["text", "binary"]
ORDER = [*DIALECTS, *DIALECTS[::-1]]
#: Binary of mctwist to its text.
TARGET = 0.9

#: Operations a second of each kind, server and dialect, one a round.
Rates = defaultdict[tuple[str, str, str], list[float]]


def play(rounds: int, seconds: float, directory: Path) -> Rates:
    rates: Rates = defaultdict(list)
    for number in range(rounds):
        for name in SERVERS:
            folder = directory / f"{name}-{number}"
            with running(name, folder) as server:
                for kind in KINDS:
                    runs = [
                        (dialect, memcaslap(server, kind, dialect, seconds, folder))
                        for dialect in ORDER
                    ]
                    for dialect in DIALECTS:
                        rate = mean(rate for each, rate in runs if each == dialect)
                        rates[kind, name, dialect].append(rate)
                        print(
                            f"round {number + 1}/{rounds}  {kind:5}{dialect:8}{name:10}"
                            f"{rate:>12,.0f}/s",
                            flush=True,
                        )
    return rates


def report(rates: Rates) -> str:
    head = ["by memcaslap, a second"]
    head += [word for name in SERVERS for word in (f"{name}, text", "binary", "binary / text")]
    rows = []
    for kind in KINDS:
        row = [kind]
        for name in SERVERS:
            text, binary = (rates[kind, name, dialect] for dialect in DIALECTS)
            ratios = [one / other for one, other in zip(binary, text)]
            row += [thousands(text), thousands(binary), spread(ratios)]
        verdict = "met" if median(ratios) >= TARGET else "missed"
        rows.append([*row, f">= {TARGET}: {verdict}"])
    return table([*head, "target"], rows)


def main() -> None:
    parser = argparse.ArgumentParser("python -m bench.caslap")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2, help="of each figure")
    parser.add_argument("--dir", type=Path, default=HERE / "work", help="for the stores")
    chosen = parser.parse_args()
    try:
        with workspace(chosen.dir) as directory:
            text = report(play(chosen.rounds, chosen.seconds, directory))
    except (NotStarted, NoTestimony) as error:
        sys.exit(f"bench.caslap: {error}")
    print(text)
    command = f"python -m bench.caslap --rounds {chosen.rounds} --seconds {chosen.seconds}"
    keep(CASLAP, f"`{command}`\n\n{text}")


if __name__ == "__main__":
    main()
