# SPDX-License-Identifier: GPL-2.0
"""scripts/pjdfstest and scripts/ltp: suites beside xfstests, run as they are installed, by what
runs xfstests (rext4/xfstests/)."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from . import common
from .common import REPO, Failed
from .xfstests import guest, lists, main, options

HERE = REPO / "tests/suites"
HELP = """
Usage: scripts/{kind} [options] [test...]

Runs an installed {kind} in the VM, records the results in
tests/suites/{kind}.tsv.  A test is {named};
without any: those in tests/suites/{kind}.

  --fs FS          rext4 (default), rext4-as-ext4 (the module under the name
                   ext4), ext4 (the kernel's own, for comparison)
  --engine E       uml (default) or qemu
  --kernel K       uml for the engine uml; debug (default), fast or stock for qemu
  --build DIR      boot the kernel built there, record it as --kernel says
  --cpus N         CPUs of the VM (uml: 1, its SMP is not coherent; qemu: 2)
  --limit SEC      seconds a test may take (default 120)
  --total SEC      start no further test after so many seconds
  --list FILE      take the tests from FILE
  --again N        a test that failed runs N times more
  --resume         pass over tests that have a row of this build already
  --results FILE   record there instead
  --module FILE    the module (default: rext4.ko at the top of the tree)

Environment: {variable}, {what}

Exit status: 0 all passed, 1 some failed or were not run, 2 usage, or nothing is
installed.
"""
LIMIT = 120
# The last test of each run: is the file system whole, does the module go?
LAST = "unmount"


@dataclass(frozen=True)
class Kind:
    """A suite, and how it is found."""

    kind: str
    variable: str
    what: str
    named: str
    install: str
    find: Callable[[str], Path | None]
    # All tests that there are; None if the suite has no list of them, and takes names as they are.
    all: Callable[[Path], list[str]] | None


def program(asked: str) -> Path | None:
    """The program of that name, or where it is usually put."""
    found = shutil.which(asked or "pjdfstest") or shutil.which(Path.home() / ".cargo/bin/pjdfstest")
    return Path(found).resolve() if found else None


def folder(asked: str) -> Path | None:
    """Where LTP is."""
    at = Path(asked or "/opt/ltp")
    return at.resolve() if (at / "runtest/syscalls").is_file() else None


def of_runtest(at: Path) -> list[str]:
    """The names in LTP's files of commands: syscalls/open01."""
    found = []
    for path in sorted((at / "runtest").iterdir()):
        lines = lists.without_comments(path.read_text(errors="replace"))
        found += [f"{path.name}/{line.split()[0]}" for line in lines]
    return found


PJDFSTEST = Kind(
    "pjdfstest",
    "PJDFSTEST",
    "the program (default: pjdfstest in PATH)",
    "chmod, a system call: all tests of that, or the first part of a name",
    "the one in Rust: clone musikid/pjdfstest from GitHub, then\n"
    '  "cargo install --path rust" there (it wants libacl1-dev)',
    program,
    None,
)
LTP = Kind(
    "ltp",
    "LTPROOT",
    "where LTP is installed (/opt/ltp)",
    "syscalls/open01, a file in LTP's runtest/ and a name in it",
    "clone linux-test-project/ltp from GitHub, then\n"
    '  "make autotools && ./configure && make && make install" there',
    folder,
    of_runtest,
)


def expanded(words: list[str], there: list[str]) -> list[str]:
    """The tests that a list's patterns come to, in the order of the list."""
    found = []
    for word in words:
        some = [test for test in there if fnmatchcase(test, word)]
        if not some:
            raise Failed(f"no test is called {word}")
        found += some
    return found


def wanted(suite: Kind, at: Path, asked: options.Options) -> list[str]:
    """The tests of this run, and the unmount."""
    from_lists = list(asked.lists) or ([] if asked.tests else [HERE / suite.kind])
    words = [test for path in from_lists for test in lists.of_list(path, asked)]
    words += asked.tests
    if suite.all:
        words = expanded(words, suite.all(at))
    return [*dict.fromkeys(words), LAST]


def run(suite: Kind, arguments: list[str]) -> int:
    """Runs the tests; the status is documented in the help."""
    made = options.parser(HELP.format(**vars(suite)))
    made.add_argument("tests", nargs="*")
    asked = made.parse_intermixed_args(arguments, options.Options())
    asked.limit = asked.limit or LIMIT
    asked.results = asked.results or HERE / f"{suite.kind}.tsv"
    options.complete(made, asked)
    at = suite.find(os.environ.get(suite.variable, ""))
    if at is None:
        raise Failed(
            f"no {suite.kind} is installed, nothing was tested. To get it: {suite.install},\n"
            f"  or say where it is by {suite.variable}",
            common.USAGE,
        )
    todo = wanted(suite, at, asked)
    return main.carry_out(asked, guest.Suite(suite.kind, at, HERE / "guest"), todo)


def pjdfstest(arguments: list[str]) -> int:
    """scripts/pjdfstest"""
    return run(PJDFSTEST, arguments)


def ltp(arguments: list[str]) -> int:
    """scripts/ltp"""
    return run(LTP, arguments)
