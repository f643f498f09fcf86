# SPDX-License-Identifier: GPL-2.0
"""scripts/xfstests as a whole, with a program in place of scripts/vm that plays the guest."""

import contextlib
import io
import os
from pathlib import Path
from unittest import mock

from rext4 import common
from rext4.common import Failed
from rext4.tests.test_xfstests_lists import WithInstalled
from rext4.xfstests import guest, main, results, run
from rext4.xfstests.options import options

# generic/002 fails, 013 is the end of the VM.
GUEST = """\
#!/bin/bash
for job; do :; done
. "$job/job"
printf '%s\\n' "$@" "lab off: $REXT4_LAB_OFF" "module: ${MODULE##*/}" >>"$PLAYED"
mkdir -p "$job/results/generic"
while read -r t; do
	case $t in
	*/001) printf '%s\\tpass\\t3\\t\\n' "$t" ;;
	*/002)
		printf '[failed]\\n    +surprise\\n' >"$job/results/$t.check"
		printf '%s\\tfail\\t4\\toutput mismatch +surprise\\n' "$t"
		;;
	*/013)
		echo "$t 0 0" >"$job/current"
		echo 'Kernel panic - not syncing: x' >"$job/console"
		exit 1
		;;
	esac >>"$job/done"
done <"$job/todo"
echo finished >"$job/state"
"""


class Whole(WithInstalled):
    def setUp(self) -> None:
        super().setUp()
        (self.folder / "scripts").mkdir()
        vm = self.folder / "scripts/vm"
        vm.write_text(GUEST)
        vm.chmod(0o755)
        (self.folder / "rext4.ko").touch()
        self.cache, self.table = self.folder / "cache", self.folder / "results.tsv"
        environment = {"XFSTESTS": str(self.xfstests), "PLAYED": str(self.folder / "played")}
        self.enterContext(mock.patch.object(guest, "SCRIPTS", self.folder / "scripts"))
        for module in (main, results, run):
            self.enterContext(mock.patch.object(module, "CACHE", self.cache))
        self.enterContext(mock.patch.object(guest, "kernel_folder", return_value=self.folder))
        self.enterContext(mock.patch.object(common, "module_commit", return_value="a1"))
        self.enterContext(mock.patch.object(main, "room_for_disks", return_value=self.folder))
        self.enterContext(mock.patch.dict(os.environ, environment))
        os.environ.pop("REXT4_LAB_OFF", None)

    def xfs(self, *words: str) -> tuple[int, list[str]]:
        """The status, and what it printed."""
        with contextlib.redirect_stdout(io.StringIO()) as out:
            with contextlib.redirect_stderr(io.StringIO()) as self.err:
                status = main.main(["--module", str(self.folder / "rext4.ko"), *words])
        return status, out.getvalue().splitlines()

    def rows(self) -> list[str]:
        return self.table.read_text().splitlines()[1:]

    def test_all_pass(self) -> None:
        status, said = self.xfs("--results", str(self.table), "001")
        self.assertEqual(status, 0)
        self.assertEqual(said[0], "generic/001    pass       3 s  ")
        self.assertRegex(
            said[1], r"^rext4, uml, uml kernel: 1 passed, 0 failed, 0 not run in \d+ s$"
        )
        self.assertEqual(self.rows(), ["generic/001\tuml\tuml\trext4\tpass\t3\t\ta1"])

    def test_what_failed_runs_again(self) -> None:
        status, said = self.xfs("--results", str(self.table), "--again", "2", "002", "001")
        self.assertEqual((status, sum(line.startswith("again: ") for line in said)), (1, 2))
        reasons = [row.split("\t")[6] for row in self.rows()]
        self.assertEqual(reasons, ["", "3 of 3 runs: output mismatch +surprise"])

    def test_a_stopped_run_goes_on(self) -> None:
        self.xfs("--results", str(self.table), "002")
        status, said = self.xfs("--results", str(self.table), "--resume", "002", "001")
        self.assertEqual((status, said[0]), (0, "generic/001    pass       3 s  "))
        with mock.patch.object(common, "module_commit", return_value="a2"):
            status, said = self.xfs("--results", str(self.table), "--resume", "002", "001")
        self.assertEqual((status, said[0][:18]), (1, "generic/002    fai"))

    def test_the_kernels_own_is_known_by_its_release(self) -> None:
        (self.folder / "include/config").mkdir(parents=True)
        (self.folder / "include/config/kernel.release").write_text("7.3.4\n")
        self.xfs("--fs", "ext4", "--results", str(self.table), "001")
        self.assertEqual(self.rows()[0].split("\t")[3:], ["ext4", "pass", "3", "", "7.3.4"])

    def test_failures(self) -> None:
        status, said = self.xfs("--results", str(self.table), "013", "002", "001")
        self.assertEqual(status, 1)
        self.assertRegex(
            "\n".join(said),
            r"generic/013    fail       0 s  the VM died: Kernel panic - not syncing: x\n"
            r"#   Kernel panic - not syncing: x\n"
            r"generic/002    fail       4 s  output mismatch \+surprise\n"
            r"#   \+surprise\n"
            r"generic/001    pass       3 s  \n"
            r"rext4, uml, uml kernel: 1 passed, 2 failed, 0 not run in \d+ s\n"
            r"what the failures left: .*/xfstests/rext4-uml-uml$",
        )
        self.assertEqual([row.split("\t")[0][-3:] for row in self.rows()], ["001", "002", "013"])
        kept = self.cache / "xfstests/rext4-uml-uml/generic"
        self.assertEqual(sorted(path.name for path in kept.iterdir()), ["002.check", "013.console"])

    def test_nothing_is_left_behind(self) -> None:
        self.xfs("--results", str(self.table), "002")
        self.assertEqual(list((self.cache / "run").iterdir()), [])
        self.assertEqual(list(self.folder.glob("rext4-xfstests.*")), [])

    def test_out_of_time(self) -> None:
        status, said = self.xfs("--results", str(self.table), "--total", "0", "001", "002")
        self.assertEqual(status, 1)
        self.assertEqual(said, ["rext4, uml, uml kernel: 0 passed, 0 failed, 2 not run in 0 s"])
        self.assertIn("out of time after 0 s, 2 not started", self.err.getvalue())

    def protection_off(self, *rows: results.Row) -> tuple[int, str]:
        """The status and the first line of the sum."""
        counts = results.Counts()
        for row in rows:
            counts.add(row)
        asked = options(["--lab-off"])
        with contextlib.redirect_stdout(io.StringIO()) as out:
            status = main.sum_up(asked, counts, 1, Path("/kept"))
        return status, out.getvalue().splitlines()[0]

    def test_protection_off(self) -> None:
        lost = results.Row("rext4/001", "fail", 1, "output mismatch +lost")
        passed = results.Row("rext4/002", "pass", 1)
        died = results.Row("rext4/003", "fail", 1, "the VM died: x")
        notrun = results.Row("rext4/004", "notrun", 1)
        what = "rext4, uml, uml kernel, protection off: "
        self.assertEqual(
            self.protection_off(lost, lost),
            (0, what + "2 failed, as they must; 0 passed, 0 failed otherwise, 0 not run"),
        )
        self.assertEqual(
            self.protection_off(lost, passed, died, notrun),
            (1, what + "1 failed, as they must; 1 passed, 1 failed otherwise, 1 not run"),
        )
        self.assertEqual(self.protection_off()[0], 1)

    def test_protection_off_is_not_recorded(self) -> None:
        self.xfs("--lab-off", "--results", str(self.table), "rext4/001")
        self.assertFalse(self.table.exists())
        self.assertIn("lab off: 1\nmodule: rext4.ko\n", (self.folder / "played").read_text())
        self.assertTrue((self.cache / "xfstests/rext4-uml-uml-lab-off/rext4").is_dir())

    def test_the_kernels_own_has_no_module(self) -> None:
        self.xfs("--fs", "ext4", "--results", str(self.table), "001")
        self.assertIn("lab off: \nmodule: \n", (self.folder / "played").read_text())

    def test_none_installed(self) -> None:
        with mock.patch.dict(os.environ, {"XFSTESTS": "/no/such"}):
            status, said = self.xfs("001")
        self.assertEqual((status, said), (77, []))
        self.assertIn("SKIPPED: no xfstests is installed in /no/such", self.err.getvalue())

    def test_no_module(self) -> None:
        (self.folder / "rext4.ko").unlink()
        with self.assertRaisesRegex(Failed, "build it first"):
            self.xfs("001")
