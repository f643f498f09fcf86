# SPDX-License-Identifier: GPL-2.0
"""What objdump's listing says of frames and chains of calls."""

import contextlib
import io
import unittest
from pathlib import Path
from unittest import mock

from rext4 import stack
from rext4.common import Failed

TOP = """
rext4.ko:     file format elf64-x86-64


Disassembly of section .text:

0000000000000000 <top>:
   0:\tpush   %rbp
   1:\tsub    $0x20,%rsp
   5:\tcall   9 <top+0x9>
\t\t\t5: R_X86_64_PLT32\tleaf-0x4
   9:\tje     5 <top+0x5>
   b:\tadd    $0x20,%rsp
   f:\tjmp    20 <middle>

0000000000000020 <middle>:
  20:\tsub    $0x100,%rsp
  27:\tmovabs $0x0,%rax
\t\t\t29: R_X86_64_64\t.text.unlikely+0x40
  31:\tcall   *%rax
  33:\tret

Disassembly of section .text.unlikely:

0000000000000040 <leaf>:
  40:\tpush   %rbx
  41:\tret
"""


def chains(*calls: str) -> stack.Chains:
    """Of functions "name frame callee...", 8 bytes being the least frame."""
    lines = ["Disassembly of section .text:"]
    for number, (name, frame, *callees) in enumerate(map(str.split, calls)):
        lines += [f"{number:016x} <{name}>:", f"\tsub    ${int(frame) - 8:#x},%rsp"]
        lines += [f"\tcall   0 <{to}>" for to in callees]
    return stack.Chains(stack.Listing(lines))


def names(functions: list[stack.Function]) -> list[str]:
    return [function.name for function in functions]


class Instructions(unittest.TestCase):
    def test_room(self) -> None:
        for text, room in (
            ("  1:\tsub    $0x20,%rsp", 32),
            ("  1:\tadd    $0xffffffffffffff80,%rsp", 128),
            ("  1:\tlea    -0x1000(%rsp),%rsp", 4096),
            ("  1:\tsub    %rax,%rsp", stack.UNKNOWN),
            # These give back, or look only.
            ("  1:\tsub    $0xffffffffffffff80,%rsp", 0),
            ("  1:\tadd    $0x20,%rsp", None),
            ("  1:\tlea    -0x10(%rsp),%rax", None),
            ("  1:\tsub    $0x20,%rax", None),
        ):
            self.assertEqual(stack.taken_at_once(text), room, text)


class Listings(unittest.TestCase):
    def setUp(self) -> None:
        self.listing = stack.Listing(TOP.split("\n"))

    def callees(self, name: str) -> list[str]:
        return names(self.listing.callees(self.listing.functions[name]))

    def test_frames(self) -> None:
        frames = {name: function.frame for name, function in self.listing.functions.items()}
        self.assertEqual(frames, {"top": 8 + 32 + 8, "middle": 256 + 8, "leaf": 8 + 8})

    def test_the_most_that_is_taken_at_once(self) -> None:
        lines = ["0 <a>:", "\tsub    $0x80,%rsp", "\tsub    $0x8,%rsp"]
        self.assertEqual(stack.Listing(lines).functions["a"].frame, 128 + 8)

    def test_calls(self) -> None:
        # By a relocation, by a jump at the end, and by a place in a section.
        self.assertEqual(self.callees("top"), ["leaf", "middle"])
        self.assertEqual(self.callees("middle"), ["leaf"])

    def test_what_is_shown_beside_a_relocation_is_wrong(self) -> None:
        text = TOP.replace("<top+0x9>", "<middle>").replace("jmp    20 <middle>", "ret")
        self.listing = stack.Listing(text.split("\n"))
        self.assertEqual(self.callees("top"), ["leaf"])

    def test_a_push_does_not_hide_the_call_before_it(self) -> None:
        lines = ["0 <a>:", "\tcall   8 <b>", "\tpush   %rax", "\t\t\t5: R_X86_64_PLT32\tc-0x4"]
        self.listing = stack.Listing([*lines, "8 <b>:", "9 <c>:"])
        self.assertEqual(self.callees("a"), ["b", "c"])

    def test_two_of_one_name(self) -> None:
        text = TOP.replace("<leaf>:", "<middle>:")
        self.assertEqual(len(stack.Listing(text.split("\n")).functions), 2)


class Chain(unittest.TestCase):
    def test_deepest(self) -> None:
        found = chains("a 16 b c", "b 100 d", "c 40 d e", "d 8", "e 64")
        self.assertEqual(names(found.deepest()), ["a", "b", "d"])
        self.assertEqual((found.depth, found.coming_back), (124, []))

    def test_itself(self) -> None:
        found = chains("a 16 b", "b 32 b", "c 8")
        self.assertEqual(names(found.coming_back), ["b"])

    def test_a_loop_is_no_call(self) -> None:
        lines = ["0 <a>:", "\tjmp    0 <a>", "\tjmp    4 <a+0x4>"]
        self.assertEqual(stack.Chains(stack.Listing(lines)).coming_back, [])

    def test_by_way_of_others(self) -> None:
        found = chains("a 16 b", "b 32 c", "c 64 b d", "d 8")
        # a does not come back, but calls what does.
        self.assertEqual(names(found.coming_back), ["a", "b", "c"])
        self.assertEqual((names(found.deepest()), found.depth), (["d"], 8))

    def test_none(self) -> None:
        self.assertEqual((chains().depth, chains().deepest()), (0, []))


class Verdicts(unittest.TestCase):
    def stack(self, *words: str, text: str = TOP) -> tuple[int, str, str]:
        """Status, output and errors of the program on a listing."""
        done = mock.Mock(returncode=0, stdout=text)
        with (
            mock.patch.object(stack, "LEAST", 2),
            mock.patch("rext4.stack.subprocess.run", return_value=done),
            contextlib.redirect_stdout(io.StringIO()) as out,
            contextlib.redirect_stderr(io.StringIO()) as err,
        ):
            status = stack.main([*words, "x.ko"])
        return status, out.getvalue(), err.getvalue()

    def test_fine(self) -> None:
        self.assertEqual(self.stack(), (0, "stack: 2 passed, 0 failed\n", ""))

    def test_top(self) -> None:
        want = "largest of 3 frames:\n264\tmiddle\n48\ttop\ndeepest chain, 328 bytes:\n"
        want += "48\ttop\n264\tmiddle\n16\tleaf\nstack: 2 passed, 0 failed\n"
        self.assertEqual(self.stack("--top", "2")[1], want)

    def test_large(self) -> None:
        status, out, err = self.stack("--limit", "47")
        self.assertEqual((status, out), (1, "stack: 1 passed, 1 failed\n"))
        self.assertIn("x.ko: frames over 47 bytes:\n264\tmiddle\n48\ttop\n", err)
        self.assertEqual(self.stack("--limit", "264")[0], 0)

    def test_both(self) -> None:
        text = TOP.replace("leaf-0x4", "top-0x4")
        status, out, err = self.stack("--limit", "100", text=text)
        self.assertEqual((status, out), (1, "stack: 0 passed, 2 failed\n"))
        self.assertIn("come back to themselves, and who calls them:\n48\ttop\n", err)

    def test_no_module(self) -> None:
        with self.assertRaisesRegex(Failed, "this is no module of ours"):
            stack.disassembled(Path("/bin/true"))
        with contextlib.redirect_stderr(io.StringIO()):
            with self.assertRaises(SystemExit) as end:
                stack.main([])
        self.assertEqual(end.exception.code, 2)
