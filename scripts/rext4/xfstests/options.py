# SPDX-License-Identifier: GPL-2.0
"""The command line of scripts/xfstests."""

import argparse
import os
import re
from pathlib import Path

from .. import common
from ..common import REPO

HELP = """
Usage: scripts/xfstests [options] [test...]

Runs an installed xfstests in the VM, records the results in
tests/xfstests/results.tsv.  A test is generic/001 or, shorter, 001; without
any: the tests in tests/xfstests/list.  rext4/001 and so on are this tree's own,
in tests/xfstests/rext4.

  --fs FS          rext4 (default), rext4-as-ext4 (the module under the name
                   ext4), ext4 (the kernel's own, for comparison)
  --engine E       uml (default) or qemu
  --kernel K       uml for the engine uml; debug (default), fast or stock for qemu
  --build DIR      boot the kernel built there, record it as --kernel says
  --cpus N         CPUs of the VM (uml: 1, its SMP is not coherent; qemu: 2)
  --limit SEC      seconds a test may take (uml 1800, qemu 3600)
  --total SEC      start no further test after so many seconds; those count as
                   not run, but do not fail the run (default: no limit)
  --opts OPTIONS   mount both devices with these, for example dio_gate; recorded
                   in tests/xfstests/results-OPTIONS.tsv. Only options that
                   /proc/mounts shows, and not with --fs ext4
  --dax            both devices are memory and are mounted with dax=always; with
                   qemu, and recorded in tests/xfstests/results-dax.tsv
  --encrypt        both devices have the feature, and are mounted with
                   test_dummy_encryption: all files that are made are encrypted;
                   recorded in tests/xfstests/results-encrypt.tsv
  --list FILE      take the tests from FILE
  --ci             the short list for the gate, tests/xfstests/ci-list
  --group G        all tests of that group of xfstests, for example quick; with a
                   --fs that is called ext4, those in tests/ext4, too
  --again N        a test that failed runs N times more; its row says how often it
                   failed. It is a failure in any case
  --resume         pass over tests that have a row of this build already: a run
                   that was stopped goes on
  --lab            this tree's own tests, all of them unless some are named, with
                   a module that has the lab (built now, unless --module names it)
  --lab-off        the same with the protection off that each test is about; now
                   a test that passes is a failure, and nothing is recorded
  --results FILE   record there instead
  --module FILE    the module (default: rext4.ko at the top of the tree)

Environment: XFSTESTS, where xfstests is installed (/var/lib/xfstests);
REXT4_LAB_OFF=1, the same as --lab-off

Exit status: 0 all passed, 1 some failed or were not run, 2 usage,
77 skipped: there is no xfstests to run.
"""

OURS = REPO / "tests/xfstests"
FILESYSTEMS = ("rext4", "rext4-as-ext4", "ext4")
# The kernels of an engine, its default first.
KERNELS = {"uml": ("uml",), "qemu": ("debug", "fast", "stock")}
CPUS = {"uml": 1, "qemu": 2}
LIMIT = {"uml": 1800, "qemu": 3600}


class Options(argparse.Namespace):
    """What was asked for. What only xfstests has is off for the other suites."""

    fs: str
    engine: str
    kernel: str
    build: str | None
    cpus: int
    limit: int
    total: int | None
    opts: str = ""
    dax: bool = False
    encrypt: bool = False
    lists: list[Path]
    groups: list[str]
    again: int
    resume: bool
    lab: bool = False
    lab_off: bool = False
    results: Path
    module: Path | None
    tests: list[str]

    @property
    def tested(self) -> str:
        """What the results are of, for people."""
        mounted = f" -o {self.opts}" if self.opts else ""
        return f"{self.fs}{mounted}, {self.engine}, {self.kernel} kernel"


def whole_name(test: str) -> str:
    """generic/001 for 001."""
    return f"generic/{test}" if test[:1].isdigit() else test


def parser(text: str) -> common.Options:
    """What all suites have; the text is their help."""
    made = common.Options(text)
    made.add_argument("--fs", choices=FILESYSTEMS, default="rext4")
    made.add_argument("--engine", choices=tuple(KERNELS), default="uml")
    made.add_argument("--kernel")
    made.add_argument("--build")
    made.add_argument("--cpus", type=common.positive)
    made.add_argument("--limit", type=common.positive)
    made.add_argument("--total", type=common.whole)
    made.add_argument("--list", type=Path, dest="lists", action="append", default=[])
    made.add_argument("--again", type=common.whole, default=0)
    made.add_argument("--resume", action="store_true")
    made.add_argument("--results", type=Path)
    made.add_argument("--module", type=Path)
    return made


def complete(made: common.Options, asked: Options) -> None:
    """Fills in what depends on the engine, and refuses what does not go together."""
    asked.kernel = asked.kernel or KERNELS[asked.engine][0]
    asked.cpus = asked.cpus or CPUS[asked.engine]
    asked.limit = asked.limit or LIMIT[asked.engine]
    if asked.kernel not in KERNELS[asked.engine]:
        known = " or ".join(KERNELS[asked.engine])
        made.error(f"--engine {asked.engine} goes with --kernel {known}, not {asked.kernel}")
    if not asked.results.parent.is_dir():
        made.error(f"--results {asked.results}: there is no such folder")


def options(arguments: list[str]) -> Options:
    """Reads the command line, and refuses what does not go together."""
    made = parser(HELP)
    made.add_argument("--opts", default="")
    made.add_argument("--dax", action="store_true")
    made.add_argument("--encrypt", action="store_true")
    made.add_argument(
        "--ci", dest="lists", action="append_const", const=OURS / "ci-list", default=[]
    )
    made.add_argument("--group", dest="groups", action="append", default=[])
    made.add_argument("--lab", action="store_true")
    made.add_argument("--lab-off", action="store_true")
    made.add_argument("tests", nargs="*", type=whole_name)
    asked = made.parse_intermixed_args(arguments, Options())
    asked.lab_off = asked.lab_off or bool(os.environ.get("REXT4_LAB_OFF"))
    asked.lab = asked.lab or asked.lab_off
    if not re.fullmatch(r"[A-Za-z0-9_,=.-]*", asked.opts):
        made.error(f"--opts {asked.opts}: not a list of mount options")
    if asked.opts and asked.fs == "ext4":
        made.error("--opts is for rext4, whatever its name: the kernel's ext4 has other options")
    if asked.dax and (asked.engine != "qemu" or asked.opts or asked.encrypt):
        made.error("--dax is for --engine qemu, and without --opts and --encrypt")
    if asked.encrypt and asked.opts:
        made.error("--encrypt is without --opts")
    # These the kernel's ext4 has, too.
    for name, opts in (("dax", "dax=always"), ("encrypt", "test_dummy_encryption=v2")):
        if getattr(asked, name):
            asked.opts = opts
            asked.results = asked.results or OURS / f"results-{name}.tsv"
    if asked.results is None:
        asked.results = OURS / f"results{'-' + asked.opts if asked.opts else ''}.tsv"
    complete(made, asked)
    return asked
