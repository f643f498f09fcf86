# SPDX-License-Identifier: GPL-2.0
"""What counts as a test that passed, failed, was skipped, or was lost."""

import unittest

from rext4 import tally
from rext4.reasons import Failure
from rext4.tally import Tally

GUEST = """\
1..3
ok 1 falloc/punch@4k # 1.2s
not ok 2 trunc/grow@4k # 0.8s got 1, want 2 [trunc.rs:3]
#   log: rext4: ubda: mounted
ok 3 mmap/huge@4k # SKIP no huge pages
# failed: trunc/grow@4k
# 3 s on rext4
1 passed, 1 failed, 1 skipped"""
CARGO = """\
running 2 tests
test crc ... ok
\x1b[1mtest result: ok\x1b[0m. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out
test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out"""


def read(text: str) -> tuple[int, int, int]:
    found = tally.read(text.split("\n"))
    return found.passed, found.failed, found.skipped


def names(text: str) -> list[str]:
    return [failure.name for failure in tally.read(text.split("\n")).failures]


class Sums(unittest.TestCase):
    def test_ours(self) -> None:
        self.assertEqual(read(GUEST), (1, 1, 1))
        self.assertEqual(names(GUEST), ["trunc/grow@4k"])

    def test_cargo(self) -> None:
        self.assertEqual(read(CARGO), (15, 2, 1))

    def test_xfstests(self) -> None:
        line = "rext4, uml, uml kernel: 9 passed, 1 failed, 2 not run in 300 s"
        self.assertEqual(read(line), (9, 1, 2))

    def test_what_a_failed_test_said_is_no_sum(self) -> None:
        self.assertEqual(read("#   +5 passed, 0 failed\n9 passed, 1 failed"), (9, 1, 0))

    def test_two_numbers(self) -> None:
        self.assertEqual(read("stack: 2 passed, 0 failed"), (2, 0, 0))

    def test_several_programs(self) -> None:
        self.assertEqual(read(f"{GUEST}\n{CARGO}\nstack: 2 passed, 0 failed"), (18, 3, 2))

    def test_lines_that_are_no_tests(self) -> None:
        self.assertEqual(read("okay then\nok, go on\nall ok"), (0, 0, 0))


class WithoutSum(unittest.TestCase):
    def test_a_program_that_died(self) -> None:
        cut = GUEST[: GUEST.index("ok 3")]
        self.assertEqual(read(cut), (1, 2, 0))
        self.assertEqual(names(cut), ["trunc/grow@4k", "1 that did not come to an end"])

    def test_in_the_middle_of_others(self) -> None:
        self.assertEqual(read(f"{CARGO}\n1..5\nok 1 a\nok 2 b"), (17, 5, 1))

    def test_plan_kept(self) -> None:
        self.assertEqual(read("1..2\nok 1 - a\nnot ok 2 - b # TODO later"), (2, 0, 0))

    def test_without_a_plan(self) -> None:
        self.assertEqual(read("ok compile-fail/names"), (0, 0, 0))


class Parts(unittest.TestCase):
    def part(self, text: str, status: int) -> tuple[str, str]:
        found, said = tally.of_part(text.split("\n"), status)
        return str(found), said

    def test_all_is_well(self) -> None:
        self.assertEqual(self.part("2 passed, 0 failed", 0), ("2 passed, 0 failed, 0 skipped", ""))

    def test_a_failure_that_is_told(self) -> None:
        self.assertEqual(self.part("2 passed, 1 failed", 1)[0], "2 passed, 1 failed, 0 skipped")

    def test_a_failure_that_is_not(self) -> None:
        # A kernel that complained after the last test had passed.
        found, said = self.part("2 passed, 0 failed", 125)
        self.assertEqual(found, "2 passed, 1 failed, 0 skipped")
        self.assertIn("125", said)

    def test_nothing(self) -> None:
        self.assertEqual(self.part("", 0), ("0 passed, 1 failed, 0 skipped", "ran no test"))

    def test_cannot_run(self) -> None:
        found, said = self.part("xfstests: SKIPPED: none", 77)
        self.assertEqual(found, "0 passed, 0 failed, 1 skipped")
        self.assertIn("none", said)


class Adding(unittest.TestCase):
    def test_sum(self) -> None:
        total = Tally(1, 0, 2)
        total += Tally(3, 1, 0, [Failure("x")])
        self.assertEqual(
            (str(total), total.failures), ("4 passed, 1 failed, 2 skipped", [Failure("x")])
        )
