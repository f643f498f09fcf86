# SPDX-License-Identifier: GPL-2.0
"""What scripts/headers makes of Debian's headers, and scripts/module of that. The kernel source is
a makefile that makes what a kernel's does, as far as the scripts look at it; the compilers say what
a test wants of them."""

import os
import shutil
import subprocess
from pathlib import Path

from rext4.common import SCRIPTS
from rext4.tally import UNAVAILABLE
from rext4.tests import kit
from rext4.tests.test_dkms import CC, DPKG_QUERY, PACKAGE, RUSTC_PROGRAM
from rext4.tests.test_probe import CONFIG, RUSTC
from rext4.tests.test_stock import APT_CACHE, APT_GET, known

RELEASE = "7.3.4+deb13-amd64"
VERSION = "7.3.4-1~bpo13+1"
PACKAGES = (
    "bc bindgen bison cpio flex gcc kmod libc6-dev libelf-dev libssl-dev make openssl pahole perl"
    " python3 rust-src rustc zlib1g-dev"
)
SOURCE = """\
olddefconfig:
	echo configured >>$(NOTES)
modules_prepare:
	mkdir -p $(O)/rust $(O)/include/config
	for name in core kernel zerocopy; do touch $(O)/rust/lib$$name.rmeta; done
	for name in core kernel bindings helpers; do \\
		echo "EXPORT_SYMBOL_RUST_GPL(_RNvCs1_4core1);" \\
			>$(O)/rust/exports_$${name}_generated.h; \\
	done
	echo $(KERNELRELEASE) >$(O)/include/config/kernel.release
	ln -sfn $(CURDIR) $(O)/source
	cp module.mk $(O)/Makefile
	cd $(O) && $(CC) --version >$(O)/compiler
"""
# An object is made anew only if it is not there.
MODULE = """\
modules: $(MO)/x.o
	cp $(MO)/x.o $(MO)/rext4.ko
$(MO)/x.o:
	echo compiled >>$(NOTES)
	[ ! -e $(NOTES).warn ] || cat $(NOTES).warn >&2
	echo 'int _RNvCs1_4core1(void); int own(void) { return _RNvCs1_4core1(); }' | \\
		gcc -xc -c -o $@ -
"""
INSIDE = """\
#!/bin/bash
case $1 in
--may) exit $(cat "$(dirname "$0")/may") ;;
--renew) echo renewed >>"$NOTES"; exit ;;
esac
PATH=$(dirname "$0")/inside:$PATH exec "$@"
"""


class Headers(kit.WithFolder):
    def setUp(self) -> None:
        super().setUp()
        self.scripts = self.folder / "tree/scripts"
        self.scripts.mkdir(parents=True)
        for path in [*SCRIPTS.glob("*.sh"), SCRIPTS / "headers", SCRIPTS / "module"]:
            shutil.copy(path, self.scripts)
        self.program("tree/scripts/debian13", INSIDE)
        (self.scripts / "may").write_text("0\n")
        self.cache = self.folder / "cache/rext4"
        self.notes = self.folder / "notes"
        self.notes.touch()
        self.make_headers()
        self.make_source()
        for name, text in (("apt-get", APT_GET), ("apt-cache", APT_CACHE), ("df", kit.DF)):
            self.program(name, text)
        self.program("dpkg-query", DPKG_QUERY)
        self.installed(VERSION)
        for folder in ("", "tree/scripts/inside/"):
            self.compilers(folder)

    def make_headers(self, config: str = CONFIG, package: str = VERSION) -> None:
        """As the package has them: no metadata."""
        self.headers = self.folder / "headers"
        (self.headers / "include/generated").mkdir(parents=True, exist_ok=True)
        (self.headers / "include/config").mkdir(exist_ok=True)
        (self.headers / ".config").write_text(config)
        (self.headers / "Module.symvers").write_text("0x0\t_RNvCs1_4core1\tvmlinux\tE\t\n")
        (self.headers / "include/config/kernel.release").write_text(f"{RELEASE}\n")
        name = self.headers / "include/generated/package.h"
        name.write_text(PACKAGE.format(f"Debian {package}"))

    def make_source(self) -> None:
        source = self.folder / "linux-source-7.3"
        source.mkdir()
        (source / "Makefile").write_text(SOURCE)
        (source / "module.mk").write_text(MODULE)
        packed = str(self.folder / "source.tar.xz")
        command = ["tar", "-C", str(self.folder), "-cJf", packed, source.name]
        subprocess.run(command, check=True)

    def program(self, name: str, text: str) -> None:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).write_text(text)
        (self.folder / name).chmod(0o755)

    def compilers(self, folder: str = "", rustc: str = RUSTC) -> None:
        """Those of a Debian 13, or with another rustc."""
        self.program(f"{folder}rustc", RUSTC_PROGRAM.format(rustc))
        self.program(f"{folder}bindgen", '#!/bin/bash\necho "bindgen 0.71.1"\n')
        self.program(f"{folder}{CC}", f'#!/bin/bash\necho "{CC} {folder or "here"} 14.2.0"\n')
        core = self.folder / folder / "lib/rustlib/src/rust/library/core/src"
        core.mkdir(parents=True, exist_ok=True)
        (core / "lib.rs").touch()

    def installed(self, source: str) -> None:
        lines = [f"{name} 1\n" for name in PACKAGES.split()]
        (self.folder / "installed").write_text("".join([*lines, f"linux-source-7.3 {source}\n"]))

    def call(self, name: str, *words: str) -> subprocess.CompletedProcess[str]:
        env = {**os.environ, "XDG_CACHE_HOME": str(self.folder / "cache")}
        env |= {"PATH": f"{self.folder}:{env['PATH']}", "NOTES": str(self.notes)}
        env["REXT4_SOURCE"] = str(self.folder / "source.tar.xz")
        command = [str(self.scripts / name), *words, str(self.headers)]
        return subprocess.run(command, env=env, capture_output=True, text=True)

    def made(self) -> Path:
        done = self.call("headers")
        self.assertEqual(done.returncode, 0, done.stderr)
        return Path(done.stdout.strip())

    def fails(self, *words: str, status: int = 1, name: str = "headers") -> str:
        """The last line, which says why."""
        done = self.call(name, *words)
        self.assertEqual((done.returncode, done.stdout), (status, ""), done.stderr)
        return done.stderr.splitlines()[-1]

    def noted(self) -> list[str]:
        """What has been done since this was asked the last time."""
        lines = self.notes.read_text().split()
        self.notes.write_text("")
        return lines

    def test_once_for_each_version(self) -> None:
        out = self.made()
        self.assertEqual(out, self.cache / f"build/headers-{RELEASE}_7.3.4-1-bpo13-1")
        self.assertEqual((out / "compiler").read_text(), f"{CC} here 14.2.0\n")
        self.assertTrue((out / ".rext4-here").exists())
        self.assertEqual((self.made(), self.noted()), (out, ["configured"]))
        # Another version of the package comes: what the old one was made of goes.
        self.make_headers(package="7.3.5-1")
        self.installed("7.3.5-1")
        new = self.made()
        self.assertEqual((new.name[-7:], self.noted()), ("7.3.5-1", ["configured"]))
        self.assertFalse(out.exists())
        source = self.cache / "src/linux-source-7.3.5-1"
        self.assertEqual((new / "source").resolve(), source)
        # The kernels are built from this one.
        self.assertTrue((self.cache / "src/linux-source-7.3/Makefile").exists())
        self.make_headers(package="7.3.6-1")
        self.installed("7.3.6-1")
        self.made()
        self.assertFalse(source.exists())

    def test_what_is_in_use_stays(self) -> None:
        out = self.made()
        self.make_headers(package="7.3.5-1")
        self.installed("7.3.5-1")
        with subprocess.Popen(["flock", "-s", f"{out}.lock", "cat"], stdin=subprocess.PIPE) as user:
            while subprocess.run(["flock", "-n", f"{out}.lock", "true"]).returncode == 0:
                self.assertIsNone(user.poll())
            self.made()
            self.assertTrue(out.exists())
            user.communicate()

    def test_other_headers_of_that_version(self) -> None:
        out = self.made()
        self.make_headers(f"{CONFIG}CONFIG_X=y\n")
        self.assertEqual((self.made(), self.noted()), (out, ["configured", "configured"]))

    def test_a_run_that_was_killed(self) -> None:
        out = self.made()
        (out / ".rext4-built").unlink()
        (out / "rust/libkernel.rmeta").unlink()
        self.assertTrue((self.made() / "rust/libkernel.rmeta").exists())

    def test_compilers_in_the_cache(self) -> None:
        self.compilers(rustc="rustc 1.95.0 (x 2026-04-01)")
        out = self.made()
        self.assertIn("tree/scripts/inside", (out / "compiler").read_text())
        self.assertTrue((out / ".rext4-debian13").exists())
        self.assertEqual(self.noted(), ["configured"])
        # The same metadata will do for those that are here now.
        self.compilers()
        self.assertEqual((self.made(), self.noted()), (out, []))
        self.assertEqual([path.name for path in out.glob(".rext4-*13")], [])
        (self.folder / "installed").write_text(f"linux-source-7.3 {VERSION}\n")
        self.assertTrue((self.made() / ".rext4-debian13").exists())

    def test_newer_compilers_in_the_cache(self) -> None:
        for folder in ("", "tree/scripts/inside/"):
            self.compilers(folder, rustc="rustc 1.95.0 (x 2026-04-01)")
        said = self.fails()
        self.assertIn(f"was built with {RUSTC}, Debian 13 has rustc 1.95.0", said)
        self.assertEqual(self.noted(), ["renewed"])

    def test_no_compilers(self) -> None:
        (self.folder / "installed").write_text("")
        (self.scripts / "may").write_text(f"{UNAVAILABLE}\n")
        for words in ((), ("--probe",)):
            said = self.fails(*words)
            self.assertIn("headers: the package bc is not installed; and Debian 13's", said)

    def test_the_source_of_another_version(self) -> None:
        if not known():
            self.skipTest("only Debian has packages")
        self.installed("7.3.5-1")
        (self.folder / "update").write_text("")
        (self.folder / "lists").write_text("linux-source-7.3 7.3.5-1\n")
        said = self.fails(status=UNAVAILABLE)
        self.assertIn(f"the source of {VERSION} is not to be had", said)
        self.assertIn("the mirror has 7.3.5-1", said)

    def test_refusals(self) -> None:
        self.make_headers(CONFIG.replace("CONFIG_RUST=y", ""))
        self.assertIn("without CONFIG_RUST=y", self.fails())
        (self.headers / "include/config/kernel.release").write_text("7.4.1+deb14-amd64\n")
        self.assertIn("builds on Linux 7.3; this is 7.4.1+deb14-amd64", self.fails())
        self.assertIn("builds on Linux 7.3; this is", self.fails(name="module"))
        self.make_headers(package="")
        self.assertIn("is of no package", self.fails())
        self.assertIn("has no Rust metadata (rust/libkernel", self.fails(name="module"))
        self.assertEqual(self.call("headers", "x").returncode, 2)

    def test_a_module(self) -> None:
        done = self.call("module", "--probe")
        self.assertIn(f"for Linux {RELEASE} in {self.headers}; that makes", done.stdout)
        self.assertEqual(self.noted(), [])
        for _ in range(2):
            done = self.call("module")
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertTrue(Path(done.stdout.strip()).exists())
        # The second one finds all of it done.
        self.assertEqual(self.noted(), ["configured", "compiled"])
        done = self.call("module", "--probe")
        self.assertEqual(done.stdout, f"rext4 can be built for Linux {RELEASE} in {self.headers}\n")

    def test_metadata_of_another_kernel(self) -> None:
        out = self.made()
        for name in ("headers", out):
            symvers = self.folder / name / "Module.symvers"
            symvers.write_text("0x0\t_RNvCs2_4core1\tvmlinux\tE\t\n")
        names = "1 symbols, _RNvCs1_4core1 first"
        said = self.fails(name="module")
        self.assertIn("does not export what its Rust metadata names", said)
        # Headers that have no list of the names.
        for path in out.glob("rust/exports_*"):
            path.unlink()
        said = self.fails(name="module")
        self.assertIn(f"does not export what rext4.ko takes from it, {names}", said)
        # As kbuild says it.
        error = "ERROR: modpost: rext4.ko: symbol '_RNvCs1_4core1' undefined!"
        (out / "Makefile").write_text(f'modules:\n\techo "{error}" >&2; exit 1\n')
        said = self.fails(name="module")
        self.assertIn(f"does not export what rext4 takes from it, {names}", said)

    def test_warnings_are_said_each_time(self) -> None:
        warn = Path(f"{self.notes}.warn")
        for word in ("warning: unused", "x.c:1:1: warning: unused", "WARNING: modpost: none"):
            warn.write_text(f"{word}\n")
            for _ in range(2):
                done = self.call("module")
                self.assertEqual((done.returncode, word in done.stderr), (0, True))
        warn.unlink()
        self.assertNotIn("unused", self.call("module").stderr)
        self.noted()
        self.call("module")
        self.assertEqual(self.noted(), [])
