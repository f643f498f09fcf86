# SPDX-License-Identifier: GPL-2.0
"""Does the gate deadlock, starve anybody or lose a byte, given time? Rounds of random operations,
of fio with verification, and of fio's jobs against each other at one file, in one VM. The guest's
side is scripts/soak-guest, the judge of a round judge.py."""

import argparse
import os
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import common
from .common import CACHE, SCRIPTS, Failed, note
from .process import Group

HELP = f"""
Usage: scripts/soak [options] [SECONDS]

Starts rounds for so many seconds (default 3600), and finishes the last one.

  --engine qemu|uml  x86 under QEMU (default), or User-Mode Linux (default for uml)
  --kernel NAME      debug, fast, stock or uml, or the folder of a kernel build; default:
                     debug, uml for uml
  --cpus N           CPUs (default 2; uml: 1, its SMP is not coherent)
  --opts OPTIONS     mount options (default dio_gate)
  --bound SECONDS    a reader that waits longer for one read is starved (default
                     10: a direct write holds back for those who have waited,
                     a second at most; the rest is for slow machines)

A round:
  fsx         random operations of the guest tests, other ones each time
  verify      fio with checksums: jobs of all kinds, each with blocks of its own
              in two files, some of them in the same page; read back by each
              job, then through the cache, then from the disk
  contention  fio without: direct writers, buffered and mapped readers and
              writers at one file, which is dropped from the cache all the time;
              each of them must get on
and e2fsck. In half of the rounds the disk takes 3 ms longer for a write, so
that more can happen while it is in flight. Beside all of it memory is compacted,
caches are dropped, files are collapsed into large folios, and khugepaged is busy.
It prints one line a round, with the
seconds since the VM started.

Exit status: 0 nothing was wrong, 1 something was (what is left of it is in
{CACHE}/soak), 2 usage.
"""

# The kernel of an engine, and the CPUs.
KERNEL = {"qemu": "debug", "uml": "uml"}
CPUS = {"qemu": 2, "uml": 1}
# MiB of the two disks, and of all that is in the folder.
DISKS = {"fsx": 1536, "fio": 1024}
ROOM = 2600
# Seconds that the last round may still take.
LAST_ROUND = 1800
# How often this side looks whether the time is up.
LOOK = 1.0
# Seconds that scripts/vm has to end its VM in.
PATIENCE = 5


class Options(argparse.Namespace):
    """What was asked for."""

    engine: str
    kernel: str
    cpus: int
    opts: str
    bound: int
    seconds: int

    def __str__(self) -> str:
        return f"{self.opts}, {self.engine}, {self.kernel} kernel, CPUs: {self.cpus}"


def options(arguments: list[str]) -> Options:
    """Reads the command line."""
    parser = common.Options(HELP)
    parser.add_argument("--engine", choices=tuple(KERNEL))
    parser.add_argument("--kernel")
    parser.add_argument("--cpus", type=common.positive)
    parser.add_argument("--opts", default="dio_gate")
    parser.add_argument("--bound", type=common.positive, default=10)
    parser.add_argument("seconds", type=common.positive, nargs="?", default=3600)
    asked = parser.parse_args(arguments, Options())
    asked.engine = common.engine(parser, asked.engine, asked.kernel)
    asked.kernel = asked.kernel or KERNEL[asked.engine]
    asked.cpus = asked.cpus or CPUS[asked.engine]
    return asked


@dataclass
class Clock:
    """Seconds since the VM was started. An emulated machine's own clock goes as it likes."""

    now: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._start = self.now()

    def __int__(self) -> int:
        return int(self.now() - self._start)


@dataclass
class Figures:
    """The sum of the rounds that the judge let pass."""

    rounds: int = 0
    verified: int = 0
    reads: int = 0
    longest: float = 0.0
    who: str = ""

    @classmethod
    def of(cls, path: Path) -> "Figures":
        """What the judge wrote: a line a round."""
        sums = cls()
        for line in path.read_text().splitlines() if path.exists() else []:
            verified, reads, wait, who = line.split()
            sums.rounds += 1
            sums.verified += int(verified)
            sums.reads += int(reads)
            if float(wait) >= sums.longest:
                sums.longest, sums.who = float(wait), f" ({who})"
        return sums

    def told(self, on: str, seconds: int) -> str:
        """The line for people."""
        return (
            f"{on}: {self.rounds} rounds in {seconds} s,"
            f" {self.verified / 2**20:.1f} MiB verified,"
            f" {self.reads} reads beside direct writes,"
            f" the longest wait of a reader {self.longest:.2f} s{self.who}"
        )


def stamp(source: int, clock: Clock) -> threading.Thread:
    """Shows the lines of a pipe with their time, until the last writer is gone."""

    def copy() -> None:
        with os.fdopen(source, errors="replace") as lines:
            for line in lines:
                print(f"{int(clock):5d} s  {line.rstrip()}", flush=True)

    thread = threading.Thread(target=copy, daemon=True)
    thread.start()
    return thread


def soak(command: Sequence[str | Path], share: Path, seconds: int, clock: Clock) -> int:
    """Runs the VM, and has it start no round after so many seconds. The command's status."""
    reading, writing = os.pipe()
    shown = stamp(reading, clock)
    try:
        group = Group(command, stdout=writing)
    finally:
        os.close(writing)
    with group:
        try:
            while (status := group.wait(LOOK)) is None:
                if int(clock) >= seconds:
                    (share / "stop").touch()
        finally:
            group.end(PATIENCE)
    shown.join(10)
    return status


def vm(asked: Options, work: Path, module: str, guest: str) -> list[str | Path]:
    """The VM and what runs there."""
    words: list[str | Path] = [SCRIPTS / "vm", "--engine", asked.engine, "--kernel", asked.kernel]
    words += ["--cpus", str(asked.cpus), "--module", module]
    for name, mib in DISKS.items():
        with (work / name).open("wb") as disk:
            disk.truncate(mib << 20)
        words += ["--disk", work / name]
    words += ["--share", work / "share", "--time", str(asked.seconds + LAST_ROUND)]
    words += ["--console", work / "console", "--"]
    return [*words, SCRIPTS / "soak-guest", guest, asked.opts, str(asked.bound)]


def keep(work: Path) -> Path:
    """Leaves logs, console and images to whoever looks for the reason."""
    kept = CACHE / "soak"
    shutil.rmtree(kept, ignore_errors=True)
    # Most of the images is holes.
    common.call("cp", "-r", "--sparse=always", work, kept)
    return kept


def run(asked: Options, work: Path) -> int:
    """All rounds, in this folder, and their sum."""
    share = work / "share"
    share.mkdir()
    module = common.script("module", asked.kernel)
    command = vm(asked, work, module, common.lib("guest_program"))
    clock = Clock()
    status = soak(command, share, asked.seconds, clock)
    figures = Figures.of(share / "figures")
    if not status and not figures.rounds:
        note(f"no round was finished in {asked.seconds} s")
        status = 1
    print(figures.told(str(asked), int(clock)), flush=True)
    if status:
        raise Failed(f"FAILED (status {status}); logs, console and images: {keep(work)}")
    return 0


def main(arguments: list[str]) -> int:
    """Builds what is needed, and soaks."""
    asked = options(arguments)
    common.call(SCRIPTS / "setup")
    work = Path(common.lib("scratch_dir", str(ROOM)))
    try:
        return run(asked, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)
