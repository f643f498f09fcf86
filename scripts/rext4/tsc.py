# SPDX-License-Identifier: GPL-2.0
"""How fast this machine's time stamp counter runs.

QEMU's emulator hands the counter through to the guest, whose kernel measures it at boot against
other emulated clocks. On a busy machine it measures nonsense ("PIT calibration deviates from HPET:
27482 2592237", and takes the first), and then all its clocks run a hundred times too fast: every
time limit in the guest is over at once. So the kernel is told."""

import ctypes
import mmap
import platform
import statistics
import time

# rdtsc; shl rdx, 32; or rax, rdx; ret
READ_TSC = bytes.fromhex("0f31 48c1e220 4809d0 c3")
SAMPLES = 9
SECONDS = 0.02


def khz() -> int | None:
    """In kHz; None where there is no such counter, or no memory to run the instructions in."""
    if platform.machine() != "x86_64":
        return None
    try:
        code = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    except OSError:
        return None
    code.write(READ_TSC)
    read = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(ctypes.c_char.from_buffer(code)))

    def sample() -> float:
        ticks, began = read(), time.monotonic_ns()
        time.sleep(SECONDS)
        return float(read() - ticks) * 1e6 / (time.monotonic_ns() - began)

    # Who is interrupted between the two clocks has a wrong sample; most are not.
    return round(statistics.median(sample() for _ in range(SAMPLES)))
