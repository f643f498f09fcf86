# SPDX-License-Identifier: GPL-2.0
"""Why tests failed, in the few lines that are left at the end of a long output."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from . import kernellog

# What tells most in the lines below a failure: what the kernel complained of, where a thread
# hangs, what a compiler or a program of ours threw.
TELLING = re.compile(rf"{kernellog.REPORTS.pattern}|^thread \d+|panicked at|Error\b|\berror\b")
EACH, ALL, WIDTH = 6, 30, 160
# The start of a report is found however long it is; nobody reads all of it here.
KEPT = 500


@dataclass
class Failure:
    """A test that failed, and what was said of it: the reason first."""

    name: str
    why: list[str] = field(default_factory=list)

    def add(self, text: str) -> None:
        """One more line of it."""
        line = text.removeprefix("#").strip()
        if line and len(self.why) < KEPT:
            self.why.append(line)

    def lines(self, room: int) -> list[str]:
        """The reason, and what tells most of the rest."""
        first, *rest = [part for line in self.why[:1] for part in line.split(" | ")] or [""]
        rest += self.why[1:]
        head = f"{self.name}: {first}" if first else self.name
        return [cut(head), *("  " + cut(line) for line in telling(rest, room - 1))]


def cut(line: str) -> str:
    """Not wider than a line of a log is read."""
    return line if len(line) <= WIDTH else line[: WIDTH - 3] + "..."


def telling(lines: Sequence[str], room: int) -> Sequence[str]:
    """Those that tell most: about the first that is marked, or the last ones."""
    if len(lines) <= room:
        return lines
    last = len(lines) - room
    marked = next((at for at, line in enumerate(lines) if TELLING.search(line)), len(lines))
    start = max(0, min(marked - room // 3, last))
    return lines[start : start + room]


def report(failures: Sequence[Failure]) -> list[str]:
    """All of them in ALL lines, EACH for one if there is room."""
    if not failures:
        return []
    room = max(1, min(EACH, ALL // len(failures)))
    shown = ALL // room
    lines = [line for failure in failures[:shown] for line in failure.lines(room)]
    if len(failures) > shown:
        lines.append(f"and {len(failures) - shown} more, in the logs")
    return lines
