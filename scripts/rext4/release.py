# SPDX-License-Identifier: GPL-2.0
"""What CHANGELOG.md says of the release whose number is in VERSION, for scripts/dist.

    python3 -m rext4.release day|changelog TREE

`day` is that of the release; `changelog` is debian/changelog, which must say the same.
"""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from .common import Failed, run

# Who makes the packages. There is no address to write to.
MAINTAINER = "The rext4 authors <rext4@localhost.localdomain>"
RELEASE = re.compile(r"## \[(\d+\.\d+\.\d+)\] - (\d{4}-\d{2}-\d{2})$")
UNRELEASED = "## [Unreleased]"
# Names of months and days, whatever the language of this machine.
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass
class Release:
    """A section of the changelog: its points, each with the kind of change it is of."""

    version: str
    day: date
    points: list[tuple[str, str]] = field(default_factory=list)

    def when(self) -> str:
        """The day as mails write it."""
        weekday, month = DAYS[self.day.weekday()], MONTHS[self.day.month - 1]
        return f"{weekday}, {self.day.day:02} {month} {self.day.year} 00:00:00 +0000"

    def entry(self) -> str:
        """The entry of debian/changelog."""
        lines = [f"rext4 ({self.version}) unstable; urgency=medium", ""]
        for kind, point in self.points:
            said = (f"{kind}: " if kind else "") + point.replace("`", "")
            lines += textwrap.wrap(
                said, 78, initial_indent="  * ", subsequent_indent="    ", break_on_hyphens=False
            )
        return "\n".join([*lines, "", f" -- {MAINTAINER}  {self.when()}", ""])


def points(lines: list[str]) -> Iterator[tuple[str, str]]:
    """The points of a section: kind and text, in one line each."""
    kind, text = "", ""
    for line in [*lines, ""]:
        if line.startswith("  ") and text:
            text += f" {line.strip()}"
            continue
        if text:
            yield kind, text
            text = ""
        if line.startswith("### "):
            kind = line.removeprefix("### ").strip()
        elif line.startswith("- "):
            text = line.removeprefix("- ").strip()


def releases(changelog: str) -> list[Release]:
    """All of them, the newest first."""
    found: list[Release] = []
    lines: list[str] = []
    for line in changelog.splitlines():
        if not line.startswith("## "):
            lines.append(line)
            continue
        if found:
            found[-1].points += points(lines)
        lines = []
        if heading := RELEASE.match(line):
            found.append(Release(heading.group(1), date.fromisoformat(heading.group(2))))
        elif line != UNRELEASED or found:
            raise Failed(f"CHANGELOG.md: no release: {line}")
    if found:
        found[-1].points += points(lines)
    return found


def read(tree: Path) -> list[Release]:
    """Those of a tree. The newest must be the one whose number VERSION has."""
    version = (tree / "VERSION").read_text().strip()
    found = releases((tree / "CHANGELOG.md").read_text())
    newest = found[0].version if found else "none"
    if newest != version:
        raise Failed(f"VERSION is {version}, the newest release in CHANGELOG.md {newest}")
    return found


def main(arguments: list[str]) -> int:
    """Prints what was asked for."""
    what, tree = arguments
    found = read(Path(tree))
    if what == "day":
        print(found[0].day)
    else:
        print("\n".join(one.entry() for one in found), end="")
    return 0


if __name__ == "__main__":
    run(main)
