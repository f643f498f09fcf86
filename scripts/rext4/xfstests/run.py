# SPDX-License-Identifier: GPL-2.0
"""A run: one VM after the other until no test is left.

A VM ends early when a test has spoilt it, and it may die or hang with one. That test has failed
then, and the others go on in the next VM. Two VMs in a row that end without any test's end are
the end of the run: a third would not do better.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace

from ..common import CACHE, Failed, note
from .guest import Vm
from .results import Counts, Row

# How often the VM is looked at.
LOOK = 0.5
# Seconds a guest has to say where its tasks are, and one that is done to power off.
LAST_WORDS, POWER_OFF = 60, 20
# Seconds without a test after which a VM is given up.
IDLE = 600
IDLE_VMS = 2

# Starts a VM on these tests.
Boot = Callable[[Sequence[str]], AbstractContextManager[Vm]]


@dataclass
class Watch:
    """What one VM does, seen from here."""

    # The test that runs, since when; when there was one last; since when it is to power off.
    running: str = ""
    began: float = 0.0
    alive: float = 0.0
    over: float | None = None


@dataclass
class Run:
    """The tests that are left, and what the others came to."""

    todo: list[str]
    limit: int
    total: int | None
    boot: Boot
    # Told of each test that ended, as it ends.
    ended: Callable[[Row], None]
    clock: Callable[[], float] = time.monotonic
    counts: Counts = field(default_factory=Counts)
    _start: float = field(init=False)

    def __post_init__(self) -> None:
        self._start = self.clock()

    @property
    def seconds(self) -> int:
        """Since the beginning."""
        return int(self.clock() - self._start)

    def all(self) -> Counts:
        """Runs them all, or as many as there is time for."""
        idle = 0
        while self.todo:
            if self._out_of_time():
                # The caller set the limit: not a failure, and not a pass either.
                self.counts.late = len(self.todo)
                left = " ".join(self.todo)
                note(f"out of time after {self.total} s, {len(self.todo)} not started: {left}")
                break
            before = self.counts.ended
            with self.boot(tuple(self.todo)) as vm:
                hang = self._one_vm(vm)
                idle = 0 if self.counts.ended > before else idle + 1
                if idle:
                    self._ran_nothing(vm, idle, hang or vm.last_words())
        return self.counts

    def _out_of_time(self) -> bool:
        return self.total is not None and self.seconds >= self.total

    @staticmethod
    def _ran_nothing(vm: Vm, times: int, why: str) -> None:
        log = CACHE / "log/xfstests-vm.log"
        vm.keep_words(log)
        if times >= IDLE_VMS:
            raise Failed(f"the VM ends without running a test, see {log}: {why}")

    def _one_vm(self, vm: Vm) -> str:
        """Until the VM is over, one way or another; then what it left is looked at. Why it was
        given up, if it was."""
        now = self.clock()
        watch = Watch(began=now, alive=now)
        hang = ""
        while not hang and not vm.ended(LOOK):
            self._take(vm, watch)
            if self._out_of_time():
                vm.stop()
            if vm.over():
                # A stuck task can prevent that it powers off.
                watch.over = watch.over or self.clock()
                if self.clock() - watch.over >= POWER_OFF:
                    break
            else:
                hang = self._hangs(vm, watch)
        vm.end()
        self._take(vm, watch)
        if why := vm.gave_up():
            raise Failed(f"the guest gave up: {why}")
        test = vm.current()
        if test and not vm.over():
            seconds = int(self.clock() - watch.began) if test == watch.running else 0
            self._record(Row(test, "fail", seconds, hang or f"the VM died: {vm.obituary()}"))
        return hang

    def _hangs(self, vm: Vm, watch: Watch) -> str:
        """Why the VM is to be given up; empty if it gets on."""
        now, test = self.clock(), vm.current()
        if test is None:
            if now - watch.alive >= IDLE:
                return f"hang: the VM did nothing for {IDLE} s"
            return ""
        watch.alive = now
        if test != watch.running:
            watch.running, watch.began = test, now
        if now - watch.began >= self.limit + LAST_WORDS:
            return f"hang: the VM did not answer after {self.limit} s"
        if now - watch.began >= self.limit:
            vm.time_up(test)
        return ""

    def _take(self, vm: Vm, watch: Watch) -> None:
        """Records what the guest has finished since the last look."""
        for row in vm.done():
            # The clock of an emulated machine on a busy host can be off tenfold.
            watched = row.test == watch.running
            seconds = int(self.clock() - watch.began) if watched else row.seconds
            self._record(replace(row, seconds=seconds))

    def _record(self, row: Row) -> None:
        self.counts.add(row)
        if row.test in self.todo:
            self.todo.remove(row.test)
        self.ended(row)
