# SPDX-License-Identifier: GPL-2.0
"""What scripts/crash-power and scripts/model-power take for a fault that was found."""

import os
import shutil
import subprocess

from rext4.common import SCRIPTS

from .kit import WithFolder

# In place of what is run: its options go to a file; harm is done as the test wants it.
RUN = """\
#!/bin/bash
echo "$*" >>"$(dirname "$0")/ran"
. "$(dirname "$0")/harm"
"""
# In place of scripts/module: prints where it is.
MODULE = """\
#!/bin/bash
echo "$(cd "$(dirname "$0")/.." && pwd)/ko"
"""
PATCH = """\
--- a/rust/x.rs
+++ b/rust/x.rs
@@ -1 +1 @@
-right
+wrong
"""
CRASH_TABLE = "fault\toperations\twhat\tsequence\tstates\tseconds\treason\n"


class Power(WithFolder):
    """A checkout with nothing but the script in it, and one fault."""

    def power(self, name: str, harm: str) -> tuple[int, list[str]]:
        """Its status and its last line; the calls are in `ran`."""
        shutil.rmtree(self.folder / "scripts", ignore_errors=True)
        for place in ("scripts", "rust", f"tests/{name}/faults", "tests/model/faults"):
            (self.folder / place).mkdir(parents=True, exist_ok=True)
        for script in ("lib.sh", f"{name}-power"):
            shutil.copy(SCRIPTS / script, self.folder / "scripts")
        for script, text in ((name, RUN), ("module", MODULE)):
            path = self.folder / "scripts" / script
            path.write_text(text)
            path.chmod(0o755)
        (self.folder / "scripts/harm").write_text(harm)
        (self.folder / "Kbuild").touch()
        (self.folder / "rust/x.rs").write_text("right\n")
        (self.folder / f"tests/{name}/faults/f.patch").write_text(PATCH)
        (self.folder / f"tests/{name}/power.tsv").write_text(CRASH_TABLE)
        power = self.folder / "scripts" / f"{name}-power"
        run = subprocess.run([power, "f"], capture_output=True, text=True)
        return run.returncode, run.stdout.splitlines()[-1:]

    def ran(self) -> list[str]:
        return (self.folder / "scripts/ran").read_text().splitlines()

    def test_found(self) -> None:
        for name, line, again in (
            ("crash", "harm in 4k:create", "--replay 4k:create "),
            ("model", "harm in history 7: x", "--replay 7 "),
        ):
            harm = f'[[ "$*" != */copy/ko* ]] || {{ echo "{line}"; exit 1; }}'
            found = ["1 found, 0 not found, 0 not found for a known reason"]
            self.assertEqual(self.power(name, harm), (0, found))
            first, second = self.ran()
            self.assertIn("/copy/ko", first)
            self.assertIn(again, second)
            self.assertNotIn("/copy/", second)

    def test_harm_without_the_fault_is_none_of_its(self) -> None:
        for name, line in (("crash", "harm in 4k:create"), ("model", "harm in history 7: x")):
            none = ["0 found, 1 not found, 0 not found for a known reason"]
            self.assertEqual(self.power(name, f'echo "{line}"; exit 1'), (1, none))

    def test_a_complaint_of_the_kernel(self) -> None:
        # Nobody says what did it, so all is done again.
        self.power("crash", '[[ "$*" != */copy/ko* ]] || exit 125')
        first, second = self.ran()
        self.assertEqual(first.split(" --module")[0], second.split(" --module")[0])

    def test_not_found(self) -> None:
        status, last = self.power("crash", "exit 0")
        self.assertEqual((status, last[0].split(",")[0]), (1, "0 found"))
        self.assertEqual(len(self.ran()), 1)


class Processors(WithFolder):
    """Where User-Mode Linux may run."""

    def test_one_that_is_allowed(self) -> None:
        allowed = sorted(os.sched_getaffinity(0))
        last = allowed[-1]
        command = f". '{SCRIPTS / 'lib.sh'}'; cpu_for 0; cpu_for 1"
        run = subprocess.run(
            ["taskset", "-c", str(last), "bash", "-c", command], capture_output=True, text=True
        )
        self.assertEqual(run.stdout.split(), [str(last)] * 2)
