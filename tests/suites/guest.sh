# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0
#
# What the guest's halves of scripts/xfstests, scripts/pjdfstest and scripts/ltp
# have in common.  Who reads this has read JOBDIR/job: REPO FS MODULE.

# shellcheck disable=SC2034,SC2154
read -r TEST_DEV SCRATCH_DEV LOGWRITES_DEV <<<"$REXT4_DISKS"

export PATH=/run/rext4-bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/root LC_ALL=C TERM=dumb

fstyp=$FS
[ "$FS" != rext4-as-ext4 ] || fstyp=ext4

say() {
	echo "guest: $*"
}

give_up() {
	say "$*"
	echo "$*" >"$job/fatal"
	exit 1
}

# What the guest's root, which is the host's, lacks.
common_things() {
	# devtmpfs has none of these.  Without /dev/fd bash's <(...) fails, and with
	# it every "does fio have this engine" check of xfstests.
	[ -e /dev/fd ] || ln -s /proc/self/fd /dev/fd
	[ -e /dev/stdin ] || ln -s /proc/self/fd/0 /dev/stdin
	[ -e /dev/stdout ] || ln -s /proc/self/fd/1 /dev/stdout
	[ -e /dev/stderr ] || ln -s /proc/self/fd/2 /dev/stderr

	mkdir -p /run/rext4-bin /run/lock /mnt/test /mnt/scratch
	ln -sf "$REPO/scripts/mkfs.rext4" "$REPO/scripts/fsck.rext4" /run/rext4-bin/

	echo 0 >/proc/sys/kernel/hung_task_panic 2>/dev/null
	ulimit -c 0
}

# add_users NAME...: unless the host has them, in copies of the files.
add_users() {
	local u id=61234 f
	for u; do
		! grep -q "^$u:" /etc/passwd || continue
		for f in passwd group shadow; do
			[ -e /run/etc-$f ] && continue
			cp -p /etc/$f /run/etc-$f
			mount --bind /run/etc-$f /etc/$f
		done
		id=$((id + 1))
		echo "$u:x:$id:$id::/tmp:/bin/bash" >>/etc/passwd
		echo "$u:x:$id:" >>/etc/group
		echo "$u:!:19000:0:99999:7:::" >>/etc/shadow
	done
}

load_module() {
	local dep args=
	if [ "$FS" = ext4 ]; then
		modprobe ext4 || give_up "modprobe ext4 failed"
		return
	fi
	grep -q '^rext4 ' /proc/modules && return
	[ "$FS" != rext4-as-ext4 ] || args='register_ext4=1'
	for dep in $(modinfo -F depends "$MODULE" | tr , ' '); do
		modprobe "$dep" || give_up "modprobe $dep failed"
	done
	# shellcheck disable=SC2086
	insmod "$MODULE" $args || give_up "insmod rext4 $args failed: $(dmesg | tail -n 3)"
	grep -qw "$fstyp" /proc/filesystems || give_up "the module has not registered $fstyp"
	if [ "$FS" = rext4-as-ext4 ] && grep -q '^ext4 ' /proc/modules; then
		give_up "the kernel's own ext4 is loaded"
	fi
}

# The tasks of the test and all that sleep uninterruptibly, with their kernel stacks.
stuck_tasks() {
	local p state
	for p in /proc/[0-9]*; do
		state=$(sed -n 's/^State:[[:space:]]*//p' "$p/status" 2>/dev/null)
		[ -n "$(tr -d '\0' <"$p/cmdline")" ] || [ "${state:0:1}" = D ] || continue
		echo "== $p $(tr '\0' ' ' <"$p/cmdline") $(cat "$p/comm") $state"
		cat "$p/stack" "$p/wchan" 2>/dev/null
		echo
	done
	echo "== dmesg"
	dmesg | tail -n 200
}

# The mkfs of TEST_DEV; xfstests mounts it when it finds it unmounted.
new_test_dev() {
	local log=/run/mkfs.log
	# shellcheck disable=SC2086 # Words: none, or an option and its value.
	if [ "$fstyp" = ext4 ]; then
		mkfs.ext4 -F -q $MKFS "$TEST_DEV"
	else
		"mkfs.$fstyp" -f -q $MKFS "$TEST_DEV"
	fi >$log 2>&1 || give_up "mkfs of TEST_DEV failed: $(tail -n 1 $log)"
}
