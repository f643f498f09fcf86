#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# After a power cut a file that was synced has in the middle what was written to another place of it
# later: behind FALLOC_FL_COLLAPSE_RANGE or FALLOC_FL_INSERT_RANGE, in place. Makes a new file system
# on the device; the cut is the shutdown ioctl, which leaves the log as it is. Wants xfs_io.
#
# Usage: moved-cut.sh DEVICE DIRECTORY [TYPE]
set -euo pipefail
device=$1 directory=$2 type=${3:-ext4}
trap 'umount "$directory" 2>/dev/null || true' EXIT

# letters FILE: the first of each block.
letters() {
	local block
	for block in $(seq 0 $(($(stat -c %s "$1") / 4096 - 1))); do
		dd if="$1" bs=1 skip=$((block * 4096)) count=1 2>/dev/null
	done | tr '\0' '.'
}

# cut COMMAND OFFSET: that, then a block of X at the offset, which gets to the disk and is the first
# of the old ones; then the power is cut.
cut() {
	mkfs -t "$type" "$([ "$type" = xfs ] && echo -f || echo -F)" "$device" >/dev/null 2>&1
	mount -t "$type" "$device" "$directory"
	xfs_io -f -c 'pwrite -q -S 0x41 0 4k' -c 'pwrite -q -S 0x42 4k 4k' -c 'pwrite -q -S 0x43 8k 4k' \
		-c fsync "$directory/f"
	echo "synced:        $(letters "$directory/f")"
	xfs_io -c "$1" -c "pwrite -q -S 0x58 $2 4k" -c 'sync_range -b 0 0' -c 'sync_range -w 0 0' \
		-c 'sync_range -a 0 0' "$directory/f"
	echo "$1: $(letters "$directory/f")"
	xfs_io -x -c shutdown "$directory"
	umount "$directory"
	mount -t "$type" "$device" "$directory"
	echo "after the cut: $(letters "$directory/f")"
	umount "$directory"
}

cut 'fcollapse 0 4k' 0
cut 'finsert 0 4k' 4k
