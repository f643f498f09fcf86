# SPDX-License-Identifier: GPL-2.0
"""A virtual machine as scripts/vm wants it: what it is made of, the folder it shares with the
guest, how it is started and ended. engines.py knows the two kinds."""

import contextlib
import fcntl
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from . import common, engines
from .common import CACHE, REPO, Failed
from .process import Group

# Seconds that consoles are kept.
KEPT = 7 * 24 * 3600
# Folders that the guest has empty ones of its own in place of.
EMPTY = ("/tmp/", "/var/tmp/", "/run/", "/dev/shm/")
# Variables that callers use to steer tests, and those that the guest's side sets.
STEERING = re.compile(r"(?:REXT4_|RUST_BACKTRACE|TERM)[A-Z_]*")
OWN = ("REXT4_DISKS", "REXT4_SHARE", "REXT4_ENGINE")


@dataclass
class Machine:
    """What a VM is made of."""

    engine: str
    kernel: Path
    mem: int
    cpus: int
    disks: list[Path]
    icount: bool = False
    plugin: str = ""
    append: str = ""
    shell: bool = False

    @property
    def arch(self) -> str:
        """As the kernel's make calls it."""
        return "um" if self.engine == "uml" else "x86_64"

    @property
    def image(self) -> Path:
        """What is booted. Around the image of a kernel that comes as a package virtme-ng looks for
        its modules, some of which it needs to boot."""
        if self.packaged:
            return (self.kernel / "vmlinuz").resolve()
        return self.kernel / ("linux" if self.engine == "uml" else "arch/x86/boot/bzImage")

    @property
    def packaged(self) -> bool:
        """Whether the kernel is Debian's own: scripts/stock made the folder."""
        return self.engine == "qemu" and (self.kernel / ".rext4-debian13").exists()

    def nodes(self) -> list[str]:
        """The devices that the disks are in the guest."""
        stem = "ubd" if self.engine == "uml" else "vd"
        return [f"/dev/{stem}{chr(ord('a') + number)}" for number in range(len(self.disks))]

    @property
    def hidden(self) -> str:
        """This checkout, if it lies where the guest has an empty folder: it is to be mounted
        there again."""
        return str(REPO) if str(REPO).startswith(EMPTY) else ""


@dataclass
class Place:
    """The folder of one run, and what lies beside it."""

    run: Path
    share: Path
    console: Path

    @property
    def began(self) -> bool:
        """Whether the guest's side has run at all."""
        return (self.run / "began").exists()

    @property
    def status(self) -> int | None:
        """What the command ended with; None as long as the guest has not said so."""
        try:
            return int((self.run / "status").read_text())
        except (OSError, ValueError):
            return None

    def said(self) -> str:
        """All that the kernel said."""
        return self.console.read_text(errors="replace")


@contextlib.contextmanager
def place(console: Path | None, share: Path | None) -> Iterator[Place]:
    """A new folder for one run, gone when it is over. The console stays, for a week."""
    logs = CACHE / "log"
    logs.mkdir(parents=True, exist_ok=True)
    old = time.time() - KEPT
    for log in logs.glob("console-*.log"):
        with contextlib.suppress(OSError):
            if log.stat().st_mtime < old:
                log.unlink()
    run = Path(tempfile.mkdtemp(prefix="vm.", dir=CACHE / "run"))
    try:
        share = (share or run / "share").resolve()
        share.mkdir(parents=True, exist_ok=True)
        console = console or logs / f"console-{run.name.removeprefix('vm.')}.log"
        console.write_bytes(b"")
        yield Place(run, share, console)
    finally:
        shutil.rmtree(run, ignore_errors=True)


def kernel_folder(name: str | None, engine: str) -> Path:
    """The build folder of a kernel: one of ours by its name, or any."""
    name = name or ("uml" if engine == "uml" else "debug")
    if name in ("debug", "fast", "uml", "stock"):
        return Path(common.script("kernel", "--path", name))
    return Path(name).resolve()


@contextlib.contextmanager
def kept(machine: Machine) -> Iterator[None]:
    """As long as it runs nobody puts a newer kernel of Debian's in the place of this one."""
    if not machine.packaged:
        yield
        return
    with Path(f"{machine.kernel}.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield


def module_root(machine: Machine) -> Path:
    """Where the kernel's modules are as modprobe looks for them; made once for a build folder."""
    kernel = machine.kernel
    if (kernel / ".rext4-built").exists():
        return kernel / "root"
    root = CACHE / "modroot" / sha256(f"{kernel}\n".encode()).hexdigest()[:10]
    stamp, order = root / "stamp", kernel / "modules.order"
    if order.exists() and (not stamp.exists() or order.stat().st_mtime > stamp.stat().st_mtime):
        root.mkdir(parents=True, exist_ok=True)
        log = CACHE / "log/modules_install.log"
        command = ["make", "-C", str(kernel), f"ARCH={machine.arch}", "modules_install"]
        command += [f"INSTALL_MOD_PATH={root}", "INSTALL_MOD_STRIP=1"]
        with log.open("wb") as output:
            done = subprocess.run(command, stdout=output, stderr=subprocess.STDOUT)
        if done.returncode != 0:
            raise Failed(f"installing modules failed (log: {log})")
        stamp.touch()
    return root


def check(machine: Machine) -> None:
    """One line for what is missing, before anything is started."""
    if not machine.image.exists():
        raise Failed(f"no kernel for {machine.engine} in {machine.kernel}")
    if not Path("/lib/modules").is_dir():
        raise Failed("no folder /lib/modules: run scripts/setup")
    for disk in machine.disks:
        if not os.access(disk, os.R_OK):
            raise Failed(f"cannot read the disk image {disk}")


def steering() -> dict[str, str]:
    """The variables of the caller that the guest gets."""
    return {
        name: value
        for name, value in os.environ.items()
        if STEERING.fullmatch(name) and name not in OWN
    }


def write_task(
    place: Place, machine: Machine, modules: Sequence[Path], limit: int, command: Sequence[str]
) -> None:
    """Says what the guest is to do, in the words of the shell: scripts/vm-guest reads it."""
    check(machine)
    copies = []
    for module in modules:
        if not os.access(module, os.R_OK):
            raise Failed(f"no module {module}")
        # The guest cannot see /tmp, so it gets a copy.
        copies.append(shutil.copy(module, place.run / module.name))
    variables = {
        "share": place.share,
        "modroot": module_root(machine),
        "hidden": machine.hidden,
        "engine": machine.engine,
        # Counted instructions are no seconds to warn before.
        "limit": 0 if machine.icount else limit,
        "interactive": 1 if machine.shell else "",
        "workdir": Path.cwd(),
    }
    exported = {
        "REXT4_DISKS": " ".join(machine.nodes()),
        "REXT4_SHARE": str(place.share),
        "REXT4_ENGINE": machine.engine,
        **steering(),
    }
    lines = [f"{name}={shlex.quote(str(value))}" for name, value in variables.items()]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in exported.items()]
    lines += [f"modules=({shlex.join(map(str, copies))})", f"command=({shlex.join(command)})"]
    (place.run / "task").write_text("\n".join(lines) + "\n", errors="surrogateescape")


@dataclass
class Running:
    """A VM that was started."""

    place: Place
    group: Group


@contextlib.contextmanager
def start(machine: Machine, place: Place) -> Iterator[Running]:
    """Starts the VM. It is over, and all it said is read, when the block is left."""
    engine = engines.uml if machine.engine == "uml" else engines.qemu
    with engine(machine, place) as group:
        yield Running(place, group)
