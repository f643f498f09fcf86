# SPDX-License-Identifier: GPL-2.0
"""What programs say of their tests, added up.

Each says it in a line of its own, "N passed, N failed, N skipped", or as cargo and unittest do. A
program that dies cannot: then the lines of its tests count, "ok 3 name" and "not ok 4 name", and
those that its plan (1..N) promised and that never came are failures.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
CARGO = re.compile(r"test result: .*\. (\d+) passed; (\d+) failed; (\d+) ignored")
OURS = re.compile(r"(\d+) passed, (\d+) failed(?:, (\d+) (?:skipped|not run))?")
PLAN = re.compile(r"1\.\.(\d+)(?:\s*#\s*(?:SKIP|skip)\b.*)?$")
TEST = re.compile(r"(not )?ok\b\s*(?:\d+\b)?\s*-?\s*([^#]*)(?:#\s*(\w+)?)?")


@dataclass
class Tally:
    """How many did what, and the names of those that failed."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    names: list[str] = field(default_factory=list)

    def __iadd__(self, other: "Tally") -> "Tally":
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.names += other.names
        return self

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"

    @property
    def tests(self) -> int:
        """All of them."""
        return self.passed + self.failed + self.skipped


class Tap:
    """The lines of a program's tests until its sum, or until it ends without one."""

    def __init__(self) -> None:
        self.planned: int | None = None
        self.seen = Tally()

    def line(self, text: str) -> None:
        """A line that is a test's, or the plan."""
        if plan := PLAN.match(text):
            self.planned = int(plan.group(1))
        elif test := TEST.match(text):
            failed, name, word = test.groups()
            if (word or "").upper() == "SKIP":
                self.seen.skipped += 1
            elif failed and (word or "").upper() != "TODO":
                self.seen.failed += 1
                self.seen.names.append(name.strip())
            else:
                self.seen.passed += 1

    def without_sum(self) -> Tally:
        """What counts if no sum has come. Without a plan there is none to expect: lines that
        begin with "ok" may be anything."""
        if self.planned is None:
            return Tally()
        lost = max(0, self.planned - self.seen.tests)
        if lost:
            self.seen.failed += lost
            self.seen.names.append(f"{lost} that did not come to an end")
        return self.seen


def counts(found: re.Match[str]) -> Tally:
    """The numbers of a sum."""
    passed, failed, skipped = (int(number or 0) for number in found.groups())
    return Tally(passed, failed, skipped)


def read(lines: Iterable[str]) -> Tally:
    """All that a part has said. It may have run several programs, one after the other."""
    total, tap = Tally(), Tap()
    for raw in lines:
        line = COLOUR.sub("", raw).rstrip()
        if found := CARGO.search(line):
            total += counts(found)
        elif found := OURS.search(line):
            told = counts(found)
            # The sum is believed, and the names are the lines'.
            if told.failed:
                told.names = tap.seen.names
            total += told
            tap = Tap()
        else:
            tap.line(line)
    total += tap.without_sum()
    return total


def of_part(lines: list[str], status: int) -> tuple[Tally, str]:
    """A part's tally and what is to be said about its end. One that fails without telling a
    failure, or tells no test, is a failure; 77 is the status of one that cannot run here."""
    found = read(lines)
    last = COLOUR.sub("", lines[-1]).strip() if lines else "it said nothing"
    if status == 77:
        found.skipped += 1
        return found, f"skipped: {last}"
    if status != 0 and not found.failed:
        found.failed = 1
        return found, f"ended with status {status}"
    if not found.passed and not found.failed:
        found.failed = 1
        return found, "ran no test"
    return found, ""
