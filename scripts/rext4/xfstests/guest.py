# SPDX-License-Identifier: GPL-2.0
"""One VM of a run, and the folder by which it and this side tell each other what they do; the
other end is tests/xfstests/guest, which says what each file means."""

import contextlib
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import kernellog
from ..common import REPO, SCRIPTS
from ..machine import kernel_folder
from ..process import Group
from .options import Options
from .results import Row, text_of

# Seconds that scripts/vm has to end its VM in.
PATIENCE = 5
DISKS = {"test": 4, "scratch": 4, "logwrites": 2}
GUEST = REPO / "tests/xfstests/guest"
# What is mounted may be opened for writing, as with the kernels of distributions: mount(8) does it
# with a loop device, and resize2fs.
WRITTEN = "bdev_allow_write_mounted=1"
# Two disks that are memory, of 1 GiB each, and what the VM has then, in MiB.
MEMORY = "memmap=1G!4G memmap=1G!5G"
MIB, MIB_WITH_DISKS = 3072, 5120
OF_ONE_VM = ("state", "current", "done", "fatal", "console", "stop", "timeup", "seen", "bare")


@dataclass(frozen=True)
class Suite:
    """What is installed where, and the guest's half of what runs it."""

    kind: str
    at: Path
    script: Path


@dataclass(frozen=True)
class Job:
    """The folder that the guest writes to, and what it is to do there."""

    folder: Path
    disks: Path
    suite: Suite
    module: Path | None
    asked: Options

    def prepare(self, todo: Sequence[str]) -> None:
        """Nothing of the VM before; new disks; the tests that are left."""
        for name in OF_ONE_VM:
            (self.folder / name).unlink(missing_ok=True)
        for name, gib in DISKS.items():
            with (self.disks / name).open("wb") as disk:
                disk.truncate(gib << 30)
        (self.folder / "todo").write_text("".join(f"{test}\n" for test in todo))
        words = {
            "REPO": REPO,
            "KIND": self.suite.kind,
            "SUITE": self.suite.at,
            "FS": self.asked.fs,
            "OPTS": self.asked.opts,
            "LIMIT": self.asked.limit,
            "MODULE": self.module or "",
            "KCONFIG": kernel_of(self.asked) / ".config",
            "DAX": "1" if self.asked.dax else "",
            "MKFS": "-O encrypt" if self.asked.encrypt else "",
        }
        lines = [f"{name}={shlex.quote(str(value))}\n" for name, value in words.items()]
        (self.folder / "job").write_text("".join(lines))

    def command(self, tests: int) -> list[str | Path]:
        """The VM. Its verdict on the console is not asked for: xfstests has one a test."""
        asked = self.asked
        words: list[str | Path] = [SCRIPTS / "vm", "--engine", asked.engine]
        words += ["--kernel", asked.build or asked.kernel, "--cpus", str(asked.cpus)]
        words += ["--append", f"{WRITTEN} {MEMORY}" if asked.dax else WRITTEN]
        mib = MIB_WITH_DISKS if asked.dax else MIB
        words += ["--mem", str(mib), "--share", self.folder]
        words += ["--console", self.folder / "console"]
        words += ["--time", str(asked.limit * tests + 600)]
        for name in DISKS:
            words += ["--disk", self.disks / name]
        return [*words, "--", self.suite.script, self.folder]


def kernel_of(asked: Options) -> Path:
    """The folder of the kernel that is booted."""
    return kernel_folder(asked.build or asked.kernel, asked.engine)


class Vm:
    """A VM that runs tests one after the other until none is left or it is spoilt."""

    def __init__(self, job: Job, group: Group) -> None:
        self._folder = job.folder
        self._group = group
        self._taken = 0

    def ended(self, seconds: float) -> bool:
        """Waits for so long at most: has it?"""
        return self._group.wait(seconds) is not None

    def end(self) -> None:
        """Ends it, whatever it does."""
        self._group.end(PATIENCE)

    def done(self) -> list[Row]:
        """The tests that have ended since the last look. The guest may be in the middle of a
        line."""
        whole = text_of(self._folder / "done").split("\n")[:-1]
        new, self._taken = whole[self._taken :], len(whole)
        return [Row.of_guest(line) for line in new]

    def current(self) -> str | None:
        """The test that runs."""
        words = text_of(self._folder / "current").split()
        return words[0] if words else None

    def over(self) -> bool:
        """Has the guest nothing left to do but to power off?"""
        return (self._folder / "state").exists()

    def gave_up(self) -> str:
        """Why the guest cannot run any test; empty if it can."""
        return text_of(self._folder / "fatal").strip()

    def stop(self) -> None:
        """It is to start no further test."""
        (self._folder / "stop").touch()

    def time_up(self, test: str) -> None:
        """The guest notes where the tasks of this test are, unless it is dead."""
        (self._folder / "timeup").write_text(f"{test}\n")

    def obituary(self) -> str:
        """Why did it die?"""
        return kernellog.obituary(text_of(self._folder / "console").replace("\r", ""))

    def last_words(self) -> str:
        """What scripts/vm said last; all of it is kept."""
        lines = text_of(self._folder / "vm.out").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def keep_words(self, log: Path) -> None:
        """For those who want to know why it ran no test."""
        log.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(self._folder / "vm.out", log)


@contextlib.contextmanager
def boot(job: Job, todo: Sequence[str]) -> Iterator[Vm]:
    """Starts a VM on these tests. It is over when the block is left."""
    job.prepare(todo)
    with (job.folder / "vm.out").open("wb") as output:
        group = Group(job.command(len(todo)), stdout=output.fileno(), stderr=subprocess.STDOUT)
    with group:
        vm = Vm(job, group)
        try:
            yield vm
        finally:
            vm.end()
