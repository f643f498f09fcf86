# SPDX-License-Identifier: GPL-2.0
"""What scripts/stock says of a mirror that has not what it needs. In place of apt stand programs
that have the lists of a file and can do what a test asks for."""

import os
import re
import subprocess
import unittest
from pathlib import Path

from rext4.common import SCRIPTS
from rext4.tally import UNAVAILABLE
from rext4.tests import kit

VERSION = "7.3.4-1~bpo13+1"
KERNEL = "7.3.4+deb13-amd64"
PACKAGES = ("linux-headers", "linux-base", "linux-binary", "linux-modules")
RELEASE = Path("/etc/os-release")

APT_GET = """\
#!/bin/bash
dir=$(dirname "$0")
. /etc/os-release
for word; do
	case $word in
	indextargets) echo "$VERSION_CODENAME main file:/mirror"; exit ;;
	update) . "$dir/update"; exit ;;
	download) . "$dir/download"; exit ;;
	esac
done
exit 1
"""
APT_CACHE = """\
#!/bin/bash
lists=$(dirname "$0")/lists
while [ "$1" != pkgnames ] && [ "$1" != madison ]; do shift; done
case $1 in
pkgnames) cut -d ' ' -f 1 "$lists" | grep "^$2" ;;
madison) awk -v n="$2" '$1 == n { printf "%10s | %10s | file:/mirror\\n", $1, $2 }' "$lists" ;;
esac
"""
# The name of the file is the first word after "download", with "_" in place of "=".
HALF = """\
name=${!#}
echo half >"${name/=/_}_amd64.deb"
echo "E: Failed to fetch file:/mirror  Connection failed" >&2
exit 100
"""


def known() -> bool:
    """Whether this is a machine that the script is for."""
    text = RELEASE.read_text() if RELEASE.exists() else ""
    return re.search(r'^VERSION_ID="1[23]"$', text, re.M) is not None and "ID=debian" in text


@unittest.skipUnless(known(), "only Debian has its own kernel as packages")
class Mirror(kit.WithFolder):
    def setUp(self) -> None:
        super().setUp()
        for name, text in (("apt-get", APT_GET), ("apt-cache", APT_CACHE), ("df", kit.DF)):
            self.program(name, text)
        self.program("unshare", "#!/bin/sh\n")
        self.cache = self.folder / "cache/rext4"
        self.write("update", "")
        self.write("download", HALF)
        self.has(*(f"{package}-{KERNEL} {VERSION}" for package in PACKAGES))

    def program(self, name: str, text: str) -> None:
        self.write(name, text)
        (self.folder / name).chmod(0o755)

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def has(self, *packages: str, source: str = VERSION) -> None:
        self.write(
            "lists", "".join(f"{one}\n" for one in (*packages, f"linux-source-7.3 {source}"))
        )

    def kernel(self, *words: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "XDG_CACHE_HOME": str(self.folder / "cache")}
        env["PATH"] = f"{self.folder}:{env['PATH']}"
        command = [str(SCRIPTS / "kernel"), *words, "stock"]
        return subprocess.run(command, env=env, capture_output=True, text=True)

    def fails(self, *words: str, status: int = UNAVAILABLE, prog: str = "stock") -> str:
        """The last line, which says why; nothing is left that looks whole."""
        done = self.kernel(*words)
        self.assertEqual((done.returncode, done.stdout), (status, ""))
        self.assertEqual(list(self.cache.glob("build/stock-*/.rext4-built")), [])
        self.assertEqual(list(self.cache.glob("dl/*.deb")), [])
        said = done.stderr.splitlines()[-1]
        self.assertTrue(said.startswith(f"{prog}: "), said)
        return said

    def test_not_there(self) -> None:
        self.assertIn("run scripts/kernel stock", self.fails("--path", status=1))

    def test_another_series(self) -> None:
        self.has("linux-headers-7.4.1+deb13-amd64 7.4.1-1", "linux-image-amd64 7.4.1-1")
        said = self.fails()
        self.assertIn("rext4 builds on Linux 7.3; Debian's own kernel in", said)
        self.assertIn("is 7.4.1-1", said)
        self.has(
            "linux-headers-7.3.4+deb13-cloud-amd64 7.3.4-1", "linux-headers-7x3.4+deb13-amd64 1"
        )
        self.assertIn("is missing there", self.fails())

    def test_in_the_middle_of_an_update(self) -> None:
        self.has(*(f"{one}-{KERNEL} {VERSION}" for one in PACKAGES), source="7.3.5-1")
        self.assertIn(
            f"has linux-headers-{KERNEL} {VERSION}, but linux-source-7.3 7.3.5-1", self.fails()
        )
        self.has(*(f"{one}-{KERNEL} {VERSION}" for one in PACKAGES[:3]))
        self.assertIn(f"but linux-modules-{KERNEL} not at all", self.fails())

    def test_no_network_or_no_backports(self) -> None:
        for why in ("E: Failed to fetch file:/mirror", "E: The repository has no Release file."):
            after = "E: Some index files failed to download. They have been ignored."
            self.write("update", f"printf '%s\\n' '{why}' '{after}' >&2; exit 100\n")
            said = self.fails()
            self.assertIn("reading the package lists of trixie trixie-backports failed", said)
            self.assertIn(why, said)

    def test_no_compilers_can_run(self) -> None:
        # That is known before anything is asked of the mirror.
        self.program("unshare", "#!/bin/sh\nexit 1\n")
        self.write("update", "echo asked >&2; exit 100\n")
        self.assertIn("does not let us mount", self.fails(prog="debian13"))

    def test_what_is_superseded_goes(self) -> None:
        build, src = self.cache / "build", self.cache / "src"
        names = {"stock-7.3.4-1-bpo13-1": "7.3.4-1", "stock-7.3.3-1": "7.3.3-1", "uml-1": "7.3.2-1"}
        for name, version in names.items():
            source = src / f"linux-source-{version}"
            for folder in (build / name, source):
                folder.mkdir(parents=True)
            (source / "Makefile").touch()
            Path(f"{source}.version").write_text(f"{version}\n")
            (build / name / "source").symlink_to(source)
            (build / name / ".rext4-built").touch()
        packages = [
            self.cache / f"dl/linux-source-7.3_{version}_all.deb" for version in names.values()
        ]
        packages[0].parent.mkdir()
        for package in packages:
            package.touch()
        half = build / "stock-7.3.1-1"
        half.mkdir()
        with subprocess.Popen(
            ["flock", "-s", f"{half}.lock", "cat"], stdin=subprocess.PIPE
        ) as user:
            while subprocess.run(["flock", "-n", f"{half}.lock", "true"]).returncode == 0:
                self.assertIsNone(user.poll())
            # The newest is there: nothing is fetched.
            done = self.kernel("--update")
            self.assertEqual(done.stdout, f"{build}/stock-7.3.4-1-bpo13-1\n", done.stderr)
            self.assertTrue(half.exists())
            user.communicate()
        left = {path.name for path in build.iterdir() if path.is_dir()}
        self.assertEqual(left, {"stock-7.3.4-1-bpo13-1", "uml-1", half.name})
        left = {path.name for path in src.iterdir() if path.is_dir()}
        self.assertEqual(left, {"linux-source-7.3.4-1", "linux-source-7.3.2-1"})
        self.assertEqual([package.exists() for package in packages], [True, False, True])
        self.kernel("--update")
        self.assertFalse(half.exists())

    def test_half_a_file(self) -> None:
        said = self.fails()
        self.assertIn(f"downloading linux-base-{KERNEL} {VERSION} failed", said)
        self.assertIn("Connection failed", said)
        # The next run asks for it again.
        self.assertIn("Connection failed", self.fails("--update"))

    def test_another_version_after_the_lists_were_read(self) -> None:
        self.write("download", 'echo "E: Version of ${!#} was not found" >&2; exit 100\n')
        said = self.fails()
        self.assertIn(f"downloading linux-base-{KERNEL} {VERSION} failed: E: Version", said)
        self.assertIn("was not found", said)

    def test_a_full_disk(self) -> None:
        # Nothing to do with the mirror: no reason to pass over anything.
        # Before anything is fetched, and no more than what is not there yet takes.
        (self.folder / "df").write_text(kit.DF.replace("9998", "4899"))
        said = self.fails(status=1)
        self.assertIn("Debian's kernel needs 4900 MiB in", said)
        for name, text in (("src/linux-source-7.3/Makefile", ""), ("debian13/packages", "")):
            (self.cache / name).parent.mkdir(parents=True)
            (self.cache / name).write_text(text)
        (self.cache / "src/linux-source-7.3.version").write_text(f"{VERSION}\n")
        (self.folder / "df").write_text(kit.DF.replace("9998", "999"))
        self.assertIn("Debian's kernel needs 1000 MiB in", self.fails(status=1))
        (self.folder / "df").write_text(kit.DF)
        self.write("download", f"{HALF[: HALF.rindex('exit')]}echo 'No space left' >&2; exit 100\n")
        self.assertIn("failed: No space left", self.fails(status=1))
        # Some programs say something else; then there is none.
        self.write("download", 'sed -i s/9998/3/ "$dir/df"; exit 100\n')
        said = self.fails(status=1)
        self.assertIn("failed: no space left in", said)

    def test_the_reason(self) -> None:
        after = "E: Some index files failed to download. They have been ignored."
        for said, why in (
            (f"E: Failed to fetch x\n{after}", "E: Failed to fetch x"),
            ("tar: x: bad\ntar: Exiting", "tar: x: bad"),
            ("a\nmake[1]: *** no rule\nmake: *** Error 2", "make[1]: *** no rule"),
            ("error: no such crate\nmake: *** Error 2", "error: no such crate"),
            ("nothing of use", "see the log"),
        ):
            script = 'PROG=it; . "$0/lib.sh"; LOG=$1; attempt this sh -c "echo \'$2\'; exit 4"'
            log = self.folder / "log"
            log.write_text("")
            command = ["bash", "-euc", script, str(SCRIPTS), str(log), said]
            done = subprocess.run(command, capture_output=True, text=True)
            last = done.stderr.splitlines()[-1]
            self.assertIn(f"this failed: {why} (log: ", last)

    def test_what_is_said_meanwhile(self) -> None:
        log = self.folder / "log"
        env = {**os.environ, "PROGRESS_SECONDS": "1"}
        script = '. "$0/lib.sh"; progress "$1" this sh -c "$2; sleep 3"'
        for command, said in (("true", "s\n"), ("echo now", "s: now\n")):
            log.write_text("what was said before\n")
            words = ["bash", "-euc", script, str(SCRIPTS), str(log), command]
            done = subprocess.run(words, env=env, capture_output=True, text=True)
            self.assertEqual(done.returncode, 0)
            self.assertRegex(done.stderr, f": this: [0-9]+ {said}")
            self.assertNotIn("before", done.stderr)

    def unpack(self, deb: Path, to: Path) -> int:
        """Unpacks a package as all scripts here do; the status."""
        script = '. "$0/lib.sh"; . "$0/apt.sh"; unpack_deb "$@"'
        command = ["bash", "-euc", script, str(SCRIPTS), str(deb), str(to)]
        return subprocess.run(command, capture_output=True).returncode

    def test_a_damaged_file(self) -> None:
        tree, deb = self.folder / "tree", self.folder / "x.deb"
        (tree / "DEBIAN").mkdir(parents=True)
        fields = ("Package: x", "Version: 1", "Architecture: all", "Maintainer: n <n@x>")
        (tree / "DEBIAN/control").write_text("\n".join([*fields, "Description: x", ""]))
        (tree / "file").write_bytes(os.urandom(200000))
        subprocess.run(["dpkg-deb", "--build", tree, deb], check=True, capture_output=True)
        out = self.folder / "out"
        out.mkdir()
        self.assertEqual(self.unpack(deb, out), 0)
        self.assertEqual((out / "file").read_bytes(), (tree / "file").read_bytes())
        # No fault of the package's: it stays.
        self.assertNotEqual(self.unpack(deb, self.folder / "no such folder"), 0)
        self.assertTrue(deb.exists())
        # It was cut off: it goes, so that the next run gets it anew.
        os.truncate(deb, 100000)
        self.assertNotEqual(self.unpack(deb, out), 0)
        self.assertFalse(deb.exists())
