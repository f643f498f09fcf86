# SPDX-License-Identifier: GPL-2.0
"""What scripts/dkms says of a kernel that it cannot build for: one line, and the status by which
dkms passes the kernel over."""

import os
import subprocess
from pathlib import Path

from rext4.common import SCRIPTS
from rext4.tests import kit
from rext4.tests.test_probe import CONFIG, RUSTC

RELEASE = "7.3.4+deb13-amd64"
VERSION = "7.3.4-1~bpo13+1"
PACKAGE = '#define LINUX_PACKAGE_ID " {}"\n'
CC = "x86_64-linux-gnu-gcc-14"
# Prints the line of the package that is asked for last.
DPKG_QUERY = """\
#!/bin/bash
sed -n "s/^${!#} /install /p" "$(dirname "$0")/installed" | grep .
"""
RUSTC_PROGRAM = """\
#!/bin/bash
if [ "$1" = --print ]; then dirname "$0"; else echo "{}"; fi
"""


class Probe(kit.WithFolder):
    def setUp(self) -> None:
        super().setUp()
        self.headers = self.folder / "headers"
        self.headers.mkdir()
        (self.headers / ".config").write_text(CONFIG)
        (self.headers / "include/generated").mkdir(parents=True)
        self.package = self.headers / "include/generated/package.h"
        self.package.write_text(PACKAGE.format(f"Debian {VERSION}"))
        self.program("dpkg-query", DPKG_QUERY)
        self.program("df", kit.DF)
        self.program("rustc", RUSTC_PROGRAM.format(RUSTC))
        self.program("bindgen", '#!/bin/bash\necho "bindgen 0.71.1"\n')
        self.program(CC, f'#!/bin/bash\necho "{CC} (Debian 14.2.0-19) 14.2.0"\n')
        core = self.folder / "lib/rustlib/src/rust/library/core/src"
        core.mkdir(parents=True)
        (core / "lib.rs").touch()
        (self.folder / "source.tar.xz").touch()
        self.installed(VERSION)

    def program(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)
        (self.folder / name).chmod(0o755)

    def installed(self, source: str) -> None:
        line = f"linux-source-7.3 {source}\n" if source else ""
        (self.folder / "installed").write_text(line)

    def probe(self, release: str = RELEASE, scripts: Path = SCRIPTS) -> str:
        """The line; empty if it can be built."""
        env = {**os.environ, "PATH": f"{self.folder}:{os.environ['PATH']}"}
        env["REXT4_SOURCE"] = str(self.folder / "source.tar.xz")
        command = [str(scripts / "dkms"), "probe", release, str(self.headers)]
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stdout), (77 if done.stderr else 0, ""))
        self.assertLessEqual(done.stderr.count("\n"), 1)
        self.assertTrue(done.stderr.startswith("rext4: ") or not done.stderr)
        return done.stderr

    def test_it_can(self) -> None:
        self.assertEqual(self.probe(), "")

    def test_another_series(self) -> None:
        self.assertIn("builds on Linux 7.3; this is 7.4.1+deb14", self.probe("7.4.1+deb14-amd64"))

    def test_no_headers(self) -> None:
        (self.headers / ".config").unlink()
        self.assertIn(f"install linux-headers-{RELEASE}", self.probe())

    def test_the_source_of_another_version(self) -> None:
        self.installed("7.3.5-1")
        said = self.probe()
        self.assertIn(f"are of {VERSION}, linux-source-7.3 is 7.3.5-1", said)
        self.assertIn(f"'dkms autoinstall -k {RELEASE}'", said)

    def test_no_source(self) -> None:
        self.installed("")
        self.assertIn("linux-source-7.3 is missing", self.probe())
        self.installed(VERSION)
        (self.folder / "source.tar.xz").unlink()
        self.assertIn("linux-source-7.3 is missing", self.probe())

    def test_headers_of_nobody(self) -> None:
        self.package.write_text(PACKAGE.format(""))
        self.assertIn("is of no package to make it for", self.probe())
        self.package.unlink()
        self.assertIn("is of no package to make it for", self.probe())

    def test_another_compiler(self) -> None:
        self.program("rustc", RUSTC_PROGRAM.format("rustc 1.95.0 (x 2026-04-01)"))
        self.assertIn("rustc here is rustc 1.95.0 (x 2026-04-01): install", self.probe())
        self.program("rustc", RUSTC_PROGRAM.format(RUSTC))
        self.program(CC, "#!/bin/bash\nexit 1\n")
        self.assertIn("14.2.0, x86_64-linux-gnu-gcc-14 here is missing", self.probe())

    def test_another_pahole(self) -> None:
        (self.headers / ".config").write_text(f"{CONFIG}CONFIG_PAHOLE_VERSION=130\n")
        self.program("pahole", "#!/bin/bash\necho v1.30\n")
        self.assertEqual(self.probe(), "")
        self.program("pahole", "#!/bin/bash\necho v1.31\n")
        self.assertIn("was built with pahole 130, pahole here is 131", self.probe())

    def test_no_room(self) -> None:
        # dkms calls the script by a link; what is built lies beside that, maybe on another disk.
        scripts = self.folder / "tree/source/scripts"
        scripts.parent.mkdir(parents=True)
        scripts.symlink_to(SCRIPTS)
        self.program("df", f'echo "${{!#}}" >{self.folder}/asked\n{kit.DF.replace("9998", "999")}')
        self.assertIn("needs 1000 MiB", self.probe(scripts=scripts))
        self.assertEqual((self.folder / "asked").read_text().strip(), str(self.folder / "tree"))

    def test_wrong_words(self) -> None:
        for words in ((), ("make",), ("probe", RELEASE), ("probe", "--lab", RELEASE, "x", "y")):
            done = subprocess.run([SCRIPTS / "dkms", *words], capture_output=True, text=True)
            self.assertEqual(done.returncode, 2)
