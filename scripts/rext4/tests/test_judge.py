# SPDX-License-Identifier: GPL-2.0
"""What scripts/soak takes for a starved reader, and what for no verification."""

import contextlib
import io
import json
import tempfile
import unittest
from pathlib import Path

from rext4 import judge


def job(
    name: str, *, reads: int = 0, writes: int = 0, wait: float = 0.5, error: int = 0
) -> judge.Job:
    def way(count: int) -> dict[str, object]:
        return {"total_ios": count, "io_bytes": 4096 * count, "lat_ns": {"max": wait * 1e9}}

    return {"jobname": name, "error": error, "read": way(reads), "write": way(writes)}


class Judge(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.share = Path(folder.name)
        self.report("write", job("a", reads=256, writes=256))
        self.report("cached", job("a", reads=256))
        self.report("contention", job("reader", reads=90, wait=2), job("direct-psync", writes=99))

    def report(self, name: str, *found: judge.Job) -> None:
        text = "fio: a word before\n" + json.dumps({"jobs": found})
        (self.share / f"{name}.json").write_text(text)

    def judge(self) -> str:
        with contextlib.redirect_stdout(io.StringIO()) as said:
            judge.main(self.share, 10, 25)
        return said.getvalue()

    def guilty(self) -> str:
        with self.assertRaises(judge.Guilty) as raised:
            self.judge()
        self.assertFalse((self.share / "figures").exists())
        return str(raised.exception)

    def test_all_is_well(self) -> None:
        self.assertIn(
            "2.0 MiB verified; 90 reads in 25 s, longest wait 2.00 s (reader)", self.judge()
        )
        self.judge()
        self.assertEqual((self.share / "figures").read_text(), "2097152 90 2.0 reader\n" * 2)

    def test_a_reader_waits_too_long(self) -> None:
        self.report("contention", job("mapped-reader", reads=90, wait=10.5))
        self.assertIn("mapped-reader waited 10.5 s", self.guilty())

    def test_a_writer_may(self) -> None:
        self.report("contention", job("writer", writes=90, wait=20))
        self.assertIn("(nobody)", self.judge())

    def test_a_store_to_a_mapping_reads(self) -> None:
        self.report("contention", job("mapped-writer", writes=90, wait=11))
        self.assertIn("mapped-writer waited", self.guilty())

    def test_somebody_does_not_get_on(self) -> None:
        self.report("contention", job("direct-libaio", writes=24))
        self.assertIn("direct-libaio did 24 operations", self.guilty())

    def test_nothing_verified(self) -> None:
        self.report("cached", job("a", reads=1), job("b"))
        self.assertIn("cached: b has verified nothing", self.guilty())
        self.report("cached", job("a", reads=1, error=84))
        self.assertIn("cached: a", self.guilty())

    def test_no_report(self) -> None:
        (self.share / "cached.json").write_text("fio: killed\n")
        self.assertIn("cached.json: no report", self.guilty())
