# SPDX-License-Identifier: GPL-2.0
"""The host's side of scripts/lab, with a program in place of the VM and of the lab."""

import contextlib
import io
from pathlib import Path
from unittest import mock

from rext4 import lab
from rext4.common import Failed
from rext4.tests import kit

# The program: it draws, and says what it was told to draw.
LAB = """\
#!/bin/bash
[ "$1" = draw ] && echo "$*" >"$2/index.html"
"""
GOOD = "echo x >$share/3-off.trace; printf 'row\\n3\\tharm\\tclean\\n' >$share/results.tsv"


class CommandLine(kit.CommandLines):
    def test_defaults(self) -> None:
        self.assertEqual(lab.options(["--kernel", "uml"]).engine, "uml")
        qemu, uml = lab.options([]), lab.options(["--engine", "uml"])
        self.assertEqual((qemu.kernel, qemu.runs, qemu.races), ("fast", 1, []))
        self.assertEqual(qemu.results.parts[-3:], ("tests", "lab", "results.tsv"))
        self.assertEqual(uml.kernel, "uml")

    def test_stock_has_a_table_of_its_own(self) -> None:
        self.assertEqual(lab.options(["--kernel", "stock"]).results.name, "results-stock.tsv")

    def test_all(self) -> None:
        words = ["--kernel", "debug", "--runs", "10", "--results", "/r.tsv", "7a", "punch-vs-fault"]
        asked = lab.options(words)
        self.assertEqual((asked.kernel, asked.runs), ("debug", 10))
        self.assertEqual((asked.results, asked.races), (Path("/r.tsv"), ["7a", "punch-vs-fault"]))

    def test_wrong(self) -> None:
        wrong = [["--engine", "xen"], ["--runs", "0"], ["--bogus"], ["--kernel"]]
        wrong += [["--engine", "uml", "--kernel", "stock"], ["--engine", "qemu", "--kernel", "uml"]]
        self.refuses(lab.options, wrong)


class WithFolder(kit.WithFolder):
    def setUp(self) -> None:
        super().setUp()
        self.err = self.enterContext(contextlib.redirect_stderr(io.StringIO()))

    def program(self, name: str, text: str) -> str:
        (self.folder / name).write_text(text)
        (self.folder / name).chmod(0o755)
        return str(self.folder / name)


class Modules(WithFolder):
    def setUp(self) -> None:
        super().setUp()
        # nm and strings both show the file.
        for name in ("nm", "strings"):
            self.program(name, '#!/bin/bash\nexec /bin/cat "$1"\n')
        self.enterContext(mock.patch.dict("os.environ", {"PATH": str(self.folder)}))
        self.enterContext(
            mock.patch(
                "rext4.common.script",
                side_effect=lambda _name, *words: str(self.folder / words[0].lstrip("-")),
            )
        )
        (self.folder / "lab").write_text("_RNvNt2fs3lab4park\npunch-invalidated\nother\n")

    def test_nothing_is_left(self) -> None:
        (self.folder / "fast").write_text("_RNvNt2fs5label\n")
        self.assertEqual(lab.modules("fast"), str(self.folder / "lab"))
        self.assertIn("0 in the normal module, 4 in this one\n", self.err.getvalue())

    def test_something_is(self) -> None:
        (self.folder / "fast").write_text("x\n3vfs3lab\n")
        with self.assertRaisesRegex(Failed, "left something in the normal module"):
            lab.modules("fast")

    def test_no_module(self) -> None:
        self.program("nm", "#!/bin/bash\nexit 1\n")
        with self.assertRaisesRegex(Failed, "nm cannot read"):
            lab.modules("fast")


class Races(WithFolder):
    def setUp(self) -> None:
        super().setUp()
        self.work, self.table = self.folder / "work", self.folder / "table.tsv"
        self.pictures = self.folder / "build/lab"
        self.pictures.mkdir(parents=True)
        self.table.write_text("old\n")
        (self.pictures / "old.svg").touch()
        self.program("vm", kit.VM)
        for name in ("SCRIPTS", "REPO"):
            self.enterContext(mock.patch.object(lab, name, self.folder))

    def races(self, guest: str, *words: str) -> int:
        """The status when the VM does this."""
        (self.folder / "guest").write_text(guest)
        self.work.mkdir()
        asked = lab.options(["--results", str(self.table), *words])
        return lab.run(asked, self.program("lab", LAB), "/m.ko", self.work)

    def test_everything(self) -> None:
        self.assertEqual(self.races(GOOD), 0)
        self.assertEqual(self.table.read_text(), "row\n3\tharm\tclean\n")
        self.assertEqual(
            sorted(path.name for path in self.pictures.iterdir()), ["3-off.trace", "index.html"]
        )
        self.assertEqual(
            self.err.getvalue().count(f"{self.pictures}/index.html\n")
            + self.err.getvalue().count(f"results: {self.table}\n"),
            2,
        )

    def test_the_vm(self) -> None:
        self.races(GOOD, "--engine", "uml", "--runs", "3", "7a")
        words = (self.folder / "words").read_text().split("\n")[:-1]
        self.assertEqual(words[words.index("--cpus") + 1], "1")
        self.assertEqual(words[words.index("--time") + 1], "5400")
        self.assertEqual(words.count("--disk"), 3)
        self.assertEqual((self.work / "c").stat().st_size, 1 << 30)
        self.assertEqual(
            words[words.index("--") + 2 :],
            ["run", "--runs", "3", "--out", str(self.work / "share"), "7a"],
        )

    def test_some_races_change_no_table(self) -> None:
        self.assertEqual(self.races(GOOD, "3"), 0)
        self.assertEqual(self.table.read_text(), "old\n")
        self.assertTrue((self.pictures / "old.svg").exists())
        self.assertEqual((self.pictures / "index.html").read_text(), f"draw {self.pictures} 3\n")

    def test_a_race_that_went_wrong_is_recorded(self) -> None:
        self.assertEqual(self.races(f"{GOOD}; exit 1"), 1)
        self.assertNotEqual(self.table.read_text(), "old\n")

    def test_what_did_not_run_is_not(self) -> None:
        self.assertEqual(self.races(f"{GOOD}; exit 2"), 2)
        self.assertEqual(self.table.read_text(), "old\n")

    def test_nor_what_is_broken(self) -> None:
        self.assertEqual(self.races(f"{GOOD}; echo broken >>$share/results.tsv; exit 1"), 1)
        self.assertEqual(self.table.read_text(), "old\n")

    def test_no_trace_no_picture(self) -> None:
        self.assertEqual(self.races("exit 126"), 126)
        self.assertEqual(list(self.pictures.iterdir()), [])
