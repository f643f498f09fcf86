# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154,SC2034
#
# Part of scripts/vm: starts User-Mode Linux. File descriptors 8 and 7 are the
# command's input and output (a serial line in the guest); the kernel's console
# goes to a file of its own.

start_vm() {
	local args=() input=null n=0 disk
	for disk in ${disks[@]+"${disks[@]}"}; do
		# d: the image is data, never a copy-on-write header; t: discard
		args+=("ubd${n}dt=$(realpath "$disk")")
		n=$((n + 1))
	done
	[ -z "$shell" ] || input=fd:8
	# The guest's memory is a file, in /dev/shm unless told otherwise; a small
	# /dev/shm (a container's) would end the VM with SIGBUS.
	if [ "$(df -Pm /dev/shm | awk 'NR == 2 { print $4 }')" -lt "$mem" ]; then
		export TMPDIR=$run
	fi
	# shellcheck disable=SC2086
	setsid "$image" "mem=${mem}M" "ncpus=$cpus" seccomp=on \
		rootfstype=hostfs root=/ ro "init=$REPO/scripts/vm-guest" \
		console=tty0 con=null con0=null,fd:1 ssl=null "ssl0=$input,fd:7" \
		panic=-1 ${args[@]+"${args[@]}"} $append "REXT4_RUN=$run" \
		>"$console" 2>&1 </dev/null &
	pid=$!
}
