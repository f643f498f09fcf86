# SPDX-License-Identifier: GPL-2.0
"""scripts/bench --growth: how the cost of an operation grows, beside the kernel's ext4, in one boot
with instructions counted. The guest's side is growing.py. Makes a table, and pictures of it."""

import importlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from . import common
from .common import CACHE, REPO, SCRIPTS, Failed, note
from .process import Group

HELP = """
Usage: scripts/bench --growth [--kernel NAME] [--most N]

What an operation costs with more and more files in a directory, blocks in use, and extents in a
file. Writes tests/bench/growth.tsv, and draws Documentation/growth.svg if there is matplotlib
(apt install python3-matplotlib).

  --kernel NAME  stock (default), fast or debug
  --most N       files and extents go up to this (default 100000, which takes an hour)

Exit status: 0; 1 if a curve is steeper than ext4's, 2 usage; else what scripts/vm says.
"""

TABLE = REPO / "tests/bench/growth.tsv"
PICTURE = REPO / "Documentation/growth.svg"
HEAD = "curve\tat\trext4\text4\tof ext4"
# How much more may be lost from one end of a curve to the other before it counts as steeper.
SLACK = 0.9
LIMIT, PATIENCE = 5400, 5
# What the points of a curve are called, by the first that has it.
AXES = {1000: "files in the directory", 98: "percent of the disk in use", 1: "extents in the file"}


@dataclass
class Curve:
    """Figures of both, by how much there is."""

    name: str
    points: dict[int, dict[str, float]] = field(default_factory=dict)

    @property
    def is_memory(self) -> bool:
        """Less is better then, and there is one point."""
        return self.name.startswith("bytes")

    def lines(self) -> Iterator[str]:
        """Of the table."""
        for at, by_fs in sorted(self.points.items()):
            mine, theirs = by_fs["rext4"], by_fs["ext4"]
            ratio = f"{mine / theirs:.2f}" if theirs else "-"
            yield f"{self.name}\t{at}\t{mine:.1f}\t{theirs:.1f}\t{ratio}"

    def kept(self, fs: str) -> float:
        """What is left of the speed at the largest size."""
        return self.points[max(self.points)][fs] / self.points[min(self.points)][fs]

    def is_steeper(self) -> bool:
        """Whether rext4 loses more of its speed than ext4."""
        return not self.is_memory and self.kept("rext4") < SLACK * self.kept("ext4")


def curves(figures: str) -> list[Curve]:
    """From the guest's lines "curve, file system, how much, figure", in their order."""
    found: dict[str, Curve] = {}
    for line in figures.splitlines():
        name, fs, at, figure = line.split("\t")
        curve = found.setdefault(name, Curve(name))
        curve.points.setdefault(int(at), {})[fs] = float(figure)
    for curve in found.values():
        for size, by_fs in curve.points.items():
            if set(by_fs) != {"rext4", "ext4"}:
                raise Failed(f"the guest has one figure only of {curve.name} at {size}")
    if not found:
        raise Failed("the guest has no figures")
    return list(found.values())


def draw(drawn: list[Curve], picture: Path) -> None:
    """One small picture for each curve."""
    try:
        matplotlib = importlib.import_module("matplotlib")
        figures = importlib.import_module("matplotlib.figure")
    except ImportError:
        note("no pictures without matplotlib (python3-matplotlib)")
        return
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "rext4", "font.size": 8})
    columns = 3
    rows = -(-len(drawn) // columns)
    figure = figures.Figure(figsize=(9, 2.6 * rows), layout="constrained")
    for place, curve in enumerate(drawn, start=1):
        axes = figure.add_subplot(rows, columns, place)
        for fs, style in (("rext4", "o-"), ("ext4", "s--")):
            sizes = sorted(curve.points)
            axes.plot(sizes, [curve.points[at][fs] for at in sizes], style, label=fs, ms=3)
        if max(curve.points) > 1000:
            axes.set_xscale("log")
        axes.set_ylim(bottom=0)
        axes.set_title(curve.name)
        axes.set_xlabel(axis(curve))
        axes.set_ylabel("a second")
        axes.legend()
    figure.savefig(picture, format="svg", metadata={"Date": None})
    note(f"pictures in {picture}")


def axis(curve: Curve) -> str:
    """What the points are."""
    if max(curve.points) == 98:
        return AXES[98]
    return AXES[min(curve.points)]


def measure(kernel: str, most: int) -> str:
    """The guest's lines."""
    module = common.script("module", kernel)
    (CACHE / "run").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="growth.", dir=CACHE / "run") as work:
        share = Path(work)
        words: list[str | Path] = [SCRIPTS / "vm", "--kernel", kernel, "--module", module]
        words += ["--share", share, "--time", str(LIMIT), "--mem", "3072", "--icount"]
        with Group([*words, "--", SCRIPTS / "growth-guest", str(most)]) as group:
            try:
                status = group.wait()
            finally:
                group.end(PATIENCE)
        if status:
            # It has said why.
            raise SystemExit(status)
        figures = share / "figures"
        return figures.read_text() if figures.exists() else ""


def main(arguments: list[str]) -> int:
    """Measures, shows, draws."""
    parser = common.Options(HELP)
    parser.add_argument("--growth", action="store_true", required=True)
    parser.add_argument("--kernel", choices=("stock", "fast", "debug"), default="stock")
    parser.add_argument("--most", type=common.positive, default=100_000)
    asked = parser.parse_args(arguments)
    common.call(SCRIPTS / "setup")
    common.script("kernel", asked.kernel)
    found = curves(measure(asked.kernel, asked.most))
    lines = [HEAD, *(line for curve in found for line in curve.lines())]
    TABLE.parent.mkdir(parents=True, exist_ok=True)
    TABLE.write_text("\n".join(lines) + "\n")
    print("\n".join(lines))
    draw([curve for curve in found if not curve.is_memory], PICTURE)
    steeper = [curve.name for curve in found if curve.is_steeper()]
    if steeper:
        print("steeper than ext4's:", ", ".join(steeper))
    return 1 if steeper else 0
