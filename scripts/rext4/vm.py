# SPDX-License-Identifier: GPL-2.0
"""Runs one command in a virtual machine whose root is this machine's root, read-only. What the
kernel complains about in it is a failure, whatever the command says."""

import argparse
import contextlib
import re
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

from . import common, kernellog, machine
from .common import Failed, note

HELP = """
Usage: scripts/vm [options] [--] command [argument...]

  --engine qemu|uml     x86 under QEMU by way of virtme-ng (default), or
                        User-Mode Linux (default for the kernel uml)
  --kernel NAME         debug, fast, stock or uml (got by scripts/kernel), or the
                        folder of a kernel build; default: debug, uml for uml
  --disk FILE           raw image as a disk; may be repeated. The guest finds
                        the devices, in this order, in $REXT4_DISKS
  --share DIR           folder the guest may write to, at the same path there
                        and in $REXT4_SHARE (default: a new folder)
  --module FILE.ko      load this module, with those it needs, before the
                        command; may be repeated
  --time SECONDS        kill the VM after that (default 600)
  --mem MIB             memory (default 2048)
  --cpus N              CPUs (default 2)
  --icount              QEMU counts instructions as time, with one CPU: figures
                        that repeat
  --plugin FILE,ARGS    a plugin of QEMU
  --append ARGS         more kernel parameters
  --allow REGEX         console reports that match are expected (Python's
                        regular expressions); may be repeated
  --console FILE        where the console goes (default: in the cache)
  --shell               standard input and a terminal for the command

In the guest /tmp, /run, /mnt, /dev/shm and /var/tmp are empty and writable, and
the rest is this machine's root, read-only, so the command must not lie in
/tmp. modprobe finds the modules of the kernel under test.

Exit status: the command's; 124 when the time limit struck, 125 when the VM
failed or its console shows a panic, oops, warning, lock report or hang; 1 when
something is missing here, 2 usage. The VM ends with this script, whatever ends it.
"""

TIMED_OUT, COMPLAINED = 124, 125
# Seconds that the VM has to power off in, after the command's end.
POWER_OFF = 20
# How often a VM is started whose emulator breaks down before the guest has begun.
BOOTS = 3
BREAKDOWN = re.compile(r"^qemu-system-\S+: .*\bAssertion .* failed\.$", re.MULTILINE)


class Options(argparse.Namespace):
    """What was asked for."""

    engine: str
    kernel: str | None
    disk: list[Path]
    share: Path | None
    module: list[Path]
    time: int
    mem: int
    cpus: int
    icount: bool
    plugin: str
    append: str
    allow: list[re.Pattern[str]]
    console: Path | None
    shell: bool
    command: list[str]


def pattern(text: str) -> re.Pattern[str]:
    """A regular expression, for argparse."""
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"no regular expression: {text} ({error})") from None


def options(arguments: list[str]) -> Options:
    """Reads the command line; the command's own options are its own."""
    parser = common.Options(HELP)
    parser.add_argument("--engine", choices=("qemu", "uml"))
    parser.add_argument("--kernel")
    parser.add_argument("--disk", type=Path, action="append", default=[])
    parser.add_argument("--share", type=Path)
    parser.add_argument("--module", type=Path, action="append", default=[])
    parser.add_argument("--time", type=common.positive, default=600)
    parser.add_argument("--mem", type=common.positive, default=2048)
    parser.add_argument("--cpus", type=common.positive, default=2)
    parser.add_argument("--icount", action="store_true")
    parser.add_argument("--plugin", default="")
    parser.add_argument("--append", default="")
    parser.add_argument("--allow", type=pattern, action="append", default=[])
    parser.add_argument("--console", type=Path)
    parser.add_argument("--shell", action="store_true")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    asked = parser.parse_args(arguments, Options())
    asked.engine = common.engine(parser, asked.engine, asked.kernel)
    if asked.command[:1] == ["--"]:
        del asked.command[0]
    if not asked.command:
        if not asked.shell:
            parser.error("no command")
        asked.command = ["bash"]
    if asked.icount:
        asked.cpus = 1
    return asked


@contextlib.contextmanager
def terminal_kept(used: bool) -> Iterator[None]:
    """A killed QEMU leaves the terminal raw."""
    if not used or not sys.stdin.isatty():
        yield
        return
    kept = termios.tcgetattr(sys.stdin)
    try:
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, kept)


def watch(running: machine.Running, limit: int) -> bool:
    """Waits for the end of the VM, and sees to it: True if the time limit struck before the
    command had ended."""
    deadline = time.monotonic() + limit
    powering_off = False
    while running.group.wait(0.1) is None:
        # The guest's last word: it has a moment to power off, no more.
        if not powering_off and running.place.status is not None:
            powering_off = True
            deadline = min(deadline, time.monotonic() + POWER_OFF)
        if time.monotonic() >= deadline:
            running.group.kill()
            return running.place.status is None
    return False


def breakdown(place: machine.Place) -> str | None:
    """What QEMU said when it fell over an assertion of its own (TCG does, now and then, while a
    guest sets up its devices). None once anything under test may have run."""
    if place.began or place.status is not None:
        return None
    found = BREAKDOWN.search(place.said())
    return found.group() if found else None


def boot(spec: machine.Machine, place: machine.Place, asked: Options) -> bool:
    """Runs the VM to its end: True if the time limit struck. A guest that never was is started
    again."""
    for _ in range(BOOTS - 1):
        with terminal_kept(asked.shell), machine.start(spec, place) as running:
            timed_out = watch(running, asked.time)
        why = breakdown(place)
        if timed_out or why is None:
            return timed_out
        note(f"QEMU broke down before the guest had begun, so once more: {why}")
        place.console.write_bytes(b"")
    with terminal_kept(asked.shell), machine.start(spec, place) as running:
        return watch(running, asked.time)


def verdict(place: machine.Place, asked: Options, timed_out: bool) -> int:
    """The exit status, and why."""
    log = place.said()
    found = kernellog.complaints(log, uml=asked.engine == "uml", allowed=asked.allow)
    if found:
        note(f"the kernel reported: {found[0].rstrip()}")
        print("\n".join(kernellog.around(log, found[0])), file=sys.stderr)
        note(f"console: {place.console}")
        if timed_out:
            note(f"and the time limit of {asked.time} s struck")
        return COMPLAINED
    if timed_out:
        note(f"time limit of {asked.time} s struck, VM killed (console: {place.console})")
        return TIMED_OUT
    if place.status is None:
        print("\n".join(log.split("\n")[-16:]), file=sys.stderr, end="")
        note(f"the VM ended before the command did (console: {place.console})")
        return COMPLAINED
    return place.status


def main(arguments: list[str]) -> int:
    """Runs the VM; the status is documented in HELP."""
    asked = options(arguments)
    available = common.available_mib()
    if available < asked.mem:
        raise Failed(
            f"not enough memory: the VM wants {asked.mem} MiB,"
            f" {available} MiB are available (--mem)"
        )
    common.need_space(common.CACHE / "run", 100, "a VM")
    with machine.place(asked.console, asked.share) as place:
        spec = machine.Machine(
            engine=asked.engine,
            kernel=machine.kernel_folder(asked.kernel, asked.engine),
            mem=asked.mem,
            cpus=asked.cpus,
            disks=asked.disk,
            icount=asked.icount,
            plugin=asked.plugin,
            append=asked.append,
            shell=asked.shell,
        )
        with machine.kept(spec):
            machine.write_task(place, spec, asked.module, asked.time, asked.command)
            return verdict(place, asked, boot(spec, place, asked))


if __name__ == "__main__":
    common.run(main)
