# SPDX-License-Identifier: GPL-2.0
"""What scripts/setup installs for a release, with programs in place of those of the system."""

import shutil
import subprocess
import unittest

from rext4.common import REPO, SCRIPTS
from rext4.tests import kit
from rext4.tests.test_stock import known

# What the scripts themselves take.
BASIC = ["bash", "basename", "cat", "cut", "dirname", "env", "grep", "mkdir", "sed", "sleep"]
BASIC += ["tail", "tr"]


@unittest.skipUnless(known(), "only Debian has its packages")
class Programs(kit.WithFolder):
    def setUp(self) -> None:
        super().setUp()
        for name in BASIC:
            (self.folder / name).symlink_to(shutil.which(name) or "")
        self.program("id", "echo 0")
        self.program("dpkg-query", "exit 1")
        self.program("apt-get", 'echo "$*" >>"$(dirname "$0")/called"')

    def program(self, name: str, text: str = "") -> None:
        (self.folder / name).write_text(f"#!{self.folder}/bash\n{text}\n")
        (self.folder / name).chmod(0o755)

    def installed(self, option: str) -> list[str]:
        """What is installed."""
        called = self.folder / "called"
        called.unlink(missing_ok=True)
        env = {"PATH": str(self.folder), "XDG_CACHE_HOME": str(self.folder / "cache")}
        # The folders of the system's own programs are put behind it.
        text = (SCRIPTS / "lib.sh").read_text().replace("/sbin", "/none")
        tree = self.folder / "tree/scripts"
        shutil.copytree(SCRIPTS, tree, ignore=lambda *_: ["rext4", "kconfig"], dirs_exist_ok=True)
        (tree / "lib.sh").write_text(text)
        if (REPO / ".git").exists():
            (tree.parent / ".git").touch()
        command = [str(tree / "setup"), option]
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = called.read_text().splitlines() if called.exists() else []
        return lines[-1].split()[lines[-1].split().index("-y") + 2 :] if lines else []

    def test_for_a_release(self) -> None:
        self.assertEqual(self.installed("--release"), ["python3", "xz-utils", "git"])
        for name in ("python3", "xz", "git"):
            self.program(name)
        self.assertEqual(self.installed("--release"), [])

    def test_for_programs(self) -> None:
        self.assertEqual(self.installed("--python"), ["python3"])
