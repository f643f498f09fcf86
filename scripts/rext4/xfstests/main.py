# SPDX-License-Identifier: GPL-2.0
"""scripts/xfstests: what is to run, on what, and what it came to."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from .. import common
from ..common import CACHE, REPO, Failed, note
from . import guest, lists
from .options import Options, options
from .results import Counts, Kept, Row, Table
from .run import Run

NOT_INSTALLED = 77
HOW_TO_INSTALL = """\
  It is a test suite of its own and not part of this tree.  To get it: clone the
  repository xfstests-dev (on kernel.org's git server under fs/xfs, mirrored on
  GitHub as kdave/xfstests), install what its README asks for on Debian:
    acl attr automake bc dbench dump e2fsprogs fio gawk gcc git indent
    libacl1-dev libaio-dev libattr1-dev libcap-dev libgdbm-dev libtool
    libtool-bin liburing-dev make perl psmisc python3 quota sed uuid-dev
    uuid-runtime xfslibs-dev xfsprogs
  then "make" and "make install" there (it goes to /var/lib/xfstests; for
  another place set XFSTESTS)."""
# MiB for the test disks.
ROOM = 10240
# One mapping of the host's for each page of a process in User-Mode Linux.
MAPPINGS = 1048576


def module_of(asked: Options) -> Path | None:
    """The module under test; the kernel's own ext4 needs none."""
    if asked.fs == "ext4":
        return None
    module = asked.module
    if module is None and asked.lab:
        module = Path(common.script("module", "--lab", asked.build or asked.kernel))
    module = module or REPO / "rext4.ko"
    if not module.exists():
        raise Failed(f"there is no {module}: build it first (make)")
    return module


def room_for_disks() -> Path:
    """In memory where there is room: the host's fsync of them is no part of the test."""
    for folder in (Path("/dev/shm"), CACHE):
        if folder.is_dir() and common.free_mib(folder) >= ROOM:
            return folder
    raise Failed(f"{ROOM // 1024} GiB are needed for the test disks, in /dev/shm or {CACHE}")


@contextmanager
def job_of(asked: Options, xfstests: Path) -> Iterator[guest.Job]:
    """The folders of a run, gone with it. The module may be rebuilt while the tests run: they
    have a copy."""
    module = module_of(asked)
    (CACHE / "run").mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="rext4-xfstests.", dir=room_for_disks()) as disks,
        tempfile.TemporaryDirectory(prefix="xfstests.", dir=CACHE / "run") as work,
    ):
        folder = Path(work)
        (folder / "results").mkdir()
        copied = Path(shutil.copy(module, folder / "rext4.ko")) if module else None
        yield guest.Job(folder, Path(disks), xfstests, copied, asked)


def show(row: Row, more: list[str]) -> None:
    """A line for people and for scripts/check; more of a failure below it."""
    print(f"{row.test:<14} {row.result:<6} {row.seconds:>5} s  {row.reason}")
    for line in more:
        print(f"#   {line}")
    sys.stdout.flush()


def sum_up(asked: Options, counts: Counts, seconds: int, kept: Path) -> int:
    """The last lines. With the protection off each test has to fail, by other output."""
    notrun = counts.notrun + counts.late
    if asked.lab_off:
        print(
            f"{asked.tested}, protection off: {counts.failed - counts.odd} failed, as they must;"
            f" {counts.passed} passed, {counts.odd} failed otherwise, {notrun} not run"
        )
        print(f"what they left: {kept}")
        fine = counts.failed and not counts.passed + counts.odd + counts.notrun
    else:
        print(
            f"{asked.tested}: {counts.passed} passed, {counts.failed} failed,"
            f" {notrun} not run in {seconds} s"
        )
        if counts.failed:
            print(f"what the failures left: {kept}")
        fine = counts.passed and not counts.failed + counts.notrun
    return 0 if fine else 1


def main(arguments: list[str]) -> int:
    """Runs the tests; the status is documented in the help."""
    asked = options(arguments)
    xfstests = lists.installed()
    if xfstests is None:
        at = os.environ.get("XFSTESTS") or "/var/lib/xfstests"
        note(f"SKIPPED: no xfstests is installed in {at}.")
        print(HOW_TO_INSTALL, file=sys.stderr)
        return NOT_INSTALLED
    todo = lists.wanted(asked, xfstests)
    if asked.engine == "uml" and int(Path("/proc/sys/vm/max_map_count").read_text()) < MAPPINGS:
        note(
            "vm.max_map_count of this machine is low: a test that uses much memory"
            f" (generic/551) faults for ever; set it to {MAPPINGS} for that"
        )
    # The guest's tests read it, and must not find the caller's.
    os.environ["REXT4_LAB_OFF"] = "1" if asked.lab_off else ""
    name = f"{asked.fs}-{asked.engine}-{asked.kernel}"
    name += (f"-{asked.opts}" if asked.opts else "") + ("-lab-off" if asked.lab_off else "")
    with job_of(asked, xfstests) as job:
        kept = Kept(CACHE / "xfstests" / name, job.folder, asked.engine == "uml")
        to = job.folder / "results.tsv" if asked.lab_off else asked.results
        table = Table(to, asked.engine, asked.kernel, asked.fs)

        def ended(row: Row) -> None:
            table.record(row)
            kept.keep(row)
            show(row, kept.telling(row) if row.result == "fail" else [])

        run = Run(todo, asked.limit, asked.total, boot=partial(guest.boot, job), ended=ended)
        counts = run.all()
    return sum_up(asked, counts, run.seconds, kept.folder)
