# SPDX-License-Identifier: GPL-2.0
"""What scripts/crash-power, model-power and explore-power take for a fault that was found."""

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
        for top in ("Kbuild", "VERSION"):
            (self.folder / top).touch()
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


class ExplorePower(WithFolder):
    """The same of scripts/explore-power, whose faults are switches."""

    TABLE = (
        "switch\tfound\tseeds\toperations\tschedules\tseconds\tlimit\treason\n"
        "gate\t0\t1\t-\t-\t-\t50\trarely drawn\n"
    )
    RAN = 'echo "70 schedules, 7 per second"; '
    HARM = 'echo "found: schedules=70 seconds=1.5 ops=bw+pu"; exit 1'

    def power(self, harm: str, *words: str) -> int:
        """Its status."""
        for place in ("scripts", "tests/explore"):
            (self.folder / place).mkdir(parents=True, exist_ok=True)
        for script in ("lib.sh", "explore-power"):
            shutil.copy(SCRIPTS / script, self.folder / "scripts")
        for script, text in (("explore", RUN), ("module", MODULE)):
            path = self.folder / "scripts" / script
            path.write_text(text)
            path.chmod(0o755)
        (self.folder / "scripts/harm").write_text(self.RAN + harm)
        (self.folder / "tests/explore/power.tsv").write_text(self.TABLE)
        power = self.folder / "scripts/explore-power"
        self.run_ = subprocess.run([power, *words], capture_output=True, text=True)
        return self.run_.returncode

    def rows(self) -> dict[str, list[str]]:
        lines = (self.folder / "tests/explore/power.tsv").read_text().splitlines()[1:]
        return {line.split("\t")[0]: line.split("\t")[1:] for line in lines}

    def ran(self) -> list[str]:
        return (self.folder / "scripts/ran").read_text().splitlines()

    def test_found_and_the_control_is_clean(self) -> None:
        harm = f'[[ "$*" != *--off* ]] || {{ {self.HARM}; }}'
        self.assertEqual(self.power(harm, "--seeds", "2", "--for", "9", "punch-lock"), 0)
        control, found = self.rows()["control"], self.rows()["punch-lock"]
        self.assertEqual([control[0], control[3], control[5]], ["0", "70", "9"])
        self.assertEqual(found, ["2", "2", "bw+pu", "70", "1.5", "9", "-"])
        said = "punch-lock: found with 2 of 2 seeds by bw+pu; 70 schedules, 1.5 seconds"
        self.assertIn(said, self.run_.stderr)
        # With the same seeds and time.
        ran = [line.replace("--off punch-lock ", "").split(" --keep")[0] for line in self.ran()]
        self.assertEqual(ran[:2], ran[2:])

    def test_harm_with_nothing_off(self) -> None:
        self.assertEqual(self.power(self.HARM, "punch-lock"), 1)
        self.assertEqual(self.rows()["control"][:3], ["1", "1", "bw+pu"])
        self.assertEqual(len(self.ran()), 1)
        # Nobody says what did it.
        self.assertEqual(self.power("exit 125", "punch-lock"), 1)
        self.assertEqual(self.rows()["control"][:4], ["1", "1", "unknown", "70"])

    def test_not_found(self) -> None:
        self.assertEqual(self.power("exit 0", "gate"), 0)
        self.assertEqual(self.rows()["gate"][0], "0")
        self.assertEqual(self.rows()["gate"][-1], "rarely drawn")
        self.assertEqual(self.power("exit 0", "gate", "pin"), 1)
        self.assertIn("pin: not found with 1 seeds; 70 schedules in", self.run_.stderr)
        last = "0 found, 1 not found, 1 not found for a known reason"
        self.assertEqual(self.run_.stdout.splitlines()[-1:], [last])

    def test_it_could_not_be_run(self) -> None:
        self.assertEqual(self.power("exit 1", "gate"), 1)
        self.assertNotIn("control", self.rows())


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
