# SPDX-License-Identifier: GPL-2.0
#
#     collapse.py FILE    makes one folio of its first 2 MiB, if it may have such
"""MADV_COLLAPSE, which xfs_io does not know."""

import ctypes
import errno
import mmap
import os
import sys

SIZE = 2 << 20
COLLAPSE = 25  # linux/mman.h
FIXED = 16


def main():
    """See above."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    fd = os.open(sys.argv[1], os.O_RDWR)
    # Where a huge page may be.
    room = libc.mmap(None, 2 * SIZE, 0, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, -1, 0)
    start = (room + SIZE - 1) // SIZE * SIZE
    if libc.mmap(start, SIZE, mmap.PROT_READ, mmap.MAP_SHARED | FIXED, fd, 0) != start:
        sys.exit("mmap: " + os.strerror(ctypes.get_errno()))
    # A page may be on its way through some list of the kernel.
    for _ in range(200):
        if libc.madvise(start, SIZE, COLLAPSE) == 0:
            print("collapsed")
            return
        if ctypes.get_errno() == errno.EINVAL:
            print("no such folios")
            return
    sys.exit("madvise: " + os.strerror(ctypes.get_errno()))


main()
