# SPDX-License-Identifier: GPL-2.0
"""The programs of scripts/: what supervises VMs, runs tests and adds up what they said.

bash stays where programs are only called; scripts/lib.sh is for both. Nothing but Python's own
library is needed to run any of it.
"""

import sys

# Debian 12's. Said before a newer word is met: the modules beside this one use them.
if sys.version_info < (3, 11):  # noqa: UP036
    sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0])
