# SPDX-License-Identifier: GPL-2.0
"""What scripts/bench --growth makes of the guest's figures."""

import contextlib
import io
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from rext4 import growth
from rext4.common import Failed

FIGURES = """\
bytes of an inode\trext4\t1\t1200
bytes of an inode\text4\t1\t1000
create\trext4\t1000\t50
create\text4\t1000\t40
create\trext4\t10000\t{}
create\text4\t10000\t20
"""
TABLE = """\
curve\tat\trext4\text4\tof ext4
bytes of an inode\t1\t1200.0\t1000.0\t1.20
create\t1000\t50.0\t40.0\t1.25
create\t10000\t{}.0\t20.0\t{}
"""


class Growth(unittest.TestCase):
    def grow(self, last: int) -> tuple[int, str, str]:
        """Status, table and the last line that is printed."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        table = Path(folder.name) / "bench/growth.tsv"
        with (
            mock.patch.object(growth, "TABLE", table),
            mock.patch.object(growth, "measure", return_value=FIGURES.format(last)) as measure,
            mock.patch.object(growth, "draw") as draw,
            mock.patch("rext4.common.script"),
            mock.patch("rext4.common.call"),
            contextlib.redirect_stdout(io.StringIO()) as out,
        ):
            status = growth.main(["--growth", "--most", "10000"])
        measure.assert_called_once_with("stock", 10000)
        self.assertEqual([curve.name for curve in draw.call_args.args[0]], ["create"])
        return status, table.read_text(), out.getvalue().splitlines()[-1]

    def test_as_steep_as_ext4(self) -> None:
        status, table, _ = self.grow(23)
        self.assertEqual((status, table), (0, TABLE.format(23, "1.15")))

    def test_steeper(self) -> None:
        status, table, said = self.grow(22)
        self.assertEqual((status, said), (1, "steeper than ext4's: create"))
        self.assertEqual(table, TABLE.format(22, "1.10"))

    def test_a_figure_is_missing(self) -> None:
        with self.assertRaisesRegex(Failed, "one figure only of create at 10000"):
            growth.curves("\n".join(FIGURES.format(20).splitlines()[:-1]))
        with self.assertRaisesRegex(Failed, "no figures"):
            growth.curves("")
