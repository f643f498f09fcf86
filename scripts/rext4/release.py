# SPDX-License-Identifier: GPL-2.0
"""What CHANGELOG.md says of the release whose number is in VERSION, for scripts/dist.

    python3 -m rext4.release day|changelog TREE

`day` is that of the release; `changelog` is debian/changelog, which must say the same. As long as
something is unreleased VERSION has the number of the next release with ~dev behind it, which comes
before that and after the last one; its day is that of the file CHANGELOG.md.
"""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path

from .common import Failed, run

# Who makes the packages. There is no address to write to.
MAINTAINER = "The rext4 authors <rext4@localhost.localdomain>"
RELEASE = re.compile(r"## \[(\d+\.\d+\.\d+)\] - (\d{4}-\d{2}-\d{2})$")
UNRELEASED = "## [Unreleased]"
DEV = "~dev"
# Names of months and days, whatever the language of this machine.
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass
class Release:
    """A section of the changelog: its points, each with the kind of change it is of."""

    version: str
    day: date | None
    points: list[tuple[str, str]] = field(default_factory=list)

    def when(self) -> str:
        """The day as mails write it."""
        day = self.day or date.min
        weekday, month = DAYS[day.weekday()], MONTHS[day.month - 1]
        return f"{weekday}, {day.day:02} {month} {day.year} 00:00:00 +0000"

    def entry(self) -> str:
        """The entry of debian/changelog."""
        suite = "UNRELEASED" if self.version.endswith(DEV) else "unstable"
        lines = [f"rext4 ({self.version}) {suite}; urgency=medium", ""]
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
    """All of them, the newest first; what is unreleased has no day, and no number but its name."""
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
        elif line == UNRELEASED and not found:
            found.append(Release(line, None))
        else:
            raise Failed(f"CHANGELOG.md: no release: {line}")
    if found:
        found[-1].points += points(lines)
    return found


def parts(version: str) -> list[int]:
    """The numbers in it, to compare."""
    return [int(number) for number in re.findall(r"\d+", version)]


def read(tree: Path) -> list[Release]:
    """Those of a tree. The newest must be the one whose number VERSION has."""
    version = (tree / "VERSION").read_text().strip()
    found = releases((tree / "CHANGELOG.md").read_text())
    unreleased = [one for one in found if not one.day and one.points]
    found = [one for one in found if one.day]
    newest = found[0].version if found else "none"
    if not unreleased:
        if newest != version:
            raise Failed(
                f"VERSION is {version}, the newest release in CHANGELOG.md {newest},"
                " and nothing is unreleased"
            )
        return found
    number = version.removesuffix(DEV)
    if number == version or parts(number) <= parts(newest):
        raise Failed(
            f"VERSION is {version}, and in CHANGELOG.md something comes after {newest}: it should"
            f" be the number of the next release with {DEV}"
        )
    written = (tree / "CHANGELOG.md").stat().st_mtime
    day = datetime.fromtimestamp(written, UTC).date()
    return [Release(version, day, unreleased[0].points), *found]


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
