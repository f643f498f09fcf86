#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# ext4 aborts its journal after tune2fs -O fast_commit, if the log ended in what is the area of
# fast commits from then on. Makes a new file system on the device.
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

# make NAME COUNT: directories, each in a transaction of its own.
make_dirs() {
	local i
	for i in $(seq "$2"); do
		mkdir "$directory/$1.$i"
		sync
	done
}

mke2fs -q -t ext4 -b 1024 -J size=2 -O ^fast_commit "$device" 60M
for round in $(seq 200); do
	mount -t ext4 "$device" "$directory"
	make_dirs "a$round" 8
	umount "$directory"
	[ "$(head_of_log)" -le 1792 ] || break
done
echo "the log ends at block $(head_of_log) of 2048"
tune2fs -O fast_commit "$device"
mount -t ext4 "$device" "$directory"
trap 'umount "$directory"' EXIT
make_dirs b 200
echo "no abort"
