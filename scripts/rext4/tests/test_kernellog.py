# SPDX-License-Identifier: GPL-2.0
"""Which lines of a kernel's log fail a test."""

import re
import unittest

from rext4 import kernellog

BAD = (
    "[    1.0] WARNING: CPU: 0 PID: 1 at fs/inode.c:300 drop_nlink+0x1/0x2",
    "[    1.0] WARNING: possible circular locking dependency detected",
    "[    1.0] WARNING: inconsistent lock state",
    "[    1.0] BUG: KASAN: slab-use-after-free in rext4_read+0x1/0x2",
    "[    1.0] BUG: sleeping function called from invalid context at mm/slab.h:1",
    "[    1.0] BUG rext4_inode (Not tainted): Objects remaining on __kmem_cache_shutdown()",
    "[    1.0] kernel BUG at fs/jbd2/transaction.c:1!",
    "[    1.0] Oops: general protection fault, probably for non-canonical address",
    "[    1.0] Kernel panic - not syncing: Fatal exception",
    "[    1.0] INFO: task guest:9 blocked for more than 60 seconds.",
    "[    1.0] rcu: INFO: rcu_preempt self-detected stall on CPU",
    "[    1.0] UBSAN: array-index-out-of-bounds in fs/x.c:1:2",
    "[    1.0] rust_kernel: panicked at rust/fs/mod.rs:1:2:",
    "[    1.0] BUG: Bad page state in process guest  pfn:00001",
)
GOOD = (
    "[    1.0] rext4: vdb: inode 12: extent block 8240: extent node: bad checksum",
    "[    1.0] EXT4-fs (vdb): mounted filesystem r/w with ordered data mode.",
    "[    1.0] Kernel command line: panic=-1 REXT4_RUN=/x",
    "[    1.0] Lock dependency validator: Copyright (c) 2006 Red Hat",
    "[    1.0] debug: unmapping init memory; no BUGs here",
)
RCU = """\
[ 2.0] WARNING: suspicious RCU usage
[ 2.0] lib/maple_tree.c:813 suspicious rcu_dereference_check() usage!
[ 2.0]  [<60001>] ? flush_tlb_mm+0x10/0x20
[ 2.1] rext4: fine"""


class Reports(unittest.TestCase):
    def test_each_kind(self) -> None:
        for line in BAD:
            self.assertEqual(kernellog.complaints(f"a\n{line}\nb", uml=False), [line])

    def test_what_is_none(self) -> None:
        self.assertEqual(kernellog.complaints("\n".join(GOOD), uml=False), [])

    def test_allowed_ones(self) -> None:
        allowed = [re.compile("circular"), re.compile("KASAN")]
        left = kernellog.complaints("\n".join(BAD), uml=False, allowed=allowed)
        self.assertEqual(len(left), len(BAD) - 2)

    def test_the_known_one_of_uml(self) -> None:
        self.assertEqual(kernellog.complaints(RCU, uml=True), [])
        self.assertEqual(len(kernellog.complaints(RCU, uml=False)), 1)

    def test_another_rcu_report_on_uml(self) -> None:
        other = RCU.replace("lib/maple_tree.c", "fs/inode.c")
        self.assertIn("WARNING: suspicious RCU", kernellog.complaints(other, uml=True)[-1])
        cut = RCU.split("\n")[0]
        self.assertEqual(kernellog.complaints(cut, uml=True), [cut])

    def test_two_reports_in_a_row(self) -> None:
        # The first is not forgotten for the second.
        first = "[ 1.0] WARNING: suspicious RCU usage"
        self.assertIn(first, kernellog.complaints(f"{first}\n{RCU}", uml=True))

    def test_a_report_that_never_names_the_flush(self) -> None:
        log = "\n".join([RCU.split("\n")[0], *("x" for _ in range(100)), "WARNING: later"])
        self.assertEqual(len(kernellog.complaints(log, uml=True)), 2)


class Context(unittest.TestCase):
    def test_around(self) -> None:
        log = "\n".join(map(str, range(100)))
        self.assertEqual(kernellog.around(log, "50", before=1, after=2), ["49", "50", "51", "52"])

    def test_obituary(self) -> None:
        log = "x\n[ 3.0] Kernel panic - not syncing: y\r\nz"
        self.assertEqual(kernellog.obituary(log), "Kernel panic - not syncing: y")
        self.assertEqual(kernellog.obituary("quiet"), "no message on the console")
