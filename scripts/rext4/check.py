# SPDX-License-Identifier: GPL-2.0
"""All tests: on the host, in the VM (User-Mode Linux and QEMU), xfstests if it is installed.
Closes with the sum over all parts."""

import contextlib
import os
import shutil
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from . import common, compat, kconfig, reasons, tally
from .common import CACHE, REPO, SCRIPTS, note
from .process import Group
from .reasons import Failure
from .tally import Tally

HELP = """
Usage: scripts/check [--serial] [--record] [--kernel NAME | PART...]

Parts, all by default: host (unit and property tests, fuzz targets' seeds, the
scripts' own tests, lints), stack (frames and cycles of calls in the modules that
were built), safe (what safe code cannot do), uml (the guest tests under User-Mode
Linux, half of them as uml-rest), model (some random histories), explore (some
small programs in many orders) and crash (what power cuts leave of some sequences),
all three there too, qemu (a selection of the guest tests on the debug kernel under
QEMU), lab (the races, with their protection off and on, there too), xfstests (a
short list, if xfstests is installed), stock (the module for the kernel that Debian
ships, which is fetched, a few of the guest tests there, and the module's removal;
skipped where that kernel is not to be had).

Only if it is named: deb (the packages: built, installed in a clean Debian 13, the
module that dkms built loaded on that kernel, removed; needs root).

With --kernel the parts that run on that kernel: debug, uml or stock.

With --record what has run is noted in Documentation/compatibility.md.

Two run side by side, the longest first, with --serial one after the other.

Environment: XFSTESTS_SECONDS, the time after which no further one of xfstests'
tests is started (default 600).

The last lines say of each part that could not run here and of each test that failed
why; the very last is the sum.

Exit status: 0 all passed, 1 some failed, 2 usage.
"""

# The longest first: a lane that is free takes the next, so that both end at about the same time.
PARTS = (
    "uml",
    "uml-rest",
    "qemu",
    "lab",
    "xfstests",
    "stock",
    "host",
    "model",
    "crash",
    "explore",
    "safe",
    "stack",
)
# The second half of a part, for the other lane. Nobody need name it.
REST = "-rest"
# Those that run on a kernel.
ON_KERNEL = {
    "debug": ("qemu", "lab"),
    "uml": ("uml", "xfstests", "model", "crash", "explore"),
    "stock": ("stock",),
}
# Parts that are one program.
ALONE = {"safe": "tests/compile-fail/run", "deb": "scripts/deb-test"}
# What is run only if it is asked for.
EXTRA = ("deb",)
# The cases of the part stock: each layer once.
ON_STOCK = (
    "names/rename@",
    "dirs/htree@",
    "xattr/calls@",
    "data/sizes@",
    "trunc/down_up@",
    "shift/states@",
    "mmap/coherence@",
    "dio/aligned@",
    "dio/io_uring@",
    "gate/libaio@",
    "enospc/fill@",
    "fsx/mixed@",
    "crash/fsync@",
    "replay/fsync_flushes@",
    "trace/order@",
)
# The parts whose tests are a list, and how many they are.
LISTED = {"stock": len(ON_STOCK) + len(kconfig.FLAVOURS)}
# The tests of these programs. Those that compare Debian's configuration with ours may have been
# skipped on the host: it comes with the kernel.
OWN_TESTS = [sys.executable, "-m", "rext4.selftest"]
# As many as a machine with two processors carries.
LANES = 2
# What a power cut may leave of these is judged.
CRASHES = (
    "4k:append+fsync",
    "1k:replace",
    "4k:fill-allocated+fdatasync",
    "1k:unlink-symlink+dir",
    "4k:direct-append+dsync",
    "4k:append,exchange+dir",
    "4km:append+fsync",
    "1km:fill-scattered+fdatasync",
)
# Seconds that a part's programs have to end in when the whole is stopped.
PATIENCE = 15
Command = Sequence[str | Path]


class Unavailable(Exception):
    """Why a part cannot run on this machine today."""


class Runner:
    """Runs the parts, and can stop all that they have started."""

    def __init__(self, logs: Path) -> None:
        self.logs = logs
        self.tallies: dict[str, Tally] = {}
        self._running: set[Group] = set()
        self._lock = threading.Lock()
        self._stopped = False

    def stop(self) -> None:
        """Ends what runs; nothing more is started."""
        with self._lock:
            self._stopped = True
            running = list(self._running)
        enders = [threading.Thread(target=group.end, args=(PATIENCE,)) for group in running]
        for ender in enders:
            ender.start()
        for ender in enders:
            ender.join()

    @contextlib.contextmanager
    def group(self, command: Command, output: int, folder: Path) -> Iterator[Group]:
        """Starts a command whose end is this object's business."""
        with self._lock:
            if self._stopped:
                raise common.Failed("stopped")
            group = Group(command, stdout=output, stderr=output, folder=folder)
            self._running.add(group)
        try:
            with group:
                yield group
        finally:
            with self._lock:
                self._running.discard(group)

    def command(self, part: str, command: Command, folder: Path = REPO) -> tuple[int, list[str]]:
        """Shows the output of a command under the part's name. Its status, and its lines."""
        lines = []
        reading, writing = os.pipe()
        with (
            self.group(command, writing, folder) as group,
            os.fdopen(reading, errors="replace") as output,
            (self.logs / f"{part}.log").open("a") as log,
        ):
            os.close(writing)
            for line in output:
                lines.append(line.rstrip("\n"))
                log.write(line)
                print(f"{part} | {line}", end="", flush=True)
            status = group.wait()
        return status or 0, lines

    def part(self, name: str, commands: Sequence[tuple[Command, Path]], expected: int = 0) -> None:
        """Runs the commands of a part, all of them, and counts what they said. Of a list of tests
        all must come: a name that is none, or no longer a quick one, would be passed over."""
        began = time.monotonic()
        log = self.logs / f"{name}.log"
        log.write_text("")
        total = Tally()
        for command, folder in commands:
            status, lines = self.command(name, command, folder)
            found, said = tally.of_part(lines, status)
            if said:
                note(f"{name}: {Path(command[0]).name}: {said} (log: {log})")
            total += found
        if expected and not total.failed and total.tests != expected:
            total.fail("the list", [f"{total.tests} tests came, {expected} are on it"])
        seconds = int(time.monotonic() - began)
        self.tallies[name] = total
        note(
            f"{name}: passed {total.passed}, failed {total.failed},"
            f" skipped {total.skipped} in {seconds} s"
        )


def host() -> list[tuple[Command, Path]]:
    """What needs no VM."""
    # What failed says itself where: a backtrace would stand in its place at the end. What is drawn
    # at random is the same each time: others are drawn when somebody looks at what they find.
    plain = ["env", "RUST_BACKTRACE=0", "PROPTEST_RNG_SEED=1"]
    return [
        ([*plain, "cargo", "test", "--workspace", "--no-fail-fast"], REPO / "tests"),
        (OWN_TESTS, SCRIPTS),
        ([SCRIPTS / "lint"], REPO),
    ]


def stack(runner: Runner) -> list[tuple[Command, Path]]:
    """The modules that tests run with. That for Debian's kernel is of another compiler, which makes
    other frames; the kernel is not fetched for it."""
    modules = [common.script("module", name) for name in ("debug", "uml")]
    words: list[tuple[Command, Path]] = [([SCRIPTS / "stack", module], REPO) for module in modules]
    try:
        status, lines = runner.command("stack", [SCRIPTS / "kernel", "--path", "stock"])
        if status:
            raise Unavailable(lines[-1] if lines else "scripts/kernel said nothing")
        words.append(([SCRIPTS / "stack", ready_stock(runner, "stack")], REPO))
    except Unavailable as lacking:
        cannot = 'echo "$1"; exit "$2"'
        words.append((["sh", "-c", cannot, "sh", str(lacking), str(tally.UNAVAILABLE)], REPO))
    return words


def guest_vm(engine: str, kernel: str, cpus: int, work: Path, logs: Path) -> list[str | Path]:
    """A VM with the module and two disks."""
    module = common.script("module", kernel)
    command: list[str | Path] = [
        SCRIPTS / "vm",
        "--engine",
        engine,
        "--kernel",
        kernel,
        "--module",
        module,
    ]
    for name in "ab":
        with (work / name).open("wb") as disk:
            disk.truncate(1536 << 20)
        command += ["--disk", work / name]
    command += ["--time", "14400", "--mem", "3072", "--cpus", str(cpus)]
    command += ["--console", logs / f"console-{kernel}.log"]
    # resize2fs opens the device of a mounted file system for writing.
    append = "bdev_allow_write_mounted=1"
    if engine == "qemu":
        # For requests that poll for their end, and memory that is a disk.
        append += " virtio_blk.poll_queues=1 memmap=256M!4G"
    return [*command, "--append", append]


def guest_tests(engine: str, kernel: str, cpus: int, work: Path, logs: Path) -> list[str | Path]:
    """The guest program in one."""
    sample = common.script("module", "--sample", "rofs", kernel)
    command = [*guest_vm(engine, kernel, cpus, work, logs), "--", common.lib("guest_program")]
    return [*command, "test", "--rofs", sample]


def on_uml(name: str, work: Path, logs: Path) -> list[tuple[Command, Path]]:
    """One half of all cases in each of two. With two CPUs that kernel is not coherent in mapped
    pages."""
    if name == "uml":
        return [([*guest_tests("uml", "uml", 1, work, logs), "--share", "1/2"], REPO)]
    rest = guest_tests("uml", "uml", 1, work, logs / "rest")
    return [([*rest, "--share", "2/2"], REPO), ([REPO / "tests/errors-panic"], REPO)]


def on_stock(work: Path, logs: Path) -> Command:
    """A few of them on Debian's kernel. The module must go when they are done."""
    script = '"$@" && rmmod rext4 && ! grep -qw rext4 /proc/filesystems'
    words = [*guest_vm("qemu", "stock", 2, work, logs), "--", "sh", "-c", script, "sh"]
    return [*words, common.lib("guest_program"), "test", "--quick", *ON_STOCK]


def ready_stock(runner: Runner, part: str) -> str:
    """Gets Debian's kernel, if this machine can, and builds the module for it, whose path this is.
    Only in the part itself: minutes of the network go by beside what else is tested."""
    lines: list[str] = []
    for program in ("kernel", "module"):
        status, lines = runner.command(part, [SCRIPTS / program, "stock"])
        why = lines[-1] if lines else f"scripts/{program} said nothing"
        if status == tally.UNAVAILABLE:
            raise Unavailable(why)
        if status:
            raise common.Failed(why)
    # Of this compiler's: what those of the other kernels warn of is clippy's business.
    warning = next((line for line in lines if "warning: " in line.lower()), None)
    if warning:
        raise common.Failed(warning)
    return lines[-1] if lines else ""


def histories(logs: Path) -> Command:
    """The same few random histories each time, fifty of them counted as one test."""
    command: list[str | Path] = [SCRIPTS / "model", "--test", "--seed", "1", "--first", "0"]
    command += ["--count", "300", "--for", "110"]
    return [*command, "--module", common.script("module", "uml"), "--keep", logs / "model"]


def orders(logs: Path) -> Command:
    """The same few small programs each time, in many orders, a batch counted as one test."""
    command: list[str | Path] = [SCRIPTS / "explore", "--test", "--seed", "1", "--first", "0"]
    command += ["--count", "24", "--for", "110"]
    module = common.script("module", "--lab", "uml")
    return [*command, "--module", module, "--keep", logs / "explore"]


def crashes(logs: Path) -> Command:
    """All that a power cut may leave of some sequences."""
    module = common.script("module", "uml")
    words: list[str | Path] = [SCRIPTS / "crash", "--module", module, "--keep", logs / "crash"]
    return [*words, "--for", "100", "--again", "40", "--replay", " ".join(CRASHES)]


@contextlib.contextmanager
def commands(name: str, runner: Runner) -> Iterator[list[tuple[Command, Path]]]:
    """What a part runs."""
    logs = runner.logs
    if name in ("uml", "uml-rest", "qemu", "stock"):
        work = Path(common.lib("scratch_dir", "3000"))
        try:
            if name == "stock":
                ready_stock(runner, name)
                yield [(on_stock(work, logs), REPO), ([*OWN_TESTS, "test_kconfig.Ours"], SCRIPTS)]
            elif name == "qemu":
                yield [([*guest_tests("qemu", "debug", 2, work, logs), "--quick"], REPO)]
            else:
                yield on_uml(name, work, logs)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    elif name == "lab":
        words: list[str | Path] = [
            SCRIPTS / "lab",
            "--kernel",
            "debug",
            "--results",
            logs / "lab.tsv",
        ]
        yield [(words, REPO)]
    elif name == "xfstests":
        seconds = os.environ.get("XFSTESTS_SECONDS", "600")
        words = [SCRIPTS / "xfstests", "--ci", "--engine", "uml"]
        words += ["--module", common.script("module", "uml"), "--total", seconds]
        yield [([*words, "--results", logs / "xfstests.tsv"], REPO)]
    elif name == "model":
        yield [(histories(logs), REPO)]
    elif name == "explore":
        yield [(orders(logs), REPO)]
    elif name == "crash":
        yield [(crashes(logs), REPO)]
    elif name in ALONE:
        yield [([REPO / ALONE[name]], REPO)]
    else:
        yield host() if name == "host" else stack(runner)


def lane(runner: Runner, left: deque[str]) -> None:
    """Parts, one after the other, as long as there are any left. One that could not begin is a
    failure, unless it has to do without what is not to be had here."""
    while name := next_of(left):
        why = "it has said why further up"
        try:
            with commands(name, runner) as words:
                runner.part(name, words, LISTED.get(name, 0))
            continue
        except Unavailable as lacking:
            runner.tallies[name] = Tally()
            runner.tallies[name].skip(str(lacking))
            note(f"{name}: skipped: {lacking}")
            continue
        except common.Failed as failed:
            why = str(failed)
        except SystemExit:
            pass
        if name not in runner.tallies:
            runner.tallies[name] = Tally()
            runner.tallies[name].fail("could not begin", [why])


def prepare(parts: Sequence[str]) -> None:
    """What more than one part needs is made before they start: a program or a module is one crate,
    and a compiler at a time."""
    common.call(SCRIPTS / "setup", *(["--host"] if list(parts) == ["host"] else []))
    wanted = {name.removesuffix(REST) for name in parts}
    with ThreadPoolExecutor(LANES) as pool:
        made = [pool.submit(make, wanted) for make in (make_programs, make_modules)]
        for one in made:
            one.result()


def make_programs(wanted: set[str]) -> None:
    """Those that run in VMs."""
    if wanted & {"uml", "qemu", "stock"}:
        common.lib("guest_program")
    for name in ("model", "explore", "crash"):
        if name in wanted:
            common.lib("test_program", name)


def make_modules(wanted: set[str]) -> None:
    """And the kernels, if there are none yet."""
    if wanted & {"uml", "model", "crash", "xfstests", "safe", "stack"}:
        common.script("module", "uml")
    if wanted & {"qemu", "stack"}:
        common.script("module", "debug")
    if "explore" in wanted:
        common.script("module", "--lab", "uml")
    for name, kernel in (("uml", "uml"), ("qemu", "debug")):
        if name in wanted:
            common.script("module", "--sample", "rofs", kernel)
    if "lab" in wanted:
        common.script("module", "--lab", "debug")


def next_of(left: deque[str]) -> str | None:
    """Whoever comes first has it."""
    with contextlib.suppress(IndexError):
        return left.popleft()
    return None


def run_lanes(runner: Runner, parts: Sequence[str], lanes: int) -> None:
    """Side by side. An interrupt must reach the VMs of all."""
    left = deque(parts)
    threads = [
        threading.Thread(target=lane, args=(runner, left), daemon=True) for _ in range(lanes)
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except common.Stopped:
        runner.stop()
        for thread in threads:
            thread.join(PATIENCE)
        raise


def sum_up(tallies: Sequence[tuple[str, Tally | None]]) -> int:
    """The last lines: what failed and why, for those who see no more than the end, and the sum."""
    total = Tally()
    for part, found in tallies:
        told = found or Tally(failed=1, failures=[Failure("did not come to an end")])
        for failure in told.failures:
            failure.name = f"{part}: {failure.name}"
        total += told
        for why in told.unavailable:
            note(f"skipped: {part}: {why.removeprefix(f'{part}: ')}")
    if total.failures:
        note("failed:")
        print("\n".join(reasons.report(total.failures)), file=sys.stderr, flush=True)
    print(total, flush=True)
    return 1 if total.failed else 0


def chosen(named: Sequence[str]) -> list[str]:
    """The parts, with the second halves of those that have one."""
    return [name for name in PARTS + EXTRA if {name, name.removesuffix(REST)} & {*named}]


def whole(tallies: dict[str, Tally]) -> dict[str, Tally]:
    """The halves of a part as one."""
    sums: dict[str, Tally] = {}
    for name, found in tallies.items():
        one = sums.setdefault(name.removesuffix(REST), Tally())
        one += found
    return sums


def main(arguments: list[str]) -> int:
    """Runs the parts and adds up."""
    parser = common.Options(HELP)
    parser.add_argument("--serial", action="store_true")
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--kernel", choices=tuple(ON_KERNEL))
    parser.add_argument("parts", nargs="*")
    asked = parser.parse_args(arguments)
    for name in asked.parts:
        if name not in PARTS + EXTRA:
            parser.error(f"no part {name}")
    if asked.kernel and asked.parts:
        parser.error("--kernel names the parts itself")
    parts = chosen(asked.parts or ON_KERNEL.get(asked.kernel, PARTS))
    began = time.monotonic()
    logs = CACHE / "log/check"
    (logs / "rest").mkdir(parents=True, exist_ok=True)
    prepare(parts)

    runner = Runner(logs)
    run_lanes(runner, parts, 1 if asked.serial else LANES)
    if asked.record:
        compat.record(whole(runner.tallies))
    note(f"{time.monotonic() - began:.0f} s in all, logs in {logs}")
    return sum_up([(name, runner.tallies.get(name)) for name in parts])
