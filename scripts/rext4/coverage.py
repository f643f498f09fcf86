# SPDX-License-Identifier: GPL-2.0
"""Which lines of the module the tests have run. The compiler puts a flag into every block of the
Rust code (Kbuild, COVERAGE=1), and the module appends them to a file when it is unloaded. Here the
blocks become lines, by what the debug information says of their addresses."""

import atexit
import bisect
import re
import shutil
import subprocess
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import common
from .common import REPO, SCRIPTS, Failed, note

HELP = """
Usage: scripts/coverage [--flags FILE]... [--keep FILE] [--share N/M] [--record]
                        [case...]

Runs the guest tests, or those cases, under User-Mode Linux with a module that
notes which of its blocks are run, and says how many lines of each file were.

  --flags FILE   what another run of such a module has left; may be repeated.
                 With one nothing is run unless cases are named.
  --keep FILE    add what this run leaves to FILE, for --flags
  --share N/M    a share of the cases only, for more than one VM side by side
  --record       write tests/coverage/files.tsv and tests/coverage/never.tsv:
                 lines of each file, and the lines and functions never run

The module is made by scripts/module --coverage uml. It appends its flags to
/tmp/rext4-coverage (its parameter coverage=FILE) when it is unloaded, so that
any test can be run with it.
"""

TABLES = REPO / "tests/coverage"
# A file's heading, and a row, in what objdump makes of .debug_line.
FILE = re.compile(r"(?:CU: )?(/.*\.rs):(?:\[\+\+\])?$")
ROW = re.compile(r"\S+\s+(\d+|-)\s+(0x[0-9a-f]+)(?:\[\d+\])?(?:\s+\d+)?(\s+x)?")
# Of a name that the linker sees: its parameters, and which of many it is.
PARAMETERS = re.compile(r"<[^<>]*>(?=::|$|\()|::h[0-9a-f]{16}$|\[[0-9a-f]+\]")
ENTRY = 1
# What the VM runs: the tests, and then the module has to go.
SCRIPT = """
"$@"
status=$?
rmmod rext4
cp /tmp/rext4-coverage "$REXT4_SHARE/flags"
exit $status
"""


@dataclass
class Table:
    """Of one file: each line that there is code for, and whether it was run."""

    lines: dict[int, bool] = field(default_factory=dict)

    def add(self, line: int, was_run: bool) -> None:
        """A line has many blocks, in as many functions as it was inlined into."""
        self.lines[line] = self.lines.get(line, False) or was_run

    @property
    def run(self) -> int:
        """How many were."""
        return sum(self.lines.values())

    def never(self) -> str:
        """Those that were not, neighbours as first-last."""
        spans: list[list[int]] = []
        for line in sorted(self.lines):
            if self.lines[line]:
                spans.append([])
            elif spans and spans[-1]:
                spans[-1][1:] = [line]
            else:
                spans.append([line])
        return " ".join("-".join(map(str, span)) for span in spans if span)


@dataclass
class Module:
    """What is known of the blocks of one module."""

    # Address of each block, in the order of the flags, and whether a function begins there.
    blocks: list[tuple[int, bool]]
    # Address, file and line of each row that begins a statement; no file where a function ends.
    rows: list[tuple[int, str, int]]
    # Names of functions by their address.
    names: dict[int, str]


def tool(*command: str | Path) -> str:
    """What a program of binutils says."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    except FileNotFoundError as lacking:
        raise Failed(f"{command[0]} is missing: run scripts/setup") from lacking
    if done.returncode != 0:
        raise Failed(f"{command[0]}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
    return done.stdout


def read_rows(listing: Iterable[str]) -> list[tuple[int, str, int]]:
    """The table of lines, by address, with the end of each sequence."""
    rows, file = [], ""
    for text in listing:
        if heading := FILE.match(text):
            path = Path(heading[1])
            file = str(path.relative_to(REPO)) if path.is_relative_to(REPO) else ""
        elif row := ROW.match(text):
            if row[1] == "-":
                rows.append((int(row[2], 16), "", 0))
            elif row[3]:
                rows.append((int(row[2], 16), file, int(row[1])))
    # At one address the end of a sequence comes before what begins there.
    return sorted(rows, key=lambda row: (row[0], row[1] != ""))


def read_module(module: Path) -> Module:
    """Links it, so that every block has an address of its own, and reads what it says of itself."""
    with tempfile.TemporaryDirectory() as folder:
        linked, pcs = Path(folder) / "linked", Path(folder) / "pcs"
        tool("ld", "-e", "0", "--unresolved-symbols=ignore-all", "-o", linked, module)
        tool("objcopy", "-O", "binary", "-j", "__sancov_pcs", linked, pcs)
        words = memoryview(pcs.read_bytes()).cast("Q")
        listing = tool("objdump", "--dwarf=decodedline", linked).splitlines()
        symbols = tool("nm", "--demangle", linked).splitlines()
    if not words:
        raise Failed(f"{module} keeps no flags: scripts/module --coverage builds one that does")
    blocks = [(pc, bool(flags & ENTRY)) for pc, flags in zip(words[::2], words[1::2], strict=True)]
    names = {}
    for symbol in symbols:
        address, _, name = symbol.partition(" ")
        if address and name[:1] in "tTwW":
            names[int(address, 16)] = name[2:]
    return Module(blocks, read_rows(listing), names)


def read_flags(files: Sequence[Path], blocks: int) -> bytes:
    """All that was run in any of the runs."""
    total = 0
    for file in files:
        text = file.read_bytes()
        if not text or len(text) % blocks:
            raise Failed(f"{file}: {len(text)} bytes, no multiple of {blocks}: of another module")
        for start in range(0, len(text), blocks):
            total |= int.from_bytes(text[start : start + blocks], "little")
    return total.to_bytes(blocks, "little")


def tables(module: Module, flags: bytes) -> dict[str, Table]:
    """The lines of each file. A row goes on to the next one, and may have more than one block."""
    found: dict[str, Table] = defaultdict(Table)
    order = sorted(range(len(module.blocks)), key=lambda block: module.blocks[block][0])
    starts = [module.blocks[block][0] for block in order]
    was_run = [bool(flags[block]) for block in order]
    ends = [row[0] for row in module.rows[1:]]
    for (address, file, line), end in zip(module.rows, ends, strict=False):
        first = bisect.bisect_right(starts, address) - 1
        if file and line and first >= 0:
            last = max(bisect.bisect_left(starts, end), first + 1)
            found[file].add(line, any(was_run[first:last]))
    return found


def never_called(module: Module, flags: bytes) -> list[str]:
    """The functions of which no copy was entered."""
    entered: dict[str, bool] = defaultdict(bool)
    for (address, is_entry), flag in zip(module.blocks, flags, strict=True):
        if is_entry and (name := module.names.get(address)):
            while (plain := PARAMETERS.sub("", name)) != name:
                name = plain
            entered[name] |= bool(flag)
    return sorted(name for name, was in entered.items() if not was and "rext4" in name)


def run_guest(module: Path, which: Sequence[str], flags: Path) -> int:
    """The guest tests in a VM with that module. Their status; the flags come to the file."""
    sample = common.script("module", "--sample", "rofs", "uml")
    program = common.lib("guest_program")
    work = Path(common.lib("scratch_dir", "3000"))
    try:
        command: list[str | Path] = [SCRIPTS / "vm", "--engine", "uml", "--module", module]
        for name in "ab":
            with (work / name).open("wb") as disk:
                disk.truncate(1536 << 20)
            command += ["--disk", work / name]
        (work / "share").mkdir()
        command += ["--share", work / "share", "--time", "7200", "--mem", "3072", "--cpus", "1"]
        command += ["--append", "bdev_allow_write_mounted=1", "--", "sh", "-c", SCRIPT, "sh"]
        status = subprocess.run([*command, program, "test", "--rofs", sample, *which]).returncode
        left = work / "share/flags"
        if not left.exists():
            raise Failed("the module has left no flags: was it unloaded?")
        shutil.copy(left, flags)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return status


def show(found: dict[str, Table]) -> None:
    """Folders and the sum for people."""
    folders: dict[str, list[Table]] = defaultdict(list)
    for file, table in found.items():
        parts = Path(file).parts
        for depth in range(1, min(len(parts), 4)):
            folders["/".join(parts[:depth])].append(table)
    for folder in sorted(folders):
        lines = sum(len(table.lines) for table in folders[folder])
        run = sum(table.run for table in folders[folder])
        print(f"{folder:<28}{run:>7} of{lines:>6} lines{100 * run / lines:>7.1f} %")


def record(found: dict[str, Table], functions: Sequence[str]) -> None:
    """The tables of the tree."""
    TABLES.mkdir(exist_ok=True)
    rows, never = ["file\tlines\trun\tpercent\tof"], ["file or function\tlines never run"]
    commit = common.module_commit()
    for file, table in sorted(found.items()):
        percent = 100 * table.run / len(table.lines)
        rows.append(f"{file}\t{len(table.lines)}\t{table.run}\t{percent:.1f}\t{commit}")
        if spans := table.never():
            never.append(f"{file}\t{spans}")
    never += [f"{name}\tnever called" for name in functions]
    (TABLES / "files.tsv").write_text("\n".join(rows) + "\n")
    (TABLES / "never.tsv").write_text("\n".join(never) + "\n")


def main(arguments: list[str]) -> int:
    """Runs what is to be run, and says what was."""
    parser = common.Options(HELP)
    parser.add_argument("--flags", type=Path, action="append", default=[])
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--share", default="1/1")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("cases", nargs="*")
    asked = parser.parse_args(arguments)
    for file in asked.flags:
        if not file.is_file():
            parser.error(f"no file {file}")
    path = Path(common.script("module", "--coverage", "uml"))
    module = read_module(path)
    files, status = list(asked.flags), 0
    if asked.cases or not files:
        own = Path(tempfile.mkdtemp(prefix="coverage.")) / "flags"
        atexit.register(shutil.rmtree, own.parent, ignore_errors=True)
        status = run_guest(path, ["--share", asked.share, *asked.cases], own)
        files.append(own)
        if asked.keep:
            with asked.keep.open("ab") as kept:
                kept.write(own.read_bytes())
    flags = read_flags(files, len(module.blocks))
    found = {
        file: table for file, table in tables(module, flags).items() if file.startswith("rust/")
    }
    if not found:
        raise Failed(f"{path} has no lines: was it built with debug information?")
    show(found)
    if status:
        note("tests failed: what they would have run is missing")
    elif asked.record:
        record(found, never_called(module, flags))
    return status
