# SPDX-License-Identifier: GPL-2.0
"""A command with all that it starts, as one thing that can be ended."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

GUARD = Path(__file__).with_name("guard.py")


class Group:
    """A command in a session and process group of its own, run by guard.py. Leaving the `with`
    block ends the whole group, and so does the end of this process, whatever ends it."""

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        stdin: int = subprocess.DEVNULL,
        stdout: int | None = None,
        stderr: int | None = None,
        pass_fds: Sequence[int] = (),
        env: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        guarded, lifeline = os.pipe()
        # Taken out by whoever ends the group; it may be two threads at once.
        self._lifeline = [lifeline]
        try:
            self._guard = subprocess.Popen(
                [sys.executable, "-I", GUARD, str(guarded), *command],
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                pass_fds=(*pass_fds, guarded),
                env=env,
                cwd=folder,
                start_new_session=True,
            )
        finally:
            os.close(guarded)

    def __enter__(self) -> "Group":
        return self

    def __exit__(self, *_error: object) -> None:
        self.kill()

    def wait(self, seconds: float | None = None) -> int | None:
        """The status once the command has ended; None if it has not within the time. With the
        command all goes that it has left behind."""
        try:
            return self._guard.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> int:
        """Ends the group at once: that is what the guard does when the pipe closes."""
        with contextlib.suppress(IndexError):
            os.close(self._lifeline.pop())
        return self._guard.wait()

    def end(self, patience: float) -> int:
        """Asks the command to end and gives it that many seconds; then ends the group."""
        if self._guard.poll() is None:
            self._guard.terminate()
            self.wait(patience)
        return self.kill()
