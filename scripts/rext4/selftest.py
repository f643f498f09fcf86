# SPDX-License-Identifier: GPL-2.0
"""Runs the tests of these programs and says it as all tests here do: a plan, a line for each, a
sum.

    python3 -m rext4.selftest [WORD...]     those whose name contains one of the words
"""

import sys
import unittest
from collections.abc import Iterator
from pathlib import Path


def cases(suite: unittest.TestSuite) -> Iterator[unittest.TestCase]:
    """All tests of a suite and of those inside of it."""
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from cases(test)
        else:
            yield test


def main(words: list[str]) -> int:
    """The status is 0 if all passed, and there was one."""
    here = Path(__file__).parent
    found = unittest.defaultTestLoader.discover(str(here / "tests"), top_level_dir=str(here.parent))
    wanted = [
        test for test in cases(found) if not words or any(word in test.id() for word in words)
    ]
    print(f"1..{len(wanted)}")
    failed = skipped = 0
    for number, test in enumerate(wanted, 1):
        result = unittest.TestResult()
        test.run(result)
        name = "scripts/" + test.id().removeprefix("rext4.tests.test_").replace(".", "/")
        reasons = [text for _, text in result.failures + result.errors]
        if reasons:
            failed += 1
            print(f"not ok {number} {name}")
            print("\n".join(f"# {line}" for text in reasons for line in text.rstrip().split("\n")))
        elif result.skipped:
            skipped += 1
            print(f"ok {number} {name} # SKIP {result.skipped[0][1]}")
        else:
            print(f"ok {number} {name}")
        sys.stdout.flush()
    print(f"{len(wanted) - failed - skipped} passed, {failed} failed, {skipped} skipped")
    return 1 if failed or not wanted else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
