# SPDX-License-Identifier: GPL-2.0
"""scripts/compare: what of two tables is worth a line."""

import contextlib
import io

from rext4.common import USAGE, Failed
from rext4.tests.kit import CommandLines, WithFolder
from rext4.xfstests import compare
from rext4.xfstests.results import COLUMNS

OLD = """\
g/1 uml uml rext4 pass 4
g/2 uml uml rext4 fail 4
g/3 uml uml rext4 pass 10
g/4 uml uml rext4 pass 1
g/5 uml uml rext4 notrun 1
g/1 uml uml ext4 pass 30
"""
NEW = """\
g/1 uml uml rext4 fail 4
g/2 uml uml rext4 pass 4
g/3 uml uml rext4 pass 21
g/4 uml uml rext4 pass 9
g/1 uml uml ext4 pass 30
"""


class Comparing(WithFolder, CommandLines):
    def table(self, name: str, text: str) -> str:
        lines = [line.replace(" ", "\t") + f"\twhy {name}\ta1" for line in text.splitlines()]
        path = self.folder / name
        path.write_text("\n".join(("\t".join(COLUMNS), *lines)) + "\n")
        return str(path)

    def said(self, *words: str) -> tuple[int, list[str]]:
        with contextlib.redirect_stdout(io.StringIO()) as out:
            status = compare.main(list(words))
        return status, [" ".join(line.split()) for line in out.getvalue().splitlines()]

    def test_each_kind(self) -> None:
        old, new = self.table("old", OLD), self.table("new", NEW)
        status, lines = self.said(old, new)
        self.assertEqual(status, 1)
        self.assertEqual(
            lines,
            [
                "worse g/1 uml uml rext4: fail: why new",
                "gone g/5 uml uml rext4: was notrun, has no row",
                "cured g/2 uml uml rext4: was fail: why old",
                "slower g/3 uml uml rext4: 10 s, now 21 s",
            ],
        )

    def test_nothing_is_worse(self) -> None:
        old = self.table("old", OLD)
        self.assertEqual(self.said(old, old), (0, []))
        self.assertEqual(self.said("--fs", "ext4", old, self.table("new", NEW)), (0, []))

    def test_the_columns_of_one_table(self) -> None:
        new = self.table("new", NEW)
        status, lines = self.said("--fs", "rext4", "--against", "ext4", new, new)
        self.assertEqual((status, lines), (1, ["worse g/1 uml uml rext4: fail: why new"]))

    def test_no_table(self) -> None:
        (self.folder / "x").write_text("some\ttext\n")
        for path in ("/no/such", str(self.folder / "x")):
            with self.assertRaisesRegex(Failed, "is no table") as raised:
                compare.main([path, path])
            self.assertEqual(raised.exception.status, USAGE)
        self.refuses(compare.main, [["one"], ["a", "b", "c"]])
