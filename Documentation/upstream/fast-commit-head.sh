#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# ext4 aborts its journal after tune2fs -O fast_commit, if the log ended in what is the area of
# fast commits from then on, and writes a block of the log where a file may have one. Makes a new
# file system on the device.
#
# Usage: fast-commit-head.sh DEVICE DIRECTORY
set -euo pipefail
device=$1 directory=$2

# The block of the log at which it ends.
head_of_log() {
	local first
	first=$(debugfs -R "bmap <8> 0" "$device" 2>/dev/null | tail -n 1)
	dd if="$device" bs=1024 skip="$first" count=1 2>/dev/null |
		od -A n -t u4 --endian=big -j 88 -N 4 | tr -d ' '
}

# A block of the file system whose number is that behind the last of the log.
block_2048() {
	dd if="$device" bs=1024 skip=2048 count=1 2>/dev/null | sha256sum
}

# make_dirs NAME COUNT: directories, each in a transaction of its own.
make_dirs() {
	local i
	for i in $(seq "$2"); do
		mkdir "$directory/$1.$i" || return 1
		sync
	done
}

# Whatever fails: the directory is free again.
trap 'umount "$directory" 2>/dev/null || true' EXIT

# The tables are written now: no thread of ext4 does it later, and adds to the log.
mke2fs -q -t ext4 -b 1024 -J size=2 -O ^fast_commit -E lazy_itable_init=0 "$device" 60M
for round in $(seq 200); do
	mount -t ext4 "$device" "$directory"
	make_dirs "a$round" 8
	umount "$directory"
	[ "$(head_of_log)" -lt 1792 ] || break
done
end=$(head_of_log)
echo "the log ends at block $end of 2048"
[ "$end" -ge 1792 ] || { echo "never in its last part: no result"; exit 2; }
tune2fs -O fast_commit "$device"
before=$(block_2048)
mount -t ext4 "$device" "$directory"
if make_dirs b 200; then
	echo "no abort"
fi
umount "$directory"
[ "$(block_2048)" = "$before" ] || echo "block 2048 of the file system was written to"
e2fsck -fn "$device"
