# SPDX-License-Identifier: GPL-2.0
"""What is read of CHANGELOG.md, and the tarball of a release."""

import os
import subprocess
from pathlib import Path

from rext4 import release
from rext4.common import REPO, SCRIPTS, Failed
from rext4.tests import kit

CHANGELOG = """\
# Changelog

Some words.

## [Unreleased]

### Fixed

- Not yet out.

## [0.2.0] - 2026-12-01

### Added

- A first thing, which takes two lines to say, since there is so
  much of `it`.
- A second one.

### Removed

- A third one.

## [0.1.0] - 2026-03-09

- The beginning.
"""
RELEASED = CHANGELOG.replace("## [Unreleased]\n\n### Fixed\n\n- Not yet out.\n\n", "")
ENTRIES = """\
rext4 (0.2.0) unstable; urgency=medium

  * Added: A first thing, which takes two lines to say, since there is so much
    of it.
  * Added: A second one.
  * Removed: A third one.

 -- {}  Tue, 01 Dec 2026 00:00:00 +0000

rext4 (0.1.0) unstable; urgency=medium

  * The beginning.

 -- {}  Mon, 09 Mar 2026 00:00:00 +0000
"""


class Changelog(kit.WithFolder):
    def tree(self, version: str, text: str = CHANGELOG) -> Path:
        (self.folder / "VERSION").write_text(f"{version}\n")
        (self.folder / "CHANGELOG.md").write_text(text)
        return self.folder

    def test_of_debian(self) -> None:
        for text in (RELEASED, RELEASED.replace("## [0.2.0]", "## [Unreleased]\n\n## [0.2.0]")):
            said = "\n".join(one.entry() for one in release.read(self.tree("0.2.0", text)))
            self.assertEqual(said, ENTRIES.format(release.MAINTAINER, release.MAINTAINER))

    def test_what_is_unreleased(self) -> None:
        tree = self.tree("0.3.0~dev")
        os.utime(tree / "CHANGELOG.md", (0, 1796169599))
        newest, *others = release.read(tree)
        self.assertEqual("\n".join(one.entry() for one in others).count("\nrext4 ("), 1)
        self.assertEqual(str(newest.day), "2026-12-01")
        said = newest.entry()
        self.assertTrue(said.startswith("rext4 (0.3.0~dev) UNRELEASED; urgency=medium\n"), said)
        self.assertIn("\n  * Fixed: Not yet out.\n", said)
        self.assertTrue(said.endswith("  Tue, 01 Dec 2026 00:00:00 +0000\n"), said)

    def test_another_number(self) -> None:
        with self.assertRaisesRegex(Failed, "VERSION is 0.3.0, the newest .* 0.2.0, and nothing"):
            release.read(self.tree("0.3.0", RELEASED))
        with self.assertRaisesRegex(Failed, "VERSION is 0.3.0~dev, the newest"):
            release.read(self.tree("0.3.0~dev", RELEASED))
        with self.assertRaisesRegex(Failed, "the newest .* none"):
            release.read(self.tree("0.3.0", "# Changelog\n"))
        # As long as something is unreleased it is that of a release to come.
        for version in ("0.2.0", "0.3.0", "0.2.0~dev", "0.1.9~dev"):
            with self.assertRaisesRegex(Failed, "the number of the next release with ~dev"):
                release.read(self.tree(version))
        self.assertEqual(release.read(self.tree("0.10.0~dev"))[0].version, "0.10.0~dev")

    def test_a_heading_that_is_none(self) -> None:
        for line in ("## 0.4.0 - 2026-12-01", "## [0.4.0] - soon"):
            with self.assertRaisesRegex(Failed, "no release: ## "):
                release.read(self.tree("0.4.0", f"{line}\n\n{CHANGELOG}"))

    def test_ours(self) -> None:
        newest = release.read(REPO)[0]
        self.assertTrue(newest.points)
        self.assertEqual(newest.version, (REPO / "VERSION").read_text().strip())


class Tarball(kit.WithFolder):
    def dist(self, folder: str) -> bytes:
        command = [SCRIPTS / "dist", self.folder / folder]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        return Path(done.stdout.strip()).read_bytes()

    def test_the_same_bytes_each_time(self) -> None:
        first = self.dist("a")
        self.assertEqual(first, self.dist("b"))
        names = subprocess.run(
            ["tar", "-tJ"], input=first, check=True, stdout=subprocess.PIPE
        ).stdout.decode()
        top = f"rext4-{(REPO / 'VERSION').read_text().strip()}"
        listed = names.splitlines()
        self.assertEqual({name.split("/")[0] for name in listed}, {top})
        for name in ("Kbuild", "VERSION", "debian/changelog", "rust/rext4.rs"):
            self.assertIn(f"{top}/{name}", listed)
        self.assertNotIn(f"{top}/build/", listed)
