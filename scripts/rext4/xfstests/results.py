# SPDX-License-Identifier: GPL-2.0
"""What tests came to: the table on record, what the failed ones left, and the sums of a run."""

import contextlib
import fcntl
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .. import kernellog
from ..common import CACHE, Failed

COLUMNS = ("test", "engine", "kernel", "fs", "result", "seconds", "reason", "of")
# Lines below a failure that say more of it.
SHOWN = 8
# What may not stand in a column: who reads the table may take it for the end of a line.
ODD = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
NEXT_TEST = re.compile(r"^[a-z0-9]+/\d+\s*\Z", re.M)


@dataclass(frozen=True)
class Row:
    """The end of one test."""

    test: str
    result: str
    seconds: int
    reason: str = ""

    @classmethod
    def of_guest(cls, line: str) -> "Row":
        """A line of the guest's file "done"."""
        try:
            test, result, seconds, *reason = line.split("\t", 3)
            return cls(test, result, int(seconds), ODD.sub(" ", "".join(reason)))
        except ValueError:
            raise Failed(f"the guest has written what is no result: {line}") from None


@dataclass
class Counts:
    """How many came to which end."""

    passed: int = 0
    failed: int = 0
    notrun: int = 0
    # Failed otherwise than by other output: such a one has not shown anything.
    odd: int = 0
    # Not started, for the time was up.
    late: int = 0

    def add(self, row: Row) -> None:
        """One more."""
        if row.result == "pass":
            self.passed += 1
        elif row.result == "notrun":
            self.notrun += 1
        else:
            self.failed += 1
            self.odd += not row.reason.startswith("output mismatch")

    @property
    def ended(self) -> int:
        """All that were begun."""
        return self.passed + self.failed + self.notrun


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Two runs may record in one table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


class Table:
    """A table with the last result of each test, engine, kernel and fs, and of which build each
    is."""

    def __init__(self, path: Path, where: tuple[str, str, str], built: str) -> None:
        self.path = path
        self._where = where
        self._built = built

    def record(self, row: Row) -> None:
        """Puts a row in place of the older one, and leaves all others alone."""
        mine = (row.test, *self._where)
        with locked(CACHE / "xfstests.lock"):
            old = [line for line in text_of(self.path).split("\n")[1:] if line]
            rows = [line for line in old if tuple(line.split("\t")[:4]) != mine]
            rows.append("\t".join((*mine, row.result, str(row.seconds), row.reason, self._built)))
            rows.sort(key=lambda line: [line.split("\t")[at] for at in (3, 1, 2, 0)])
            self.path.write_text("\n".join(("\t".join(COLUMNS), *rows)) + "\n")

    def recorded(self) -> set[str]:
        """The tests that have a row of this very build."""
        if not self._built or self._built.endswith("+"):
            return set()
        rows = [line.split("\t") for line in text_of(self.path).split("\n")[1:]]
        mine = [row for row in rows if tuple(row[1:4]) == self._where]
        return {row[0] for row in mine if row[len(COLUMNS) - 1 :] == [self._built]}


@dataclass(frozen=True)
class Kept:
    """Where stays what failed tests left: the results of the last run of each."""

    folder: Path
    job: Path
    uml: bool

    def keep(self, row: Row) -> None:
        """Replaces what an older run of the test left."""
        there = self.folder / row.test
        there.parent.mkdir(parents=True, exist_ok=True)
        for old in there.parent.glob(f"{there.name}.*"):
            old.unlink()
        if row.result != "fail":
            return
        results = (self.job / "results" / row.test).parent
        for left in results.glob(f"{there.name}.*"):
            shutil.copy2(left, there.parent)
        console = self.job / "console"
        if console.exists():
            shutil.copy(console, f"{there}.console")

    def telling(self, row: Row) -> list[str]:
        """What says more of a failure than its row: the kernel's complaint with the lines below
        it, or the difference in the output."""
        at = self.job / "results" / row.test
        logs = [Path(f"{at}.dmesg")]
        if row.reason.startswith(("the VM died", "hang")):
            logs.append(self.job / "console")
        for log in logs:
            text = text_of(log).replace("\r", "")
            for line in kernellog.complaints(text, uml=self.uml)[:1]:
                return shown(kernellog.around(text, line, 0))
        # "check" has said already which test is next.
        said = NEXT_TEST.sub("", text_of(Path(f"{at}.check")))
        return shown(said.splitlines()[1:])


def shown(lines: list[str]) -> list[str]:
    """The first of them that say something."""
    said = [line.strip() for line in lines]
    return [line for line in said if line][:SHOWN]


def text_of(path: Path) -> str:
    """A file's text, its lines as they end; none if it is not there."""
    try:
        return path.read_bytes().decode(errors="replace")
    except OSError:
        return ""
