# SPDX-License-Identifier: GPL-2.0
"""The host's side of scripts/soak, with a program in place of the VM."""

import contextlib
import io
from unittest import mock

from rext4 import soak
from rext4.common import Failed
from rext4.tests import kit

ROUND = 'echo "1048576 50 0.5 reader" >>"$share/figures"; echo round'


class CommandLine(kit.CommandLines):
    def test_defaults(self) -> None:
        self.assertEqual(soak.options(["--kernel", "uml"]).engine, "uml")
        qemu, uml = soak.options([]), soak.options(["--engine", "uml"])
        self.assertEqual((qemu.kernel, qemu.cpus, qemu.opts), ("debug", 2, "dio_gate"))
        self.assertEqual((qemu.bound, qemu.seconds), (10, 3600))
        self.assertEqual((uml.kernel, uml.cpus), ("uml", 1))

    def test_all(self) -> None:
        words = ["--kernel", "fast", "--cpus", "4", "--bound", "3", "60", "--opts"]
        asked = soak.options([*words, ""])
        self.assertEqual((asked.seconds, asked.bound, asked.opts), (60, 3, ""))
        self.assertEqual(str(asked), ", qemu, fast kernel, CPUs: 4")

    def test_wrong(self) -> None:
        wrong = [["soon"], ["--engine", "xen"], ["--bound", "x"], ["--bogus"], ["--kernel"]]
        wrong += [["--engine", "uml", "--kernel", "stock"], ["--engine", "qemu", "--kernel", "uml"]]
        self.refuses(soak.options, wrong)


class Sums(kit.WithFolder):
    def of(self, text: str) -> soak.Figures:
        (self.folder / "figures").write_text(text)
        return soak.Figures.of(self.folder / "figures")

    def test_rounds(self) -> None:
        found = self.of("1048576 5 0.5 reader\n524288 7 2.25 mapped-writer\n0 1 0.0 nobody\n")
        self.assertEqual(
            found.told("dio_gate, qemu", 75),
            "dio_gate, qemu: 3 rounds in 75 s, 1.5 MiB verified, 13 reads beside direct writes,"
            " the longest wait of a reader 2.25 s (mapped-writer)",
        )

    def test_none(self) -> None:
        found = soak.Figures.of(self.folder / "none")
        self.assertEqual(found.rounds, 0)
        self.assertTrue(found.told("x", 1).endswith("the longest wait of a reader 0.00 s"))


class Rounds(kit.WithFolder):
    def setUp(self) -> None:
        super().setUp()
        self.scripts, self.work = self.folder / "scripts", self.folder / "work"
        self.scripts.mkdir()
        self.work.mkdir()
        (self.scripts / "vm").write_text(kit.VM)
        (self.scripts / "vm").chmod(0o755)
        for patch in (
            mock.patch.object(soak, "SCRIPTS", self.scripts),
            mock.patch.object(soak, "CACHE", self.folder),
            mock.patch.object(soak, "LOOK", 0.05),
            mock.patch("rext4.common.script", return_value="/m.ko"),
            mock.patch("rext4.common.lib", return_value="/guest"),
        ):
            self.enterContext(patch)

    def soak(self, guest: str, *words: str) -> str:
        """The output when the VM does this; a failure is raised."""
        (self.scripts / "guest").write_text(guest)
        with contextlib.redirect_stdout(io.StringIO()) as self.out:
            with contextlib.redirect_stderr(io.StringIO()) as self.err:
                soak.run(soak.options(list(words)), self.work)
        return self.out.getvalue()

    def failed(self, guest: str, *words: str) -> str:
        with self.assertRaises(Failed) as raised:
            self.soak(guest, *words)
        return str(raised.exception)

    def test_until_the_time_is_up(self) -> None:
        wait = 'until [ -e "$share/stop" ]; do sleep 0.05; done'
        self.assertRegex(
            self.soak(f"{ROUND}; {wait}; {ROUND}", "1"),
            r"^ +\d+ s  round\n +[1-9]\d* s  round\n"
            r"dio_gate, qemu, debug kernel, CPUs: 2: 2 rounds in [1-9]\d* s, 2.0 MiB verified, 100",
        )
        self.assertFalse((self.folder / "soak").exists())

    def test_not_before(self) -> None:
        said = self.soak(f'{ROUND}; sleep 0.3; [ ! -e "$share/stop" ]', "60")
        self.assertIn("1 rounds", said)

    def test_the_vm(self) -> None:
        self.soak(ROUND, "--opts", "", "--bound", "7", "60")
        words = (self.scripts / "words").read_text().split("\n")[:-1]
        self.assertEqual(words[words.index("--time") + 1], "1860")
        self.assertEqual(
            words[words.index("--") + 1 :], [str(self.scripts / "soak-guest"), "/guest", "", "7"]
        )
        self.assertEqual((self.work / "fsx").stat().st_size, 1536 << 20)

    def test_what_failed_is_kept(self) -> None:
        (self.folder / "soak/old").mkdir(parents=True)
        why = self.failed(f"{ROUND}; echo FAILED in round 2: x; exit 3")
        self.assertIn(f"FAILED (status 3); logs, console and images: {self.folder}/soak", why)
        self.assertIn("FAILED in round 2: x\n", self.out.getvalue())
        self.assertIn("1 rounds", self.out.getvalue())
        self.assertTrue((self.folder / "soak/share/figures").exists())
        self.assertFalse((self.folder / "soak/old").exists())
        # The holes of the images stay holes.
        self.assertLess((self.folder / "soak/fsx").stat().st_blocks, 1 << 11)

    def test_nothing_done_is_no_success(self) -> None:
        self.assertIn("status 1", self.failed("exit 0", "60"))
        self.assertIn("no round was finished in 60 s", self.err.getvalue())
