# SPDX-License-Identifier: GPL-2.0
"""A run of xfstests: VMs that end well, die, hang, and do nothing, by a clock of this file."""

import contextlib
import io
from collections.abc import Callable, Iterator, Sequence
from typing import cast
from unittest import mock

from rext4.common import Failed
from rext4.process import Group
from rext4.tests.test_xfstests_results import WithJob
from rext4.xfstests import guest, run
from rext4.xfstests.results import Counts, Row

# What a VM does within one look at it.
Step = Callable[[], object]
ENDS = "it ends"


class FakeGroup:
    """A VM whose steps are played one a look; each look is some seconds long."""

    def __init__(self, steps: Sequence[Step | str], tick: Callable[[], None]) -> None:
        self.steps = list(steps)
        self.tick = tick
        self.over = False

    def wait(self, _seconds: float) -> int | None:
        self.tick()
        step = self.steps.pop(0) if self.steps else None
        self.over = ENDS in (step, step() if callable(step) else None)
        return 0 if self.over else None

    def end(self, _patience: float) -> int:
        self.over = True
        return 0


class Runs(WithJob):
    def setUp(self) -> None:
        super().setUp()
        self.now, self.each = 0.0, 10.0
        self.vms: list[list[Step | str]] = []
        self.booted: list[Sequence[str]] = []
        self.ended: list[Row] = []

    def tick(self) -> None:
        self.now += self.each

    @contextlib.contextmanager
    def boot(self, todo: Sequence[str]) -> Iterator[guest.Vm]:
        self.job.prepare(todo)
        (self.folder / "vm.out").write_text("vm: no such kernel\n")
        self.booted.append(todo)
        yield guest.Vm(self.job, cast(Group, FakeGroup(self.vms.pop(0), self.tick)))

    # What the guest does.
    def begins(self, test: str) -> Step:
        return lambda: self.write("current", f"{test} 0 0\n")

    def done(self, test: str, result: str, seconds: int = 3, reason: str = "") -> Step:
        def step() -> None:
            with (self.folder / "done").open("a") as done:
                done.write(f"{test}\t{result}\t{seconds}\t{reason}\n")
            (self.folder / "current").unlink(missing_ok=True)

        return step

    def says(self, name: str, text: str = "") -> Step:
        return lambda: self.write(name, text)

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def run_all(self, *tests: str, total: int | None = None) -> Counts:
        with contextlib.redirect_stderr(io.StringIO()) as self.err:
            with mock.patch.object(run, "CACHE", self.folder / "cache"):
                self.it = run.Run(
                    list(tests), 100, total, self.boot, self.ended.append, clock=lambda: self.now
                )
                return self.it.all()

    def test_one_vm(self) -> None:
        self.vms = [
            [
                self.begins("g/1"),
                self.done("g/1", "pass"),
                self.begins("g/2"),
                self.done("g/2", "notrun", 1, "no such device"),
                self.begins("g/3"),
                self.done("g/3", "fail", 1, "output mismatch +x"),
                self.says("state", "finished"),
                ENDS,
            ]
        ]
        counts = self.run_all("g/1", "g/2", "g/3")
        self.assertEqual(counts, Counts(passed=1, failed=1, notrun=1))
        self.assertEqual([row.test for row in self.ended], ["g/1", "g/2", "g/3"])
        # By this machine's clock, not the guest's.
        self.assertEqual(self.ended[0].seconds, 10)

    def test_a_spoilt_vm_is_followed_by_another(self) -> None:
        self.vms = [
            [self.done("g/1", "fail", 3, "dmesg: BUG"), self.says("state", "tainted"), ENDS],
            [self.done("g/2", "pass"), self.says("state", "finished"), ENDS],
        ]
        self.assertEqual(self.run_all("g/1", "g/2"), Counts(passed=1, failed=1, odd=1))
        self.assertEqual(self.booted, [("g/1", "g/2"), ("g/2",)])

    def test_a_vm_that_ends_in_order_has_lost_no_test(self) -> None:
        ends: list[Step | str] = [
            self.done("g/1", "pass"),
            self.begins("g/2"),
            self.says("state", "stopped"),
            ENDS,
        ]
        self.vms = [ends, [self.done("g/2", "pass"), self.says("state"), ENDS]]
        self.assertEqual(self.run_all("g/1", "g/2"), Counts(passed=2))

    def test_a_vm_dies(self) -> None:
        def panic() -> None:
            self.write("console", "x\r\n[1.0] Kernel panic - not syncing: y\r\n")

        self.vms = [
            [self.begins("g/1"), panic, ENDS],
            [self.done("g/2", "pass"), self.says("state"), ENDS],
        ]
        self.run_all("g/1", "g/2")
        why = "the VM died: Kernel panic - not syncing: y"
        self.assertEqual(self.ended[0], Row("g/1", "fail", 20, why))
        self.assertEqual(self.ended[1].result, "pass")

    def test_a_vm_that_dies_at_once(self) -> None:
        # Never seen running: no time of another test is taken for its own.
        def both() -> str:
            self.done("g/1", "pass")()
            self.begins("g/2")()
            return ENDS

        self.vms = [[self.begins("g/1"), both]]
        self.run_all("g/1", "g/2")
        self.assertEqual([row.seconds for row in self.ended], [10, 0])

    def test_the_guest_sees_to_a_test_that_hangs(self) -> None:
        def guest_looks() -> None:
            self.assertEqual((self.folder / "timeup").read_text(), "g/1\n")
            self.done("g/1", "fail", 100, "hang: not done after 100 s")()
            self.write("state", "tainted")

        self.each = 50
        self.vms = [[self.begins("g/1"), self.tick, guest_looks, ENDS]]
        self.run_all("g/1")
        self.assertIn("hang: not done after 100 s", self.ended[0].reason)

    def test_a_test_within_its_time_is_let_alone(self) -> None:
        self.each = 45
        self.vms = [
            [self.begins("g/1"), lambda: None, lambda: None, self.done("g/1", "pass"), ENDS]
        ]
        self.run_all("g/1")
        self.assertFalse((self.folder / "timeup").exists())

    def test_the_whole_vm_hangs(self) -> None:
        self.vms = [[self.begins("g/1")]]
        self.run_all("g/1")
        self.assertEqual(self.ended[0].reason, "hang: the VM did not answer after 100 s")
        self.assertEqual(self.ended[0].seconds, 160)

    def test_a_vm_that_does_not_power_off(self) -> None:
        self.vms = [[self.done("g/1", "pass"), self.says("state", "finished")]]
        self.assertEqual(self.run_all("g/1"), Counts(passed=1))
        self.assertLessEqual(self.now, 50)

    def test_vms_that_run_nothing(self) -> None:
        self.vms = [[ENDS], [ENDS]]
        with self.assertRaises(Failed) as raised:
            self.run_all("g/1")
        self.assertIn("without running a test", str(raised.exception))
        self.assertIn("vm: no such kernel", str(raised.exception))
        self.assertTrue((self.folder / "cache/log/xfstests-vm.log").exists())

    def test_one_of_them_is_forgiven(self) -> None:
        ends: list[Step | str] = [self.done("g/1", "pass"), self.says("state"), ENDS]
        self.vms = [[ENDS], ends, [ENDS], [self.done("g/2", "pass"), self.says("state"), ENDS]]
        self.assertEqual(self.run_all("g/1", "g/2"), Counts(passed=2))

    def test_a_vm_that_never_begins(self) -> None:
        self.vms = [[], []]
        with self.assertRaises(Failed) as raised:
            self.run_all("g/1")
        self.assertIn("hang: the VM did nothing for 600 s", str(raised.exception))

    def test_the_guest_gives_up(self) -> None:
        self.vms = [[self.done("g/1", "pass"), self.says("fatal", "no overlay\n"), ENDS]]
        with self.assertRaises(Failed) as raised:
            self.run_all("g/1", "g/2")
        self.assertEqual(str(raised.exception), "the guest gave up: no overlay")
        # What it had done counts.
        self.assertEqual([row.test for row in self.ended], ["g/1"])

    def test_out_of_time(self) -> None:
        def stops() -> None:
            self.assertTrue((self.folder / "stop").exists())
            self.done("g/1", "pass")()
            self.write("state", "stopped")

        self.vms = [[self.begins("g/1"), lambda: None, stops, ENDS]]
        counts = self.run_all("g/1", "g/2", "g/3", total=20)
        self.assertEqual(counts, Counts(passed=1, late=2))
        self.assertIn("out of time after 20 s, 2 not started: g/2 g/3", self.err.getvalue())

    def test_no_time_at_all(self) -> None:
        self.assertEqual(self.run_all("g/1", total=0), Counts(late=1))
        self.assertEqual(self.booted, [])

    def test_half_a_line(self) -> None:
        def half() -> None:
            self.write("done", "g/1\tpass\t3\t\ng/2\tfa")

        def whole() -> None:
            self.write("done", "g/1\tpass\t3\t\ng/2\tfail\t5\twhy\n")

        self.vms = [[half, whole, self.says("state"), ENDS]]
        self.run_all("g/1", "g/2")
        self.assertEqual(self.ended, [Row("g/1", "pass", 3), Row("g/2", "fail", 5, "why")])

    def test_what_is_no_result(self) -> None:
        self.vms = [[self.says("done", "rmmod: in use\n"), ENDS]]
        with self.assertRaises(Failed) as raised:
            self.run_all("g/1")
        self.assertIn("no result: rmmod: in use", str(raised.exception))
