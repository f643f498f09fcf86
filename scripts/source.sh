# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Sourced after lib.sh and apt.sh: the source of a kernel package in the cache, and what goes from
# there when nothing needs it any more. LOG is where programs write to.

# MiB: the package and what is in it.
SOURCE_ROOM=2200

# name_of VERSION: as it is in the names of folders.
name_of() {
	printf %s "$1" | tr -c 'A-Za-z0-9.' -
}

# source_folder VERSION: where the source of that package is, or will be. The one that all kernels
# are built from, if it is of it.
source_folder() {
	local dir
	dir=$(kernel_source)
	[ ! -e "$dir/Makefile" ] || [ "$(cat "$dir.version" 2>/dev/null)" = "$1" ] ||
		dir=$CACHE/src/linux-source-$1
	echo "$dir"
}

# unpack_source FROM FOLDER [VERSION]: the kernel source from its package, or from what that
# installs; FOLDER.version says of which version. Two scripts may want it at a time; the second one
# finds it done.
unpack_source() (
	from=$1 to=$2 new=$2.new
	mkdir -p "$(dirname "$to")"
	exec 7>"$to.lock"
	flock 7
	[ ! -e "$to/Makefile" ] || exit 0
	rm -rf "$new" "$to"
	mkdir -p "$new"
	version=${3:-$(dpkg-deb -f "$from" Version)}
	case $from in
	*.deb)
		unpack_deb "$from" "$new" || exit
		from=$new/usr/src/linux-source-$KERNEL_SERIES.tar.xz
		;;
	esac
	tar -xf "$from" -C "$new" &&
		echo "$version" >"$to.version" &&
		mv "$new/linux-source-$KERNEL_SERIES" "$to" &&
		rm -rf "$new"
)

# source_package VERSION: where its file is, if it was fetched.
source_package() {
	printf '%s\n' "$CACHE/dl/linux-source-${KERNEL_SERIES}_$1"_*.deb | tail -n 1
}

# download_source VERSION: the package from the mirror, unless it was fetched before.
download_source() {
	local version=$1 name=linux-source-$KERNEL_SERIES
	# shellcheck disable=SC2034 # die looks at it
	local die_status=$UNAVAILABLE
	[ ! -e "$(source_package "$version")" ] || return 0
	know_debian
	source_lists
	versions "$name" | grep -qxF "$version" ||
		die "the source of $version is not to be had: $name is not installed in that" \
			"version, the mirror has" \
			"$(versions "$name" | head -n 1 | grep . || echo none)"
	attempt "downloading $name $version" download_deb "$name=$version"
}

# get_source VERSION: from the package that is installed, if it is of that version, or from the
# mirror.
get_source() {
	local version=$1 to from
	to=$(source_folder "$version")
	[ ! -e "$to/Makefile" ] || return 0
	die_status=1 need_space "$CACHE" "$SOURCE_ROOM" "the source of $version"
	have xz || die_status=1 die "xz is missing: install xz-utils"
	from=$SOURCE_TARBALL
	if [ "$(installed "linux-source-$KERNEL_SERIES")" != "$version" ] || [ ! -e "$from" ]; then
		download_source "$version"
		from=$(source_package "$version")
	fi
	die_status=1 attempt "unpacking the source of $version" \
		whole "$to.new" unpack_source "$from" "$to" "$version"
}

# drop FOLDER: one that others have superseded. Who uses it has FOLDER.lock; it stays until the
# next time then.
drop() (
	exec 6>>"$1.lock"
	flock -n 6 || { note "$1 is in use, and stays for now"; exit 0; }
	rm -rf "$1"
)

# drop_sources: those that no folder in the cache was made from any more, but the one that kernels
# are built from, with their packages.
drop_sources() {
	local dir version used
	for dir in "$CACHE/src/linux-source-$KERNEL_SERIES"*/; do
		dir=${dir%/}
		used=$(find "$CACHE/build" -mindepth 2 -maxdepth 2 -name source -lname "$dir")
		if [ -n "$used" ] || [ "$dir" = "$(kernel_source)" ] || [ ! -e "$dir/Makefile" ]
		then
			continue
		fi
		version=$(cat "$dir.version" 2>/dev/null || true)
		drop "$dir"
		rm -f "$(source_package "${version:-none}")"
	done
}
