# SPDX-License-Identifier: GPL-2.0
"""What several of the tests need."""

import contextlib
import io
import tempfile
import unittest
from collections.abc import Callable, Iterable
from pathlib import Path

# A machine with room: the test is not of this one's.
DF = """\
#!/bin/bash
echo Filesystem 1048576-blocks Used Available Capacity Mounted on
echo a 9999 1 9998 1% /
"""
# In place of scripts/vm: its options go to a file, then it plays what the test wants of the guest.
VM = """\
#!/bin/bash
dir=$(dirname "$0")
printf '%s\\n' "$@" >"$dir/words"
while [ "$1" != --share ]; do shift; done
share=$2
. "$dir/guest"
"""


class WithFolder(unittest.TestCase):
    """A test with a folder of its own."""

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)


class CommandLines(unittest.TestCase):
    """A test of what a program is called with."""

    def refuses(self, read: Callable[[list[str]], object], lines: Iterable[list[str]]) -> None:
        """Each of these is refused with exit status 2 and a line that says why."""
        for words in lines:
            with contextlib.redirect_stderr(io.StringIO()) as said:
                with self.assertRaises(SystemExit) as end:
                    read(words)
            self.assertEqual((end.exception.code, said.getvalue().count("\n")), (2, 1))
