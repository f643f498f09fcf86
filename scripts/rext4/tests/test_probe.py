# SPDX-License-Identifier: GPL-2.0
"""What scripts/probe.sh says of a kernel and a toolchain that do not go together: one line each."""

import os
import subprocess
from pathlib import Path

from rext4.common import SCRIPTS
from rext4.tests import kit

RUSTC = "rustc 1.85.1 (4eb161250 2025-03-15) (built from a source tarball)"
CONFIG = f"""\
CONFIG_CC_VERSION_TEXT="x86_64-linux-gnu-gcc-14 (Debian 14.2.0-19) 14.2.0"
CONFIG_RUSTC_VERSION_TEXT="{RUSTC}"
CONFIG_RUST=y
CONFIG_MODULES=y
CONFIG_JBD2=m
CONFIG_FS_IOMAP=y
CONFIG_BUFFER_HEAD=y
CONFIG_FS_POSIX_ACL=y
CONFIG_FS_MBCACHE=m
"""
EXPORTS = "EXPORT_SYMBOL_RUST_GPL(_RNvCs1_4core1{});\n"


class Probe(kit.WithFolder):
    # What a compiler's command begins with.
    inside = ""

    def setUp(self) -> None:
        super().setUp()
        self.kernel = self.folder / "kernel"
        (self.kernel / "rust").mkdir(parents=True)
        self.config = self.kernel / ".config"
        self.config.write_text(CONFIG)
        self.program("rustc", RUSTC)
        self.program("bindgen", "bindgen 0.71.1")

    def program(self, name: str, version: str) -> None:
        path = self.folder / name
        path.write_text(f'#!/bin/sh\necho "{version}"\n')
        path.chmod(0o755)

    def probe(self, *words: str | Path) -> str:
        """The complaint; empty if there is none."""
        script = '. "$0/lib.sh"; . "$0/probe.sh"; BINDGEN=bindgen; IN=($INSIDE); "$@"'
        env = {**os.environ, "PATH": f"{self.folder}:{os.environ['PATH']}", "INSIDE": self.inside}
        command = ["bash", "-euc", script, SCRIPTS, *words]
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        self.assertEqual(done.returncode != 0, done.stderr != "")
        self.assertLessEqual(done.stderr.count("\n"), 1)
        return done.stderr

    def test_release(self) -> None:
        self.assertEqual(self.probe("probe_release", "K", "7.3.4+deb13-amd64"), "")
        self.assertEqual(self.probe("probe_release", "K", "7.3"), "")
        for release in ("7.4.1", "7.30", "6.12.1-amd64", "7.3x"):
            said = self.probe("probe_release", "K", release)
            self.assertIn(f"rext4 builds on Linux 7.3; this is {release} (K)", said)

    def test_config(self) -> None:
        self.assertEqual(self.probe("probe_config", "K", self.config), "")
        for option in ("RUST", "JBD2", "FS_MBCACHE"):
            self.config.write_text(CONFIG.replace(f"CONFIG_{option}=", f"CONFIG_{option}_NOT="))
            self.assertIn(f"CONFIG_{option}", self.probe("probe_config", "K", self.config))

    def test_rustc(self) -> None:
        self.assertEqual(self.probe("probe_rustc", "K", self.config), "")
        self.program("rustc", "rustc 1.95.0 (x 2026-04-01)")
        said = self.probe("probe_rustc", "K", self.config)
        self.assertIn(f"K was built with {RUSTC}, rustc here is rustc 1.95.0 (x 2026-04-01)", said)
        (self.folder / "rustc").write_text("#!/bin/sh\nexit 127\n")
        self.assertIn("rustc here is missing", self.probe("probe_rustc", "K", self.config))

    def test_rustc_in_the_cache(self) -> None:
        self.inside = "env"
        self.program("rustc", "rustc 1.85.0 (x 2025-02-17)")
        said = self.probe("probe_rustc", "K", self.config)
        self.assertIn(f"K was built with {RUSTC}, Debian 13 has rustc 1.85.0 (x 2025-02-17)", said)
        self.assertIn("'scripts/kernel --update stock'", said)
        self.assertNotIn("rustup", said)
        said = self.probe("probe_bindgen", "K", "0.72.1")
        self.assertIn("K was built with bindgen 0.72.1, Debian 13 has 0.71.1", said)

    def test_bindgen(self) -> None:
        self.assertEqual(self.probe("probe_bindgen", "K"), "")
        self.assertEqual(self.probe("probe_bindgen", "K", "0.71.1"), "")
        said = self.probe("probe_bindgen", "K", "0.72.1")
        self.assertIn("K was built with bindgen 0.72.1, bindgen here is 0.71.1", said)
        self.program("bindgen", "bindgen 0.60.1")
        self.assertIn("bindgen is 0.60.1, Linux 7.3 needs 0.71.1", self.probe("probe_bindgen", "K"))

    def test_rust_src(self) -> None:
        self.assertIn("no library sources for rustc 1.85.1", self.probe("probe_rust_src", ""))
        (self.folder / "core/src").mkdir(parents=True)
        (self.folder / "core/src/lib.rs").touch()
        self.assertEqual(self.probe("probe_rust_src", self.folder), "")

    def test_metadata(self) -> None:
        said = self.probe("probe_metadata", "K", self.kernel)
        self.assertIn("K has no Rust metadata (rust/libkernel.rmeta)", said)
        for name in ("kernel", "core", "zerocopy"):
            (self.kernel / f"rust/lib{name}.rmeta").touch()
        self.assertIn("no Module.symvers", self.probe("probe_metadata", "K", self.kernel))
        (self.kernel / "Module.symvers").touch()
        self.assertEqual(self.probe("probe_metadata", "K", self.kernel), "")

    def test_names(self) -> None:
        symvers = self.kernel / "Module.symvers"
        for number, name in enumerate(("core", "kernel", "bindings", "helpers")):
            file = self.kernel / f"rust/exports_{name}_generated.h"
            file.write_text(EXPORTS.format(number))
        lines = [f"0x00000000\t_RNvCs1_4core1{number}\tvmlinux\tE\t\n" for number in range(4)]
        symvers.write_text("".join(lines))
        self.assertEqual(self.probe("probe_names", "K", self.kernel), "")
        # The hash of another compiler.
        symvers.write_text("".join(lines).replace("Cs1_", "Cs2_", 2))
        said = self.probe("probe_names", "K", self.kernel)
        self.assertIn("2 symbols, _RNvCs1_4core10 first", said)
        # No symbols at all.
        symvers.write_text("")
        self.assertIn("Module.symvers is empty", self.probe("probe_names", "K", self.kernel))
        symvers.write_text("".join(lines))
        # Nothing to compare is no agreement.
        for file in self.kernel.glob("rust/exports_*"):
            file.write_text("")
        self.assertIn("no names", self.probe("probe_names", "K", self.kernel))

    def test_names_of_a_module(self) -> None:
        module, symvers = self.folder / "x.ko", self.kernel / "Module.symvers"
        source = "int _RNvCs1_4core1(void); int own(void) { return _RNvCs1_4core1(); }"
        command = ["gcc", "-xc", "-c", "-o", str(module), "-"]
        subprocess.run(command, input=source, text=True, check=True)
        symvers.write_text("0x00000000\t_RNvCs1_4core1\tvmlinux\tE\t\n")
        self.assertEqual(self.probe("probe_module", "K", self.kernel, module), "")
        symvers.write_text(symvers.read_text().replace("Cs1_", "Cs2_"))
        said = self.probe("probe_module", "K", self.kernel, module)
        self.assertIn("K does not export what x.ko takes from it, 1 symbols, _RNvCs1_4core1", said)
        symvers.write_text("")
        self.assertIn("empty", self.probe("probe_module", "K", self.kernel, module))
