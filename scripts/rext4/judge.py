# SPDX-License-Identifier: GPL-2.0
"""The judge of scripts/soak: has fio verified what it should, has nobody starved?

    python3 -m rext4.judge SHARE BOUND SECONDS

Runs in the guest. SHARE has fio's reports of a round: write.json and cached.json (verification),
contention.json (SECONDS long). Adds a line to SHARE/figures (bytes verified, reads in the
contention, the longest wait for one in seconds, and whose it was), and prints it for people.
"""

import json
import sys
from pathlib import Path
from typing import Any

Job = dict[str, Any]


class Guilty(Exception):
    """What was wrong, in one line."""


def jobs(report: Path) -> list[Job]:
    """fio's jobs; it may have said something before its report begins."""
    try:
        text = report.read_text(errors="replace")
        found: list[Job] = json.loads(text[text.index("{") :])["jobs"]
    except (OSError, ValueError, KeyError):
        raise Guilty(f"{report.name}: no report of fio") from None
    return found


def verified(name: str, found: list[Job]) -> int:
    """Bytes that were read back; each job must have done so."""
    for job in found:
        if job["error"] or not job["read"]["io_bytes"]:
            raise Guilty(f"{name}: {job['jobname']} has verified nothing")
    return sum(int(job["read"]["io_bytes"]) for job in found)


def contention(found: list[Job], bound: int, seconds: int) -> tuple[int, float, str]:
    """Reads beside direct writes, the longest wait for one, whose it was. Each job must get on,
    and no reader may wait for longer than the bound."""
    reads, longest, who = 0, 0.0, "nobody"
    for job in found:
        name = job["jobname"]
        way = job["write" if job["write"]["total_ios"] else "read"]
        if job["error"] or way["total_ios"] < seconds:
            raise Guilty(f"starved: {name} did {way['total_ios']} operations in {seconds} s")
        # A store to a mapping reads the page first.
        if "reader" in name or "mapped" in name:
            wait = way["lat_ns"]["max"] / 1e9
            if wait > bound:
                raise Guilty(f"starved: {name} waited {wait:.1f} s, the bound is {bound} s")
            reads += way["total_ios"]
            if wait > longest:
                longest, who = wait, name
    return reads, longest, who


def main(share: Path, bound: int, seconds: int) -> None:
    """Judges one round."""
    total = sum(verified(name, jobs(share / f"{name}.json")) for name in ("write", "cached"))
    reads, longest, who = contention(jobs(share / "contention.json"), bound, seconds)
    with (share / "figures").open("a") as figures:
        print(total, reads, longest, who, file=figures)
    print(
        f"{total / 2**20:.1f} MiB verified; {reads} reads in {seconds} s,"
        f" longest wait {longest:.2f} s ({who})"
    )


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    except Guilty as guilty:
        sys.exit(str(guilty))
