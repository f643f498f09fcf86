# SPDX-License-Identifier: GPL-2.0
"""Which tests are to run: names, lists with conditions, groups; and whether there are such."""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from ..common import Failed
from .options import OURS, Options

OWN = OURS / "rext4"
BEGIN = re.compile(r"^_begin_fstest (.*)$", re.M)


def installed() -> Path | None:
    """The folder of xfstests; None if there is none, or it is not whole."""
    at = Path(os.environ.get("XFSTESTS") or "/var/lib/xfstests")
    programs = ("check", "ltp/fsx")
    whole = all(os.access(at / program, os.X_OK) for program in programs)
    return at if whole and (at / "tests/generic").is_dir() else None


def without_comments(text: str) -> Iterator[str]:
    """The lines that say something."""
    for line in text.splitlines():
        if told := line.split("#")[0].strip():
            yield told


def meets(conditions: list[str], asked: Options, where: str) -> bool:
    """Does a line of a list hold for this run?"""
    for condition in conditions:
        key, _, value = condition.partition("=")
        if key == "engine":
            if value != asked.engine:
                return False
        elif key == "not":
            if value == asked.fs:
                return False
        else:
            raise Failed(f"{where}: unknown condition {condition}")
    return True


def of_list(path: Path, asked: Options) -> list[str]:
    """The tests of a list that are for this engine and fs."""
    try:
        text = path.read_text()
    except OSError as error:
        raise Failed(f"cannot read the list {path}: {error.strerror}") from None
    lines = [line.split() for line in without_comments(text)]
    return [test for test, *rest in lines if meets(rest, asked, f"{path}: {test}")]


def of_group(group: str, xfstests: Path, fs: str) -> list[str]:
    """The generic tests of a group, and for what is called ext4 those of ext4."""
    found = []
    for folder in ("generic",) if fs == "rext4" else ("generic", "ext4"):
        text = (xfstests / "tests" / folder / "group.list").read_text()
        lines = [line.split() for line in without_comments(text)]
        found += [f"{folder}/{number}" for number, *groups in lines if group in groups]
    if not found:
        raise Failed(f"xfstests has no test in the group {group}")
    return found


def own_groups() -> list[str]:
    """Our own tests with their groups, as group.list has them: "001 auto quick"."""
    lines = []
    for path in sorted(OWN.glob("[0-9][0-9][0-9]")):
        if found := BEGIN.search(path.read_text()):
            lines.append(f"{path.name} {found.group(1)}")
    return lines


def check_own(test: str) -> None:
    """xfstests reads the groups from a file that must be there, and right."""
    if not (OWN / test.removeprefix("rext4/")).exists():
        raise Failed(f"there is no test {test} in {OWN}")
    listed = OWN / "group.list"
    if own_groups() != list(without_comments(listed.read_text())):
        raise Failed(f"{listed} does not say what the tests say in _begin_fstest")


def wanted(asked: Options, xfstests: Path) -> list[str]:
    """The tests of this run in their order, each once."""
    lists, tests = list(asked.lists), list(asked.tests)
    if not (lists or asked.groups or tests):
        if asked.lab:
            tests = [f"rext4/{line.split()[0]}" for line in own_groups()]
        else:
            lists = [OURS / "list"]
    found = [test for path in lists for test in of_list(path, asked)]
    found += [test for group in asked.groups for test in of_group(group, xfstests, asked.fs)]
    todo = list(dict.fromkeys(found + tests))
    if not todo:
        raise Failed("no test to run: none of the list is for this engine and fs")
    for test in todo:
        if re.match(r"rext4/\d", test):
            check_own(test)
        elif not (xfstests / "tests" / test).is_file():
            raise Failed(f"xfstests in {xfstests} has no test {test}")
        elif asked.lab:
            # A result of a module that nobody uses would be recorded as one of ours.
            raise Failed(f"--lab is for the tests rext4/NNN, not for {test}")
    return todo
