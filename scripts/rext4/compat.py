# SPDX-License-Identifier: GPL-2.0
"""The table of Documentation/compatibility.md: with which kernels and compilers the module was
built, loaded and tested. A row is of a part of scripts/check that has run, and its last one."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass
from datetime import date
from pathlib import Path

from . import common
from .common import REPO
from .tally import Tally

DOCUMENT = REPO / "Documentation/compatibility.md"
# The kernel of each part that has a row.
KERNELS = {"uml": "uml", "qemu": "debug", "stock": "stock", "deb": "stock"}
HEAD = "| kernel | flavour | rustc | distribution | built | loaded | tests | part | date |"
LINE = "|---|---|---|---|---|---|---|---|---|"


@dataclass(frozen=True)
class Row:
    """What is in a line of the table."""

    kernel: str
    flavour: str
    rustc: str
    distribution: str
    built: str
    loaded: str
    tests: str
    part: str
    day: str

    @property
    def key(self) -> tuple[str, ...]:
        """A run with all of these the same takes the place of the last one."""
        return (self.kernel, self.flavour, self.rustc, self.distribution, self.part)

    def __str__(self) -> str:
        return f"| {' | '.join(astuple(self))} |"


def said(config: str, option: str) -> str:
    """The text of an option of a kernel's configuration."""
    found = re.search(rf'^CONFIG_{option}="(.*)"$', config, re.M)
    return found.group(1) if found else ""


def host() -> str:
    """The distribution of this machine: its name and number."""
    release = Path("/etc/os-release")
    text = release.read_text() if release.exists() else ""
    words = [re.search(rf'^{name}="?([^"\n]*)"?$', text, re.M) for name in ("NAME", "VERSION_ID")]
    name = " ".join(word.group(1) for word in words if word)
    return name.replace(" GNU/Linux", "") or "unknown"


def row(part: str, tally: Tally, kernel: Path) -> Row:
    """Of a part that has run on the kernel in this folder. What has passed wholly has been built
    and loaded; where something failed that may have been this."""
    flavour = KERNELS[part]
    config = (kernel / ".config").read_text()
    release = (kernel / "include/config/kernel.release").read_text().strip()
    rustc = said(config, "RUSTC_VERSION_TEXT").split()
    tests = f"{tally.passed} passed" + (f", {tally.failed} failed" if tally.failed else "")
    return Row(
        kernel=release,
        flavour=flavour,
        rustc=rustc[1] if len(rustc) > 1 else "unknown",
        distribution="Debian 13" if flavour == "stock" else host(),
        built="by dkms" if part == "deb" else "yes",
        loaded="not known" if tally.failed else "yes",
        tests=tests,
        part=part,
        day=date.today().isoformat(),
    )


def rows(text: str) -> list[Row]:
    """Those of a document."""
    found = []
    for line in text.split(LINE, 1)[-1].splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("|") and len(cells) == HEAD.count("|") - 1:
            found.append(Row(*cells))
    return found


def written(text: str, new: Iterable[Row]) -> str:
    """The document with these rows in it, sorted, in place of older ones of the same."""
    if HEAD not in text or LINE not in text:
        raise common.Failed(f"{DOCUMENT.name} has lost its table")
    table = {one.key: one for one in rows(text)}
    table.update({one.key: one for one in new})
    before, after = text.split(f"{HEAD}\n{LINE}\n", 1)
    rest = "\n".join(line for line in after.splitlines() if not line.startswith("|"))
    lines = [HEAD, LINE, *(str(table[key]) for key in sorted(table))]
    return before + "\n".join(lines) + "\n" + (f"{rest}\n" if rest.strip() else "")


def record(tallies: Mapping[str, Tally]) -> None:
    """Notes the parts in which something has passed."""
    new = [
        row(part, tally, Path(common.script("kernel", "--path", KERNELS[part])))
        for part, tally in tallies.items()
        if part in KERNELS and tally.passed
    ]
    if new:
        DOCUMENT.write_text(written(DOCUMENT.read_text(), new))
        common.note(f"noted in {DOCUMENT.relative_to(REPO)}: {', '.join(one.part for one in new)}")
