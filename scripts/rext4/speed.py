# SPDX-License-Identifier: GPL-2.0
"""What scripts/bench-guest asks of a report of fio, which has one job that reads or writes.

python3 -m rext4.speed REPORT     prints its MB/s
"""

import json
import sys
from pathlib import Path


def speed(report: Path) -> float:
    """In MB/s (10^6 bytes)."""
    job = json.loads(report.read_text())["jobs"][0]
    return float(job["read"]["bw_bytes"] + job["write"]["bw_bytes"]) / 1e6


if __name__ == "__main__":
    print(speed(Path(sys.argv[1])))
