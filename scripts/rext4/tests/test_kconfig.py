# SPDX-License-Identifier: GPL-2.0
"""The configurations of our kernels beside that of Debian's: what lies on a hot path and differs
has a reason."""

import subprocess
import unittest
from pathlib import Path

from rext4 import kconfig
from rext4.common import SCRIPTS, Failed

TABLE = """\
# A comment.
PREEMPT*
CRC_FAST
CRC_FAST\tuml\tthere is none there
"""


class Table(unittest.TestCase):
    def judged(self, ours: str, stock: str, table: str = TABLE, flavour: str = "uml") -> list[str]:
        paths = kconfig.table(table)
        return kconfig.judged(paths, flavour, kconfig.options(ours), kconfig.options(stock))

    def test_the_same(self) -> None:
        self.assertEqual(self.judged("CONFIG_PREEMPT=y\n", "CONFIG_PREEMPT=y\n", "PREEMPT*"), [])

    def test_what_is_not_hot_may_differ(self) -> None:
        self.assertEqual(self.judged("", "CONFIG_SND=y\nCONFIG_CRC_FAST=m\n"), [])

    def test_a_difference_without_a_reason(self) -> None:
        stock = "CONFIG_PREEMPT_LAZY=y\nCONFIG_CRC_FAST=y\n"
        want = "PREEMPT_LAZY is n in uml, y in stock: why?"
        self.assertEqual(self.judged("# CONFIG_PREEMPT_LAZY is not set\n", stock), [want])
        # A reason of another flavour is none.
        said = self.judged("", stock, flavour="fast")
        self.assertEqual([line.split(" ")[0] for line in said], ["CRC_FAST", "PREEMPT_LAZY"])
        # What Debian has not, and another value.
        fast = "CONFIG_CRC_FAST=y\n"
        self.assertEqual(len(self.judged("CONFIG_PREEMPT=y\n", fast)), 1)
        said = self.judged("CONFIG_PREEMPT_N=1\n", f"CONFIG_PREEMPT_N=2\n{fast}")
        self.assertEqual(said, ["PREEMPT_N is 1 in uml, 2 in stock: why?"])

    def test_a_reason_for_many(self) -> None:
        table = f"{TABLE}PREEMPT*\tuml\twhy\n"
        self.assertEqual(self.judged("CONFIG_PREEMPT=y\n", "CONFIG_CRC_FAST=y\n", table), [])

    def test_a_reason_that_explains_nothing(self) -> None:
        said = self.judged("CONFIG_CRC_FAST=y\n", "CONFIG_CRC_FAST=m\n")
        self.assertEqual(said, ["CRC_FAST does not differ in uml: why a reason?"])
        # It lies on no path.
        self.assertEqual(len(self.judged("", "CONFIG_SND=y\n", "CRC*\nSND\tuml\twhy\n")), 1)

    def test_broken_lines(self) -> None:
        for line in ("X\tuml", "X\tuml\t", "X\tbogus\twhy", "X\tuml\twhy\tmore"):
            with self.assertRaises(Failed):
                kconfig.table(line)


class Ours(unittest.TestCase):
    def config(self, *words: str) -> Path:
        """What scripts/kernel prints: a folder's configuration, or a file."""
        done = subprocess.run([SCRIPTS / "kernel", *words], capture_output=True, text=True)
        if done.returncode:
            self.skipTest(done.stderr.splitlines()[-1])
        path = Path(done.stdout.splitlines()[-1])
        return path / ".config" if path.is_dir() else path

    def compare(self, flavour: str) -> None:
        stock = self.config("--path", "stock")
        said = kconfig.compared(flavour, self.config("--config", flavour), stock)
        self.assertEqual(said, [], "\n" + "\n".join(said))

    def test_debug(self) -> None:
        self.compare("debug")

    def test_fast(self) -> None:
        self.compare("fast")

    def test_uml(self) -> None:
        self.compare("uml")
