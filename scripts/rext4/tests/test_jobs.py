# SPDX-License-Identifier: GPL-2.0
"""What scripts/soak has fio do: nobody's blocks are another's, and rounds differ."""

import contextlib
import io
import itertools
import unittest
from pathlib import Path

from rext4 import jobs

Sections = dict[str, dict[str, str]]
PAGE, STRIDE = 4096, 64 * 1024


def sections(*words: str, number: int = 1) -> Sections:
    """The jobs that these words ask for: a dictionary of options for each."""
    head = [*words, "--folder", "/mnt/x", "--round", str(number)]
    with contextlib.redirect_stdout(io.StringIO()) as said:
        jobs.main(head)
    found: Sections = {}
    for line in said.getvalue().splitlines():
        if line.startswith("["):
            found[line[1:-1]] = {}
        else:
            name, _, value = line.partition("=")
            list(found.values())[-1][name] = value
    return found


def size(text: str) -> int:
    """Bytes, as fio reads them."""
    return int(text[:-1]) << 10 if text.endswith("k") else int(text)


class Verification(unittest.TestCase):
    def setUp(self) -> None:
        self.jobs = sections("write", "--passes", "4")

    def of(self, kind: str) -> list[dict[str, str]]:
        return [job for name, job in self.jobs.items() if name.startswith(kind)]

    def pieces(self) -> list[tuple[int, int]]:
        """First and last byte of each job's pieces within 64 KiB."""
        found = []
        for job in self.of("stripe-"):
            every = size(job["blockalign"])
            for at in range(int(job["offset"]), STRIDE, every):
                found.append((at, at + int(job["bs"]) - 1))
        return sorted(found)

    def test_stripes_do_not_overlap(self) -> None:
        # Each would take the other's bytes for a loss.
        pieces = self.pieces()
        for (_, last), (first, _) in itertools.pairwise(pieces):
            self.assertLess(last, first)
        self.assertLess(pieces[-1][1], STRIDE)

    def test_stripes_share_pages(self) -> None:
        pieces = self.pieces()
        shared = [
            first
            for (_, last), (first, _) in itertools.pairwise(pieces)
            if last // PAGE == first // PAGE
        ]
        self.assertGreaterEqual(len(shared), 6)

    def test_how_much_of_the_stripes(self) -> None:
        job = self.jobs["stripe-4096"]
        # A piece of 4 KiB in each of the 32 in 2 MiB, in four passes.
        self.assertEqual(int(job["io_size"]), 4 * 32 * 4096)

    def test_regions_are_one_after_the_other(self) -> None:
        at = 0
        for job in self.of("region-"):
            self.assertEqual(int(job["offset"]), at)
            self.assertEqual(int(job["size"]), 4 * jobs.REGION)
            at += int(job["size"])
        # soak-guest makes the file.
        self.assertEqual(at, 9 * 4 * 128 * 1024)

    def test_mapped_jobs_begin_at_zero(self) -> None:
        mapped = [job for job in self.jobs.values() if job.get("ioengine") == "mmap"]
        self.assertEqual([job["offset"] for job in mapped], ["0", "0"])

    def test_all_kinds(self) -> None:
        for kind in ("stripe-", "region-"):
            kinds = {(job["ioengine"], job["direct"]) for job in self.of(kind)}
            want = {("mmap", "0"), ("psync", "0"), ("psync", "1"), ("libaio", "1")}
            self.assertLessEqual({*want, ("io_uring", "1")}, kinds)
        self.assertIn("fixedbufs", self.jobs["stripe-36864"])

    def test_blocks_of_regions_turn(self) -> None:
        seen = set()
        for number in range(5):
            self.jobs = sections("write", number=number)
            row = tuple(job["bs"] for job in self.of("region-"))
            self.assertLessEqual({"4k", "8k", "16k", "32k", "64k"}, set(row))
            seen.add(row)
        self.assertEqual(len(seen), 5)

    def test_the_second_look(self) -> None:
        cached = sections("cached", "--passes", "4")
        self.assertEqual(list(cached), list(self.jobs))
        self.assertIn("verify_only", cached["global"])
        self.assertNotIn("verify_only", self.jobs["global"])
        for name, job in list(cached.items())[1:]:
            self.assertEqual(job["ioengine"], "psync")
            self.assertNotIn("direct", job)
            for same in ("filename", "offset", "bs"):
                self.assertEqual(job[same], self.jobs[name][same])


class Rounds(unittest.TestCase):
    def test_repeats_and_differs(self) -> None:
        self.assertEqual(sections("write", number=7), sections("write", number=7))
        self.assertEqual(sections("write", number=7)["global"]["randseed"], "7")

    def test_threads(self) -> None:
        for kind in ("write", "cached", "contention"):
            self.assertIn("thread", sections(kind, "--thread")["global"])
            self.assertNotIn("thread", sections(kind)["global"])


class Contention(unittest.TestCase):
    def test_jobs(self) -> None:
        found = sections("contention", "--size", "8m", "--seconds", "25")
        head = found.pop("global")
        self.assertEqual(
            (head["filename"], head["size"], head["runtime"]), ("/mnt/x/hot", "8m", "25")
        )
        # The judge knows readers by their names.
        self.assertEqual(
            {name for name, job in found.items() if "read" in job["rw"].split("write")[0]},
            {"reader", "stream-reader", "mapped-reader"},
        )
        self.assertEqual(found["here-from-there"]["iomem"], "mmapshared:/mnt/x/there")
        self.assertEqual(found["there-from-here"]["iomem"], "mmapshared:/mnt/x/here")
        self.assertEqual(Path(found["there-from-here"]["filename"]), Path("/mnt/x/there"))
