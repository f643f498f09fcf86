# SPDX-License-Identifier: GPL-2.0
"""The table of kernels and compilers."""

import contextlib
import io
from pathlib import Path
from unittest import mock

from rext4 import compat
from rext4.common import Failed
from rext4.tally import Tally
from rext4.tests import kit

CONFIG = 'CONFIG_X=y\nCONFIG_RUSTC_VERSION_TEXT="rustc 1.85.1 (4eb161250 2025-03-15) (built)"\n'
EMPTY = f"# Compatibility\n\nWords.\n\n{compat.HEAD}\n{compat.LINE}\n\nMore words.\n"


def row(part: str, tests: str) -> compat.Row:
    return compat.Row(
        "7.3.4", "uml", "1.95.0", "Debian 12", "yes", "yes", tests, part, "2026-11-29"
    )


class Table(kit.WithFolder):
    def test_a_run_takes_the_place_of_the_last(self) -> None:
        text = compat.written(EMPTY, [row("uml", "3 passed"), row("lab", "1 passed")])
        text = compat.written(text, [row("uml", "4 passed")])
        self.assertEqual(compat.rows(text), [row("lab", "1 passed"), row("uml", "4 passed")])
        self.assertTrue(text.startswith("# Compatibility\n\nWords.\n\n| kernel |"))
        self.assertTrue(text.endswith("|\n\nMore words.\n"))
        self.assertEqual(compat.written(text, []), text)

    def test_no_table(self) -> None:
        with self.assertRaisesRegex(Failed, "lost its table"):
            compat.written("# Compatibility\n", [row("uml", "1 passed")])

    def test_ours(self) -> None:
        text = compat.DOCUMENT.read_text()
        self.assertEqual(compat.written(text, []), text)

    def kernel(self) -> Path:
        (self.folder / "include/config").mkdir(parents=True)
        (self.folder / ".config").write_text(CONFIG)
        (self.folder / "include/config/kernel.release").write_text("7.3.4+deb13-amd64\n")
        return self.folder

    def test_a_row(self) -> None:
        one = compat.row("deb", Tally(passed=12, failed=1), self.kernel())
        self.assertEqual(one.key, ("7.3.4+deb13-amd64", "stock", "1.85.1", "Debian 13", "deb"))
        self.assertEqual((one.built, one.tests), ("by dkms", "12 passed, 1 failed"))

    def test_only_what_has_run(self) -> None:
        document, kernel = self.folder / "x.md", self.kernel()
        document.write_text(EMPTY)
        said = {"uml": Tally(failed=1), "host": Tally(passed=9), "stock": Tally(passed=16)}
        with (
            mock.patch.object(compat, "DOCUMENT", document),
            mock.patch.object(compat, "REPO", self.folder),
            mock.patch("rext4.common.script", return_value=str(kernel)),
            contextlib.redirect_stderr(io.StringIO()) as noted,
        ):
            compat.record(said)
        self.assertEqual([one.part for one in compat.rows(document.read_text())], ["stock"])
        self.assertIn("noted in x.md: stock\n", noted.getvalue())
