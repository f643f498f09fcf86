# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Sourced by the scripts beside it: where things are, and how to fail.

REPO=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/rext4
KERNEL_SERIES=7.3
BINDGEN_VERSION=0.72.1
RUSTC_MIN=1.85.0
# Debian's ordinary users have no mke2fs and the like in theirs.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
export REPO CACHE KERNEL_SERIES BINDGEN_VERSION RUSTC_MIN

PROG=$(basename "$0")

# What die ends with. A script makes it UNAVAILABLE while what goes wrong only means that something
# is not to be had on this machine today: tests of it are skipped then, and did not fail.
die_status=1
UNAVAILABLE=77
export UNAVAILABLE

die() {
	printf '%s: %s\n' "$PROG" "$*" >&2
	exit "$die_status"
}

# wrong WORD...: what nobody can do was asked for. One line: the usage would push it off the screen.
wrong() {
	die_status=2 die "$* (--help says what there is)"
}

note() {
	printf '%s: %s\n' "$PROG" "$*" >&2
}

have() {
	command -v "$1" >/dev/null 2>&1
}

# version_ge A B: is version A at least B?
version_ge() {
	[ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$2" ]
}

# need_space DIR MIB WHAT: stop before a full disk does it in the middle.
need_space() {
	local free
	mkdir -p "$1" || die "cannot create $1"
	free=$(df -Pm "$1" | awk 'NR == 2 { print $4 }')
	[ "$free" -ge "$2" ] ||
		die "$3 needs $2 MiB in $1, only $free MiB are free"
}

# progress LOG WHAT COMMAND...: run with the output in LOG and a line on the
# terminal every 15 s, with what the command has said last, if anything; return
# the command's status.
progress() {
	local log=$1 what=$2 every=${PROGRESS_SECONDS:-15} pid before said next start=$SECONDS
	local status=0
	shift 2
	next=$every
	# What others have said before is not about this.
	before=$(stat -c %s "$log" 2>/dev/null || echo 0)
	"$@" >>"$log" 2>&1 </dev/null &
	pid=$!
	while kill -0 "$pid" 2>/dev/null; do
		sleep 0.2
		if [ $((SECONDS - start)) -ge "$next" ]; then
			next=$((next + every))
			said=$(tail -c "+$((before + 1))" "$log" | tail -n 1 | tr -s ' \t' ' ' |
				cut -c 1-60)
			note "$what: $((SECONDS - start)) s${said:+: $said}"
		fi
	done
	wait "$pid" || status=$?
	return "$status"
}

# whole FOLDER COMMAND...: what a command that fails has left of the folder goes, so that the room
# is there for the next time.
whole() {
	local folder=$1 status=0
	shift
	"$@" || status=$?
	[ "$status" = 0 ] || rm -rf "$folder"
	return "$status"
}

# attempt WHAT COMMAND...: one line when it fails, with the reason it gave. Its output goes to LOG.
attempt() {
	local what=$1 why free
	shift
	note "$what"
	if ! progress "$LOG" "$what" "$@"; then
		# apt ends with what it makes of its failures; the reasons stand before that.
		why=$(grep -aiE 'no space left|^E: |^error|ERROR:|Killed|cannot allocate' "$LOG" |
			grep -av '^E: \(Some index files failed\|Unable to fetch some archives\)' |
			tail -n 1 || true)
		[ -n "$why" ] || why=$(grep -aE -m 1 '^(tar|xz): |^make.*: \*\*\* ' "$LOG" || true)
		# Some programs say anything but that.
		free=$(df -Pm "${LOG%/*}" | awk 'NR == 2 { print $4 }')
		[ "$free" -ge 16 ] || why="no space left in ${LOG%/*}, $free MiB are free"
		! grep -qaiE 'no space left|cannot allocate' "$LOG" - <<<"$why" || die_status=1
		die "$what failed: ${why:-see the log} (log: $LOG)"
	fi
}

# The kernel source, once scripts/setup has unpacked it.
kernel_source() {
	echo "$CACHE/src/linux-source-$KERNEL_SERIES"
}

# What the package of the source installs.
# shellcheck disable=SC2034 # for those who source this
SOURCE_TARBALL=${REXT4_SOURCE:-/usr/src/linux-source-$KERNEL_SERIES.tar.xz}

# The version of an installed package; nothing if it is not there.
installed() {
	dpkg-query -W -f '${db:Status-Want} ${Version}\n' "$1" 2>/dev/null |
		sed -n 's/^install //p' || true
}

libclang_dir() {
	local dir
	for dir in $(printf '%s\n' /usr/lib/llvm-*/lib | sort -rV); do
		if compgen -G "$dir/libclang*.so*" >/dev/null; then
			echo "$dir"
			return
		fi
	done
}

# Rust's library sources for the rustc in use: rustup's, or the cached ones.
rust_src() {
	local version dir
	version=$(rustc --version | cut -d ' ' -f 2)
	for dir in "$(rustc --print sysroot)/lib/rustlib/src/rust/library" \
		"$CACHE/rust-src-$version/usr/src/rustc-$version/library"; do
		if [ -e "$dir/core/src/lib.rs" ]; then
			echo "$dir"
			return
		fi
	done
}

# What kbuild and the module's bindgen step read from the environment.
# Values given by the user win.
toolchain_env() {
	[ ! -x "$CACHE/cargo/bin/bindgen" ] || PATH=$CACHE/cargo/bin:$PATH
	: "${BINDGEN:=bindgen}"
	: "${LIBCLANG_PATH:=$(libclang_dir)}"
	: "${RUST_LIB_SRC:=$(rust_src)}"
	export PATH BINDGEN LIBCLANG_PATH RUST_LIB_SRC
}

# scratch_dir MIB: a new folder for disk images, in memory if there is room
# (User-Mode Linux flushes with a real fsync), else in the cache.
scratch_dir() {
	local dir=/dev/shm
	if ! [ -w "$dir" ] || [ "$(df -Pm "$dir" | awk 'NR == 2 { print $4 }')" -lt "$1" ] ||
		[ "$(awk '/^MemAvailable/ { print int($2 / 1024) }' /proc/meminfo)" -lt \
			$(($1 + 4096)) ]; then
		dir=$CACHE/run
		need_space "$dir" "$1" "disk images"
	fi
	mktemp -d "$dir/rext4.XXXXXX" || die "cannot create a folder in $dir"
}

# test_program NAME: builds a program of tests/ that runs in the guest; prints its path.
test_program() {
	local out
	out=$(cd "$REPO/tests" && cargo build -q --release -p "$1" 2>&1) ||
		die "building tests/$1 failed:" \
			"$(echo "$out" | grep -m 1 '^error' || echo "$out" | tail -n 1)"
	echo "${CARGO_TARGET_DIR:-$REPO/tests/target}/release/$1"
}

# The program that tests and demonstrates in the guest.
guest_program() {
	test_program guest
}

# module_with NAME PATCH [--lab]: builds a copy of the module with the patch, in build/NAME;
# prints the path.
module_with() {
	local copy=$REPO/build/$1/copy
	mkdir -p "$copy"
	# What is built there stays: most of it is the same the next time.
	rm -rf "$copy"/{Kbuild,VERSION,rust,scripts}
	cp -rp "$REPO"/{Kbuild,VERSION,rust,scripts} "$copy/"
	patch -s -p1 -d "$copy" <"$2" >&2 || die "$2 does not apply any more"
	"$copy/scripts/module" ${3:+"$3"} uml
}

# cpu_for N: one of the processors that this process may run on; each N another one.
cpu_for() {
	python3 -c '
import os, sys
cpus = sorted(os.sched_getaffinity(0))
print(cpus[int(sys.argv[1]) % len(cpus)])' "$1"
}

# known_missed TABLE NAME: why NAME is not found, by the column "reason" of a table of power;
# fails if it has none.
known_missed() {
	awk -F '\t' -v name="$2" '
		/^#/ { next }
		!col { for (i = 1; i <= NF; i++) if ($i == "reason") col = i; next }
		$1 == name && $col != "" && $col != "-" { print $col; found = 1; exit }
		END { exit !found }' "$1"
}

# The kernel source's own headers: a real tree of some thousand files.
sample_tree() {
	echo "$(kernel_source)/include"
}

# sample_image FILE: an ext4 image filled with it, by plain mke2fs.
sample_image() {
	local why
	truncate -s 1G "$1" || die "cannot create $1"
	why=$(mke2fs -q -t ext4 -d "$(sample_tree)" "$1" 2>&1) ||
		die "mke2fs failed: $(echo "$why" | tail -n 1)"
}
