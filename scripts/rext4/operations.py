#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""Operations of a file system, timed: the part of scripts/bench-guest that fio has no words for.

python3 -m rext4.operations FOLDER     prints lines "operation, how many a second"

What changes something is timed with the sync after it: else it would leave the work to what comes
next. What is cold is not in memory before.
"""

import ctypes
import gc
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

FILES, FOLDERS, SYNCS, HOLES = 1000, 500, 300, 1000
# How often what is cold is done.
COLD = 5
BLOCK = 4096
KEEP_SIZE, PUNCH_HOLE = 1, 2
LIBC = ctypes.CDLL(None, use_errno=True)


def fallocate(fd: int, mode: int, start: int, size: int) -> None:
    """fallocate(2), which Python has without modes only."""
    if LIBC.fallocate(fd, mode, ctypes.c_int64(start), ctypes.c_int64(size)):
        raise OSError(ctypes.get_errno(), "fallocate")


def forget() -> None:
    """Nothing is in memory after this."""
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3")


@contextmanager
def opened(path: str, flags: int) -> Iterator[int]:
    """A file descriptor."""
    fd = os.open(path, flags, 0o644)
    try:
        yield fd
    finally:
        os.close(fd)


class Folder:
    """Where the operations take place."""

    def __init__(self, at: Path) -> None:
        self.at = at
        self.old = [f"{at}/file{number:06}" for number in range(FILES)]
        self.new = [f"{at}/name{number:06}" for number in range(FILES)]
        self.folders = [f"{at}/folder{number:06}" for number in range(FOLDERS)]
        self.file = f"{at}/file"

    def timed(self, name: str, count: int, act: Callable[[], None]) -> None:
        """Says how many of them there are in a second."""
        began = time.perf_counter_ns()
        act()
        took = time.perf_counter_ns() - began
        print(f"{name}\t{count * 1e9 / took:.1f}", flush=True)

    def cold(self, name: str, count: int, act: Callable[[], None]) -> None:
        """The median of some times: it changes nothing, and takes so short that a worker of the
        kernel between is a large part of it."""
        took = []
        for _ in range(COLD):
            forget()
            began = time.perf_counter_ns()
            act()
            took.append(time.perf_counter_ns() - began)
        print(f"{name}\t{count * 1e9 / statistics.median(took):.1f}", flush=True)

    def changed(self, name: str, count: int, act: Callable[[], None]) -> None:
        """The same, until it is on the disk."""

        def both() -> None:
            act()
            os.sync()

        os.sync()
        self.timed(name, count, both)

    def make(self, data: bytes) -> None:
        """Makes the files."""
        for path in self.old:
            fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
            if data:
                os.write(fd, data)
            os.close(fd)

    def read(self) -> None:
        """Reads the files."""
        for path in self.old:
            fd = os.open(path, os.O_RDONLY)
            os.read(fd, 1 << 20)
            os.close(fd)

    def each(self, act: Callable[[str], object], paths: list[str]) -> Callable[[], None]:
        """Does it to each."""

        def all_of_them() -> None:
            for path in paths:
                act(path)

        return all_of_them

    def rename(self) -> None:
        """Gives each file another name."""
        for old, new in zip(self.old, self.new, strict=True):
            os.rename(old, new)

    def names(self) -> None:
        """Names that come, are looked up, and go."""
        self.changed("create", FILES, lambda: self.make(b""))
        self.cold("stat, cold", FILES, self.each(os.stat, self.old))
        self.cold("readdir, cold", FILES, lambda: os.listdir(self.at).clear())
        self.changed("rename", FILES, self.rename)
        self.changed("unlink", FILES, self.each(os.unlink, self.new))
        self.changed("mkdir", FOLDERS, self.each(os.mkdir, self.folders))
        self.changed("rmdir", FOLDERS, self.each(os.rmdir, self.folders))

    def small(self) -> None:
        """Small files."""
        self.changed("create, 8 KiB", FILES, lambda: self.make(bytes(8192)))
        self.cold("read, 8 KiB, cold", FILES, self.read)
        self.changed("unlink, 8 KiB", FILES, self.each(os.unlink, self.old))

    def synced(self) -> None:
        """Writes that are synced one by one."""
        data = bytes(BLOCK)
        with opened(self.file, os.O_CREAT | os.O_WRONLY) as fd:

            def append() -> None:
                for _ in range(SYNCS):
                    os.write(fd, data)
                    os.fsync(fd)

            self.changed("append 4 KiB, fsync", SYNCS, append)
        os.unlink(self.file)
        # All over the file, none twice.
        places = [number * 787 % (4 * SYNCS) for number in range(SYNCS)]
        with opened(self.file, os.O_CREAT | os.O_WRONLY) as fd:
            fallocate(fd, 0, 0, 4 * SYNCS * BLOCK)

            def fill() -> None:
                for place in places:
                    os.pwrite(fd, data, place * BLOCK)
                    os.fsync(fd)

            self.changed("fill 4 KiB of preallocated, fsync", SYNCS, fill)
        os.unlink(self.file)

    def holes(self) -> None:
        """A file of many extents."""
        data, places = bytes(BLOCK), [2 * number * BLOCK for number in range(HOLES)]
        with opened(self.file, os.O_CREAT | os.O_WRONLY) as fd:
            os.write(fd, bytes(2 * HOLES * BLOCK))

            def punch() -> None:
                for place in places:
                    fallocate(fd, PUNCH_HOLE | KEEP_SIZE, place, BLOCK)

            def refill() -> None:
                for place in places:
                    os.pwrite(fd, data, place)

            self.changed("punch 4 KiB", HOLES, punch)
            self.changed("refill 4 KiB", HOLES, refill)
        os.unlink(self.file)
        with opened(self.file, os.O_CREAT | os.O_WRONLY) as fd:
            for place in places:
                fallocate(fd, 0, place, BLOCK)
        self.changed("unlink, by extent", HOLES, lambda: os.unlink(self.file))


def main(at: Path) -> None:
    """All there are."""
    gc.disable()
    folder = Folder(at)
    folder.names()
    folder.small()
    folder.synced()
    folder.holes()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
