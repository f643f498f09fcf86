# SPDX-License-Identifier: GPL-2.0
"""scripts/bench --functions: in which functions of the kernel the instructions of an operation are,
for rext4 and the kernel's ext4, in one boot. A plugin of QEMU counts (functions.c); the guest's
side is marked.py."""

import bisect
import re
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from . import common
from .bench import KERNELS, KINDS, LIMIT, PATIENCE
from .common import CACHE, REPO, SCRIPTS, Failed, note
from .process import Group

HELP = """
Usage: scripts/bench --functions [--data-only | --operations-only] [--kernel NAME]
                                 [--top N] [--of WORDS] [--out FILE]

Counts the instructions of each operation of the benchmark by function, and how often the
function is entered, on rext4 and on the kernel's ext4. Writes those that are no small part of an
operation to the table, with the sums by room (module, or kernel), and prints the largest.

  --data-only, --operations-only
                 leave out the others, in the table as well
  --kernel NAME  stock (default), fast or debug
  --least N      what is less than N percent of an operation is left out (default 1)
  --top N        functions to be printed of each operation (default 20)
  --of WORDS     print those operations only whose name has these words
  --out FILE     the table (default tests/bench/functions-NAME.tsv)
  --from FILE    print from such a table, and measure nothing

Exit status: 0, 2 usage; else what scripts/vm says.
"""

HEAD = "workload\troom\tfunction\trext4\text4\tmore\tcalls, rext4\tcalls, ext4"
SYSTEMS = ("rext4", "ext4")
PROGRAMS = ("", "programs")


@dataclass
class Cost:
    """Of a function, or of all, for an operation: instructions, and how often it is entered."""

    instructions: dict[str, float] = field(default_factory=lambda: dict.fromkeys(SYSTEMS, 0.0))
    calls: dict[str, float] = field(default_factory=lambda: dict.fromkeys(SYSTEMS, 0.0))

    @property
    def more(self) -> float:
        """Instructions that ext4 does without."""
        return self.instructions["rext4"] - self.instructions["ext4"]

    @property
    def most(self) -> float:
        """The larger of both."""
        return max(self.instructions.values())


Function = tuple[str, str]
Costs = dict[str, dict[Function, Cost]]


class Symbols:
    """Which function is where: /proc/kallsyms."""

    def __init__(self, text: str) -> None:
        found: dict[int, Function] = {}
        for line in text.splitlines():
            address, kind, *name = line.split()
            if kind in "tTwW" and not name[0].startswith("__pfx_"):
                room = name[1].strip("[]") if len(name) > 1 else "kernel"
                found.setdefault(int(address, 16), (room, name[0]))
        self.starts = sorted(found)
        names = readable([found[start][1] for start in self.starts])
        rooms = [found[start][0] for start in self.starts]
        self.functions = list(zip(rooms, names, strict=True))

    def at(self, address: int) -> tuple[Function, bool]:
        """The function that an address is in, and whether it is where that begins."""
        if address == 0:
            return PROGRAMS, False
        place = bisect.bisect_right(self.starts, address) - 1
        if place < 0:
            return ("kernel", "?"), False
        # The first instruction may be a mark for indirect branches, or a call that is patched out.
        return self.functions[place], address == self.starts[place]


def readable(names: list[str]) -> list[str]:
    """Names of Rust as they stand in the source, short."""
    command = ["c++filt", "--format=rust"]
    try:
        done = subprocess.run(command, input="\n".join(names), capture_output=True, text=True)
    except FileNotFoundError:
        note("names of Rust stay as they are without c++filt (binutils)")
        return names
    said = re.sub(r"\[[0-9a-f]+\](?=::)", "", done.stdout).replace("rext4::", "")
    return said.split("\n")[: len(names)]


def costs(counts: Iterator[str], marks: str, symbols: Symbols) -> Costs:
    """From the plugin's lines, and the guest's."""
    phases = {}
    for line in marks.splitlines():
        number, fs, name, many = line.split("\t")
        phases[number] = (fs, name, int(many))
    found: Costs = defaultdict(lambda: defaultdict(Cost))
    for line in counts:
        number, address, instructions, entries = line.split("\t")
        if number not in phases:
            raise Failed("the guest did not come to its end")
        fs, name, count = phases[number]
        function, is_start = symbols.at(int(address, 16))
        for each in {function, (function[0], "all"), ("", "all")}:
            found[name][each].instructions[fs] += int(instructions) / count
        if is_start:
            found[name][function].calls[fs] += int(entries) / count
    if not found:
        raise Failed("nothing was counted")
    return found


def lines(found: Costs, percent: float) -> Iterator[str]:
    """Of the table: what makes up so much of an operation, the largest first."""
    for name, functions in found.items():
        least = functions["", "all"].most * percent / 100
        for (room, function), cost in sorted(functions.items(), key=lambda f: (-f[1].most, f[0])):
            if cost.most >= least:
                by_fs = [f"{cost.instructions[fs]:.1f}" for fs in SYSTEMS]
                calls = [f"{cost.calls[fs]:.2f}" for fs in SYSTEMS]
                figures = "\t".join([*by_fs, f"{cost.more:+.1f}", *calls])
                yield f"{name}\t{room}\t{function}\t{figures}"


def plugin() -> Path:
    """functions.c, built."""
    (CACHE / "run").mkdir(parents=True, exist_ok=True)
    library = CACHE / "run/functions.so"
    source = SCRIPTS / "rext4/functions.c"
    command: list[str | Path] = ["gcc", "-O2", "-shared", "-fPIC", "-o", library, source]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise Failed(f"functions.c cannot be built: {(done.stderr.splitlines() or ['?'])[0]}")
    return library


def measure(kernel: str, kinds: str) -> Costs:
    """Boots, and counts."""
    module = common.script("module", kernel)
    library = plugin()
    with tempfile.TemporaryDirectory(prefix="functions.", dir=CACHE / "run") as work:
        share = Path(work)
        counts = share / "counts"
        words: list[str | Path] = [SCRIPTS / "vm", "--kernel", kernel, "--module", module]
        words += ["--share", share, "--time", str(LIMIT), "--mem", "3072", "--icount"]
        words += ["--plugin", f"{library},out={counts}"]
        with Group([*words, "--", SCRIPTS / "functions-guest", kinds]) as group:
            try:
                status = group.wait()
            finally:
                group.end(PATIENCE)
        if status:
            # It has said why.
            raise SystemExit(status)
        symbols = Symbols((share / "symbols").read_text())
        with counts.open() as text:
            return costs(iter(text), (share / "marks").read_text(), symbols)


def show(table: list[str], words: str, top: int) -> None:
    """The largest functions of each operation whose name has the words."""
    shown: dict[str, int] = defaultdict(int)
    for line in table[1:]:
        name, room, function, mine, theirs, more, *calls = line.split("\t")
        shown[name] += 1
        if words in name and shown[name] <= top + 1:
            if shown[name] == 1:
                print(f"\n{name}")
            called = "/".join(calls)
            print(f"{mine:>10} {theirs:>10} {more:>10} {called:>16} {room:8.8} {function}")


def main(arguments: list[str]) -> int:
    """Counts, records, shows."""
    parser = common.Options(HELP)
    parser.add_argument("--functions", action="store_true", required=True)
    one = parser.add_mutually_exclusive_group()
    for kind in KINDS:
        one.add_argument(f"--{kind}-only", dest="kind", action="store_const", const=kind)
    parser.add_argument("--kernel", choices=KERNELS, default=KERNELS[0])
    parser.add_argument("--least", type=float, default=1.0)
    parser.add_argument("--top", type=common.positive, default=20)
    parser.add_argument("--of", default="")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--from", dest="source", type=Path)
    asked = parser.parse_args(arguments)
    if asked.source:
        show(asked.source.read_text().splitlines(), asked.of, asked.top)
        return 0
    out = asked.out or REPO / f"tests/bench/functions-{asked.kernel}.tsv"
    common.call(SCRIPTS / "setup")
    common.script("kernel", asked.kernel)
    found = measure(asked.kernel, asked.kind or " ".join(KINDS))
    table = [HEAD, *lines(found, asked.least)]
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("\n".join(table) + "\n")
    show(table, asked.of, asked.top)
    note(f"results in {out}")
    return 0
