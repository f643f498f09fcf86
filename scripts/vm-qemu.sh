# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2154,SC2034
#
# Part of scripts/vm: starts QEMU by way of virtme-ng. The command's input and
# output are file descriptors 8 and 7 and go through virtio-serial ports; the
# kernel's console is the serial line. Both are pipes on this side, because
# QEMU opens what it is given again by name and truncates files.

start_vm() {
	local args=() disk accel=() cpu=max,la57=off,smap=off,smep=off,pku=off
	local vng=$CACHE/venv/bin/vng
	[ -x "$vng" ] || die "virtme-ng is missing: run scripts/setup"
	have qemu-system-x86_64 || die "QEMU is missing: run scripts/setup"

	# /dev/kvm may open and still be unable to run a stock kernel; virtme-ng
	# would take it. The CPU's flags tell.
	if [ -z "$icount" ] && [ -w /dev/kvm ] && grep -qE '^flags.* (vmx|svm)( |$)' /proc/cpuinfo; then
		cpu=host
	else
		args+=(--disable-kvm)
		if [ -n "$icount" ]; then
			accel=(-accel "tcg,thread=single" -icount "shift=1,sleep=off")
		else
			accel=(-accel "tcg,thread=multi")
		fi
	fi
	for disk in ${disks[@]+"${disks[@]}"}; do
		accel+=(-drive "file=$(realpath "$disk"),if=virtio,format=raw,cache=unsafe,discard=unmap")
	done

	args+=(-r "$image" --force-9p --disable-microvm --user root --cpus "$cpus"
		-m "${mem}M" --rwdir "$run" --rwdir "$share" --qemu-opts="-cpu $cpu ${accel[*]}")
	[ -z "$hidden" ] || args+=(--rodir "$hidden")
	# tsc=reliable: without it the clock falls back to jiffies under TCG.
	append="mitigations=off tsc=reliable rcupdate.rcu_cpu_stall_timeout=120 $append"
	PATH=$CACHE/venv/bin:$PATH
	mkfifo "$run/err"
	cat "$run/err" >"$console" &
	readers=($!)
	if [ -n "$shell" ]; then
		setsid "$vng" "${args[@]}" --disable-monitor --append "$append REXT4_RUN=$run" \
			--shell "$REPO/scripts/vm-guest" >&7 2>"$run/err" <&8 &
	else
		mkfifo "$run/out"
		cat "$run/out" >&7 &
		readers+=($!)
		setsid "$vng" -v "${args[@]}" --append "$append" \
			--exec "env REXT4_RUN=$run $REPO/scripts/vm-guest" \
			>"$run/out" 2>"$run/err" </dev/null &
	fi
	pid=$!
}
