# SPDX-License-Identifier: GPL-2.0
"""Does one see, from the last lines alone, why a test failed?"""

import contextlib
import io
import unittest

from rext4 import check, reasons, tally
from rext4.reasons import Failure

GUEST = """\
1..3
ok 1 falloc/punch@4k # 1.2s
not ok 2 dio/lost_page@4k # 0.8s byte 4096: got 0, want 7 [direct.rs:31] | e2fsck: 12 blocks lost
#   log: rext4: ubda: mounted
not ok 3 errors/sysrq_u@4k # 2.0s kernel log: WARNING: at fs/x.c:1 (the case itself: pass )
#   log: rext4: ubda: mounted
#   log: WARNING: at fs/x.c:1
#   log: RIP: 0010:drop_nlink
# failed: dio/lost_page@4k
1 passed, 2 failed, 0 skipped"""
HANG = """\
1..1
not ok 1 mmap/stuck@4k # 60.0s no result in 60 s
# thread 31: folio_wait_bit_common
#   [<0>] folio_wait_bit_common+0x1
#   sysrq: Show Blocked State
0 passed, 1 failed, 0 skipped"""
CARGO = """\
test crc ... ok
test extents::split ... FAILED

failures:

---- extents::split stdout ----
thread 'extents::split' (31) panicked at unit/tests/extents.rs:7:5:
assertion `left == right` failed: the tree

failures:
    extents::split

test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out"""
PYTHON = """\
1..1
not ok 1 scripts/tally/Sums/test_ours
# Traceback (most recent call last):
#   File "a.py", line 1, in test_ours
#     self.assertEqual(1, 2)
# AssertionError: 1 != 2
0 passed, 1 failed, 0 skipped"""
XFSTESTS = """\
generic/001    pass      3 s
generic/002    fail     12 s  _check_dmesg: something found in dmesg
#   WARNING: at fs/x.c:1
rext4, uml, uml kernel: 1 passed, 1 failed, 0 not run in 15 s"""
STACK = """\
stack: rext4.ko: frames over 1024 bytes:
2000\textent::grow
stack: 1 passed, 1 failed"""
VM = """\
1..2
ok 1 falloc/punch@4k # 1.2s
vm: the kernel reported: BUG: KASAN: slab-use-after-free in rext4_read
rext4: vda: mounted
BUG: KASAN: slab-use-after-free in rext4_read
vm: console: /x"""


def why(text: str, status: int = 1) -> list[str]:
    found, _ = tally.of_part(text.split("\n"), status)
    return reasons.report(found.failures)


class Told(unittest.TestCase):
    def test_guest(self) -> None:
        self.assertEqual(
            why(GUEST),
            [
                "dio/lost_page@4k: byte 4096: got 0, want 7 [direct.rs:31]",
                "  e2fsck: 12 blocks lost",
                "  log: rext4: ubda: mounted",
                "errors/sysrq_u@4k: kernel log: WARNING: at fs/x.c:1 (the case itself: pass )",
                "  log: rext4: ubda: mounted",
                "  log: WARNING: at fs/x.c:1",
                "  log: RIP: 0010:drop_nlink",
            ],
        )

    def test_hang(self) -> None:
        self.assertIn("  thread 31: folio_wait_bit_common", why(HANG))

    def test_cargo(self) -> None:
        self.assertEqual(
            why(CARGO, 101),
            [
                "extents::split: thread 'extents::split' (31) panicked at"
                " unit/tests/extents.rs:7:5:",
                "  assertion `left == right` failed: the tree",
            ],
        )

    def test_python(self) -> None:
        self.assertEqual(why(PYTHON)[-1], "  AssertionError: 1 != 2")

    def test_xfstests(self) -> None:
        self.assertEqual(
            why(XFSTESTS),
            [
                "generic/002: _check_dmesg: something found in dmesg",
                "  WARNING: at fs/x.c:1",
            ],
        )

    def test_without_names(self) -> None:
        self.assertIn("  2000\textent::grow", why(STACK))

    def test_a_vm_that_died(self) -> None:
        said = why(VM, 125)
        self.assertIn("1 that did not come to an end: the last that did: falloc/punch@4k", said)
        self.assertIn(
            "the VM: the kernel reported: BUG: KASAN: slab-use-after-free", "\n".join(said)
        )

    def test_a_kernel_that_complained_at_the_end(self) -> None:
        self.assertIn(
            "status 125: the kernel reported: BUG: KASAN", why(VM.replace("1..2", "1..1"), 125)[0]
        )

    def test_a_compiler(self) -> None:
        said = why("error[E0308]: mismatched types\n --> x.rs:1:2", 101)
        self.assertEqual(said, ["status 101: error[E0308]: mismatched types", "  --> x.rs:1:2"])


class Room(unittest.TestCase):
    def test_about_the_line_that_tells(self) -> None:
        lines = [*(f"before {n}" for n in range(50)), "BUG: x", *(f"after {n}" for n in range(50))]
        said = Failure("name", ["reason", *lines]).lines(6)
        self.assertEqual(len(said), 6)
        self.assertIn("  BUG: x", said)
        self.assertEqual(said[-1], "  after 2")

    def test_the_last_if_none_tells(self) -> None:
        said = Failure("name", ["reason", *map(str, range(50))]).lines(4)
        self.assertEqual(said, ["name: reason", "  47", "  48", "  49"])

    def test_many(self) -> None:
        for number in (1, 5, 20, 29, 30, 31, 500):
            said = reasons.report([Failure(str(n), ["why"] * 9) for n in range(number)])
            self.assertLessEqual(len(said), reasons.ALL + 1)
            self.assertEqual(said[0], "0: why")
        self.assertEqual(said[-1], "and 470 more, in the logs")

    def test_long_lines(self) -> None:
        self.assertEqual(
            {len(line) for line in Failure("n", ["x" * 999]).lines(1)}, {reasons.WIDTH}
        )


class End(unittest.TestCase):
    def test_the_sum_is_the_last_line(self) -> None:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            with contextlib.redirect_stderr(out):
                status = check.sum_up([("uml", tally.read(GUEST.split("\n"))), ("lab", None)])
        said = out.getvalue().rstrip("\n").split("\n")
        self.assertEqual(status, 1)
        self.assertEqual(said[-1], "1 passed, 3 failed, 0 skipped")
        self.assertEqual(said[-2], "lab: did not come to an end")
        self.assertTrue(said[1].startswith("uml: dio/lost_page@4k: byte 4096"))
