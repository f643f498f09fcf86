# SPDX-License-Identifier: GPL-2.0
"""scripts/xfstests: what is to run, on what, and what it came to."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from .. import common
from ..common import CACHE, REPO, Failed, note
from . import guest, lists
from .options import Options, options
from .results import Counts, Kept, Row, Table, text_of
from .run import Boot, Run

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


def under_test(asked: Options) -> str:
    """What the results are of: the last change of the module, or the kernel whose ext4 it is."""
    if asked.fs != "ext4":
        return common.module_commit()
    return text_of(guest.kernel_of(asked) / "include/config/kernel.release").strip()


def room_for_disks() -> Path:
    """In memory where there is room: the host's fsync of them is no part of the test."""
    for folder in (Path("/dev/shm"), CACHE):
        if folder.is_dir() and common.free_mib(folder) >= ROOM:
            return folder
    raise Failed(f"{ROOM // 1024} GiB are needed for the test disks, in /dev/shm or {CACHE}")


@contextmanager
def job_of(asked: Options, suite: guest.Suite) -> Iterator[guest.Job]:
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
        yield guest.Job(folder, Path(disks), suite, copied, asked)


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
    return carry_out(asked, guest.Suite("xfstests", xfstests, guest.GUEST), todo)


def once_more(asked: Options, failed: list[Row], boot: Boot) -> Iterator[Row]:
    """What failed runs some times more. Their rows, which say how often they failed."""
    times = dict.fromkeys((row.test for row in failed), 1)

    def ended(row: Row) -> None:
        print(f"again: {row.test:<14} {row.result:<6} {row.seconds:>5} s  {row.reason}", flush=True)
        times[row.test] += row.result == "fail"

    for _ in range(asked.again if times else 0):
        Run(list(times), asked.limit, None, boot=boot, ended=ended).all()
    for row in failed if asked.again else []:
        told = f"{times[row.test]} of {asked.again + 1} runs: {row.reason}"
        yield replace(row, reason=told)


def carry_out(asked: Options, suite: guest.Suite, todo: list[str]) -> int:
    """Runs these tests of a suite, and says what they came to."""
    name = f"{asked.fs}-{asked.engine}-{asked.kernel}"
    name += (f"-{asked.opts}" if asked.opts else "") + ("-lab-off" if asked.lab_off else "")
    with job_of(asked, suite) as job:
        kept = Kept(CACHE / suite.kind / name, job.folder, asked.engine == "uml")
        to = job.folder / "results.tsv" if asked.lab_off else asked.results
        table = Table(to, (asked.engine, asked.kernel, asked.fs), under_test(asked))
        if asked.resume:
            there = table.recorded()
            todo = [test for test in todo if test not in there]

        failed = []

        def ended(row: Row) -> None:
            table.record(row)
            kept.keep(row)
            show(row, kept.telling(row) if row.result == "fail" else [])
            if row.result == "fail":
                failed.append(row)

        run = Run(todo, asked.limit, asked.total, boot=partial(guest.boot, job), ended=ended)
        counts = run.all()
        for row in once_more(asked, failed, partial(guest.boot, job)):
            table.record(row)
    return sum_up(asked, counts, run.seconds, kept.folder)
