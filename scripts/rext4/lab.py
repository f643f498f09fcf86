# SPDX-License-Identifier: GPL-2.0
"""The races of the data path in one VM: each with its protection off, where the harm must be seen,
and on, where the same run must be clean. Draws a picture of each run."""

import argparse
import re
import shutil
import subprocess
from pathlib import Path

from . import common
from .common import REPO, SCRIPTS, Failed, note
from .process import Group

HELP = """
Usage: scripts/lab [--engine qemu|uml] [--kernel NAME] [--runs N] [--results FILE] [RACE...]

RACE: a number (3, 7a) or a name (punch-vs-fault); all races by default, then
the results go to a table in tests/lab.

  --engine qemu|uml  x86 under QEMU (default), or User-Mode Linux (default for uml)
  --kernel NAME      debug, fast, stock or uml, or the folder of a kernel build; default:
                     fast, uml for uml
  --runs N           runs of each race (default 1)
  --results FILE     where the table of a full run goes (default
                     tests/lab/results.tsv; for stock results-stock.tsv there)

Traces, timelines (text and SVG) and an index.html are left in build/lab.

Exit status: 0; 1 if a race went another way than it should, 2 usage, or what the
lab says that could not run; else what scripts/vm says.
"""

# The kernel of an engine, and the CPUs. With two, mapped pages are not coherent under User-Mode
# Linux.
KERNEL = {"qemu": "fast", "uml": "uml"}
CPUS = {"qemu": 2, "uml": 1}
DISKS = ("a", "b", "c")
# MiB of all that is in the folder.
ROOM = 3000
# Seconds that scripts/vm has to end its VM in.
PATIENCE = 5
# What only a module for the lab may have: symbols of it, and the name of a point.
LEFTOVER = re.compile(r"2fs3lab|3vfs3lab|punch-invalidated")
# A status from here on says that something did not run, not that a race went wrong.
NOT_RUN = 2


class Options(argparse.Namespace):
    """What was asked for."""

    engine: str
    kernel: str
    runs: int
    results: Path
    races: list[str]


def options(arguments: list[str]) -> Options:
    """Reads the command line."""
    parser = common.Options(HELP)
    parser.add_argument("--engine", choices=tuple(KERNEL))
    parser.add_argument("--kernel")
    parser.add_argument("--runs", type=common.positive, default=1)
    parser.add_argument("--results", type=Path)
    parser.add_argument("races", nargs="*")
    asked = parser.parse_args(arguments, Options())
    asked.engine = common.engine(parser, asked.engine, asked.kernel)
    asked.kernel = asked.kernel or KERNEL[asked.engine]
    # The table of our own kernels is what one run is compared with the next by.
    more = "-stock" if asked.kernel == "stock" else ""
    asked.results = asked.results or REPO / f"tests/lab/results{more}.tsv"
    return asked


def traces_of_lab(module: str) -> int:
    """How many symbols and texts of a module are of the lab."""
    found = 0
    for program in ("nm", "strings"):
        done = subprocess.run(
            [program, module], stdout=subprocess.PIPE, text=True, errors="replace"
        )
        if done.returncode != 0:
            raise Failed(f"{program} cannot read {module}")
        found += sum(LEFTOVER.search(line) is not None for line in done.stdout.splitlines())
    return found


def modules(kernel: str) -> str:
    """Builds the module with the lab. The one without must have nothing of it."""
    module = common.script("module", "--lab", kernel)
    plain = traces_of_lab(common.script("module", kernel))
    note(
        f"symbols and names of the lab: {plain} in the normal module,"
        f" {traces_of_lab(module)} in this one"
    )
    if plain:
        raise Failed("the lab has left something in the normal module")
    return module


def vm(asked: Options, work: Path, module: str, lab: str) -> list[str | Path]:
    """The VM and what runs there."""
    words: list[str | Path] = [SCRIPTS / "vm", "--engine", asked.engine, "--kernel", asked.kernel]
    words += ["--module", module, "--cpus", str(CPUS[asked.engine])]
    for name in DISKS:
        with (work / name).open("wb") as disk:
            disk.truncate(1 << 30)
        words += ["--disk", work / name]
    if asked.engine == "qemu":
        # Memory that is a disk. So much that some of it lies there.
        words += ["--mem", "3072", "--append", "memmap=256M!4G"]
    share = work / "share"
    words += ["--share", share, "--time", str(3600 + 600 * asked.runs), "--"]
    return [*words, lab, "run", "--runs", str(asked.runs), "--out", share, *asked.races]


def draw(asked: Options, share: Path, lab: str) -> None:
    """Leaves traces and pictures in build/lab. Old ones go if all are made anew."""
    pictures = REPO / "build/lab"
    pictures.mkdir(parents=True, exist_ok=True)
    if not asked.races:
        for old in pictures.iterdir():
            old.unlink()
    traces = sorted(share.glob("*.trace"))
    for trace in traces:
        shutil.copy(trace, pictures)
    if traces:
        common.call(lab, "draw", pictures, *asked.races)
        note(f"pictures: {pictures}/index.html")


def record(asked: Options, table: Path, status: int) -> None:
    """The table that is kept is of one run of everything, in which everything ran."""
    if asked.races or status >= NOT_RUN or not table.exists():
        return
    if "broken" not in table.read_text():
        shutil.copy(table, asked.results)
        note(f"results: {asked.results}")


def run(asked: Options, lab: str, module: str, work: Path) -> int:
    """The races, in this folder, and what is left of them."""
    share = work / "share"
    share.mkdir()
    with Group(vm(asked, work, module, lab)) as group:
        try:
            status = group.wait()
        finally:
            group.end(PATIENCE)
    # Without a time limit there is always one.
    status = status or 0
    draw(asked, share, lab)
    record(asked, share / "results.tsv", status)
    return status


def main(arguments: list[str]) -> int:
    """Builds what is needed, and lets the races happen."""
    asked = options(arguments)
    common.call(SCRIPTS / "setup")
    lab = common.lib("test_program", "lab")
    # Before anything is booted: do these races exist? If not it says so.
    known = subprocess.run([lab, "list", *asked.races], stdout=subprocess.DEVNULL)
    if known.returncode != 0:
        return known.returncode
    module = modules(asked.kernel)
    work = Path(common.lib("scratch_dir", str(ROOM)))
    try:
        return run(asked, lab, module, work)
    finally:
        shutil.rmtree(work, ignore_errors=True)
