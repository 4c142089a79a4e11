"""
`bench/results.md`: one file, in which each part of the benchmark has its sections.

A part that is run replaces its own sections and leaves the others' as they are.
"""

from pathlib import Path

RESULTS = Path(__file__).parent / "results.md"

#: The headings of the parts that have a command of their own.
HITS, EXPIRY, COSTS = "Hit ratios", "A million items expire", "What a client can cost"
CASLAP = "Binary beside text, by memcaslap"


def keep(heading: str, text: str) -> None:
    """Have `text` stand under `heading`, at the end if it is new."""
    before, found, after = RESULTS.read_text().partition(f"\n## {heading}\n")
    rest = after.partition("\n## ")
    tail = f"\n## {rest[2]}" if found and rest[1] else ""
    RESULTS.write_text(f"{before.rstrip()}\n\n## {heading}\n\n{text.rstrip()}\n{tail}")


def keep_main(report: str) -> None:
    """Have `report` stand first, before the sections of the other parts."""
    old = RESULTS.read_text() if RESULTS.exists() else ""
    others = [
        section
        for section in old.split("\n## ")[1:]
        if section.partition("\n")[0] in (HITS, EXPIRY, COSTS, CASLAP)
    ]
    RESULTS.write_text("\n## ".join([report.rstrip() + "\n", *others]).rstrip() + "\n")
