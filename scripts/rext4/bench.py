# SPDX-License-Identifier: GPL-2.0
"""Compares rext4 with the kernel's ext4, and XFS where there is one, in one boot of a kernel, on a
RAM-backed disk: data with fio, other operations with operations.py. Twice: with QEMU counting
instructions as time (one CPU; what else the machine does is not in the figures), and by the wall
clock with two CPUs. The guest's side is scripts/bench-guest."""

import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import common
from .common import CACHE, REPO, SCRIPTS, Failed, note
from .process import Group

HELP = """
Usage: scripts/bench [--icount-only | --wall-only] [--data-only | --operations-only]
                     [--kernel NAME] [--rounds N] [--strict] [--out FILE]

  --icount-only  leave out the wall-clock figures; those in FILE stay
  --wall-only    leave out those with instructions counted; the same
  --data-only, --operations-only
                 leave out the others; the same
  --kernel NAME  stock (default: the kernel that people have), fast or debug
  --rounds N     rounds by the wall clock (default 5; three are made with
                 instructions counted); their median counts
  --strict       fail if rext4 is slower than 0.7 of ext4 in one
  --out FILE     results (default tests/bench/results-NAME.tsv)
  --growth       how the cost of operations grows, and nothing of the above
                 (scripts/bench --growth --help)
  --functions    in which functions the instructions are, and nothing of the above
                 (scripts/bench --functions --help)

The last line names those in which rext4 is slower than 0.7 of ext4, if there are any.

Exit status: 0 all was measured; 1 with --strict, or if something is missing, 2 usage;
else what scripts/vm says.
"""

CLOCKS = ("icount", "wall")
# Instructions repeat: no more rounds are needed.
COUNTED_ROUNDS = 3
COLUMNS = ("workload", "rext4", "ext4", "xfs", "unit", "ratio")
# What is measured, and its unit.
KINDS = {"data": "MB/s", "operations": "/s"}
# Slower than this part of ext4 is too slow.
LOW = 0.7
# The first is the one that people have.
KERNELS = ("stock", "fast", "debug")
Command = Sequence[str | Path]
# Seconds a VM may take, and those that scripts/vm has to end it in.
LIMIT, PATIENCE = 5400, 5


@dataclass(frozen=True)
class Row:
    """A workload by one clock: the medians of all rounds."""

    name: str
    mine: float
    theirs: float
    xfs: float | None
    unit: str

    @property
    def ratio(self) -> float:
        """Ours to ext4's: more is faster."""
        return self.mine / self.theirs

    def __str__(self) -> str:
        xfs = "-" if self.xfs is None else f"{self.xfs:.1f}"
        figures = f"{self.mine:.1f}\t{self.theirs:.1f}\t{xfs}"
        return f"{self.name}\t{figures}\t{self.unit}\t{self.ratio:.2f}"


def rows(figures: str, clock: str) -> list[Row]:
    """From the guest's lines "workload, file system, figure, unit", in their order."""
    speeds: dict[tuple[str, str], dict[str, list[float]]] = {}
    for line in figures.splitlines():
        workload, fs, speed, unit = line.split("\t")
        speeds.setdefault((workload, unit), {}).setdefault(fs, []).append(float(speed))
    found = []
    for (workload, unit), by_fs in speeds.items():
        for fs in ("rext4", "ext4"):
            if fs not in by_fs:
                raise Failed(f"{clock}: the guest has no figure of {fs} for {workload}")
        mine, theirs = (statistics.median(by_fs[fs]) for fs in ("rext4", "ext4"))
        xfs = statistics.median(by_fs["xfs"]) if "xfs" in by_fs else None
        found.append(Row(f"{workload} ({clock})", mine, theirs, xfs, unit))
    if not found:
        raise Failed(f"{clock}: the guest has no figures")
    return found


def table(kernel: str) -> Path:
    """Where the figures of a kernel are kept."""
    return REPO / f"tests/bench/results-{kernel}.tsv"


def written(out: Path, measured: dict[str, list[Row]]) -> None:
    """Puts the rows into the table. What was measured before, and was not asked for, stands."""
    old = out.read_text().splitlines()[1:] if out.exists() else []
    lines = ["\t".join(COLUMNS)]
    for clock in CLOCKS:
        by_clock = [line for line in old if f"({clock})" in line.split("\t")[0]]
        for unit in KINDS.values():
            new = [str(row) for row in measured.get(clock, []) if row.unit == unit]
            lines += new or [line for line in by_clock if line.split("\t")[4] == unit]
    out.write_text("\n".join(lines) + "\n")


def boot(name: str, asked: tuple[int, str], vm: Command, work: Path) -> str:
    """One VM that measures so many rounds of these kinds; its figures."""
    rounds, kinds = asked
    share = work / name
    share.mkdir()
    note(f"{name}: {rounds} round(s)")
    words = [*vm, "--share", share, "--time", str(LIMIT), "--mem", "3072"]
    words += ["--icount"] if name == "icount" else ["--cpus", "2"]
    with Group([*words, "--", SCRIPTS / "bench-guest", str(rounds), kinds]) as group:
        try:
            status = group.wait()
        finally:
            group.end(PATIENCE)
    if status:
        # It has said why.
        raise SystemExit(status)
    figures = share / "figures"
    return figures.read_text() if figures.exists() else ""


def measure(clocks: Sequence[str], rounds: int, kinds: str, kernel: str) -> dict[str, list[Row]]:
    """All workloads of these kinds, by these clocks."""
    module = common.script("module", kernel)
    vm: Command = [SCRIPTS / "vm", "--kernel", kernel, "--module", module]
    (CACHE / "run").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench.", dir=CACHE / "run") as work:
        return {
            clock: rows(boot(clock, (many, kinds), vm, Path(work)), clock)
            for clock, many in (("icount", COUNTED_ROUNDS), ("wall", rounds))
            if clock in clocks
        }


def main(arguments: list[str]) -> int:
    """Measures, shows and records."""
    parser = common.Options(HELP)
    one = parser.add_mutually_exclusive_group()
    for clock in CLOCKS:
        one.add_argument(f"--{clock}-only", dest="clock", action="store_const", const=clock)
    one = parser.add_mutually_exclusive_group()
    for kind in KINDS:
        one.add_argument(f"--{kind}-only", dest="kind", action="store_const", const=kind)
    parser.add_argument("--rounds", type=common.positive, default=5)
    parser.add_argument("--kernel", choices=KERNELS, default=KERNELS[0])
    parser.add_argument("--strict", action="store_true")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args(arguments)
    asked.out = asked.out or table(asked.kernel)
    common.call(SCRIPTS / "setup")
    common.script("kernel", asked.kernel)
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    clocks = [asked.clock] if asked.clock else CLOCKS
    kinds = asked.kind or " ".join(KINDS)
    measured = measure(clocks, asked.rounds, kinds, asked.kernel)
    written(asked.out, measured)
    found = [row for some in measured.values() for row in some]
    print("\n".join(map(str, found)))
    note(f"results in {asked.out}")
    low = [row.name for row in found if row.ratio < LOW]
    if low:
        print("under 0.7:", ", ".join(low))
    return 1 if low and asked.strict else 0
