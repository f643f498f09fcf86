# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Sourced after lib.sh by the scripts that get packages: apt with a configuration of our own, whose
# lists and archives lie in the cache. The mirror is the one that this machine's apt has. LOG is
# where its programs write to.

# Where the kernel source, Rust's library sources and Debian's own kernel come from on any Debian.
SOURCE_SUITE=trixie
ID='' VERSION_ID='' VERSION_CODENAME=''
opts=()
# MiB of the compilers of Debian 13: the packages, and what is in them.
# shellcheck disable=SC2034 # for those who source this
DEBIAN13_ROOM=1700

know_debian() {
	# shellcheck source=/dev/null
	[ ! -r /etc/os-release ] || . /etc/os-release
	case $ID-$VERSION_ID in
	debian-12 | debian-13) ;;
	*) die "this script knows Debian 12 and 13, not '${ID:-unknown} $VERSION_ID'; what it" \
		"would install is in scripts/setup, in 'packages'" ;;
	esac
}

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	else
		sudo -n "$@"
	fi
}

need_root() {
	[ "$(id -u)" = 0 ] || { have sudo && sudo -v; } ||
		die "$1 needs root: run as root or install sudo"
}

updated=
system_update() {
	[ -z "$updated" ] || return 0
	need_root "updating the package lists"
	attempt "updating the package lists" as_root apt-get -q update
	updated=1
}

# The mirror this machine already uses for its own release.
mirror() {
	# shellcheck disable=SC2016
	apt-get indextargets --format '$(CODENAME) $(COMPONENT) $(REPO_URI)' 2>/dev/null |
		awk -v c="$VERSION_CODENAME" '$1 == c && $2 == "main" { print $3; exit }'
}

# private_opts LIST: sets opts so that apt uses the sources in apt/LIST.list
# only, with its lists in the cache; the system's apt setup is left alone.
private_opts() {
	local list=$1 dir=$CACHE/apt
	mkdir -p "$dir/$list/lists/partial" "$dir/cache/archives/partial"
	opts=(-q
		-o "Dir::Etc::SourceList=$dir/$list.list"
		-o Dir::Etc::SourceParts=/dev/null
		-o Dir::Etc::Preferences=/dev/null
		-o Dir::Etc::PreferencesParts=/dev/null
		-o "Dir::State::Lists=$dir/$list/lists"
		-o "Dir::Cache=$dir/cache"
		-o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=
		-o APT::Sandbox::User=root -o Acquire::Retries=2)
}

# private_sources LIST SUITE...: writes apt/LIST.list and reads its lists.
private_sources() {
	local list=$1 uri keyring=/usr/share/keyrings/debian-archive-keyring.gpg suite
	shift
	uri=$(mirror)
	if [ -z "$uri" ]; then
		system_update
		uri=$(mirror)
	fi
	[ -n "$uri" ] || die "apt on this machine has no source for Debian $VERSION_CODENAME (main)"
	[ -r "$keyring" ] || die "$keyring is missing: install debian-archive-keyring"
	mkdir -p "$CACHE/apt"
	# Neither descriptions nor what programs for desktops read: that is as large again.
	for suite in "$@"; do
		echo "deb [signed-by=$keyring target=Packages lang=none] $uri $suite main"
	done >"$CACHE/apt/$list.list"
	private_opts "$list"
	attempt "reading the package lists of $*" \
		apt-get "${opts[@]}" -o APT::Update::Error-Mode=any update
}

# Those of SOURCE_SUITE, read once in a run; sets opts to use them.
sources_ready=
source_lists() {
	[ -n "$sources_ready" ] ||
		private_sources sources "$SOURCE_SUITE" "$SOURCE_SUITE-backports"
	sources_ready=1
	private_opts sources
}

# versions NAME: those that the lists in use have, the newest first.
versions() {
	apt-cache "${opts[@]}" madison "$1" | cut -d '|' -f 2 | tr -d ' '
}

# download_deb NAME[=VERSION]: into dl, where no half a file ever stands under its name. One that is
# there is not fetched again.
download_deb() {
	local new=$CACHE/dl/new name=${1%%=*}
	[ "$1" = "$name" ] || ! compgen -G "$CACHE/dl/${1/=/_}_*.deb" >/dev/null || return 0
	mkdir -p "$new"
	(cd "$new" && apt-get "${opts[@]}" download "$1") && mv "$new/$name"_*.deb "$CACHE/dl/"
}

# unpack_deb DEB FOLDER [OPTION OF TAR...]: a file that is damaged goes, so that the next run gets
# it anew.
unpack_deb() {
	local deb=$1 to=$2
	shift 2
	dpkg-deb --fsys-tarfile "$deb" | tar -x --no-same-owner -C "$to" "$@" && return
	dpkg-deb --fsys-tarfile "$deb" >/dev/null || rm -f "$deb"
	return 1
}
