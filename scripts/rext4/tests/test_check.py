# SPDX-License-Identifier: GPL-2.0
"""How parts are run, added up, and stopped."""

import contextlib
import io
import threading
import time
import unittest
from collections import deque
from pathlib import Path
from unittest import mock

from rext4 import check, lint
from rext4.common import Failed
from rext4.tally import Tally
from rext4.tests.test_process import LONG, SLEEPERS, WithFolder


class Parts(WithFolder):
    def setUp(self) -> None:
        super().setUp()
        self.folder = self.numbers.parent
        self.runner = check.Runner(self.folder)

    def part(self, *scripts: str, expected: int = 0) -> str:
        """The tally of a part of these scripts."""
        words = [(["sh", "-c", script], self.folder) for script in scripts]
        with contextlib.redirect_stdout(io.StringIO()) as self.out:
            with contextlib.redirect_stderr(io.StringIO()) as self.err:
                self.runner.part("host", words, expected)
        return str(self.runner.tallies["host"])

    def test_sums(self) -> None:
        said = self.part(
            "echo 3 passed, 1 failed", "echo 'test result: ok. 4 passed; 0 failed; 1 ignored'"
        )
        self.assertEqual(said, "7 passed, 1 failed, 1 skipped")
        self.assertIn("host | 3 passed, 1 failed\n", self.out.getvalue())
        self.assertIn("3 passed", (self.folder / "host.log").read_text())

    def test_one_that_fails_does_not_hide_behind_the_next(self) -> None:
        said = self.part("exit 3", "echo 5 passed, 0 failed")
        self.assertEqual(said, "5 passed, 1 failed, 0 skipped")
        self.assertIn("ended with status 3", self.err.getvalue())

    def test_what_cannot_run(self) -> None:
        self.assertEqual(self.part("echo none; exit 77"), "0 passed, 0 failed, 1 skipped")
        with contextlib.redirect_stdout(io.StringIO()):
            with contextlib.redirect_stderr(io.StringIO()) as said:
                self.assertEqual(check.sum_up([("host", self.runner.tallies["host"])]), 0)
        self.assertIn("skipped: host: none\n", said.getvalue())

    def test_all_of_a_list_must_come(self) -> None:
        said = "echo 2 passed, 0 failed, 1 skipped"
        self.assertEqual(self.part(said, expected=3), "2 passed, 0 failed, 1 skipped")
        self.assertEqual(self.part(said, expected=4), "2 passed, 1 failed, 1 skipped")
        self.assertEqual(self.runner.tallies["host"].failures[0].name, "the list")
        # What failed is told by itself.
        said = "echo 1 passed, 1 failed"
        self.assertEqual(self.part(said, expected=4), "1 passed, 1 failed, 0 skipped")

    def test_output_that_is_no_text(self) -> None:
        self.assertEqual(
            self.part(r"printf '\377\n1 passed, 0 failed'"), "1 passed, 0 failed, 0 skipped"
        )

    def test_stopped(self) -> None:
        script = (["sh", "-c", SLEEPERS, str(self.numbers)], self.folder)
        with contextlib.redirect_stderr(io.StringIO()):
            thread = threading.Thread(target=self.runner.part, args=("host", [script]))
            thread.start()
            sleepers = self.sleepers()
            self.runner.stop()
            thread.join(LONG)
        self.assertFalse(thread.is_alive())
        self.assert_gone(sleepers)
        with self.assertRaises(Failed):
            self.runner.part("stack", [(["true"], self.folder)])

    def test_a_part_that_cannot_begin(self) -> None:
        with mock.patch.object(check, "prepare"), mock.patch.object(check, "CACHE", self.folder):
            with mock.patch.object(check, "host", side_effect=Failed("no")):
                with contextlib.redirect_stdout(io.StringIO()) as out:
                    with contextlib.redirect_stderr(io.StringIO()):
                        status = check.main(["host"])
        self.assertEqual((status, out.getvalue()), (1, "0 passed, 1 failed, 0 skipped\n"))

    def stock(self, kernel: str, module: str = "echo path") -> str:
        """The tally of the part stock with these in place of scripts/kernel and scripts/module."""
        for name, text in (("kernel", kernel), ("module", module)):
            (self.folder / name).write_text(f"#!/bin/sh\n{text}\n")
            (self.folder / name).chmod(0o755)
        self.runner = check.Runner(self.folder)
        own = mock.patch.object(check, "OWN_TESTS", ["echo", "3 passed, 0 failed"])
        with own, mock.patch.object(check, "SCRIPTS", self.folder):
            with mock.patch.object(check, "on_stock", return_value=["sh", "-c", "exit 9"]):
                with contextlib.redirect_stdout(io.StringIO()):
                    with contextlib.redirect_stderr(io.StringIO()) as self.err:
                        check.lane(self.runner, deque(["stock"]))
                        self.status = check.sum_up([("stock", self.runner.tallies["stock"])])
        return str(self.runner.tallies["stock"])

    def test_no_kernel_of_debian(self) -> None:
        said = self.stock("echo stock: a mirror without backports >&2; exit 77")
        self.assertEqual((said, self.status), ("0 passed, 0 failed, 1 skipped", 0))
        self.assertIn("skipped: stock: a mirror without backports\n", self.err.getvalue())

    def test_what_fails_on_the_way_to_stock_is_a_failure(self) -> None:
        for kernel, module in (("exit 1", "true"), ("true", "echo broken; exit 1")):
            said = self.stock(kernel, module)
            self.assertEqual((said, self.status), ("0 passed, 1 failed, 0 skipped", 1))
        self.assertIn("stock: could not begin: broken\n", self.err.getvalue())
        for said in ("warning: unused", "WARNING: modpost: missing"):
            self.stock("true", f"echo '{said}'; echo path")
            self.assertIn(f"stock: could not begin: {said}\n", self.err.getvalue())
        # Both are there: what the tests say counts.
        self.assertEqual(self.stock("true"), "3 passed, 1 failed, 0 skipped")
        self.assertIn("stock: status 9", self.err.getvalue())

    def frames(self, kernel: str, module: str = 'echo "ko-$1"') -> str:
        """The tally of the part stack with these in place of scripts/kernel and scripts/module."""
        for name, text in (
            ("kernel", kernel),
            ("module", module),
            ("stack", 'echo "$1"; echo "stack: 2 passed, 0 failed"'),
        ):
            (self.folder / name).write_text(f"#!/bin/sh\n{text}\n")
            (self.folder / name).chmod(0o755)
        self.runner = check.Runner(self.folder)
        with (
            mock.patch.object(check, "SCRIPTS", self.folder),
            mock.patch("rext4.common.SCRIPTS", self.folder),
            contextlib.redirect_stdout(io.StringIO()) as self.out,
            contextlib.redirect_stderr(io.StringIO()) as self.err,
        ):
            check.lane(self.runner, deque(["stack"]))
            check.sum_up([("stack", self.runner.tallies["stack"])])
        return str(self.runner.tallies["stack"])

    def test_frames_of_stock_where_that_is_there(self) -> None:
        self.assertEqual(self.frames("echo path"), "6 passed, 0 failed, 0 skipped")
        self.assertIn("stack | ko-stock\n", self.out.getvalue())
        self.assertEqual(self.frames("echo not there >&2; exit 1"), "4 passed, 0 failed, 1 skipped")
        self.assertIn("skipped: stack: not there\n", self.err.getvalue())
        # Its compilers cannot be had; the module cannot be built.
        module = '[ "$1" != stock ] || { echo no; exit %d; }; echo ko'
        self.assertEqual(self.frames("echo path", module % 77), "4 passed, 0 failed, 1 skipped")
        self.assertEqual(self.frames("echo path", module % 1), "0 passed, 1 failed, 0 skipped")

    def test_lanes_are_side_by_side(self) -> None:
        began = time.monotonic()
        both = threading.Barrier(2, timeout=LONG)
        with mock.patch.object(check, "lane", side_effect=lambda *_: both.wait()):
            check.run_lanes(self.runner, ["host", "uml"], 2)
        self.assertLess(time.monotonic() - began, LONG)

    def test_a_lane_that_is_free_takes_the_next(self) -> None:
        long, ran = threading.Event(), []

        def part(name: str, *_: object) -> None:
            if name == "uml":
                self.assertTrue(long.wait(LONG))
            elif name == "stack":
                long.set()
            ran.append(name)

        with mock.patch.object(check, "commands", return_value=contextlib.nullcontext([])):
            with mock.patch.object(self.runner, "part", side_effect=part):
                check.run_lanes(self.runner, ["uml", "qemu", "host", "stack"], 2)
        self.assertEqual(ran[:2], ["qemu", "host"])
        self.assertEqual(sorted(ran[2:]), ["stack", "uml"])


class Halves(unittest.TestCase):
    """A part that both lanes take a half of."""

    def test_both_are_chosen(self) -> None:
        self.assertEqual(check.chosen(["uml", "host"]), ["uml", "uml-rest", "host"])
        self.assertEqual(check.chosen(["uml-rest"]), ["uml-rest"])
        self.assertEqual(check.chosen(["deb"]), ["deb"])

    def test_those_of_a_kernel(self) -> None:
        for kernel, parts in (("stock", ["stock"]), ("debug", ["qemu", "lab"])):
            with (
                mock.patch.object(check, "prepare", side_effect=Failed("enough")) as prepare,
                mock.patch.object(check, "CACHE", Path("/tmp/none")),
                mock.patch.object(Path, "mkdir"),
                contextlib.suppress(Failed),
            ):
                check.main(["--kernel", kernel])
            prepare.assert_called_once_with(parts)

    def test_they_are_one_sum(self) -> None:
        found = {"uml": Tally(passed=2), "uml-rest": Tally(passed=3, failed=1), "lab": Tally(7)}
        sums = {name: str(said) for name, said in check.whole(found).items()}
        expected = {"uml": "5 passed, 1 failed, 0 skipped", "lab": "7 passed, 0 failed, 0 skipped"}
        self.assertEqual(sums, expected)


class Refusals(WithFolder):
    def test_wrong_words(self) -> None:
        for program, words in (
            (check.main, ["bogus"]),
            (check.main, ["--x"]),
            (check.main, ["--kernel", "fast"]),
            (check.main, ["--kernel", "stock", "host"]),
            (lint.main, ["tidy"]),
        ):
            with contextlib.redirect_stderr(io.StringIO()) as said:
                with self.assertRaises(SystemExit) as end:
                    program(words)
            self.assertEqual((end.exception.code, said.getvalue().count("\n")), (2, 1))


class Lints(WithFolder):
    def lint(self, *commands: str) -> lint.Verdict:
        return lint.lint(lambda: [(["sh", "-c", command], Path("/")) for command in commands])

    def test_verdicts(self) -> None:
        self.assertEqual(self.lint("true", "true"), lint.Verdict())
        self.assertEqual(self.lint("true", "echo bad; exit 1").said, "bad")
        self.assertEqual(self.lint("exit 4").said, "status 4")

    def test_a_missing_tool(self) -> None:
        with mock.patch.object(lint, "VENV", Path("/nowhere")):
            verdict = lint.lint(lambda: [([lint.tool("no-such-tool")], Path("/"))])
        self.assertIn("no-such-tool is missing", verdict.missing)

    def test_all_of_the_python_is_found(self) -> None:
        self.assertIn("scripts/vm", lint.python())
        self.assertIn("scripts/rext4/vm.py", lint.python())
        self.assertNotIn("scripts/setup", lint.python())
