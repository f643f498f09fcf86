# SPDX-License-Identifier: GPL-2.0
"""Blocks become lines."""

import tempfile
import unittest
from pathlib import Path

from rext4 import common, coverage
from rext4.coverage import Module, Table

LISTING = f"""
CU: {common.REPO}/rust/a.rs:
a.rs        1     0x1000          x
a.rs        1     0x1004
a.rs        2     0x1008          x

/elsewhere/core/b.rs:
b.rs        7     0x100c          x

{common.REPO}/rust/a.rs:
a.rs        3     0x1010      1   x
a.rs        -     0x1020

{common.REPO}/rust/c.rs:[++]
c.rs        9     0x1020          x
c.rs        -     0x1030
"""


class Lines(unittest.TestCase):
    """What objdump says, and what is made of it."""

    def setUp(self) -> None:
        self.rows = coverage.read_rows(LISTING.splitlines())
        blocks = [(0x1010, False), (0x1000, True), (0x1020, True), (0x1018, False)]
        self.module = Module(blocks, self.rows, {0x1000: "rext4::a", 0x1020: "rext4::c"})

    def of(self, *flags: int) -> dict[str, Table]:
        """The tables, of these flags."""
        return coverage.tables(self.module, bytes(flags))

    def test_rows(self) -> None:
        """Statements only, the files of others without a name, an end before what begins there."""
        places = [(file, line) for _, file, line in self.rows]
        a, c = "rust/a.rs", "rust/c.rs"
        expected = [(a, 1), (a, 2), ("", 7), (a, 3), ("", 0), (c, 9), ("", 0)]
        self.assertEqual(places, expected)

    def test_nothing_run(self) -> None:
        """All lines that have code are there, and none was run."""
        found = self.of(0, 0, 0, 0)
        self.assertEqual(found["rust/a.rs"].lines, {1: False, 2: False, 3: False})
        self.assertEqual(found["rust/a.rs"].never(), "1-3")
        self.assertEqual(found["rust/c.rs"].run, 0)

    def test_one_block(self) -> None:
        """Of the first block the lines up to the next one."""
        found = self.of(0, 1, 0, 0)
        self.assertEqual(found["rust/a.rs"].lines, {1: True, 2: True, 3: False})
        self.assertEqual(found["rust/a.rs"].never(), "3")
        self.assertEqual(found["rust/c.rs"].run, 0)

    def test_block_within_a_row(self) -> None:
        """A row that has more than one block was run if one of them was."""
        self.assertEqual(self.of(0, 0, 0, 1)["rust/a.rs"].lines[3], True)

    def test_another_copy(self) -> None:
        """A line that was run in one of two places was run."""
        table = Table()
        table.add(5, True)
        table.add(5, False)
        self.assertEqual((table.run, table.never()), (1, ""))

    def test_spans(self) -> None:
        """Lines without code between two of a kind do not part them."""
        table = Table({1: False, 4: False, 5: True, 9: False})
        self.assertEqual(table.never(), "1-4 9")

    def test_never_called(self) -> None:
        """By the flag of the block that a function begins with, whatever its parameters."""
        self.assertEqual(coverage.never_called(self.module, bytes([1, 1, 0, 1])), ["rext4::c"])
        self.module.names[0x1020] = "rext4::a"
        self.assertEqual(coverage.never_called(self.module, bytes([1, 1, 0, 1])), [])


class Flags(unittest.TestCase):
    """What modules have left."""

    def test_many_runs(self) -> None:
        """Those of all runs, and of all unloads of a run, together."""
        with tempfile.TemporaryDirectory() as folder:
            one, two = Path(folder) / "one", Path(folder) / "two"
            one.write_bytes(bytes([1, 0, 0, 0, 1, 0]))
            two.write_bytes(bytes([0, 0, 0]))
            self.assertEqual(coverage.read_flags([one, two], 3), bytes([1, 1, 0]))

    def test_another_module(self) -> None:
        """Flags of a module with another number of blocks tell nothing."""
        with tempfile.NamedTemporaryFile() as file:
            Path(file.name).write_bytes(bytes(4))
            with self.assertRaisesRegex(common.Failed, "another module"):
                coverage.read_flags([Path(file.name)], 3)


if __name__ == "__main__":
    unittest.main()
