# SPDX-License-Identifier: GPL-2.0
"""What in a kernel's log is a failure, whatever the program said that ran on it."""

import re
from collections.abc import Iterable, Sequence

REPORTS = re.compile(
    "|".join(
        (
            r"Kernel panic",
            r"Oops[: ]",
            r"general protection fault",
            r"WARNING: ",
            r"BUG: ",
            # SLUB: "BUG rext4_inode (Not tainted): Objects remaining on shutdown"
            r"BUG [^ ]+ \([^)]*\): ",
            r"kernel BUG at",
            r"possible (?:circular|recursive) locking",
            r"inconsistent lock state",
            r"suspicious RCU usage",
            r"INFO: (?:task .* blocked for more than|rcu.*(?:stall|self-detected))",
            r"KASAN",
            r"UBSAN",
            r"DEBUG_LOCKS_WARN_ON",
            r"bad unlock balance",
            r"lock held when returning",
            r"Bad page (?:state|map)",
            r"rust_kernel: panicked",
            r"unregister_netdevice: waiting",
        )
    )
)

# How many lines a report of lockdep may have until its stack is over.
RCU_REPORT = 60


def without_uml_noise(lines: Iterable[str]) -> Iterable[str]:
    """User-Mode Linux reports one thing about itself, whatever the file system: its
    flush_tlb_mm() walks the VMAs without a lock. Leaves the first line of such a report out; the
    rest of it is no complaint by itself."""
    held, left, tree = "", 0, False
    for line in lines:
        if "WARNING: suspicious RCU usage" in line:
            if held:
                yield held
            held, left, tree = line, RCU_REPORT, False
            continue
        if held:
            tree = tree or "lib/maple_tree.c" in line
            left -= 1
            if tree and "] ? flush_tlb_mm+" in line:
                held = ""
            elif left == 0:
                yield held
                held = ""
        yield line
    if held:
        yield held


def complaints(log: str, *, uml: bool, allowed: Sequence[re.Pattern[str]] = ()) -> list[str]:
    """The lines that are reports and none of the allowed ones."""
    lines: Iterable[str] = log.split("\n")
    if uml:
        lines = without_uml_noise(lines)
    return [
        line
        for line in lines
        if REPORTS.search(line) and not any(pattern.search(line) for pattern in allowed)
    ]


def around(log: str, line: str, before: int = 3, after: int = 45) -> list[str]:
    """A line of the log where it first stands, with those about it."""
    lines = log.split("\n")
    at = next((number for number, text in enumerate(lines) if line in text), 0)
    return lines[max(0, at - before) : at + after + 1]


def obituary(log: str) -> str:
    """Why did the machine die? The first line that says so."""
    last = re.search(r"(?:Kernel panic|BUG:|kernel BUG|Oops:|WARNING:)[^\r\n]*", log)
    return last.group() if last else "no message on the console"
