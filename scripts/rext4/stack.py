# SPDX-License-Identifier: GPL-2.0
"""What a module takes of the kernel stack, 16 KiB for all that one task does: the frame of each
function, whether any calls itself, directly or by way of others, and the deepest chain of calls
inside the module. The compiler's own warning (CONFIG_FRAME_WARN) does not look at Rust."""

import re
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from . import common
from .common import Failed, note

HELP = """
Usage: scripts/stack [--limit BYTES] [--top N] FILE.ko

Fails if a frame is larger than BYTES (1024 by default) or a function can come
back to itself. --top prints the N largest frames and the deepest chain, too.
For x86-64 and User-Mode Linux.
"""

# A module of ours has some thousand functions. What has next to none is none.
LEAST = 100
# A frame whose size is in a register, or that is made page by page: larger than any limit.
UNKNOWN = 1000000
RETURN_ADDRESS = PUSHED = 8

SECTION = re.compile(r"Disassembly of section (.*):$")
FUNCTION = re.compile(r"([0-9a-f]+) <(.*)>:$")
SUBTRACTED = re.compile(r"\tsub +\$0x([0-9a-f]+),%rsp")
# The same, said with a number below zero.
ADDED = re.compile(r"\tadd +\$0xffffffff([0-9a-f]{8}),%rsp")
LOADED = re.compile(r"\tlea +-0x([0-9a-f]+)\(%rsp\),%rsp")
IN_REGISTER = re.compile(r"\tsub +%[a-z0-9]+,%rsp")
# User-Mode Linux loads the place of a function and calls that. Some are loaded for others to call.
RELOCATION = re.compile(r"R_X86_64_(?:PLT32|64)\t(.*)")
BRANCH = re.compile(r"\t(call|jmp) +[0-9a-f]+ <(.*)>$")
OFFSET = re.compile(r"[-+]0x[0-9a-f]+$")


@dataclass
class Function:
    """What the listing says of one, or of all with that name."""

    name: str
    pushed: int = 0
    taken: int = 0
    # Those it calls, in their order: names, or places in a section.
    calls: dict[str, None] = field(default_factory=dict)

    @property
    def frame(self) -> int:
        """What it pushes, what it takes at once, and the return address."""
        return self.pushed + self.taken + RETURN_ADDRESS

    def __str__(self) -> str:
        return f"{self.frame}\t{self.name}"


def taken_at_once(line: str) -> int | None:
    """Bytes of the stack that an instruction makes room for; None if it is no such one."""
    if found := SUBTRACTED.search(line):
        # A number below zero gives back.
        return int(found.group(1), 16) if len(found.group(1)) < 16 else 0
    if found := ADDED.search(line):
        return (1 << 32) - int(found.group(1), 16)
    if found := LOADED.search(line):
        return int(found.group(1), 16)
    return UNKNOWN if IN_REGISTER.search(line) else None


class Listing:
    """objdump's listing of a module. Calls through pointers are not in it."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.functions: dict[str, Function] = {}
        # The names of those that relocations name by their place.
        self._at: dict[str, str] = {}
        self._section = ""
        self._in: Function | None = None
        # The target of a call or jump as the listing shows it: right if no relocation follows.
        self._shown = ""
        for line in lines:
            self._line(line)
        self._settle()

    def callees(self, function: Function) -> list[Function]:
        """Those of the module that it calls."""
        names = dict.fromkeys(self._at.get(to, to) for to in function.calls)
        return [self.functions[name] for name in names if name in self.functions]

    def _line(self, line: str) -> None:
        if found := RELOCATION.search(line):
            self._shown = ""
            self._calls(found.group(1))
            return
        self._settle()
        if found := SECTION.match(line):
            self._section = found.group(1)
        elif found := FUNCTION.match(line):
            place, name = found.groups()
            self._in = self.functions.setdefault(name, Function(name))
            self._at[f"{self._section}+{int(place, 16):#x}"] = name
        elif self._in is not None:
            self._instruction(self._in, line)

    def _instruction(self, function: Function, line: str) -> None:
        if "\tpush " in line:
            function.pushed += PUSHED
        elif (bytes_taken := taken_at_once(line)) is not None:
            function.taken = max(function.taken, bytes_taken)
        elif found := BRANCH.search(line):
            word, to = found.groups()
            # A label inside of a function, or a loop to the beginning of this, is no call.
            if not OFFSET.search(to) and not (word == "jmp" and to == function.name):
                self._shown = to

    def _settle(self) -> None:
        if self._shown:
            self._calls(self._shown)
            self._shown = ""

    def _calls(self, to: str) -> None:
        if self._in is not None:
            self._in.calls[to if to.startswith(".") else OFFSET.sub("", to)] = None


class Chains:
    """Who calls whom: the deepest chain, and those who come back to themselves."""

    def __init__(self, listing: Listing) -> None:
        functions = listing.functions.values()
        callees = {function.name: listing.callees(function) for function in functions}
        callers: dict[str, list[Function]] = {name: [] for name in callees}
        left: dict[str, int] = {}
        self._depth = dict.fromkeys(callees, 0)
        self._deepest: dict[str, Function] = {}
        itself: set[str] = set()
        for function in functions:
            others = [to for to in callees[function.name] if to is not function]
            left[function.name] = len(others)
            for to in others:
                callers[to.name].append(function)
            if len(others) < len(callees[function.name]):
                itself.add(function.name)
        # Those who call nobody that is left, until nobody is: what stays comes back to itself,
        # or calls what does.
        queue = deque(function for function in functions if not left[function.name])
        done: list[Function] = []
        while queue:
            function = queue.popleft()
            done.append(function)
            self._depth[function.name] += function.frame
            for up in callers[function.name]:
                if self._depth[function.name] > self._depth[up.name]:
                    self._depth[up.name] = self._depth[function.name]
                    self._deepest[up.name] = function
                left[up.name] -= 1
                if not left[up.name]:
                    queue.append(up)
        ended = {function.name for function in done}
        self.coming_back = [
            function
            for function in functions
            if function.name in itself or function.name not in ended
        ]
        self._first = max(
            (function for function in functions if function.name in ended),
            key=lambda function: self._depth[function.name],
            default=None,
        )

    @property
    def depth(self) -> int:
        """Bytes of the deepest chain."""
        return self._depth[self._first.name] if self._first else 0

    def deepest(self) -> list[Function]:
        """The chain, from its caller on."""
        chain, at = [], self._first
        while at is not None:
            chain.append(at)
            at = self._deepest.get(at.name)
        return chain


def disassembled(module: Path) -> Listing:
    """A module's code."""
    command: list[str | Path] = ["objdump", "-drC", "--no-show-raw-insn", module]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, errors="replace")
    if done.returncode != 0:
        raise Failed(f"{module}: objdump cannot read it")
    listing = Listing(done.stdout.split("\n"))
    if len(listing.functions) <= LEAST:
        raise Failed(f"{module}: this is no module of ours")
    return listing


def largest(functions: Iterable[Function]) -> list[str]:
    """A line for each, the largest frame first."""
    return [str(one) for one in sorted(functions, key=lambda one: (one.frame, str(one)))][::-1]


def complain(why: str, functions: Sequence[Function]) -> int:
    """Names those that must not be; how many kinds of failures that is."""
    if functions:
        note(why)
        print("\n".join(largest(functions)), file=sys.stderr)
    return 1 if functions else 0


def main(arguments: list[str]) -> int:
    """Two tests, and their sum."""
    parser = common.Options(HELP)
    parser.add_argument("--limit", type=common.positive, default=1024)
    parser.add_argument("--top", type=common.whole, default=0)
    parser.add_argument("module", type=Path)
    asked = parser.parse_args(arguments)
    listing = disassembled(asked.module)
    functions = listing.functions.values()
    chains = Chains(listing)
    if asked.top:
        print(f"largest of {len(functions)} frames:")
        print("\n".join(largest(functions)[: asked.top]))
        print(f"deepest chain, {chains.depth} bytes:")
        print("\n".join(map(str, chains.deepest())))
    large = [function for function in functions if function.frame > asked.limit]
    failed = complain(f"{asked.module}: frames over {asked.limit} bytes:", large)
    failed += complain(
        f"{asked.module}: functions that come back to themselves, and who calls them:",
        chains.coming_back,
    )
    print(f"stack: {2 - failed} passed, {failed} failed")
    return 1 if failed else 0
