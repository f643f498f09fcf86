# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Sourced after lib.sh and probe.sh: makes the Rust metadata that the headers of Debian's kernel
# lack, from the source of the same package version, with the headers' own configuration, by the
# compilers that it names. The kernel is not built. Who sources it says where:
#   src      the source
#   out      the folder for it all, which modules are built against afterwards
#   release  as uname -r says it
#   version  of the packages
# and LOG. IN is what a compiler's command begins with.

src='' out='' release='' version=''

# kbuild under the names that Debian has for its tools.
mk() {
	"${IN[@]}" make -C "$src" O="$out" ARCH=x86_64 CROSS_COMPILE=x86_64-linux-gnu- \
		CC="$cc" KERNELRELEASE="$release" -j"${JOBS:-$(nproc)}" "$@"
}

# probe_toolchain CONFIG: whether the toolchain is what the configuration names: the C compiler by
# its version, for which build of it is no matter, Rust's by all that it says of itself. Sets cc.
probe_toolchain() {
	local what="Debian's $release" config=$1 wanted here
	probe_release "$what" "$release"
	probe_config "$what" "$config"
	wanted=$(said "$config" CC_VERSION_TEXT)
	cc=${wanted%% *}
	here=$("${IN[@]}" "$cc" --version 2>/dev/null | head -n 1 || true)
	[ "${here##* }" = "${wanted##* }" ] || other "$what" "$wanted" "$cc" "${here:-missing}"
	probe_rustc "$what" "$config"
	probe_bindgen "$what" "$(said "$config" BINDGEN_VERSION_TEXT | cut -d ' ' -f 2)"
	probe_rust_src "$("${IN[@]}" rustc --print sysroot)/lib/rustlib/src/rust/library"
	# Another one makes another configuration.
	wanted=$(said "$config" PAHOLE_VERSION)
	here=$("${IN[@]}" pahole --version 2>/dev/null |
		sed 's/^v\([0-9]*\)\.\([0-9]*\)/\1\2/' || true)
	[ -z "$wanted" ] || [ "$here" = "$wanted" ] ||
		other "$what" "pahole $wanted" pahole "${here:-missing}"
}

# use_debian13 CONFIG: compilers run in the Debian 13 of the cache. It is renewed if it has not
# those that the configuration names: a kernel that has just come may be of newer ones.
use_debian13() {
	local cc
	IN=("$REPO/scripts/debian13")
	# It says itself why it cannot be entered.
	"${IN[@]}" true || exit
	(probe_toolchain "$1") 2>/dev/null || "${IN[@]}" --renew || exit
}

# The options that came out another than in the headers.
changed() {
	diff <(grep '^CONFIG_' "$out/headers.config") <(grep '^CONFIG_' "$out/.config") |
		sed -n 's/^[<>] \(CONFIG_[A-Z0-9_a-z]*\)=.*/\1/p' |
		grep -vx CONFIG_CC_VERSION_TEXT | sort -u | tr '\n' ' ' || true
}

# metadata HEADERS: HEADERS is their folder.
metadata() {
	local cc what
	probe_toolchain "$1/.config"
	cp "$1/.config" "$out/headers.config"
	cp "$1/.config" "$1/Module.symvers" "$out/"
	attempt "configuring for $release" mk olddefconfig
	what=$(changed)
	[ -z "$what" ] || die "the source of $version makes another configuration than its" \
		"headers have: $what(log: $LOG)"
	attempt "making the Rust metadata of $release" mk modules_prepare
	what=$(changed)
	[ -z "$what" ] || die "$release came out with another configuration: $what(log: $LOG)"
	probe_metadata "$out" "$out"
	probe_names "Debian's $release" "$out"
}
