# SPDX-License-Identifier: GPL-2.0
"""What programs say of their tests, added up.

Each says it in a line of its own, "N passed, N failed, N skipped", or as cargo and unittest do. A
program that dies cannot: then the lines of its tests count, "ok 3 name" and "not ok 4 name", and
those that its plan (1..N) promised and that never came are failures.

Why a test failed stands after its name and in the lines with "#" below it.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from .reasons import Failure

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
CARGO = re.compile(r"test result: .*\. (\d+) passed; (\d+) failed; (\d+) ignored")
CARGO_OUTPUT = re.compile(r"---- (.+) stdout ----$")
OURS = re.compile(r"(\d+) passed, (\d+) failed(?:, (\d+) (?:skipped|not run))?")
PLAN = re.compile(r"1\.\.(\d+)(?:\s*#\s*(?:SKIP|skip)\b.*)?$")
TEST = re.compile(r"(not )?ok\b\s*(?:\d+\b)?\s*-?\s*([^#]*)(?:#\s*(\w+)?)?")
XFSTEST = re.compile(r"([a-z0-9]+/\d{3,})\s+fail\s+\d+ s\s*(.*)")
# The guest program's own list of those that failed, and how long it took.
CLOSING = re.compile(r"# (?:failed: |\d+ s on )")
# How long a test took, before why it failed.
TIME = re.compile(r"[\d.]+ ?s\b\s*")
# What scripts/vm says of a VM that came to no good end.
VM = re.compile(r"vm: ((?:the kernel reported|and the time limit|time limit|the VM ended).*)")
# Lines of a program that are kept in case it tells no more of its failures.
LAST = 12
# The status of a program that cannot run on this machine.
UNAVAILABLE = 77


@dataclass
class Tally:
    """How many did what, and those that failed."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    failures: list[Failure] = field(default_factory=list)
    # Why what could not run here did not.
    unavailable: list[str] = field(default_factory=list)

    def __iadd__(self, other: "Tally") -> "Tally":
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.failures += other.failures
        self.unavailable += other.unavailable
        return self

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"

    @property
    def tests(self) -> int:
        """All of them."""
        return self.passed + self.failed + self.skipped

    def fail(self, name: str, why: Iterable[str] = ()) -> None:
        """One more failure, that no program has counted."""
        self.failed += 1
        self.failures.append(Failure(name, list(why)))

    def skip(self, why: str) -> None:
        """All that a program would have tested, counted as one."""
        self.skipped += 1
        self.unavailable.append(why)


class Tap:
    """The lines of a program's tests until its sum, or until it ends without one."""

    def __init__(self) -> None:
        self.planned: int | None = None
        self.seen = Tally()
        self._name = ""
        # Where comments go: to the last failure, until another test is told.
        self._open: Failure | None = None
        # Of cargo's tests all lines are, up to the next one's.
        self._all = False
        self._last: list[str] = []

    def line(self, text: str) -> None:
        """A line that may be the plan, a test's, or belong to one."""
        self._last = [*self._last[1 - LAST :], text]
        if plan := PLAN.match(text):
            self.planned = int(plan.group(1))
        elif text == "failures:" or CLOSING.match(text):
            self._open = None
        elif output := CARGO_OUTPUT.match(text):
            self._failure(output.group(1))
            self._all = True
        elif found := XFSTEST.match(text):
            self._failure(found.group(1), found.group(2))
        elif test := TEST.match(text):
            self._test(test, text)
        elif self._open and (self._all or text.startswith("#")):
            self._open.add(text)

    def _failure(self, name: str, why: str = "") -> None:
        self._open, self._all = Failure(name.strip()), False
        self._open.add(why)
        self.seen.failures.append(self._open)

    def _test(self, test: re.Match[str], text: str) -> None:
        failed, name, word = test.groups()
        self._name, self._open = name.strip(), None
        if (word or "").upper() == "SKIP":
            self.seen.skipped += 1
        elif failed and (word or "").upper() != "TODO":
            self.seen.failed += 1
            self._failure(name, TIME.sub("", text.partition("#")[2].strip(), count=1))
        else:
            self.seen.passed += 1

    def told(self, told: Tally) -> Tally:
        """With the program's sum, which is believed; the names and reasons are the lines'. What
        it has said last is the reason if there is no other."""
        if told.failed:
            unnamed = Failure(f"{told.failed} without a name", self._last)
            told.failures = self.seen.failures or [unnamed]
        return told

    def without_sum(self) -> Tally:
        """What counts if no sum has come. Without a plan there is none to expect: lines that
        begin with "ok" may be anything."""
        if self.planned is None:
            return Tally()
        lost = max(0, self.planned - self.seen.tests)
        if lost:
            after = f"the last that did: {self._name or 'none'}"
            self.seen.failed += lost
            self.seen.failures.append(Failure(f"{lost} that did not come to an end", [after]))
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
        # Below a failure stands what somebody else has said.
        sum_of = None if line.startswith("#") else CARGO.search(line) or OURS.search(line)
        if sum_of:
            total += tap.told(counts(sum_of))
            tap = Tap()
        else:
            tap.line(line)
    total += tap.without_sum()
    return total


def of_vm(lines: Iterable[str]) -> list[str]:
    """What scripts/vm has said of the VM's end. With a complaint of the kernel the lines about
    it follow."""
    said: list[str] = []
    for raw in lines:
        line = COLOUR.sub("", raw).rstrip()
        if found := VM.match(line):
            said.append(found.group(1))
        elif said and not line.startswith("vm: "):
            said.append(line)
    return said


def of_part(lines: list[str], status: int) -> tuple[Tally, str]:
    """A part's tally and what is to be said about its end. One that fails without telling a
    failure, or tells no test, is a failure; 77 is the status of one that cannot run here."""
    found = read(lines)
    last = [COLOUR.sub("", line).strip() for line in lines[-LAST:]]
    if status == UNAVAILABLE:
        found.skip(last[-1] if last else "it said nothing")
        return found, f"skipped: {found.unavailable[-1]}"
    of_the_vm = of_vm(lines) if status else []
    if status != 0 and not found.failed:
        found.fail(f"status {status}", of_the_vm or last)
        return found, f"ended with status {status}"
    if not found.passed and not found.failed:
        found.fail("no test was run", last)
        return found, "ran no test"
    if of_the_vm:
        # Beside the tests that failed, or instead of those that did not come.
        found.failures.append(Failure("the VM", of_the_vm))
    return found, ""
