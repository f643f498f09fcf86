# SPDX-License-Identifier: GPL-2.0
"""What scripts/bench makes of the guest's figures."""

import contextlib
import io
import json
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from rext4 import bench, speed
from rext4.common import Failed

FIGURES = """\
write 1M\trext4\t100\tMB/s
write 1M\text4\t200\tMB/s
read 4k\trext4\t30.25\tMB/s
read 4k\text4\t30\tMB/s
write 1M\trext4\t180\tMB/s
write 1M\text4\t100\tMB/s
write 1M\trext4\t110\tMB/s
write 1M\text4\t90\tMB/s
write 1M\txfs\t120\tMB/s
"""
SLOW = FIGURES.replace("rext4\t1", "rext4\t0.1")
# scripts/vm: plays a guest with the figures of a file, or fails as that says.
VM = """\
#!/bin/bash
dir=$(dirname "$0")
echo "$@" >>"$dir/words"
while [ "$1" != --share ]; do shift; done
cp "$dir/figures" "$2/" 2>/dev/null || exit 7
"""
HEAD = "workload\trext4\text4\txfs\tunit\tratio\n"
ICOUNT = """\
write 1M (icount)\t110.0\t100.0\t120.0\tMB/s\t1.10
read 4k (icount)\t30.2\t30.0\t-\tMB/s\t1.01
"""
WALL = ICOUNT.replace("icount", "wall")
OLD = "old (icount)\t1.0\t2.0\t-\tMB/s\t0.50\nold (wall)\t1.0\t1.0\t-\tMB/s\t1.00\n"
OPERATION = "unlink (icount)\t3.0\t2.0\t4.0\t/s\t1.50\n"


class Rows(unittest.TestCase):
    def test_medians(self) -> None:
        found = bench.rows(FIGURES, "icount")
        self.assertEqual("".join(f"{row}\n" for row in found), ICOUNT)

    def test_a_figure_is_missing(self) -> None:
        text = FIGURES.replace("read 4k\text4", "read 8k\text4")
        with self.assertRaisesRegex(Failed, "wall: the guest has no figure of ext4 for read 4k"):
            bench.rows(text, "wall")
        with self.assertRaisesRegex(Failed, "no figures"):
            bench.rows("", "wall")


class Benches(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.out = self.folder / "new/results.tsv"
        (self.folder / "vm").write_text(VM)
        (self.folder / "vm").chmod(0o755)
        (self.folder / "figures").write_text(FIGURES)
        for patch in (
            mock.patch.object(bench, "SCRIPTS", self.folder),
            mock.patch.object(bench, "CACHE", self.folder / "cache"),
            mock.patch("rext4.common.script", return_value="/m.ko"),
            mock.patch("rext4.common.call"),
        ):
            self.enterContext(patch)

    def bench(self, *words: str) -> tuple[int, str]:
        """Status and output."""
        with contextlib.redirect_stdout(io.StringIO()) as out:
            with contextlib.redirect_stderr(io.StringIO()) as self.err:
                status = bench.main(["--out", str(self.out), *words])
        return status, out.getvalue()

    def booted(self) -> list[str]:
        return (self.folder / "words").read_text().splitlines()

    def test_both_clocks(self) -> None:
        self.assertEqual(self.bench("--rounds", "2"), (0, ICOUNT + WALL))
        self.assertEqual(self.out.read_text(), HEAD + ICOUNT + WALL)
        counted, wall = self.booted()
        self.assertRegex(counted, r"--icount -- \S+/bench-guest 3 data operations$")
        self.assertRegex(wall, r"--cpus 2 -- \S+/bench-guest 2 data operations$")
        self.assertIn("icount: 3 round(s)", self.err.getvalue())

    def test_the_other_clock_stands(self) -> None:
        old = OLD.splitlines(keepends=True)
        for only, want in (("icount", ICOUNT + old[1]), ("wall", old[0] + WALL)):
            self.out.parent.mkdir(exist_ok=True)
            self.out.write_text(HEAD + OLD)
            self.assertEqual(self.bench(f"--{only}-only")[0], 0)
            self.assertEqual(self.out.read_text(), HEAD + want)
        self.assertEqual(len(self.booted()), 2)

    def test_the_other_kind_stands(self) -> None:
        self.out.parent.mkdir()
        self.out.write_text(HEAD + OPERATION)
        self.bench("--icount-only", "--data-only")
        self.assertEqual(self.out.read_text(), HEAD + ICOUNT + OPERATION)
        self.assertRegex(self.booted()[0], "bench-guest 3 data$")

    def test_too_slow(self) -> None:
        (self.folder / "figures").write_text(SLOW)
        for words, want in ((["--strict"], 1), ([], 0)):
            status, said = self.bench("--icount-only", *words)
            last = said.splitlines()[-1]
            self.assertEqual((status, last), (want, "under 0.7: write 1M (icount)"))
        # It is on record.
        self.assertIn("write 1M (icount)\t0.1\t", self.out.read_text())

    def test_a_vm_that_fails(self) -> None:
        self.out.parent.mkdir()
        self.out.write_text(HEAD + OLD)
        (self.folder / "figures").unlink()
        with self.assertRaises(SystemExit) as end:
            self.bench()
        self.assertEqual(end.exception.code, 7)
        self.assertEqual(self.out.read_text(), HEAD + OLD)
        self.assertEqual(list((self.folder / "cache/run").iterdir()), [])

    def test_wrong(self) -> None:
        for words in (
            ["--icount-only", "--wall-only"],
            ["--data-only", "--operations-only"],
            ["--rounds", "0"],
            ["x"],
            ["--kernel", "uml"],
        ):
            with self.assertRaises(SystemExit) as end:
                self.bench(*words)
            self.assertEqual((end.exception.code, self.err.getvalue().count("\n")), (2, 1))

    def test_another_kernel(self) -> None:
        for words, kernel in ((["--kernel", "fast"], "fast"), ([], "stock")):
            self.bench("--icount-only", *words)
            self.assertIn(f" --kernel {kernel} ", f" {self.booted()[-1]} ")
        self.assertEqual(bench.table("fast").name, "results-fast.tsv")
        self.assertEqual(bench.table("stock").name, "results-stock.tsv")

    def test_speed(self) -> None:
        job = {"read": {"bw_bytes": 0}, "write": {"bw_bytes": 12500000}}
        report = self.folder / "fio.json"
        report.write_text(json.dumps({"jobs": [job]}))
        self.assertEqual(speed.speed(report), 12.5)
