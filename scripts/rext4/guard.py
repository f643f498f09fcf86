# SPDX-License-Identifier: GPL-2.0
"""Runs a command and ends it, with all that it has started, when its caller is gone.

    guard.py LIFELINE COMMAND...

LIFELINE is the reading end of a pipe whose other end the caller holds and nobody else. It closes
when the caller ends, even by SIGKILL, which no handler sees: so no VM outlives its script. SIGTERM
is passed on. The status is the command's, as a shell tells it.

The command leads a session and process group of its own. It must: User-Mode Linux calls setsid(),
and would be out of any group that another leads.
"""

import contextlib
import os
import select
import signal
import subprocess
import sys


def ended(child: int) -> bool:
    """Has it? It is not waited for yet: until then its number is nobody else's."""
    return os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def unblock() -> None:
    """SIGTERM may come from now on."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])


def main() -> int:
    """Waits for the end of the command or of the caller; leaves nobody of the group behind."""
    lifeline, command = int(sys.argv[1]), sys.argv[2:]
    os.set_inheritable(lifeline, False)
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
    # Held back until there is somebody to pass it on to.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    try:
        # All descriptors that were given to this process are for the command.
        child = subprocess.Popen(
            command,
            close_fds=False,
            start_new_session=True,
            # There is one thread.
            preexec_fn=unblock,  # noqa: PLW1509
        )
    except OSError as error:
        print(f"cannot run {command[0]}: {error.strerror}", file=sys.stderr)
        return 127

    def ask(_number: int, _frame: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)

    signal.signal(signal.SIGTERM, ask)
    unblock()
    while not ended(child.pid):
        ready, _, _ = select.select([lifeline, woken], [], [])
        if lifeline in ready:
            break
        os.read(woken, 4096)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    status = child.wait()
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main())
