# SPDX-License-Identifier: GPL-2.0
"""Files that are collapsed while others want to unmount."""

import fcntl
import os
import tempfile
import unittest
from pathlib import Path
from unittest import mock

from rext4 import collapse


class Rounds(unittest.TestCase):
    """A round over the files of a folder."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        locks = tempfile.TemporaryDirectory()
        self.addCleanup(locks.cleanup)
        self.path = Path(locks.name) / "lock"
        (self.folder / "full").write_bytes(bytes(8192))
        (self.folder / "empty").touch()
        self.lock = os.open(self.path, os.O_RDWR | os.O_CREAT)
        self.addCleanup(os.close, self.lock)

    def test_each_file_that_has_a_page(self) -> None:
        with mock.patch("mmap.mmap") as area:
            self.assertEqual(collapse.round_of(self.folder, self.lock), 1)
        area.return_value.__enter__.return_value.madvise.assert_called_once_with(25)

    def test_one_that_cannot_be(self) -> None:
        with mock.patch("mmap.mmap") as area:
            area.return_value.__enter__.return_value.madvise.side_effect = OSError
            self.assertEqual(collapse.round_of(self.folder, self.lock), 0)

    def test_the_lock_is_let_go_of(self) -> None:
        self.assertEqual(collapse.round_of(self.folder / "gone", self.lock), 0)
        other = os.open(self.path, os.O_RDWR)
        self.addCleanup(os.close, other)
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


if __name__ == "__main__":
    unittest.main()
