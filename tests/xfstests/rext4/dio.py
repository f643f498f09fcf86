# SPDX-License-Identifier: GPL-2.0
#
# Direct writes that xfs_io cannot do:
#
#	dio.py mapped FILE SOURCE TARGET LENGTH	the buffer is a mapping of the same file
#	dio.py aio FILE BYTE OFFSET LENGTH	asynchronous, libaio
"""Direct writes for rext4/007 and rext4/009."""

import ctypes
import mmap
import os
import struct
import sys


def mapped(fd, source, target, length):
    """One write(2) whose buffer is a mapping of the file."""
    pages = mmap.mmap(fd, source + length, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
    # No pages but those that it needs.
    pages.madvise(mmap.MADV_RANDOM)
    return os.pwrite(fd, memoryview(pages)[source:source + length], target)


def aio(fd, byte, offset, length):
    """One request for io_submit."""
    try:
        libaio = ctypes.CDLL("libaio.so.1")
    except OSError:
        # Debian's name for it since time_t has 64 bits everywhere.
        libaio = ctypes.CDLL("libaio.so.1t64")
    data = mmap.mmap(-1, length)
    data[:] = bytes([byte]) * length
    buf = ctypes.addressof(ctypes.c_char.from_buffer(data))
    # struct iocb; 1 is IOCB_CMD_PWRITE.
    iocb = ctypes.create_string_buffer(
        struct.pack("=QLLHhLQQqQLL", 0, 0, 0, 1, 0, fd, buf, length, offset, 0, 0, 0))
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
    how, name = sys.argv[1:3]
    numbers = [int(word, 0) for word in sys.argv[3:]]
    fd = os.open(name, os.O_RDWR | os.O_DIRECT)
    done = {"mapped": mapped, "aio": aio}[how](fd, *numbers)
    if done != numbers[-1]:
        sys.exit(f"{done} bytes written instead of {numbers[-1]}")


main()
