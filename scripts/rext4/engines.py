# SPDX-License-Identifier: GPL-2.0
"""How a VM is started: QEMU by way of virtme-ng, or User-Mode Linux."""

import contextlib
import hashlib
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from . import tsc
from .common import CACHE, SCRIPTS, VENV, Failed, free_mib, note
from .process import Group

if TYPE_CHECKING:
    from .machine import Machine, Place

GUEST = SCRIPTS / "vm-guest"
INPUT, OUTPUT = 0, 1


def one_cpu() -> Path | None:
    """A library that makes a VM with one CPU twice as fast: see one-cpu.c. It is built when it is
    wanted first, and anew for another source or compiler. None, with the reason told, if it cannot
    be built: then the VM is slow."""
    source = SCRIPTS / "rext4/one-cpu.c"
    flags = ["-O2", "-shared", "-fPIC"]
    try:
        gcc = subprocess.run(["gcc", "-v"], check=True, capture_output=True).stderr
        name = hashlib.sha256(source.read_bytes() + gcc + repr(flags).encode()).hexdigest()[:12]
        library = CACHE / f"one-cpu-{name}.so"
        if not library.exists():
            CACHE.mkdir(parents=True, exist_ok=True)
            # Another one may do the same.
            made = library.with_suffix(f".{os.getpid()}")
            command = ["gcc", *flags, "-o", str(made), str(source)]
            subprocess.run(command, check=True, capture_output=True)
            made.replace(library)
    except subprocess.CalledProcessError as failed:
        said = failed.stderr.decode(errors="replace").strip().splitlines()
        note(f"one-cpu.c cannot be built, the VM will be slow: {said[0] if said else failed}")
        return None
    except OSError as failed:
        note(f"one-cpu.c cannot be built, the VM will be slow: {failed}")
        return None
    return library


def preloaded(library: Path, before: str) -> str:
    """LD_PRELOAD with the library in front of those that are there."""
    return ":".join([str(library), *before.replace(" ", ":").split(":")]).rstrip(":")


@contextlib.contextmanager
def uml(machine: "Machine", place: "Place") -> Iterator[Group]:
    """User-Mode Linux. The command's input and output are a serial line in the guest and our own
    descriptors here; the kernel's console goes to a file of its own."""
    # The process under the guard has others under 0, 1 and 2.
    output, fds = os.dup(OUTPUT), [os.dup(INPUT)] if machine.shell else []
    env = dict(os.environ)
    if machine.cpus == 1 and (library := one_cpu()):
        env["LD_PRELOAD"] = preloaded(library, env.get("LD_PRELOAD", ""))
    # The guest's memory is a file, in /dev/shm unless told otherwise; a small /dev/shm (a
    # container's) would end the VM with SIGBUS.
    if free_mib(Path("/dev/shm")) < machine.mem:
        env["TMPDIR"] = str(place.run)
    command = [str(machine.image), f"mem={machine.mem}M", f"ncpus={machine.cpus}", "seccomp=on"]
    command += ["rootfstype=hostfs", "root=/", "ro", f"init={GUEST}"]
    command += ["console=tty0", "con=null", "con0=null,fd:1", "ssl=null"]
    command += [f"ssl0={f'fd:{fds[0]}' if fds else 'null'},fd:{output}", "panic=-1"]
    # d: the image is data, never a copy-on-write header; t: discard
    command += [f"ubd{number}dt={disk.resolve()}" for number, disk in enumerate(machine.disks)]
    command += [*machine.append.split(), f"REXT4_RUN={place.run}"]
    try:
        with place.console.open("ab") as console:
            group = Group(
                command,
                stdout=console.fileno(),
                stderr=console.fileno(),
                pass_fds=[output, *fds],
                env=env,
            )
        with group:
            yield group
    finally:
        for fd in (output, *fds):
            os.close(fd)


def has_kvm() -> bool:
    """/dev/kvm may open and still be unable to run a stock kernel; virtme-ng would take it. The
    CPU's flags tell."""
    flags = re.search(r"^flags.* (?:vmx|svm)(?: |$)", Path("/proc/cpuinfo").read_text(), re.M)
    return flags is not None and os.access("/dev/kvm", os.W_OK)


def qemu_command(machine: "Machine", place: "Place") -> list[str]:
    """virtme-ng's command line, up to what it runs in the guest."""
    kvm = not machine.icount and has_kvm()
    cpu = "host" if kvm else "max,la57=off,smap=off,smep=off,pku=off"
    more = ["-cpu", cpu]
    if machine.icount:
        more += ["-accel", "tcg,thread=single", "-icount", "shift=1,sleep=off"]
    elif not kvm:
        more += ["-accel", "tcg,thread=multi"]
    if machine.plugin:
        more += ["-plugin", machine.plugin]
    for disk in machine.disks:
        more += ["-drive", f"file={disk.resolve()},if=virtio,format=raw,cache=unsafe,discard=unmap"]
    command = [] if kvm else ["--disable-kvm"]
    command += ["-r", str(machine.image), "--force-9p", "--disable-microvm", "--user", "root"]
    command += ["--cpus", str(machine.cpus), "-m", f"{machine.mem}M"]
    command += ["--rwdir", str(place.run), "--rwdir", str(place.share)]
    command += [f"--qemu-opts={' '.join(more)}"]
    if machine.hidden:
        command += ["--rodir", machine.hidden]
    if machine.packaged:
        # Its drivers for the root are modules: they and a shell go into an initramfs.
        command += ["--busybox", str(machine.kernel / "busybox")]
    return command


def clock(machine: "Machine") -> str:
    """Kernel parameters for a clock that keeps time. tsc=reliable: without it the clock falls back
    to jiffies under TCG. no_timer_check: on a host so busy that ten ticks do not come in the time
    of ten the kernel takes its timer for broken, and panics ("IO-APIC + timer doesn't work")."""
    words = "tsc=reliable no_timer_check"
    emulated = not machine.icount and not has_kvm()
    khz = tsc.khz() if emulated else None
    return f"{words} tsc_early_khz={khz}" if khz else words


def pump(source: int, sink: int) -> threading.Thread:
    """Copies a pipe to a descriptor until the last writer is gone. A reader of ours who has gone
    (head) does not end the VM: what it still says is dropped."""

    def copy() -> None:
        deaf = False
        with os.fdopen(source, "rb", buffering=0) as pipe:
            while chunk := pipe.read(65536):
                while chunk and not deaf:
                    try:
                        chunk = chunk[os.write(sink, chunk) :]
                    except OSError:
                        deaf = True

    thread = threading.Thread(target=copy, daemon=True)
    thread.start()
    return thread


@contextlib.contextmanager
def qemu(machine: "Machine", place: "Place") -> Iterator[Group]:
    """QEMU. The command's input and output go through virtio-serial ports, the console is the
    serial line. Both are pipes on this side: QEMU opens what it is given again, by name, and
    truncates files."""
    vng = VENV / "bin/vng"
    if not os.access(vng, os.X_OK):
        raise Failed("virtme-ng is missing: run scripts/setup")
    if shutil.which("qemu-system-x86_64") is None:
        raise Failed("QEMU is missing: run scripts/setup")
    append = f"mitigations=off {clock(machine)} rcupdate.rcu_cpu_stall_timeout=120"
    append += f" {machine.append}"
    env = {**os.environ, "PATH": f"{VENV / 'bin'}:{os.environ['PATH']}"}
    said, console_in = os.pipe()
    heard, output_in = os.pipe()
    with place.console.open("ab") as console:
        readers = [pump(said, console.fileno()), pump(heard, OUTPUT)]
        command = [str(vng), *qemu_command(machine, place)]
        if machine.shell:
            command += ["--disable-monitor", "--append", f"{append} REXT4_RUN={place.run}"]
            command += ["--shell", str(GUEST)]
            group = Group(command, stdin=INPUT, stdout=OUTPUT, stderr=console_in, env=env)
        else:
            command += ["-v", "--append", append, "--exec", f"env REXT4_RUN={place.run} {GUEST}"]
            group = Group(command, stdout=output_in, stderr=console_in, env=env)
        os.close(console_in)
        os.close(output_in)
        with group:
            yield group
        for reader in readers:
            # Nobody of the group is left to write; who else has the pipe need not be waited for.
            reader.join(10)
