# SPDX-License-Identifier: GPL-2.0
"""Which options of our own kernels differ from those of the kernel that Debian ships, where they
lie on a path whose time is measured or whose behaviour is tested. scripts/kconfig/hot-path.tsv says
which these are, and why those that differ do."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from .common import SCRIPTS, Failed

TABLE = SCRIPTS / "kconfig/hot-path.tsv"
FLAVOURS = ("debug", "fast", "uml")
OPTION = re.compile(r"CONFIG_([A-Za-z0-9_]+)=(.*)")
# Built in or a module: the same code runs.
SAME = {"m": "y"}


@dataclass
class Paths:
    """The table: patterns of options, and by flavour those that may differ, for a reason."""

    patterns: list[str] = field(default_factory=list)
    reasons: dict[str, list[str]] = field(default_factory=dict)

    def hot(self, option: str) -> bool:
        """Whether it lies on such a path."""
        return any(fnmatchcase(option, pattern) for pattern in self.patterns)


def options(text: str) -> dict[str, str]:
    """Those that a configuration has; one that is off is not in it."""
    found = (OPTION.fullmatch(line) for line in text.splitlines())
    return {one.group(1): SAME.get(one.group(2), one.group(2)) for one in found if one}


def table(text: str) -> Paths:
    """A line with a pattern only, or with an option, its flavours and why it differs there."""
    paths = Paths()
    for number, line in enumerate(text.splitlines(), 1):
        cells = line.split("\t")
        if not line or line.startswith("#"):
            continue
        if len(cells) == 1:
            paths.patterns.append(line)
            continue
        flavours = cells[1].split(",")
        if len(cells) != 3 or not cells[2] or not set(flavours) <= set(FLAVOURS):
            raise Failed(f"{TABLE.name}:{number}: no pattern, nor option, flavours and reason")
        for flavour in flavours:
            paths.reasons.setdefault(flavour, []).append(cells[0])
    return paths


def judged(
    paths: Paths, flavour: str, ours: Mapping[str, str], stock: Mapping[str, str]
) -> list[str]:
    """What is wrong: a difference without a reason, a reason that explains none."""
    reasons = paths.reasons.get(flavour, [])
    wrong, used = [], set()
    for option in sorted({*ours, *stock}):
        mine, theirs = ours.get(option, "n"), stock.get(option, "n")
        if mine == theirs or not paths.hot(option):
            continue
        found = [reason for reason in reasons if fnmatchcase(option, reason)]
        used.update(found)
        if not found:
            wrong.append(f"{option} is {mine} in {flavour}, {theirs} in stock: why?")
    unused = [reason for reason in reasons if reason not in used]
    return wrong + [f"{reason} does not differ in {flavour}: why a reason?" for reason in unused]


def compared(flavour: str, ours: Path, stock: Path) -> list[str]:
    """The same of the two files, by our table."""
    paths = table(TABLE.read_text())
    return judged(paths, flavour, options(ours.read_text()), options(stock.read_text()))
