# SPDX-License-Identifier: GPL-2.0
"""The command line of scripts/xfstests, and which tests it comes to."""

import contextlib
import io
import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from rext4.common import REPO, Failed
from rext4.xfstests import lists
from rext4.xfstests.options import OURS, Options, options

GROUPS = """\
# made by a program

001 auto quick
002 auto # not quick
013 quick rw
"""


def asked(*words: str) -> Options:
    """What these words ask for, whatever is in the environment."""
    with mock.patch.dict(os.environ):
        os.environ.pop("REXT4_LAB_OFF", None)
        return options(list(words))


class CommandLine(unittest.TestCase):
    def refused(self, *words: str) -> str:
        """The one line that a wrong command line gets."""
        with contextlib.redirect_stderr(io.StringIO()) as said:
            with self.assertRaises(SystemExit) as end:
                asked(*words)
        self.assertEqual((end.exception.code, said.getvalue().count("\n")), (2, 1))
        return said.getvalue()

    def test_defaults(self) -> None:
        uml, qemu = asked(), asked("--engine", "qemu")
        self.assertEqual((uml.fs, uml.engine), ("rext4", "uml"))
        self.assertEqual((uml.kernel, uml.cpus, uml.limit), ("uml", 1, 1800))
        self.assertEqual((qemu.kernel, qemu.cpus, qemu.limit), ("debug", 2, 3600))
        self.assertEqual((uml.total, uml.lab, uml.lab_off), (None, False, False))

    def test_names_and_options_in_any_order(self) -> None:
        words = ["001", "--limit", "9", "rext4/003", "--group", "quick", "--ci", "--list", "x"]
        found = asked(*words, "generic/013")
        self.assertEqual(found.tests, ["generic/001", "rext4/003", "generic/013"])
        self.assertEqual(found.lists, [OURS / "ci-list", Path("x")])
        self.assertEqual((found.limit, found.groups), (9, ["quick"]))

    def test_where_results_go(self) -> None:
        self.assertEqual(asked().results, OURS / "results.tsv")
        self.assertEqual(asked("--opts", "dio_gate").results, OURS / "results-dio_gate.tsv")
        self.assertEqual(asked("--results", "/tmp/x").results, Path("/tmp/x"))
        dax = asked("--engine", "qemu", "--dax", "--fs", "ext4")
        self.assertEqual((dax.results, dax.opts), (OURS / "results-dax.tsv", "dax=always"))
        encrypt = asked("--encrypt", "--fs", "ext4")
        self.assertEqual(encrypt.results, OURS / "results-encrypt.tsv")
        self.assertEqual(encrypt.opts, "test_dummy_encryption=v2")

    def test_lab(self) -> None:
        off = asked("--lab-off")
        self.assertEqual((off.lab, off.lab_off), (True, True))
        self.assertEqual((asked("--lab").lab, asked("--lab").lab_off), (True, False))
        with mock.patch.dict(os.environ, {"REXT4_LAB_OFF": "1"}):
            self.assertTrue(options([]).lab_off)

    def test_no_time_is_a_time(self) -> None:
        self.assertEqual(asked("--total", "0").total, 0)

    def test_wrong(self) -> None:
        self.assertIn("xfs", self.refused("--fs", "xfs"))
        self.assertIn("goes with --kernel uml, not fast", self.refused("--kernel", "fast"))
        self.assertIn("debug or fast", self.refused("--engine", "qemu", "--kernel", "uml"))
        self.assertIn("not a list of mount options", self.refused("--opts", "a b"))
        self.assertIn("--opts is for rext4", self.refused("--fs", "ext4", "--opts", "dio_gate"))
        self.assertIn("--dax is for --engine qemu", self.refused("--dax"))
        self.assertIn("without --opts", self.refused("--encrypt", "--opts", "dio_gate"))
        self.assertIn("not a number: soon", self.refused("--total", "soon"))
        self.assertIn("not a number above zero", self.refused("--limit", "0"))
        self.assertIn("no such folder", self.refused("--results", "/no/such/x.tsv"))
        self.assertIn("--bogus", self.refused("--bogus"))
        self.assertIn("--list", self.refused("--list"))


class WithInstalled(unittest.TestCase):
    """A folder that looks like an installed xfstests with three tests."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.xfstests = self.folder / "xfstests"
        (self.xfstests / "ltp").mkdir(parents=True)
        (self.xfstests / "tests/generic").mkdir(parents=True)
        (self.xfstests / "tests/ext4").mkdir()
        (self.xfstests / "tests/ext4/003").touch()
        (self.xfstests / "tests/ext4/group.list").write_text("003 auto quick\n")
        for program in ("check", "ltp/fsx"):
            (self.xfstests / program).touch(0o755)
        for number in ("001", "002", "013"):
            (self.xfstests / "tests/generic" / number).touch()
        (self.xfstests / "tests/generic/group.list").write_text(GROUPS)

    def listed(self, text: str) -> str:
        """The path of a list with this text."""
        path = self.folder / "list"
        path.write_text(text)
        return str(path)

    def wanted(self, *words: str) -> list[str]:
        return lists.wanted(asked(*words), self.xfstests)

    def refused(self, *words: str) -> str:
        with self.assertRaises(Failed) as raised:
            self.wanted(*words)
        return str(raised.exception)


class Installed(WithInstalled):
    def found(self) -> Path | None:
        with mock.patch.dict(os.environ, {"XFSTESTS": str(self.xfstests)}):
            return lists.installed()

    def test_whole(self) -> None:
        self.assertEqual(self.found(), self.xfstests)

    def test_not_built(self) -> None:
        (self.xfstests / "ltp/fsx").unlink()
        self.assertIsNone(self.found())

    def test_not_installed(self) -> None:
        self.xfstests = self.folder / "none"
        self.assertIsNone(self.found())


class Wanted(WithInstalled):
    def test_groups_of_ext4_for_what_is_called_so(self) -> None:
        generic = ["generic/001", "generic/013"]
        self.assertEqual(self.wanted("--group", "quick"), generic)
        for fs in ("ext4", "rext4-as-ext4"):
            found = self.wanted("--group", "quick", "--fs", fs)
            self.assertEqual(found, [*generic, "ext4/003"])

    def test_lists_groups_names_and_each_once(self) -> None:
        path = self.listed("generic/013 # slow\n\n# generic/002\n")
        want = ["generic/013", "generic/001", "generic/002"]
        self.assertEqual(self.wanted("002", "001", "--list", path, "--group", "quick"), want)

    def test_conditions(self) -> None:
        path = self.listed("generic/001 engine=qemu\ngeneric/002 not=ext4\ngeneric/013 not=rext4\n")
        self.assertEqual(self.wanted("--list", path), ["generic/002"])
        self.assertEqual(self.wanted("--list", path, "--fs", "ext4"), ["generic/013"])
        self.assertEqual(
            self.wanted("--list", path, "--engine", "qemu"), ["generic/001", "generic/002"]
        )

    def test_both_conditions(self) -> None:
        path = self.listed("generic/001 engine=uml not=rext4\ngeneric/002 not=ext4 engine=uml\n")
        self.assertEqual(self.wanted("--list", path), ["generic/002"])

    def test_an_unknown_condition(self) -> None:
        said = self.refused("--list", self.listed("generic/001 kernel=fast\n"))
        self.assertIn("generic/001: unknown condition kernel=fast", said)

    def test_a_list_that_is_not_there(self) -> None:
        self.assertIn("cannot read the list /no/list", self.refused("--list", "/no/list"))

    def test_nothing_to_run(self) -> None:
        path = self.listed("generic/001 engine=qemu\n")
        self.assertIn("no test to run", self.refused("--list", path))
        self.assertIn("no test in the group none", self.refused("--group", "none"))

    def test_no_such_test(self) -> None:
        self.assertIn("has no test generic/999", self.refused("999"))
        self.assertIn("there is no test rext4/999", self.refused("rext4/999"))
        self.assertIn("has no test generic", self.refused("generic"))

    def test_all_of_the_lab(self) -> None:
        found = self.wanted("--lab")
        ours = [path.name for path in (REPO / "tests/xfstests/rext4").glob("[0-9][0-9][0-9]")]
        self.assertEqual(found, [f"rext4/{name}" for name in sorted(ours)])

    def test_the_lab_is_for_our_tests(self) -> None:
        self.assertIn("not for generic/001", self.refused("--lab", "001"))

    def test_groups_that_are_not_what_the_tests_say(self) -> None:
        own = self.folder / "rext4"
        own.mkdir()
        (own / "001").write_text("#!/bin/bash\n_begin_fstest auto quick\n")
        (own / "group.list").write_text("# made\n001 auto quick\n")
        with mock.patch.object(lists, "OWN", own):
            self.assertEqual(self.wanted("rext4/001"), ["rext4/001"])
            (own / "group.list").write_text("001 auto\n")
            self.assertIn("does not say what the tests say", self.refused("rext4/001"))

    def test_the_lists_of_this_tree(self) -> None:
        # Only their form: the tests in them are of an installed xfstests.
        for name in ("list", "ci-list"):
            for words in ([], ["--engine", "qemu"], ["--fs", "rext4-as-ext4"]):
                self.assertTrue(lists.of_list(OURS / name, asked(*words)), (name, words))
