# SPDX-License-Identifier: GPL-2.0
#
# Direct I/O that xfs_io cannot do:
#
#     dio.py write FILE OFFSET LENGTH MAPPED POS    from a mapping of the file MAPPED
#     dio.py read FILE OFFSET LENGTH MAPPED POS    into one
#     dio.py aio FILE OFFSET LENGTH BYTE    an asynchronous write, libaio
"""Direct I/O for some of the tests."""

import ctypes
import mmap
import os
import struct
import sys


def mapped(name, pos, length):
    """Memory that is a part of that file."""
    fd = os.open(name, os.O_RDWR)
    pages = mmap.mmap(fd, pos + length, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
    # No pages but those that are needed.
    pages.madvise(mmap.MADV_RANDOM)
    return memoryview(pages)[pos:]


def write(fd, offset, length, name, pos):
    """One write(2) from a mapping."""
    return os.pwrite(fd, mapped(name, int(pos, 0), length), offset)


def read(fd, offset, length, name, pos):
    """One read(2) into a mapping."""
    return os.preadv(fd, [mapped(name, int(pos, 0), length)], offset)


def aio(fd, offset, length, byte):
    """One request for io_submit."""
    try:
        libaio = ctypes.CDLL("libaio.so.1")
    except OSError:
        # Debian's name for it since time_t has 64 bits everywhere.
        libaio = ctypes.CDLL("libaio.so.1t64")
    data = mmap.mmap(-1, length)
    data[:] = bytes([int(byte, 0)]) * length
    buf = ctypes.addressof(ctypes.c_char.from_buffer(data))
    # struct iocb; 1 is IOCB_CMD_PWRITE.
    iocb = ctypes.create_string_buffer(
        struct.pack("=QLLHhLQQqQLL", 0, 0, 0, 1, 0, fd, buf, length, offset, 0, 0, 0)
    )
    context = ctypes.c_void_p()
    if libaio.io_setup(1, ctypes.byref(context)) < 0:
        sys.exit("io_setup failed")
    if libaio.io_submit(context, ctypes.c_long(1), ctypes.byref(ctypes.pointer(iocb))) != 1:
        sys.exit("io_submit failed")
    event = (ctypes.c_int64 * 4)()
    if libaio.io_getevents(context, ctypes.c_long(1), ctypes.c_long(1), event, None) != 1:
        sys.exit("io_getevents failed")
    return event[2]


def main():
    """See above."""
    how, name, offset, length, *buffer = sys.argv[1:]
    offset, length = int(offset, 0), int(length, 0)
    fd = os.open(name, os.O_RDWR | os.O_DIRECT)
    done = {"write": write, "read": read, "aio": aio}[how](fd, offset, length, *buffer)
    if done != length:
        sys.exit(f"{done} bytes instead of {length}")


main()
