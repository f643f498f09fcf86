# SPDX-License-Identifier: GPL-2.0
"""Where things are, how to say something, and how to fail: for all programs of this folder."""

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

REPO = Path(__file__).resolve().parents[2]
SCRIPTS = REPO / "scripts"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rext4"
VENV = CACHE / "venv"
PROG = Path(sys.argv[0]).name

# What was not asked for in the right way, and what a signal ended.
USAGE, SIGNALLED = 2, 130


class Failed(Exception):
    """The reason why a program cannot go on, in one line, and its exit status."""

    def __init__(self, why: str, status: int = 1) -> None:
        super().__init__(why)
        self.status = status


class Stopped(BaseException):
    """SIGINT, SIGTERM or SIGHUP. Not an Exception: nobody is to take it for a failure."""


def note(text: str) -> None:
    """Says something to the person at the terminal; what others read goes to standard output."""
    print(f"{PROG}: {text}", file=sys.stderr, flush=True)


class Options(argparse.ArgumentParser):
    """Options whose help is a text of its own, and whose errors are one line and status 2."""

    def __init__(self, text: str) -> None:
        super().__init__(prog=PROG, allow_abbrev=False)
        self.text = text.strip("\n") + "\n"

    def format_help(self) -> str:
        """The text as it was written: it says more than a list of options can."""
        return self.text

    def error(self, message: str) -> NoReturn:
        """One line: the usage would push it off the screen."""
        self.exit(USAGE, f"{self.prog}: {message} (--help says what there is)\n")


# The engine that boots a kernel of scripts/kernel.
ENGINES = {"debug": "qemu", "fast": "qemu", "stock": "qemu", "uml": "uml"}


def engine(parser: Options, asked: str | None, kernel: str | None) -> str:
    """What was asked for, or what the kernel takes; both must go together."""
    own = ENGINES.get(kernel or "")
    if asked and own and asked != own:
        parser.error(f"the kernel {kernel} goes with the engine {own}, not {asked}")
    return asked or own or "qemu"


def positive(text: str) -> int:
    """A number above zero, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"not a number above zero: {text}")
    return int(text)


def whole(text: str) -> int:
    """A number that may be zero, for argparse."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"not a number: {text}")
    return int(text)


def lib(function: str, *arguments: str | Path) -> str:
    """What a function of scripts/lib.sh prints. What both worlds need is written there only."""
    script = '. "$1"; PROG=$2; shift 2; "$@"'
    words = [SCRIPTS / "lib.sh", PROG, function, *arguments]
    done = subprocess.run(
        ["bash", "-euc", script, "bash", *words], stdout=subprocess.PIPE, text=True
    )
    if done.returncode != 0:
        # It has said why itself.
        raise SystemExit(done.returncode)
    return done.stdout.strip()


def script(name: str, *arguments: str | Path) -> str:
    """What another script prints. If it fails it has said why, and that is the end."""
    done = subprocess.run([SCRIPTS / name, *arguments], stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise SystemExit(done.returncode)
    return done.stdout.strip()


def call(*command: str | Path) -> None:
    """Runs a program that says itself what it does, and why it fails."""
    status = subprocess.run(command).returncode
    if status != 0:
        raise SystemExit(status)


def module_commit() -> str:
    """The last commit that changed what the module is made of; with a + behind it if it was
    changed since. Empty where there is no history."""
    at = ["git", "-C", str(REPO)]
    made_of = ["--", "rust", "Kbuild"]
    last = [*at, "log", "-1", "--format=%h", "--abbrev=10", *made_of]
    done = subprocess.run(last, capture_output=True, text=True)
    if done.returncode != 0 or not done.stdout:
        return ""
    changed = subprocess.run([*at, "status", "--porcelain", *made_of], capture_output=True)
    return done.stdout.strip() + ("+" if changed.stdout else "")


def available_mib() -> int:
    """Memory that programs may still have."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) // 1024
    return 0


def free_mib(folder: Path) -> int:
    """Room on the file system of a folder."""
    at = os.statvfs(folder)
    return at.f_bavail * at.f_frsize // 2**20


def need_space(folder: Path, mib: int, what: str) -> None:
    """Stops before a full disk does it in the middle."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Failed(f"cannot create {folder}: {error.strerror}") from None
    free = free_mib(folder)
    if free < mib:
        raise Failed(f"{what} needs {mib} MiB in {folder}, only {free} MiB are free")


def _stop(number: int, _frame: FrameType | None) -> None:
    # Once is enough: what cleans up must be let to.
    for again in ENDING:
        signal.signal(again, signal.SIG_IGN)
    raise Stopped(number)


ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def stoppable() -> Iterator[None]:
    """The three signals that end a program become an exception, so that every `finally` on the
    way runs. One that was ignored from the start (nohup, a background job) stays so."""
    for number in ENDING:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _stop)
    yield


def run(main: Callable[[list[str]], int]) -> NoReturn:
    """Runs the main function of a program and exits with what it says."""
    # Debian's ordinary users have no mke2fs and the like in theirs.
    os.environ["PATH"] = os.environ.get("PATH", os.defpath) + ":/usr/local/sbin:/usr/sbin:/sbin"
    try:
        with stoppable():
            status = main(sys.argv[1:])
    except Failed as failed:
        note(str(failed))
        status = failed.status
    except Stopped:
        status = SIGNALLED
    except BrokenPipeError:
        # Whoever read this has gone; Python would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        status = 1
    except OSError as error:
        if error.filename is None:
            raise
        note(f"{error.filename}: {error.strerror}")
        status = 1
    sys.exit(status)
