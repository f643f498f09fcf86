# SPDX-License-Identifier: GPL-2.0
"""Which kernel scripts/run and scripts/shell take. In place of the scripts that they call stand
programs that note their words; that of the module is the end of it."""

import shutil
import subprocess

from rext4.common import SCRIPTS
from rext4.tally import UNAVAILABLE
from rext4.tests import kit

PROGRAM = """\
#!/bin/bash
echo "${0##*/} $*" >>"$(dirname "$0")/called"
"""
END = 5


class Program(kit.WithFolder):
    """One of them, with others around it."""

    name = ""

    def setUp(self) -> None:
        super().setUp()
        for name in (self.name, "lib.sh"):
            shutil.copy(SCRIPTS / name, self.folder)
        self.program("setup")
        self.program("kernel")
        self.program("module", f"exit {END}")

    def program(self, name: str, more: str = "") -> None:
        (self.folder / name).write_text(f"{PROGRAM}{more}\n")
        (self.folder / name).chmod(0o755)

    def called(self, *words: str, status: int = END) -> list[str]:
        """Runs it to its end; what it has called."""
        called = self.folder / "called"
        called.unlink(missing_ok=True)
        # The scripts look for each other in a folder of this name.
        (self.folder / "scripts").unlink(missing_ok=True)
        (self.folder / "scripts").symlink_to(self.folder)
        command = [str(self.folder / "scripts" / self.name), *words]
        done = subprocess.run(command, capture_output=True, text=True)
        self.assertEqual(done.returncode, status, done.stderr)
        if status == 2:
            self.assertEqual(done.stderr.count("\n"), 1)
        return called.read_text().splitlines() if called.exists() else []


class Run(Program):
    name = "run"

    def test_debians_own(self) -> None:
        want = ["setup --stock", "kernel stock", "module stock"]
        self.assertEqual(self.called(), want)
        self.assertEqual(self.called("--kernel", "stock", "qemu"), want)

    def test_none_to_be_had(self) -> None:
        self.program("kernel", f"[ $1 != stock ] || exit {UNAVAILABLE}")
        told = ["setup --stock", "kernel stock"]
        self.assertEqual(self.called(), [*told, "setup ", "kernel debug", "module debug"])
        # Whoever wants that one gets no other.
        self.assertEqual(self.called("--kernel", "stock", status=UNAVAILABLE), told)

    def test_a_failure_is_no_reason_for_another(self) -> None:
        self.program("kernel", "exit 1")
        self.assertEqual(self.called(status=1), ["setup --stock", "kernel stock"])
        self.program("setup", "exit 3")
        self.assertEqual(self.called(status=3), ["setup --stock"])

    def test_named(self) -> None:
        self.assertEqual(self.called("uml")[1:], ["kernel uml", "module uml"])
        self.assertEqual(self.called("--kernel", "uml")[1:], ["kernel uml", "module uml"])
        self.assertEqual(self.called("--kernel", "debug")[1:], ["kernel debug", "module debug"])
        for words in (["--kernel", "stock", "uml"], ["--kernel", "bogus"], ["kvm"]):
            self.assertEqual(self.called(*words, status=2), [])


class Shell(Program):
    name = "shell"

    def test_debians_own(self) -> None:
        want = ["setup --stock", "module stock"]
        for words in (["--kernel", "stock"], ["--kernel", "stock", "qemu"]):
            self.assertEqual(self.called(*words), want)

    def test_named(self) -> None:
        for words in ([], ["uml"], ["--kernel", "uml"], ["--kernel", "uml", "uml"]):
            self.assertEqual(self.called(*words), ["setup ", "module uml"])
        self.assertEqual(self.called("qemu"), ["setup ", "module debug"])
        for words in (["--kernel", "stock", "uml"], ["--kernel", "bogus"], ["--kernel"], ["-x"]):
            self.assertEqual(self.called(*words, status=2), [])
