# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Sourced after lib.sh and apt.sh: a Debian 13 in which packages are installed by apt, with all that
# their scripts do, for tests of packages. Its packages come from a folder of the cache: nothing in it
# uses the network. Needs root, for files of others than who makes it. LOG is where programs write to.

CLEAN=$CACHE/clean13
# MiB: the packages, and a root with a compiler, headers and a kernel source in it.
CLEAN_ROOM=6500

# clean_download LIST PACKAGE...: PACKAGES with all that they need, as files in CLEAN/repo; one that is
# there stays. Their names go to the file LIST.
clean_download() {
	local list=$1 state=$CACHE/apt/clean13 apt
	shift
	rm -rf "$state"
	mkdir -p "$CLEAN/repo/partial" "$state/none/partial" && : >"$state/status" || return
	apt=(apt-get "${opts[@]}" -y --no-install-recommends
		-o "Dir::State=$state" -o "Dir::State::status=$state/status")
	# What it would fetch if nothing were there is all of it.
	"${apt[@]}" -o "Dir::Cache::archives=$state/none" --print-uris install "$@" >"$state/uris" &&
		awk "/^'/ { print \$2 }" "$state/uris" >"$list" && [ -s "$list" ] &&
		"${apt[@]}" -o "Dir::Cache::archives=$CLEAN/repo" --download-only install "$@"
}

# The folder becomes what apt can install from.
clean_index() {
	local deb
	for deb in "$CLEAN"/repo/*.deb; do
		dpkg-deb -f "$deb" &&
			printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' "${deb##*/}" "$(stat -c %s "$deb")" \
				"$(sha256sum "$deb" | cut -d ' ' -f 1)" || return
	done >"$CLEAN/repo/Packages.new"
	mv "$CLEAN/repo/Packages.new" "$CLEAN/repo/Packages"
}

# clean_run ROOT COMMAND...: as root there. The mounts go with the command.
clean_run() {
	local root=$1
	shift
	# shellcheck disable=SC2016
	unshare --mount bash -euc '
		root=$1 repo=$2
		shift 2
		mount --rbind /dev "$root/dev"
		mount --rbind /proc "$root/proc"
		mkdir -p "$root/repo"
		mount --bind "$repo" "$root/repo"
		exec chroot "$root" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
			DEBIAN_FRONTEND=noninteractive "$@"' bash "$root" "$CLEAN/repo" "$@" </dev/null
}

# What every Debian has, and apt: unpacked, then installed over that.
clean_base() {
	local new=$CLEAN/base.new list=$1 deb dir
	local debs=()
	rm -rf "$new" "$CLEAN/base"
	mkdir -p "$new"/usr/{bin,sbin,lib,lib64} "$new"/{dev,proc,sys,tmp,root,etc/apt,var/lib/dpkg/info} || return
	for dir in bin sbin lib lib64; do
		ln -s "usr/$dir" "$new/$dir" || return
	done
	while read -r deb; do
		debs+=("/repo/$deb")
		unpack_deb "$CLEAN/repo/$deb" "$new" || return
	done <"$list"
	: >"$new/var/lib/dpkg/status"
	echo 'deb [trusted=yes] file:/repo ./' >"$new/etc/apt/sources.list"
	# apt would read the repository as another user.
	printf '%s\n' 'APT::Sandbox::User "root";' 'Acquire::Languages "none";' >"$new/etc/apt/apt.conf"
	# base-files wants groups before base-passwd has had its turn.
	cp "$new/usr/share/base-passwd/passwd.master" "$new/etc/passwd"
	cp "$new/usr/share/base-passwd/group.master" "$new/etc/group"
	printf '#!/bin/sh\nexit 101\n' >"$new/usr/sbin/policy-rc.d"
	chmod 755 "$new/usr/sbin/policy-rc.d"
	ln -sf mawk "$new/usr/bin/awk"
	clean_run "$new" dpkg --install --force-depends "${debs[@]}" &&
		clean_run "$new" apt-get -q update &&
		mv "$new" "$CLEAN/base"
}

# clean_get PACKAGE...: what is needed to install these in it.
clean_get() {
	local wanted="$*"
	know_debian
	[ "$(id -u)" = 0 ] || die "a Debian 13 to install packages in needs root"
	mkdir -p "$CLEAN/repo" "$CACHE/log" || die "cannot create $CLEAN"
	exec 9>"$CLEAN.lock"
	flock -n 9 || { note "another run makes it, waiting"; flock 9; }
	[ ! -e "$CLEAN/base" ] || [ "$(cat "$CLEAN/packages" 2>/dev/null)" != "$wanted" ] || return 0
	: >"$LOG"
	need_space "$CACHE" "$CLEAN_ROOM" "a Debian 13 to install packages in"
	source_lists
	# The source is there already, mostly, and large.
	ln -f "$CACHE"/dl/linux-source-*.deb "$CLEAN/repo/" 2>/dev/null || true
	attempt "downloading a Debian 13 to install packages in" \
		clean_download "$CLEAN/all.list" '?essential' apt "$@"
	attempt "downloading a Debian 13 to install packages in" \
		clean_download "$CLEAN/base.list" '?essential' apt
	attempt "indexing its packages" clean_index
	attempt "installing it" clean_base "$CLEAN/base.list"
	echo "$wanted" >"$CLEAN/packages"
	exec 9>&-
}

# clean_new FOLDER: a new one.
clean_new() {
	rm -rf "$1"
	cp -a --reflink=auto "$CLEAN/base" "$1"
}
