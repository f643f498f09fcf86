# SPDX-License-Identifier: GPL-2.0
"""fio's jobs for a round of scripts/soak, in the form that fio reads.

    python3 -m rext4.jobs write|cached --folder DIR --round N --passes N [--thread]
    python3 -m rext4.jobs contention --folder DIR --round N --size SIZE --seconds N [--thread]

write: jobs that write and verify; cached: jobs that look for the same bytes by buffered reads.
In DIR/stripes a job has one piece of each 16 or 64 KiB, which it writes again and again, and
neighbours share pages. DIR/regions is written once from end to end. All of it in random order.

contention: direct writers, buffered and mapped readers and writers at DIR/hot, of this size; and
two files, each written from a mapping of the other.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Way:
    """How a job reads and writes."""

    engine: str
    direct: int = 0
    depth: int = 1
    more: str = ""

    def lines(self, only: bool) -> list[str]:
        """With `only` the cache is what is looked at."""
        if only:
            return ["ioengine=psync"]
        said = ["verify_backlog=16", f"ioengine={self.engine}"]
        said += [f"direct={self.direct}", f"iodepth={self.depth}"]
        return [*said, self.more] if self.more else said


MAPPED, BUFFERED, DIRECT = Way("mmap"), Way("psync"), Way("psync", direct=1)
FIXED = Way("io_uring", direct=1, depth=8, more="fixedbufs")


def libaio(depth: int) -> Way:
    """Direct, with so many at once."""
    return Way("libaio", direct=1, depth=depth)


def io_uring(depth: int) -> Way:
    """The same by other means."""
    return Way("io_uring", direct=1, depth=depth)


# KiB of the file of stripes, and how often it is written in a pass.
STRIPES_SIZE = 2048
# Where a job's piece begins, the size of its blocks, both in bytes; KiB from one piece to the
# next. fio's engine mmap gets other offsets than 0 wrong. A job has one size of block, for only
# then fio takes an older write for wrong; with "cached" it never does.
STRIPES = (
    (0, 2048, 16, MAPPED),
    (2048, 2048, 64, DIRECT),
    (4096, 4096, 64, DIRECT),
    (8192, 2560, 64, DIRECT),
    (10752, 1536, 64, BUFFERED),
    (12288, 4096, 64, BUFFERED),
    (18432, 2048, 64, libaio(4)),
    (20480, 12288, 64, libaio(8)),
    (34816, 2048, 64, BUFFERED),
    (36864, 8192, 64, FIXED),
    (45056, 3000, 64, BUFFERED),
    (48128, 1024, 64, libaio(4)),
    (51200, 2048, 64, io_uring(4)),
    (53248, 12288, 64, BUFFERED),
)
# Bytes of a region that are written in a pass.
REGION = 128 * 1024
# A size of block that is a number here is the place in a row of five, from 4 to 64 KiB, which each
# round begins one further.
REGIONS: tuple[tuple[int | str, Way], ...] = (
    (0, MAPPED),
    (1, DIRECT),
    (2, libaio(8)),
    (3, io_uring(8)),
    ("512", libaio(8)),
    ("1536", DIRECT),
    (4, BUFFERED),
    ("4k", Way("io_uring", depth=4)),
    ("1000", BUFFERED),
)

CONTENTION = """\
[direct-psync]
rw=randwrite
direct=1
[direct-libaio]
ioengine=libaio
iodepth=8
rw=randwrite
direct=1
[reader]
rw=randread
[stream-reader]
rw=read
bs=64k
[mapped-reader]
ioengine=mmap
rw=randread
[mapped-writer]
ioengine=mmap
rw=randwrite
[writer]
rw=randwrite
fsync=32
[here-from-there]
filename={folder}/here
rw=randwrite
direct=1
iomem=mmapshared:{folder}/there
[there-from-here]
filename={folder}/there
rw=randwrite
direct=1
iomem=mmapshared:{folder}/here
"""


@dataclass(frozen=True)
class Round:
    """What all jobs of a round have in common."""

    folder: Path
    number: int
    # Threads share one mmap_lock, processes have one each.
    threads: bool

    def common(self) -> list[str]:
        """Other operations in each round, and the same ones if it is repeated."""
        said = ["randrepeat=0", f"randseed={self.number}", "fallocate=none"]
        return [*said, "thread"] if self.threads else said


def stripes(it: Round, passes: int, only: bool) -> Iterator[str]:
    """Pieces of one file, each job's own."""
    for at, size, every, way in STRIPES:
        yield f"[stripe-{at}]"
        yield f"filename={it.folder}/stripes"
        yield "norandommap"
        yield f"blockalign={every}k"
        yield "serialize_overlap=1"
        yield f"offset={at}"
        yield f"bs={size}"
        yield f"io_size={passes * STRIPES_SIZE * size // every}"
        yield from way.lines(only)


def regions(it: Round, passes: int, only: bool) -> Iterator[str]:
    """Parts of another file, one after the other."""
    region = passes * REGION
    for number, (size, way) in enumerate(REGIONS):
        yield f"[region-{number}]"
        yield f"filename={it.folder}/regions"
        yield f"offset={number * region}"
        yield f"size={region}"
        yield f"bs={size if isinstance(size, str) else f'{4 << (it.number + size) % 5}k'}"
        yield from way.lines(only)


def verification(it: Round, passes: int, only: bool) -> Iterator[str]:
    """Jobs that find their own bytes again."""
    yield from ("[global]", "verify=crc32c", "verify_fatal=1", "verify_dump=1", "rw=randwrite")
    yield from it.common()
    if only:
        yield "verify_only"
    yield from stripes(it, passes, only)
    yield from regions(it, passes, only)


def contention(it: Round, size: str, seconds: int) -> Iterator[str]:
    """Jobs that are in each other's way."""
    yield from ("[global]", f"filename={it.folder}/hot", f"size={size}", "bs=4k")
    yield from ("ioengine=psync", "time_based", f"runtime={seconds}", "norandommap")
    yield from it.common()
    yield from CONTENTION.format(folder=it.folder).splitlines()


def main(arguments: list[str]) -> None:
    """Prints the jobs."""
    parser = argparse.ArgumentParser()
    parser.add_argument("kind", choices=("write", "cached", "contention"))
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--round", type=int, required=True)
    parser.add_argument("--thread", action="store_true")
    parser.add_argument("--passes", type=int, default=1)
    parser.add_argument("--size", default="1m")
    parser.add_argument("--seconds", type=int, default=1)
    asked = parser.parse_args(arguments)
    it = Round(asked.folder, asked.round, asked.thread)
    if asked.kind == "contention":
        lines = contention(it, asked.size, asked.seconds)
    else:
        lines = verification(it, asked.passes, asked.kind == "cached")
    print("\n".join(lines))


if __name__ == "__main__":
    main(sys.argv[1:])
