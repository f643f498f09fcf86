# SPDX-License-Identifier: GPL-2.0
"""What scripts/bench --functions makes of the plugin's counts."""

import contextlib
import io
import re
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from rext4 import functions, marked
from rext4.common import SCRIPTS, Failed

SYMBOLS = """\
ffffffff81000000 T vfs_read
ffffffff81000100 T __pfx_memcpy
ffffffff81000110 T memcpy
ffffffffc0000000 t _RNvNtNtCsabc_5rext42fs5inode4iget	[rext4]
ffffffffc0001000 d some_data	[rext4]
"""
MARKS = "1\trext4\tstat\t10\n2\text4\tstat\t10\n"
COUNTS = """\
1\t0\t70\t70
1\tffffffff81000110\t100\t20
1\tffffffff81000118\t300\t300
1\tffffffffc0000040\t50\t10
2\tffffffff81000110\t10\t2
"""
TABLE = [
    "stat\t\tall\t52.0\t1.0\t+51.0\t0.00\t0.00",
    "stat\tkernel\tall\t40.0\t1.0\t+39.0\t0.00\t0.00",
    "stat\tkernel\tmemcpy\t40.0\t1.0\t+39.0\t2.00\t0.20",
    "stat\t\tprograms\t7.0\t0.0\t+7.0\t0.00\t0.00",
    "stat\trext4\tall\t5.0\t0.0\t+5.0\t0.00\t0.00",
    "stat\trext4\tfs::inode::iget\t5.0\t0.0\t+5.0\t0.00\t0.00",
]


class Functions(unittest.TestCase):
    def costs(self, marks: str = MARKS, counts: str = COUNTS) -> functions.Costs:
        symbols = functions.Symbols(SYMBOLS)
        return functions.costs(iter(counts.splitlines()), marks, symbols)

    def test_by_function(self) -> None:
        self.assertEqual(list(functions.lines(self.costs(), 1)), TABLE)

    def test_the_guest_stops(self) -> None:
        with self.assertRaisesRegex(Failed, "did not come to its end"):
            self.costs(marks="")
        with self.assertRaisesRegex(Failed, "nothing was counted"):
            self.costs(counts="")

    def test_measured_and_shown(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        out = Path(folder.name) / "bench/functions.tsv"
        with (
            mock.patch.object(functions, "measure", return_value=self.costs()) as measure,
            mock.patch("rext4.common.script"),
            mock.patch("rext4.common.call"),
            contextlib.redirect_stdout(io.StringIO()) as said,
            contextlib.redirect_stderr(io.StringIO()),
        ):
            words = ["--functions", "--data-only", "--top", "1", "--out", str(out)]
            self.assertEqual(functions.main(words), 0)
            again = ["--functions", "--from", str(out), "--of", "nothing like it"]
            self.assertEqual(functions.main(again), 0)
        measure.assert_called_once_with("stock", "data")
        self.assertEqual(out.read_text().splitlines(), [functions.HEAD, *TABLE])
        want = ["", "stat", "   all", "   all"]
        self.assertEqual([line[-6:] for line in said.getvalue().splitlines()], want)

    def test_both_sides_have_the_same_mark(self) -> None:
        text = (SCRIPTS / "rext4/functions.c").read_text()
        mark = re.search(r"#define MARK (0x[0-9a-f]+)u", text)
        assert mark
        self.assertEqual(int(mark[1], 16), marked.MARK)
