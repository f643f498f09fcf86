# SPDX-License-Identifier: GPL-2.0
"""What machines can say about the text of this tree: format, types, habits that bite."""

import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from . import common
from .common import REPO, SCRIPTS, VENV

HELP = """
Usage: scripts/lint [NAME...]

Runs what lints the code here, each a check of its own; all by default:

  rustfmt     format of the module's code and of tests/
  clippy      tests/, and the module if the debug kernel is built (make module)
  ruff        Python: habits, imports, names
  format      Python: format, by ruff
  mypy        Python: types, strictly
  shellcheck  the bash that there is

One whose tool is missing is skipped, with the reason; scripts/setup gets them.

Exit status: 0 nothing was found, 1 something was, 2 usage.
"""

BASH = ("#!/bin/bash", "#!/bin/sh", "# shellcheck shell=")


class Missing(Exception):
    """Why a check cannot be made here."""


def tool(name: str) -> str:
    """The path of a program: that of scripts/setup, or the system's."""
    path = VENV / "bin" / name
    if path.exists():
        return str(path)
    found = shutil.which(name)
    if found is None:
        raise Missing(f"{name} is missing: run scripts/setup")
    return found


def tracked(*patterns: str) -> list[str]:
    """Files of the tree, also those that are new, but nothing that was built."""
    listed = subprocess.run(
        ["git", "-C", REPO, "ls-files", "-z", "-co", "--exclude-standard", "--", *patterns],
        capture_output=True,
        text=True,
    )
    if listed.returncode != 0:
        raise Missing("this is no git checkout")
    return [name for name in listed.stdout.split("\0") if name and (REPO / name).is_file()]


def begins(name: str, *words: str) -> bool:
    """Is one of the words at the beginning of one of the first lines of a file?"""
    with (REPO / name).open("rb") as text:
        head = text.read(200).decode(errors="replace").split("\n")
    return any(line.startswith(words) for line in head[:3])


def python() -> list[str]:
    """The Python files, with and without the ending."""
    programs = [name for name in tracked("scripts") if begins(name, "#!/usr/bin/env python3")]
    return sorted({*tracked("*.py"), *programs})


Command = tuple[Sequence[str], Path]


def rustfmt() -> list[Command]:
    """The module's files and the workspace."""
    files = tracked("rust/*.rs", "samples/*.rs")
    head = [tool("rustfmt"), "--edition", "2021", "--config-path", ".", "--check"]
    return [([*head, *files], REPO), (["cargo", "fmt", "--all", "--check"], REPO / "tests")]


def clippy() -> list[Command]:
    """The module takes a kernel, and none is built for it here."""
    tool("clippy-driver")
    workspace = "cargo clippy -q --workspace --all-targets -- -D warnings"
    commands: list[Command] = [(workspace.split(), REPO / "tests")]
    built = subprocess.run([SCRIPTS / "kernel", "--path", "debug"], capture_output=True)
    if built.returncode == 0:
        for words in ([], ["--sample", "rofs"]):
            commands.append(([str(SCRIPTS / "module"), *words, "--clippy", "debug"], REPO))
    return commands


def ruff() -> list[Command]:
    """With the settings of scripts/pyproject.toml."""
    return [([tool("ruff"), "check", "--config", "scripts/pyproject.toml", *python()], REPO)]


def ruff_format() -> list[Command]:
    """The same."""
    head = [tool("ruff"), "format", "--config", "scripts/pyproject.toml", "--diff"]
    return [([*head, *python()], REPO)]


def mypy() -> list[Command]:
    """The package; the programs beside it are two lines each."""
    return [([tool("mypy"), "--config-file", "pyproject.toml", "-p", "rext4"], SCRIPTS)]


def shellcheck() -> list[Command]:
    """All that bash reads."""
    names = [name for name in tracked("scripts", "tests", ".ci") if begins(name, *BASH)]
    # The tests in xfstests' own form are for it to read.
    ours = [name for name in names if not name.startswith("tests/xfstests/rext4/")]
    return [([tool("shellcheck"), *ours], REPO)]


LINTS: dict[str, Callable[[], list[Command]]] = {
    "rustfmt": rustfmt,
    "clippy": clippy,
    "ruff": ruff,
    "format": ruff_format,
    "mypy": mypy,
    "shellcheck": shellcheck,
}


@dataclass
class Verdict:
    """What a lint has said: nothing, if all is well."""

    said: str = ""
    missing: str = ""


def lint(commands: Callable[[], list[Command]]) -> Verdict:
    """Runs one."""
    try:
        for command, folder in commands():
            done = subprocess.run(
                command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            if done.returncode != 0:
                return Verdict(said=done.stdout.strip() or f"status {done.returncode}")
    except Missing as missing:
        return Verdict(missing=str(missing))
    return Verdict()


def main(arguments: list[str]) -> int:
    """A line for each, and a sum."""
    parser = common.Options(HELP)
    parser.add_argument("names", nargs="*")
    names: list[str] = parser.parse_args(arguments).names or list(LINTS)
    for name in names:
        if name not in LINTS:
            parser.error(f"no lint {name}")
    passed = failed = skipped = 0
    print(f"1..{len(names)}")
    for number, name in enumerate(names, 1):
        verdict = lint(LINTS[name])
        if verdict.missing:
            skipped += 1
            print(f"ok {number} lint/{name} # SKIP {verdict.missing}", flush=True)
        elif verdict.said:
            failed += 1
            print(f"not ok {number} lint/{name}")
            print("\n".join(f"# {line}" for line in verdict.said.split("\n")), flush=True)
        else:
            passed += 1
            print(f"ok {number} lint/{name}", flush=True)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0
