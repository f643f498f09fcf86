# SPDX-License-Identifier: GPL-2.0
"""What is started ends with who has started it, whatever ends that one."""

import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

from rext4.common import SCRIPTS
from rext4.process import Group

# Starts two sleepers in one group, and says so with their numbers.
SLEEPERS = 'sleep 1000 & echo $$ $! >"$0.new"; mv "$0.new" "$0"; wait'
# No bound on anything that works: the machine may have other things to do.
LONG = 300
# A program of ours that starts them and waits for good.
CALLER = """
import sys
from rext4 import common
from rext4.process import Group

def main(arguments):
    with Group(["sh", "-c", arguments[0], arguments[1]]) as group:
        group.wait()
    return 0

common.run(main)
"""


def gone(number: int) -> bool:
    """Has a process ended? A zombie that nobody waits for has."""
    try:
        return ") Z " in Path(f"/proc/{number}/stat").read_text()
    except OSError:
        return True


class WithFolder(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.numbers = Path(folder.name) / "numbers"

    def sleepers(self) -> list[int]:
        """Their process numbers, once they are there."""
        self.within(LONG, self.numbers.exists)
        return [int(number) for number in self.numbers.read_text().split()]

    def within(self, seconds: float, *conditions: object) -> None:
        until = time.monotonic() + seconds
        while not all(condition() for condition in conditions):  # type: ignore[operator]
            self.assertLess(time.monotonic(), until)
            time.sleep(0.02)

    def assert_gone(self, numbers: list[int]) -> None:
        self.within(LONG, *(lambda number=number: gone(number) for number in numbers))


class Groups(WithFolder):
    def start(self) -> Group:
        return Group(["sh", "-c", SLEEPERS, str(self.numbers)])

    def test_status(self) -> None:
        for status in (0, 7):
            with Group(["sh", "-c", f"exit {status}"]) as group:
                self.assertEqual(group.wait(), status)
        with Group(["sh", "-c", "kill -KILL $$"]) as group:
            self.assertEqual(group.wait(), 128 + signal.SIGKILL)

    def test_no_such_command(self) -> None:
        with Group(["/no/such/command"], stderr=subprocess.DEVNULL) as group:
            self.assertEqual(group.wait(), 127)

    def test_time_is_up(self) -> None:
        with self.start() as group:
            numbers = self.sleepers()
            self.assertIsNone(group.wait(0.1))
            self.assertFalse(any(gone(number) for number in numbers))
        self.assert_gone(numbers)

    def test_kill_twice(self) -> None:
        with self.start() as group:
            numbers = self.sleepers()
            self.assertEqual(group.kill(), group.kill())
            self.assert_gone(numbers)

    def test_leaders_only(self) -> None:
        # User-Mode Linux does this, and must not get out of the group by it.
        code = "import os, sys, time\ntry:\n os.setsid()\nexcept OSError:\n sys.exit(5)"
        with Group([sys.executable, "-c", code]) as group:
            self.assertEqual(group.wait(LONG), 5)

    def test_what_the_command_leaves(self) -> None:
        with Group(["sh", "-c", SLEEPERS.replace("wait", "exit 3"), str(self.numbers)]) as group:
            self.assertEqual(group.wait(LONG), 3)
            self.assert_gone(self.sleepers())

    def test_asked_to_end(self) -> None:
        with Group(
            ["sh", "-c", "trap 'exit 9' TERM; : >\"$0\"; sleep 1000 & wait", self.numbers]
        ) as group:
            self.within(LONG, self.numbers.exists)
            self.assertEqual(group.end(LONG), 9)

    def test_deaf_to_that(self) -> None:
        with Group(["sh", "-c", "trap '' TERM; " + SLEEPERS, str(self.numbers)]) as group:
            numbers = self.sleepers()
            self.assertEqual(group.end(0.2), 128 + signal.SIGKILL)
        self.assert_gone(numbers)


def heed() -> None:
    """A shell has those that it runs in the background ignore SIGINT, and nohup SIGHUP; their
    children do, too."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


class Callers(WithFolder):
    def ended_by(self, number: signal.Signals) -> int:
        caller = subprocess.Popen(
            [sys.executable, "-c", CALLER, SLEEPERS, str(self.numbers)],
            env={**os.environ, "PYTHONPATH": str(SCRIPTS)},
            preexec_fn=heed,  # noqa: PLW1509
        )
        sleepers = self.sleepers()
        caller.send_signal(number)
        status = caller.wait(LONG)
        self.assert_gone(sleepers)
        return status

    def test_signals(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with self.subTest(number=number):
                self.assertEqual(self.ended_by(number), 130)
                self.numbers.unlink()

    def test_killed(self) -> None:
        # No handler sees this one.
        self.assertEqual(self.ended_by(signal.SIGKILL), -signal.SIGKILL)
