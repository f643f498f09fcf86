# SPDX-License-Identifier: GPL-2.0
"""The command line of scripts/vm, what the guest is told, and when it is over."""

import contextlib
import io
import os
import re
import subprocess
import tempfile
import unittest
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from rext4 import engines, machine, vm
from rext4.process import Group


class CommandLine(unittest.TestCase):
    def refused(self, *words: str) -> str:
        """The one line that a wrong command line gets."""
        said = io.StringIO()
        with self.assertRaises(SystemExit) as end, contextlib.redirect_stderr(said):
            vm.options(list(words))
        self.assertEqual(end.exception.code, 2)
        self.assertEqual(said.getvalue().count("\n"), 1)
        return said.getvalue()

    def test_defaults(self) -> None:
        asked = vm.options(["true"])
        self.assertEqual((asked.engine, asked.time, asked.mem, asked.cpus), ("qemu", 600, 2048, 2))
        self.assertEqual(asked.command, ["true"])

    def test_the_command_keeps_its_options(self) -> None:
        want = ["guest", "test", "--fs", "ext4", "--", "--time", "3"]
        self.assertEqual(vm.options(["--time", "5", "--", *want]).command, want)
        self.assertEqual(vm.options(["--time", "5", *want]).command, want)
        self.assertEqual(vm.options(["--", "--", "x"]).command, ["--", "x"])

    def test_repeated(self) -> None:
        asked = vm.options(["--disk", "a", "--disk", "b", "--allow", "x", "--allow", "y", "c"])
        self.assertEqual(asked.disk, [Path("a"), Path("b")])
        self.assertEqual(asked.allow, [re.compile("x"), re.compile("y")])

    def test_shell_and_icount(self) -> None:
        self.assertEqual(vm.options(["--shell"]).command, ["bash"])
        self.assertEqual(vm.options(["--icount", "--cpus", "4", "x"]).cpus, 1)

    def test_wrong(self) -> None:
        self.assertIn("--bogus", self.refused("--bogus", "true"))
        self.assertIn("xen", self.refused("--engine", "xen", "true"))
        self.assertIn("not a number above zero", self.refused("--time", "soon", "true"))
        self.assertIn("not a number above zero", self.refused("--cpus", "0", "true"))
        self.assertIn("no regular expression", self.refused("--allow", "(", "true"))
        self.assertIn("--disk", self.refused("--disk"))
        self.assertIn("no command", self.refused())
        words = ("--engine", "uml", "--kernel", "stock", "true")
        self.assertIn("the kernel stock goes with the engine qemu, not uml", self.refused(*words))

    def test_engine_of_a_kernel(self) -> None:
        for kernel, engine in (("uml", "uml"), ("stock", "qemu"), ("/some/folder", "qemu")):
            self.assertEqual(vm.options(["--kernel", kernel, "true"]).engine, engine)


class InFolder(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.place = machine.Place(self.folder, self.folder / "share", self.folder / "console")
        self.place.console.write_text("quiet\n")


class Packaged(InFolder):
    def test_what_is_booted(self) -> None:
        spec = machine.Machine("qemu", self.folder, 1024, 2, [])
        self.assertEqual(spec.image, self.folder / "arch/x86/boot/bzImage")
        self.assertNotIn("--busybox", engines.qemu_command(spec, self.place))
        image = self.folder / "root/lib/modules/7.3.4/vmlinuz"
        image.parent.mkdir(parents=True)
        image.touch()
        (self.folder / "vmlinuz").symlink_to(image.relative_to(self.folder))
        (self.folder / ".rext4-debian13").touch()
        self.assertEqual(spec.image, image.resolve())
        words = engines.qemu_command(spec, self.place)
        self.assertIn(str(self.folder / "busybox"), words)
        self.assertEqual(machine.Machine("uml", self.folder, 9, 1, []).image.name, "linux")

    def test_stays_as_long_as_it_runs(self) -> None:
        spec = machine.Machine("qemu", self.folder / "kernel", 1024, 2, [])
        spec.kernel.mkdir()
        lock = ["flock", "-n", f"{spec.kernel}.lock", "true"]
        with machine.kept(spec):
            # One of our own: it is never replaced.
            self.assertFalse(Path(f"{spec.kernel}.lock").exists())
        (spec.kernel / ".rext4-debian13").touch()
        with machine.kept(spec):
            self.assertEqual(subprocess.run(lock).returncode, 1)
        self.assertEqual(subprocess.run(lock).returncode, 0)


class Task(InFolder):
    def test_words_reach_the_guest_as_they_are(self) -> None:
        (self.folder / "linux").touch()
        (self.folder / ".rext4-built").touch()
        spec = machine.Machine("uml", self.folder, 1024, 1, [])
        command = ["echo", "it's", "$HOME", 'a "b"', "two\nlines", ""]
        steering = {"REXT4_OPTS": "a b", "REXT4_DISKS": "not mine", "OTHER": "x"}
        with mock.patch.dict(os.environ, steering):
            machine.write_task(self.place, spec, [], 60, command)
        script = '. "$0/task"; printf "%s|" "${command[@]}" "$REXT4_OPTS" "$REXT4_DISKS" "$limit"'
        env = {"PATH": os.environ["PATH"]}
        said = subprocess.run(
            ["bash", "-c", script, self.folder], env=env, capture_output=True, text=True
        )
        self.assertEqual(said.stdout.split("|")[:-1], [*command, "a b", "", "60"])

    def test_disks(self) -> None:
        disks = [Path("a"), Path("b"), Path("c")]
        spec = machine.Machine("uml", self.folder, 1024, 1, disks)
        self.assertEqual(spec.nodes(), ["/dev/ubda", "/dev/ubdb", "/dev/ubdc"])


class Watching(InFolder):
    def watch(self, command: str, limit: int) -> bool:
        with Group(["sh", "-c", command, str(self.folder)]) as group:
            return vm.watch(machine.Running(self.place, group), limit)

    def verdict(self, timed_out: bool = False, *words: str) -> int:
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            return vm.verdict(self.place, vm.options([*words, "true"]), timed_out)

    def test_it_ends(self) -> None:
        self.assertFalse(self.watch('echo 7 >"$0/status"', 60))
        self.assertEqual(self.verdict(), 7)

    def test_it_hangs(self) -> None:
        self.assertTrue(self.watch("sleep 1000", 1))
        self.assertEqual(self.verdict(timed_out=True), 124)

    def test_it_does_not_power_off(self) -> None:
        # The command's status counts.
        with mock.patch.object(vm, "POWER_OFF", 1):
            self.assertFalse(self.watch('echo 0 >"$0/status"; sleep 1000', 600))
        self.assertEqual(self.verdict(), 0)

    def test_it_dies(self) -> None:
        self.assertFalse(self.watch("exit 1", 60))
        self.assertEqual(self.verdict(), 125)

    def test_the_kernel_complains(self) -> None:
        (self.folder / "status").write_text("0\n")
        self.place.console.write_text("WARNING: at fs/x.c:1\n")
        self.assertEqual(self.verdict(), 125)
        self.assertEqual(self.verdict(True), 125)
        self.assertEqual(self.verdict(False, "--allow", "fs/x.c"), 0)


class OneCpu(InFolder):
    """The library that is preloaded."""

    def gcc(self, script: str) -> Path | None:
        """What comes of it with such a compiler, and a cache of the test's own."""
        (self.folder / "gcc").write_text(f"#!/bin/sh\n{script}\n")
        (self.folder / "gcc").chmod(0o755)
        path = f"{self.folder}:{os.environ['PATH']}"
        with (
            mock.patch.dict(os.environ, {"PATH": path}),
            mock.patch.object(engines, "CACHE", self.folder),
        ):
            return engines.one_cpu()

    def compiler(self, version: str) -> str:
        """One that writes down how often it compiles."""
        return f"""[ "$1" != -v ] || {{ echo {version} >&2; exit; }}
echo >>{self.folder}/built
while [ "$1" != -o ]; do shift; done
touch "$2\""""

    def test_once_for_each_compiler(self) -> None:
        first = self.gcc(self.compiler("gcc 1"))
        self.assertEqual(self.gcc(self.compiler("gcc 1")), first)
        second = self.gcc(self.compiler("gcc 2"))
        self.assertNotEqual(first, second)
        self.assertTrue(first and first.exists() and second and second.exists())
        self.assertEqual((self.folder / "built").read_text(), "\n\n")

    def test_it_says_why_not(self) -> None:
        said = io.StringIO()
        with contextlib.redirect_stderr(said):
            self.assertIsNone(self.gcc("echo no such header >&2; exit 1"))
            with mock.patch("subprocess.run", side_effect=FileNotFoundError("no gcc")):
                self.assertIsNone(engines.one_cpu())
        self.assertRegex(said.getvalue(), "no such header(.|\n)*no gcc")

    def test_beside_others(self) -> None:
        mine = Path("/c/mine.so")
        self.assertEqual(engines.preloaded(mine, ""), "/c/mine.so")
        self.assertEqual(engines.preloaded(mine, "a.so b.so"), "/c/mine.so:a.so:b.so")


class Booting(InFolder):
    ASSERTION = "qemu-system-x86_64: system/physmem.c:1: f: Assertion `a < b' failed."

    def boots(self, script: str) -> int:
        """How often the VM was started that this script plays. $1 is its console, $2 the number
        of the start."""
        starts = 0

        @contextlib.contextmanager
        def start(_spec: object, place: machine.Place) -> Iterator[machine.Running]:
            nonlocal starts
            starts += 1
            words = ["sh", "-c", script, str(place.run), str(place.console), str(starts)]
            with Group(words) as group:
                yield machine.Running(place, group)

        spec = machine.Machine("qemu", self.folder, 1024, 1, [])
        with (
            mock.patch.object(machine, "start", start),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            self.assertFalse(vm.boot(spec, self.place, vm.options(["true"])))
        return starts

    def test_once(self) -> None:
        self.assertEqual(self.boots('echo 0 >"$0/status"'), 1)

    def test_again(self) -> None:
        script = f"""[ "$2" = 2 ] && echo 3 >"$0/status" || echo "{self.ASSERTION}" >>"$1" """
        self.assertEqual(self.boots(script.replace("`", "\\`")), 2)
        self.assertEqual((self.place.status, self.place.said()), (3, ""))

    def test_not_for_ever(self) -> None:
        script = f'echo "{self.ASSERTION}" >>"$1"'.replace("`", "\\`")
        self.assertEqual(self.boots(script), vm.BOOTS)
        self.assertIn("Assertion", self.place.said())

    def test_not_for_other_reasons(self) -> None:
        self.assertEqual(self.boots('echo "Kernel panic - not syncing" >>"$1"'), 1)

    def test_not_once_the_guest_has_begun(self) -> None:
        script = f'touch "$0/began"; echo "{self.ASSERTION}" >>"$1"'.replace("`", "\\`")
        self.assertEqual(self.boots(script), 1)
