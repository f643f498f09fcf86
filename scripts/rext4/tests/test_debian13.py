# SPDX-License-Identifier: GPL-2.0
"""How scripts/debian13 gets its packages, and when anew. In place of apt stands a program that has
one package, of the version that a test wants."""

import os
import shlex
import subprocess
import unittest

from rext4.common import SCRIPTS
from rext4.tally import UNAVAILABLE
from rext4.tests import kit
from rext4.tests.test_stock import known

APT_GET = """\
#!/bin/bash
dir=$(dirname "$0")
. /etc/os-release
name=base_$(cat "$dir/version")_all.deb
for word; do
	case $word in
	indextargets) echo "$VERSION_CODENAME main file:/mirror"; exit ;;
	update) exit "$(cat "$dir/network")" ;;
	--print-uris) echo "'file:/mirror/$name' $name 1"; exit ;;
	Dir::Cache::archives=*) archives=${word#*=} ;;
	esac
done
echo "$name" >>"$dir/fetched"
mkdir -p "$dir/tree/etc/dpkg/origins" "$dir/tree/DEBIAN"
cp "$dir/version" "$dir/tree/etc/"
printf '%s\\n' "Package: base" "Version: $(cat "$dir/version")" "Architecture: all" \\
	"Maintainer: n <n@x>" "Description: x" >"$dir/tree/DEBIAN/control"
dpkg-deb --root-owner-group --build "$dir/tree" "$archives/$name"
"""


@unittest.skipUnless(known(), "only Debian has its packages")
class Debian13(kit.WithFolder):
    def setUp(self) -> None:
        super().setUp()
        for name, text in (("apt-get", APT_GET), ("df", kit.DF)):
            self.program(name, text)
        self.program("unshare", "#!/bin/sh\nexit 1\n")
        (self.folder / "network").write_text("0\n")
        self.root = self.folder / "cache/rext4/debian13"

    def program(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)
        (self.folder / name).chmod(0o755)

    def call(self, *words: str, status: int = 0) -> str:
        """The last line that it says."""
        env = {**os.environ, "XDG_CACHE_HOME": str(self.folder / "cache")}
        env["PATH"] = f"{self.folder}:{env['PATH']}"
        command = [str(SCRIPTS / "debian13"), *words]
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stdout), (status, ""), done.stderr)
        return (done.stderr.splitlines() or [""])[-1]

    def version(self, new: str, *words: str) -> tuple[str, int]:
        """With this one at the mirror: which is there afterwards, and how often one was fetched."""
        (self.folder / "version").write_text(f"{new}\n")
        self.call(*words)
        fetched = (self.folder / "fetched").read_text().count("\n")
        return (self.root / "etc/version").read_text().strip(), fetched

    def test_renewed(self) -> None:
        self.assertEqual(self.version("1"), ("1", 1))
        # One that is whole is left alone, whatever the mirror has.
        self.assertEqual(self.version("2"), ("1", 1))
        self.assertEqual(self.version("1", "--renew"), ("1", 1))
        self.assertEqual(self.version("2", "--renew"), ("2", 2))
        # Of an older release of these scripts, which did not note it.
        (self.root / "list").unlink()
        self.assertEqual(self.version("2", "--renew"), ("2", 3))

    def test_no_network(self) -> None:
        self.version("1")
        (self.folder / "network").write_text("100\n")
        self.assertIn("reading the package lists of", self.call("--renew", status=UNAVAILABLE))
        self.assertTrue((self.root / "etc/version").exists())

    def test_no_mounts(self) -> None:
        for words in (["--may"], ["true"]):
            said = self.call(*words, status=UNAVAILABLE)
            self.assertIn("this machine does not let us mount", said)
        self.assertFalse((self.folder / "cache").exists())
        self.program("unshare", "#!/bin/sh\n")
        self.assertEqual(self.call("--may"), "")
        self.assertFalse((self.folder / "cache").exists())

    def test_as_long_as_it_is_used(self) -> None:
        self.version("1")
        # In place of the mounts and the root: the command is to hold the lock.
        script = f'echo "$(flock -n {shlex.quote(str(self.root))}.lock echo free || echo held)" >&2'
        self.program("unshare", f'#!/bin/sh\n[ "$2" = true ] || {script}\n')
        self.assertEqual(self.call("true"), "held")
