# SPDX-License-Identifier: GPL-2.0
"""python3 -m rext4.collapse FOLDER LOCK STOP: has the kernel make one folio of many, in the files
of a folder, again and again, until there is a file STOP. LOCK is held while a file is open, so who
has it can unmount."""

import fcntl
import mmap
import os
import sys
import time
from pathlib import Path

# Of madvise(2); this Python may not know its name.
MADV_COLLAPSE = 25
# Between two rounds, in seconds.
PAUSE = 0.2


def collapse(path: Path) -> bool:
    """Whether it was done. The kernel may have no such folios, or none to spare."""
    with path.open("r+b") as file:
        size = os.fstat(file.fileno()).st_size
        if size == 0:
            return False
        with mmap.mmap(file.fileno(), size) as area:
            try:
                area.madvise(MADV_COLLAPSE)
            except OSError:
                return False
    return True


def round_of(folder: Path, lock: int) -> int:
    """Tries each file once: how many were collapsed."""
    fcntl.flock(lock, fcntl.LOCK_EX)
    try:
        return sum(collapse(path) for path in folder.iterdir() if path.is_file())
    except OSError:
        # A file has gone, or nothing is mounted.
        return 0
    finally:
        fcntl.flock(lock, fcntl.LOCK_UN)


def main(arguments: list[str]) -> None:
    """Until it is to stop."""
    folder, locked, stop = map(Path, arguments)
    lock = os.open(locked, os.O_RDWR | os.O_CREAT)
    while not stop.exists():
        round_of(folder, lock)
        time.sleep(PAUSE)


if __name__ == "__main__":
    main(sys.argv[1:])
