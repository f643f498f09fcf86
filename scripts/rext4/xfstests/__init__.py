# SPDX-License-Identifier: GPL-2.0
"""Runs an installed xfstests in the VM: see main.py, and Documentation/xfstests.md."""
