#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0
"""The guest's side of scripts/bench --functions: the operations of operations.py, and fio's data
in simple calls, each between two of the marks that functions.c waits for.

python3 -m rext4.marked DEVICE FOLDER KINDS     prints lines "number, file system, what, how many"
"""

import ctypes
import gc
import itertools
import mmap
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .operations import BLOCK, Folder, forget, opened

SYSTEMS = ("rext4", "ext4")
SIZE, CHUNK = 64 << 20, 1 << 20
# nopl MARK + number(%rax), as in functions.c; ret
NOPL, MARK, RET = b"\x0f\x1f\x80", 0x72650000, b"\xc3"


def each_at(
    act: Callable[[int, list[memoryview], int], int], fd: int, data: memoryview
) -> Callable[[int], int]:
    """Reads or writes, wherever it is told to."""
    return lambda at: act(fd, [data], at)


class Marks:
    """Instructions that do nothing, and say where something begins and ends."""

    def __init__(self) -> None:
        prot = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
        self.code = mmap.mmap(-1, mmap.PAGESIZE, prot=prot)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.code))
        self.numbers = itertools.count(1)
        self.end = self.function(0)

    def function(self, number: int) -> Callable[[], object]:
        """One that is a mark."""
        code = NOPL + (MARK + number).to_bytes(4, "little") + RET
        at = 16 * number
        self.code[at : at + len(code)] = code
        return ctypes.CFUNCTYPE(None)(self.address + at)


class Marked(Folder):
    """The operations of one file system, between marks."""

    def __init__(self, fs: str, at: Path, marks: Marks) -> None:
        super().__init__(at)
        self.fs, self.marks = fs, marks

    def timed(self, name: str, count: int, act: Callable[[], None]) -> None:
        """Counted, not timed."""
        number = next(self.marks.numbers)
        begin = self.marks.function(number)
        begin()
        act()
        self.marks.end()
        print(f"{number}\t{self.fs}\t{name}\t{count}", flush=True)

    def cold(self, name: str, count: int, act: Callable[[], None]) -> None:
        """Once: what is counted is no time."""
        forget()
        self.timed(name, count, act)

    @contextmanager
    def laid(self, flags: int = os.O_RDWR) -> Iterator[int]:
        """A file whose data is on the disk, and not in memory."""
        with opened(self.file, os.O_CREAT | os.O_WRONLY) as fd:
            for _ in range(SIZE // CHUNK):
                os.write(fd, bytes(CHUNK))
        forget()
        with opened(self.file, flags) as fd:
            yield fd
        os.unlink(self.file)

    def sequential(self) -> None:
        """Through the page cache, from end to end."""
        data, places = memoryview(bytearray(CHUNK)), range(0, SIZE, CHUNK)
        for name, act in (("sequential write 1M", os.pwritev), ("sequential read 1M", os.preadv)):
            with self.laid() as fd:
                self.each_place(name, places, each_at(act, fd, data), fd)

    def scattered(self) -> None:
        """Blocks in no order: through the page cache, direct, and mapped."""
        order = random.Random(7)
        places = [order.randrange(SIZE // BLOCK) * BLOCK for _ in range(SIZE // BLOCK)]
        data = memoryview(mmap.mmap(-1, BLOCK))
        for way, more in (("random", 0), ("direct", os.O_DIRECT)):
            for what, act in (("write", os.pwritev), ("read", os.preadv)):
                with self.laid(os.O_RDWR | more) as fd:
                    self.each_place(f"{way} {what} 4k", places, each_at(act, fd, data), fd)
        block = bytes(BLOCK)
        with self.laid() as fd, mmap.mmap(fd, SIZE) as mapped:

            def store(at: int) -> None:
                mapped[at : at + BLOCK] = block

            self.each_place("mapped write 4k", places, store, fd)

    def each_place(
        self, name: str, places: Sequence[int], act: Callable[[int], object], fd: int
    ) -> None:
        """Does it at each of them; what was written through the page cache is synced."""

        def all_of_them() -> None:
            for place in places:
                act(place)
            if "write" in name and not name.startswith("direct"):
                os.fsync(fd)

        self.timed(name, len(places), all_of_them)

    def data(self) -> None:
        """What fio does."""
        self.sequential()
        self.scattered()

    def operations(self) -> None:
        """The others."""
        self.names()
        self.small()
        self.synced()
        self.holes()


def main(device: str, at: Path, kinds: list[str]) -> None:
    """All there are, on each file system."""
    gc.disable()
    marks = Marks()
    for fs in SYSTEMS:
        words = ["mke2fs", "-q", "-F", "-t", "ext4", "-E", "lazy_itable_init=0,lazy_journal_init=0"]
        words += ["-U", "0a0b0c0d-0000-4000-8000-000000000001"]
        words += ["-E", "hash_seed=0a0b0c0d-0000-4000-8000-000000000002", device]
        subprocess.run(words, check=True)
        subprocess.run(["mount", "-t", fs, device, at], check=True)
        marked = Marked(fs, at, marks)
        for kind in kinds:
            getattr(marked, kind)()
        subprocess.run(["umount", at], check=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3].split())
