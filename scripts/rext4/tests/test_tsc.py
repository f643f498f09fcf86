# SPDX-License-Identifier: GPL-2.0
"""The speed of the time stamp counter."""

import unittest
from unittest import mock

from rext4 import tsc


class Speed(unittest.TestCase):
    """What the guest's kernel is told."""

    def test_is_measured(self) -> None:
        """Twice the same, and what a processor may have."""
        first, second = tsc.khz(), tsc.khz()
        if first is None or second is None:
            self.skipTest("no time stamp counter here")
        self.assertTrue(100_000 < first < 20_000_000, first)
        self.assertLess(abs(first - second), first / 100)

    def test_elsewhere_there_is_none(self) -> None:
        """Another processor, or no memory to run instructions in."""
        with mock.patch("platform.machine", return_value="aarch64"):
            self.assertIsNone(tsc.khz())
        with mock.patch("mmap.mmap", side_effect=PermissionError):
            self.assertIsNone(tsc.khz())
