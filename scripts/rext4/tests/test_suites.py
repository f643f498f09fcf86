# SPDX-License-Identifier: GPL-2.0
"""scripts/pjdfstest and scripts/ltp: what they run, and what the guest makes of the outcome."""

import os
import subprocess
from pathlib import Path
from unittest import mock

from rext4 import suites
from rext4.common import REPO, USAGE, Failed
from rext4.tests.kit import CommandLines, WithFolder
from rext4.xfstests.options import Options, parser

WHAT = ("failed", "skipped", "passed", "total")


class Suites(WithFolder, CommandLines):
    def setUp(self) -> None:
        super().setUp()
        runtest = self.folder / "runtest"
        runtest.mkdir()
        (runtest / "syscalls").write_text(
            "# a comment\n\nopen01 open01\nopen02 open02 -x\ndup01 d\n"
        )
        (runtest / "fs").write_text("gf01 growfiles -d $TMPDIR\n")

    def asked(self, *words: str) -> Options:
        made = parser("")
        made.add_argument("tests", nargs="*")
        return made.parse_intermixed_args(list(words), Options())

    def test_patterns_in_the_order_of_the_list(self) -> None:
        (self.folder / "list").write_text("fs/*\nsyscalls/open* # why\nsyscalls/open02\n")
        asked = self.asked("--list", str(self.folder / "list"))
        found = suites.wanted(suites.LTP, self.folder, asked)
        self.assertEqual(found, ["fs/gf01", "syscalls/open01", "syscalls/open02", suites.LAST])
        found = suites.wanted(suites.LTP, self.folder, self.asked("syscalls/dup01"))
        self.assertEqual(found, ["syscalls/dup01", suites.LAST])

    def test_a_pattern_that_nothing_has(self) -> None:
        with self.assertRaisesRegex(Failed, "no test is called syscalls/none"):
            suites.wanted(suites.LTP, self.folder, self.asked("syscalls/none*"))

    def test_names_as_they_are(self) -> None:
        found = suites.wanted(suites.PJDFSTEST, self.folder, self.asked("chmod", "open::e"))
        self.assertEqual(found, ["chmod", "open::e", suites.LAST])
        found = suites.wanted(suites.PJDFSTEST, self.folder, self.asked())
        self.assertIn("rename", found)

    def test_nothing_is_installed(self) -> None:
        with mock.patch.dict(os.environ, {"LTPROOT": "/no/such", "PJDFSTEST": "/no/such"}):
            for run in (suites.ltp, suites.pjdfstest):
                with mock.patch.object(Path, "home", return_value=self.folder):
                    with self.assertRaisesRegex(Failed, "nothing was tested") as raised:
                        run([])
                self.assertEqual(raised.exception.status, USAGE)

    def test_wrong(self) -> None:
        lines = (["--fs", "xfs"], ["--kernel", "fast"], ["--group", "x"], ["--limit", "0"])
        self.refuses(suites.ltp, lines)


class Verdicts(WithFolder):
    def verdict(self, kind: str, status: int, said: str) -> str:
        """What the guest's half says of such an end."""
        text = (REPO / "tests/suites/guest").read_text()
        start = text.index("verdict() {")
        function = text[start : text.index("\n}\n", start) + 3]
        done = subprocess.run(
            ["bash", "-uc", f"KIND={kind} LIMIT=9\n{function}verdict {status}"],
            input=said,
            capture_output=True,
            text=True,
        )
        self.assertEqual(done.stderr, "")
        # As the guest reads it.
        return " ".join(done.stdout.split())

    def test_ltp(self) -> None:
        told = "x.c:1: TINFO: a\nx.c:2: TCONF: no such\nx.c:3: TFAIL: wrong\nx.c:4: TFAIL: too\n"
        self.assertEqual(self.verdict("ltp", 0, told), "pass")
        self.assertEqual(self.verdict("ltp", 32, told), "notrun no such")
        self.assertEqual(self.verdict("ltp", 33, told), "fail wrong")
        self.assertEqual(self.verdict("ltp", 139, ""), "fail exit status 139")
        self.assertEqual(self.verdict("ltp", 99, ""), "fail there is no such test")
        self.assertEqual(self.verdict("ltp", 137, told), "fail hang: not done after 9 s")

    def test_pjdfstest(self) -> None:
        def run(lines: str, *counts: int) -> str:
            told = ", ".join(f"{count} {what}" for count, what in zip(counts, WHAT, strict=True))
            return self.verdict("pjdfstest", counts[0], f"{lines}\nTests: {told}\n")

        good, skipped = "chmod::a      ok\n", "chmod::b  skipped\n\trequires x\n"
        failed = "chmod::c   FAILED\n\tleft: 1\nBacktrace:\n"
        self.assertEqual(run(good, 0, 0, 1, 1), "pass 1 of 1 pass")
        skip = "1 of 2 pass; chmod::b: requires x"
        self.assertEqual(run(good + skipped, 0, 1, 1, 2), f"notrun {skip}")
        fail = "1 of 3 pass; chmod::b: requires x; chmod::c: left: 1"
        self.assertEqual(run(good + skipped + failed, 1, 1, 1, 3), f"fail {fail}")
        self.assertEqual(run("", 0, 0, 0, 0), "fail 0 of 0 pass")
        self.assertEqual(self.verdict("pjdfstest", 1, "error: no user"), "fail 0 of 0 pass")
