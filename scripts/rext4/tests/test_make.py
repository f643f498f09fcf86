# SPDX-License-Identifier: GPL-2.0
"""What the verbs of the Makefile do with the words behind them. Nothing is run."""

import os
import subprocess
import unittest

from rext4.common import REPO


class Words(unittest.TestCase):
    def make(self, words: str, status: int = 0) -> list[str]:
        """The commands, or the one line that says what is wrong."""
        env = {
            name: value for name, value in os.environ.items() if name.islower() or name == "PATH"
        }
        command = ["make", "-n", "-s", "-C", str(REPO), "--no-print-directory", *words.split()]
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        self.assertEqual(done.returncode, status, done.stderr)
        return (done.stderr if status else done.stdout).splitlines()

    def last(self, words: str) -> list[str]:
        """The words of the last command."""
        return self.make(words)[-1].split()

    def refused(self, words: str) -> str:
        lines = self.make(words, 2)
        self.assertEqual(len(lines), 1)
        return lines[0]

    def test_kernels(self) -> None:
        self.assertEqual(self.last("check KERNEL=stock"), ["scripts/check", "--kernel", "stock"])
        self.assertEqual(self.last("check"), ["scripts/check"])
        self.assertEqual(self.last("run KERNEL=stock"), ["scripts/run", "--kernel", "stock"])
        self.assertEqual(self.last("run KERNEL="), ["scripts/run"])
        self.assertEqual(
            self.last("shell KERNEL=stock ENGINE=qemu"),
            ["scripts/shell", "--kernel", "stock", "qemu"],
        )
        words = self.last("xfstests KERNEL=stock TESTS=generic/001")
        self.assertEqual(words[-5:], ["--engine", "qemu", "--kernel", "stock", "generic/001"])
        for verb in ("lab", "soak", "bench"):
            want = [f"scripts/{verb}", "--kernel", "stock"]
            self.assertEqual(self.last(f"{verb} KERNEL=stock"), want)
        self.assertEqual(self.last("KDIR=/k"), ["scripts/module", "/k"])

    def test_what_a_verb_does_not_take(self) -> None:
        for words in ("check ENGINE=uml", "run KDIR=/k", "deb KERNEL=stock", "KDIR=/k ENGINE=uml"):
            word = words.split()[-1].split("=")[0]
            self.assertIn(f" takes no {word}.", self.refused(words))
        self.assertIn("make run takes no LAB", self.refused("module run LAB=1"))

    def test_what_does_not_go_together(self) -> None:
        for verb in ("run", "shell", "lab", "soak", "xfstests", "ltp"):
            for words in ("KERNEL=stock ENGINE=uml", "KERNEL=uml ENGINE=qemu"):
                self.assertIn("does not go with ENGINE=", self.refused(f"{verb} {words}"))
        self.assertIn("KERNEL is one of debug fast", self.refused("module KERNEL=new"))
        self.assertIn("ENGINE is one of qemu uml", self.refused("run ENGINE=kvm"))
