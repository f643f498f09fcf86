# SPDX-License-Identifier: GPL-2.0
"""What the guest of an xfstests run is told, and what is kept of what it leaves."""

import tempfile
import unittest
from pathlib import Path
from unittest import mock

from rext4.common import REPO
from rext4.tests.test_xfstests_lists import asked
from rext4.xfstests import guest
from rext4.xfstests.results import Kept, Row, Table

OURS = ("uml", "uml", "rext4")


class WithJob(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        (self.folder / "disks").mkdir()
        self.words = asked("--opts", "a,b", "--limit", "100", "--results", f"{self.folder}/r.tsv")
        self.job = guest.Job(
            self.folder,
            self.folder / "disks",
            guest.Suite("xfstests", Path("/x y"), guest.GUEST),
            Path("/m.ko"),
            self.words,
        )
        self.enterContext(mock.patch.object(guest, "kernel_folder", return_value=Path("/k")))


class Jobs(WithJob):
    def test_what_the_guest_is_told(self) -> None:
        (self.folder / "state").write_text("of the VM before")
        (self.folder / "disks/test").write_text("x")
        self.job.prepare(["g/1", "g/2"])
        self.assertFalse((self.folder / "state").exists())
        self.assertEqual((self.folder / "todo").read_text(), "g/1\ng/2\n")
        told = (self.folder / "job").read_text()
        self.assertIn(
            f"REPO={REPO}\nKIND=xfstests\nSUITE='/x y'\nFS=rext4\nOPTS=a,b\nLIMIT=100\n", told
        )
        self.assertIn("KCONFIG=/k/.config\n", told)
        sizes = [(self.folder / "disks" / name).stat().st_size >> 30 for name in guest.DISKS]
        self.assertEqual(sizes, [4, 4, 2])

    def test_the_vm(self) -> None:
        words = [str(word) for word in self.job.command(3)]
        self.assertEqual(words[words.index("--time") + 1], "900")
        self.assertEqual(words.count("--disk"), 3)
        self.assertEqual(words[-2:], [str(REPO / "tests/xfstests/guest"), str(self.folder)])
        self.words.build = "/k"
        words = [str(word) for word in self.job.command(3)]
        self.assertEqual(words[words.index("--kernel") + 1], "/k")


class Results(WithJob):
    def setUp(self) -> None:
        super().setUp()
        self.enterContext(mock.patch("rext4.xfstests.results.CACHE", self.folder / "cache"))
        self.kept = Kept(self.folder / "kept", self.folder, uml=True)
        (self.folder / "results/g").mkdir(parents=True)

    def left(self, name: str, text: str) -> None:
        (self.folder / "results/g" / name).write_text(text)

    def test_the_table(self) -> None:
        path = self.folder / "r.tsv"
        Table(path, OURS, "a1").record(Row("g/2", "fail", 3, "why"))
        Table(path, ("uml", "uml", "ext4"), "7.3").record(Row("g/2", "pass", 4))
        Table(path, ("qemu", "fast", "rext4"), "a1").record(Row("g/1", "pass", 5))
        Table(path, OURS, "a1").record(Row("g/1", "pass", 6))
        Table(path, OURS, "a2").record(Row("g/2", "pass", 7))
        self.assertEqual(
            path.read_text(),
            "test\tengine\tkernel\tfs\tresult\tseconds\treason\tof\n"
            "g/2\tuml\tuml\text4\tpass\t4\t\t7.3\n"
            "g/1\tqemu\tfast\trext4\tpass\t5\t\ta1\n"
            "g/1\tuml\tuml\trext4\tpass\t6\t\ta1\n"
            "g/2\tuml\tuml\trext4\tpass\t7\t\ta2\n",
        )

    def test_what_need_not_run_again(self) -> None:
        path = self.folder / "r.tsv"
        Table(path, OURS, "a1").record(Row("g/1", "pass", 3))
        Table(path, OURS, "a2").record(Row("g/2", "fail", 3, "why"))
        Table(path, ("uml", "uml", "ext4"), "a2").record(Row("g/3", "pass", 3))
        self.assertEqual(Table(path, OURS, "a2").recorded(), {"g/2"})
        # A row from before there was that column, a tree that has changed, one of which nothing
        # is known.
        path.write_text(path.read_text() + "g/4\tuml\tuml\trext4\tpass\t1\t\n")
        self.assertEqual(Table(path, OURS, "a1").recorded(), {"g/1"})
        for built in ("a2+", ""):
            Table(path, OURS, built).record(Row("g/5", "pass", 3))
            self.assertEqual(Table(path, OURS, built).recorded(), set())

    def test_a_reason_with_odd_characters(self) -> None:
        path = self.folder / "r.tsv"
        table = Table(path, OURS, "a1")
        table.record(Row.of_guest("g/2\tfail\t3\ta\rb\x0bc\u2028d"))
        table.record(Row("g/1", "pass", 5))
        self.assertIn("g/2\tuml\tuml\trext4\tfail\t3\ta b c d\ta1\n", path.read_text())
        # One that somebody else has left there.
        path.write_text(path.read_text() + "\ng/3\tuml\tuml\trext4\tfail\t1\ta\x0cb\n")
        table.record(Row("g/1", "pass", 6))
        self.assertEqual(len(path.read_text().strip().split("\n")), 4)

    def test_an_empty_table(self) -> None:
        path = self.folder / "r.tsv"
        path.touch()
        Table(path, OURS, "a1").record(Row("g/1", "pass", 5))
        self.assertEqual(path.read_text().count("\n"), 2)

    def test_what_a_failure_leaves(self) -> None:
        self.left("001.full", "f")
        self.left("0010.full", "another's")
        (self.folder / "console").write_text("c")
        self.kept.keep(Row("g/001", "fail", 1))
        there = self.folder / "kept/g"
        self.assertEqual(sorted(path.name for path in there.iterdir()), ["001.console", "001.full"])
        self.kept.keep(Row("g/001", "pass", 1))
        self.assertEqual(list(there.iterdir()), [])

    def test_the_kernel_tells_more(self) -> None:
        self.left("001.dmesg", "a\nWARNING: at fs/x.c:1\nModules linked in:\n")
        self.left("001.check", "_check_dmesg: something found\n")
        told = self.kept.telling(Row("g/001", "fail", 1, "_check_dmesg: something found"))
        self.assertEqual(told[:2], ["WARNING: at fs/x.c:1", "Modules linked in:"])

    def test_the_output_tells_more(self) -> None:
        self.left("001.dmesg", "quiet\n")
        self.left("001.check", " - output mismatch\n    --- a\n\n    +surprise\n")
        told = self.kept.telling(Row("g/001", "fail", 1, "output mismatch +surprise"))
        self.assertEqual(told, ["--- a", "+surprise"])

    def test_the_next_test_is_no_reason(self) -> None:
        self.left("001.check", " [failed, exit status 3]\n+g/002 is it\ngeneric/002 ")
        told = self.kept.telling(Row("g/001", "fail", 1, "[failed, exit status 3]"))
        self.assertEqual(told, ["+g/002 is it"])

    def test_the_console_tells_of_a_death(self) -> None:
        (self.folder / "console").write_text("Kernel panic - not syncing\r\nCPU: 0\r\n")
        self.assertEqual(self.kept.telling(Row("g/001", "fail", 1, "output mismatch")), [])
        told = self.kept.telling(Row("g/001", "fail", 1, "the VM died: Kernel panic"))
        self.assertEqual(told[:2], ["Kernel panic - not syncing", "CPU: 0"])
