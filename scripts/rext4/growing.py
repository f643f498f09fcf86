#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The guest's side of scripts/bench --growth: what an operation costs where there is more and more.

python3 -m rext4.growing DEVICE FOLDER MOST     prints lines "curve, file system, how much, figure"

A figure of a curve is how many operations there are in a second, with the sync after them. The
curves that begin with "bytes" are memory. Each point is measured on a new file system. MOST is the
largest number of files or extents.
"""

import gc
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from .operations import BLOCK, KEEP_SIZE, PUNCH_HOLE, fallocate, forget, opened

SYSTEMS = ("rext4", "ext4")
# How many of an operation are timed.
SOME = 300
FILES = (1000, 3000, 10_000, 100_000)
FULL = (98, 90, 50, 1)
EXTENTS = (1, 100, 1000, 10_000, 100_000)
# Of the files that fill a disk.
CHUNK = 4 << 20


class Point:
    """One size, on one file system."""

    def __init__(self, fs: str, at: Path, size: int) -> None:
        self.fs, self.at, self.size = fs, at, size

    def say(self, curve: str, figure: float) -> None:
        """One figure."""
        print(f"{curve}\t{self.fs}\t{self.size}\t{figure:.1f}", flush=True)

    def timed(self, curve: str, paths: list[str], act: Callable[[str], object]) -> None:
        """Does it to each, until it is on the disk."""
        os.sync()
        began = time.perf_counter_ns()
        for path in paths:
            act(path)
        os.sync()
        self.say(curve, len(paths) * 1e9 / (time.perf_counter_ns() - began))


def make(path: str, data: bytes = b"") -> None:
    """A file."""
    with opened(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY) as fd:
        if data:
            os.write(fd, data)


def spread(paths: list[str]) -> list[str]:
    """Some of them, from all over."""
    return paths[:: len(paths) // SOME][:SOME]


def files(point: Point) -> None:
    """More and more files in a directory."""
    paths = [f"{point.at}/file{number:07}" for number in range(point.size)]
    for path in paths[:-SOME]:
        make(path)
    point.timed("create", paths[-SOME:], make)
    forget()
    point.timed("stat, cold", spread(paths), os.stat)
    point.timed("unlink", spread(paths), os.unlink)


def full(point: Point) -> None:
    """A disk that is full to so many percent, in no order."""
    order = random.Random(7)
    names: list[str] = []
    # To the brim, then back.
    while os.statvfs(point.at).f_bavail * BLOCK > 4 * CHUNK:
        names.append(f"{point.at}/fill{len(names):07}")
        with opened(names[-1], os.O_CREAT | os.O_WRONLY) as fd:
            fallocate(fd, 0, 0, order.choice((CHUNK, CHUNK // 2, CHUNK // 8)))
    order.shuffle(names)
    wanted = os.statvfs(point.at).f_blocks * (100 - point.size) // 100
    while names and os.statvfs(point.at).f_bavail < wanted:
        os.unlink(names.pop())
    os.sync()
    paths = [f"{point.at}/new{number:07}" for number in range(SOME)]
    point.timed("create, 16 KiB", paths, lambda path: make(path, bytes(4 * BLOCK)))
    point.timed("unlink, 16 KiB", paths, os.unlink)


def extents(point: Point) -> None:
    """A file of so many extents."""
    path = f"{point.at}/file"
    with opened(path, os.O_CREAT | os.O_RDWR) as fd:
        for number in range(point.size):
            fallocate(fd, 0, 2 * number * BLOCK, BLOCK)
        order = random.Random(7)
        places = [str(2 * order.randrange(point.size) * BLOCK) for _ in range(SOME)]
        forget()
        point.timed("read 4 KiB, cold", places, lambda at: os.pread(fd, BLOCK, int(at)))
        data = bytes(BLOCK)
        point.timed("write 4 KiB", places, lambda at: os.pwrite(fd, data, int(at)))

        def punch(at: str) -> None:
            fallocate(fd, PUNCH_HOLE | KEEP_SIZE, int(at), BLOCK)

        point.timed("punch 4 KiB", places, punch)


def memory(point: Point) -> None:
    """Of an inode in memory: the size of the objects of its slab cache."""
    cache = {"rext4": "rext4_inode", "ext4": "ext4_inode_cache"}[point.fs]
    for line in Path("/proc/slabinfo").read_text().splitlines():
        words = line.split()
        if words[0] == cache:
            point.say("bytes of an inode", float(words[3]))


@contextmanager
def mounted(fs: str, device: str, at: Path) -> Iterator[None]:
    """A new file system, checked afterwards."""
    words = ["mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", "-N", "120000"]
    words += ["-U", "0a0b0c0d-0000-4000-8000-000000000001"]
    words += ["-E", "hash_seed=0a0b0c0d-0000-4000-8000-000000000002"]
    words += ["-E", "lazy_itable_init=0,lazy_journal_init=0", device]
    subprocess.run(words, check=True)
    subprocess.run(["mount", "-t", fs, device, at], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", at], check=True)
    subprocess.run(["e2fsck", "-fn", device], check=True, capture_output=True)


def main(device: str, at: Path, most: int) -> None:
    """All curves."""
    gc.disable()
    kinds = ((memory, (1,)), (files, FILES), (full, FULL), (extents, EXTENTS))
    for measure, sizes in kinds:
        for size in (size for size in sizes if size <= most):
            for fs in SYSTEMS:
                with mounted(fs, device, at):
                    measure(Point(fs, at, size))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
