# SPDX-License-Identifier: GPL-2.0
"""The manual pages name what there is."""

import re
import unittest

from rext4.common import REPO, SCRIPTS

# A word between backticks; what comes behind "=" is a value.
WORD = re.compile(r"`([a-z0-9_]+)[^`]*`")


def page(name: str) -> str:
    """Its text, without the marks of fonts."""
    return re.sub(r"\\f[BRI]", "", (REPO / "man" / name).read_text()).replace("\\-", "-")


class Pages(unittest.TestCase):
    def test_mount_options(self) -> None:
        document = (REPO / "Documentation/mount-options.md").read_text()
        # The first table has our own options, the first column their names.
        table = document[document.index("| option |") :].split("\n\n", 1)[0].splitlines()[2:]
        names = {word for line in table for word in WORD.findall(line.split("|")[1])}
        self.assertGreater(len(names), 20)
        text = page("rext4.5")
        missing = sorted(name for name in names if not re.search(rf"\b{name}\b", text))
        self.assertEqual(missing, [])

    def test_programs(self) -> None:
        for name in ("mkfs.rext4", "fsck.rext4"):
            self.assertTrue((SCRIPTS / name).exists())
            self.assertIn(f".SH NAME\n{name} - ", page(f"{name}.8"))
            self.assertIn(f".BR {name} (8)", page("rext4.5"))
