# SPDX-License-Identifier: GPL-2.0
"""Two tables of results side by side."""

from collections.abc import Iterator
from pathlib import Path

from .. import common
from ..common import Failed
from .results import COLUMNS

HELP = """
Usage: scripts/compare [--fs FS] OLD NEW

Shows what differs between two tables of results, such as tests/xfstests/results.tsv
of two commits: what fails or is not run that passed, what passes that did not, what
takes more than twice as long (and 10 s more), and what has no row any more.

  --fs FS          compare these rows only
  --against FS     and on the side of OLD those of this one: of the same table, say,
                   --fs rext4-as-ext4 --against ext4

Exit status: 0 nothing got worse, 1 something failed, is not run or has no row,
2 usage.
"""
# How much longer is worth a line: that often, and so many seconds.
SLOWER, SECONDS = 2, 10
Key = tuple[str, ...]


def rows(path: Path, fs: str | None, named: str | None) -> dict[Key, list[str]]:
    """Those of this fs, by what was run where; under another name of the fs, if there is one."""
    try:
        head, *lines = path.read_text().splitlines()
    except (OSError, ValueError):
        raise Failed(f"{path} is no table of results", common.USAGE) from None
    if head.split("\t")[:7] != list(COLUMNS[:7]):
        raise Failed(f"{path} is no table of results", common.USAGE)
    found = {}
    for line in lines:
        row = line.split("\t")
        if fs in (None, row[3]):
            found[(*row[:3], named or row[3])] = row
    return found


def differences(old: dict[Key, list[str]], new: dict[Key, list[str]]) -> Iterator[tuple[str, str]]:
    """What is to be said, and of which kind it is, the worst first."""
    for kind in ("worse", "gone", "cured", "slower"):
        for key in sorted(old):
            was, now = old[key], new.get(key)
            name = f"{key[0]:<14} {' '.join(key[1:])}"
            if now is None:
                if kind == "gone":
                    yield kind, f"{name}: was {was[4]}, has no row"
            elif kind == "worse" and was[4] == "pass" != now[4]:
                yield kind, f"{name}: {now[4]}: {now[6]}"
            elif kind == "cured" and now[4] == "pass" != was[4]:
                yield kind, f"{name}: was {was[4]}: {was[6]}"
            elif kind == "slower" and was[4] == now[4] == "pass":
                before, after = int(was[5]), int(now[5])
                if after > SLOWER * before and after >= before + SECONDS:
                    yield kind, f"{name}: {before} s, now {after} s"


def main(arguments: list[str]) -> int:
    """Compares; the status is documented in the help."""
    made = common.Options(HELP)
    made.add_argument("--fs")
    made.add_argument("--against")
    made.add_argument("old", type=Path)
    made.add_argument("new", type=Path)
    asked = made.parse_args(arguments)
    old = rows(asked.old, asked.against or asked.fs, asked.fs)
    new = rows(asked.new, asked.fs, None)
    bad = False
    for kind, said in differences(old, new):
        print(f"{kind:<6} {said}")
        bad = bad or kind in ("worse", "gone")
    return 1 if bad else 0
