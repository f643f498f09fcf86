# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Sourced after lib.sh: whether rext4 can be built for a kernel with this toolchain. Each says in
# one line what is wrong, and ends the script. IN is what a compiler's command begins with, if it
# is to run in another Debian.

IN=()
# What to do about another rustc.
RUSTC_HINT="use that one ('rustup override set VERSION'), or build the kernel again"

# said FILE OPTION: the text of a configuration's option, without its quotes.
said() {
	sed -n "s/^CONFIG_$2=\"\{0,1\}\([^\"]*\)\"\{0,1\}\$/\1/p" "$1"
}

# package_of HEADERS: the version of the package, if they are Debian's.
package_of() {
	sed -n 's/^#define LINUX_PACKAGE_ID " Debian \(.*\)"$/\1/p' \
		"$1/include/generated/package.h" 2>/dev/null || true
}

# has_metadata FOLDER: headers of other distributions, and of kernels that somebody built.
has_metadata() {
	[ -e "$1/rust/libkernel.rmeta" ]
}

# probe_release WHAT RELEASE
probe_release() {
	case $2 in
	"$KERNEL_SERIES" | "$KERNEL_SERIES"[.-]*) ;;
	*) die "rext4 builds on Linux $KERNEL_SERIES; this is $2 ($1)" ;;
	esac
}

# probe_config WHAT FILE: the options that rext4 needs.
probe_config() {
	local option
	grep -qx CONFIG_RUST=y "$2" ||
		die "$1 was configured without CONFIG_RUST=y: 'make rustavailable' in its source" \
			"says what that lacks, then set it and build again"
	for option in MODULES JBD2 FS_IOMAP BUFFER_HEAD FS_POSIX_ACL FS_MBCACHE; do
		grep -qE "^CONFIG_$option=(y|m)$" "$2" ||
			die "$1 lacks CONFIG_$option: set it (CONFIG_EXT4_FS=m with" \
				"CONFIG_EXT4_FS_POSIX_ACL=y selects all that rext4 needs but" \
				"CONFIG_MODULES) and build again"
	done
}

# other WHAT WANTED TOOL HERE [HINT]: ends with a compiler that is not the kernel's. The Debian 13
# in the cache has been renewed before it comes to this, so that another kernel is all that helps.
other() {
	[ ${#IN[@]} -eq 0 ] ||
		die "$1 was built with $2, Debian 13 has ${4/#missing/none}: it takes a kernel" \
			"that was built with that; 'scripts/kernel --update stock' gets one when" \
			"Debian has it"
	die "$1 was built with $2, $3 here is $4${5:+: $5}"
}

# probe_rustc WHAT FILE: Rust metadata is of one compiler only.
probe_rustc() {
	local wanted here
	wanted=$(said "$2" RUSTC_VERSION_TEXT)
	here=$("${IN[@]}" rustc --version 2>/dev/null || echo missing)
	[ "$here" = "$wanted" ] || other "$1" "$wanted" rustc "$here" "$RUSTC_HINT"
}

# probe_bindgen WHAT [VERSION]: that one and no other, or any that is new enough.
probe_bindgen() {
	local here
	here=$("${IN[@]}" "$BINDGEN" --version 2>/dev/null | sed -n '1s/^bindgen //p' || true)
	[ -z "${2-}" ] || [ "$here" = "$2" ] ||
		other "$1" "bindgen $2" bindgen "${here:-missing}" "the Rust metadata takes that"
	version_ge "${here:-0}" 0.71.1 ||
		die "bindgen is ${here:-missing}, Linux $KERNEL_SERIES needs 0.71.1 or newer: run" \
			"scripts/setup or 'cargo install bindgen-cli', and set BINDGEN if it is" \
			"not in PATH"
}

# probe_rust_src FOLDER: what core is built from.
probe_rust_src() {
	"${IN[@]}" test -e "$1/core/src/lib.rs" ||
		die "no library sources for $("${IN[@]}" rustc --version) in ${1:-its folder}:" \
			"the package rust-src, or 'rustup component add rust-src'"
}

# probe_metadata WHAT FOLDER
probe_metadata() {
	local file
	for file in libkernel.rmeta libcore.rmeta libzerocopy.rmeta; do
		[ -e "$2/rust/$file" ] ||
			die "$1 has no Rust metadata (rust/$file): run 'make prepare' there, or" \
				"install the package that has it"
	done
	[ -e "$2/Module.symvers" ] ||
		die "$1 has no Module.symvers: run 'make' there (modules cannot be linked without" \
			"it)"
}

# lost WHAT FOLDER: those of the names it reads that the kernel does not export.
lost() {
	# awk would take the names for the file before it, and miss none of them.
	[ -s "$2/Module.symvers" ] || die "$1 exports nothing: $2/Module.symvers is empty"
	awk 'NR == FNR { known[$2] = 1; next } !($1 in known)' "$2/Module.symvers" -
}

# none_lost WHAT WHOSE NAMES
none_lost() {
	[ -z "$3" ] ||
		die "$1 does not export what $2, $(echo "$3" | wc -l) symbols," \
			"$(echo "$3" | head -n 1) first: its Rust metadata is of another kernel" \
			"or compiler"
}

# probe_names WHAT FOLDER: the names of the metadata must be those that the kernel exports. A hash
# in them is of the compiler, another one makes others.
probe_names() {
	local names
	names=$(cat "$2"/rust/exports_{core,kernel,bindings,helpers}_generated.h |
		sed -n 's/^EXPORT_SYMBOL[A-Z_]*(\([^)]*\)).*/\1/p')
	[ -n "$names" ] || die "$1: its Rust metadata has no names in $2/rust/exports_*"
	names=$(lost "$1" "$2" <<<"$names")
	none_lost "$1" "its Rust metadata names" "$names"
}

# probe_module WHAT FOLDER FILE: the same of what a module takes from the kernel. The headers of
# other distributions may lack the list of the metadata's names. kbuild looks at it, too, but lets
# it pass where it is told to.
probe_module() {
	local names
	names=$("${IN[@]}" nm -u "$3" | sed -n 's/^ *U //p' | lost "$1" "$2")
	none_lost "$1" "${3##*/} takes from it" "$names"
}
