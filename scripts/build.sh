#!/bin/bash
# Build a kernel tree, its uio selftests and an initramfs that runs them.
#
# Needs:  a compiler and what a kernel build takes; installs what is missing
# Makes:  BUILD: kernel build folder, with guest/bzImage and guest/initramfs
# Usage:  build.sh TREE BUILD
. "$(dirname "$0")/lib.sh"

tree=$1 build=$2
log=$build.log

packages gcc libc6-dev make flex bison bc libelf-dev libssl-dev openssl perl python3 \
	rsync cpio kmod xz-utils busybox-static

# The config: fragments on top of allnoconfig, and every line of them must take.
configure() {
	local fragments=("$TOP/scripts/config/guest.config"
			 "$TOP/scripts/config/x86_64.config"
			 "$tree/tools/testing/selftests/uio/config") lost
	[ "$(cat "${fragments[@]}" "$build/guest/fragments" 2>/dev/null | sort | uniq -u | wc -l)" != 0 ] ||
		[ ! -f "$build/.config" ] || return 0
	stage "configure"
	(cd "$tree" && scripts/kconfig/merge_config.sh -n -O "$build" "${fragments[@]}") >>"$log" 2>&1 ||
		die "cannot configure $tree; log: $log"
	lost=$(grep -h '^CONFIG' "${fragments[@]}" | grep -vxF -f "$build/.config" || :)
	[ -z "$lost" ] || die "the kernel config does not take: ${lost//$'\n'/ }"
	cat "${fragments[@]}" >"$build/guest/fragments"
}

# The program in the documentation, as it stands there.
example() {
	local rst=$tree/Documentation/driver-api/uio-msix.rst c=$build/guest/example.c
	sed -n '/^  #include <err.h>/,/^[^ ]/ { /^  \|^$/ s/^  //p }' "$rst" >"$c"
	gcc -Wall -Wextra -Werror -Wno-sign-compare -Wno-unused-result -O2 -static \
		-isystem "$build/usr/include" -o "$build/guest/root/example" "$c"
}

initramfs() {
	local root=$build/guest/root
	rm -rf "$root"
	mkdir -p "$root"/{bin,dev,proc,sys,tmp,etc,modules}
	cp "$(command -v busybox)" "$root/bin/busybox"
	cp "$TOP/scripts/guest-init.sh" "$root/init"
	cp -r "$build/guest/kselftest" "$root/kselftest"
	example >>"$log" 2>&1 ||
		die "the program in the documentation does not compile; log: $log"
	find "$build/drivers/uio" -name '*.ko' -exec cp -t "$root/modules" {} +
	(cd "$root" && find . | cpio -o -H newc --quiet -R 0:0 | gzip -1) \
		>"$build/guest/initramfs.tmp"
	mv "$build/guest/initramfs.tmp" "$build/guest/initramfs"
}

mkdir -p "$build/guest"
: >"$log"
configure
stage "build $(make -s -C "$tree" kernelversion) (log: $log)"
make -C "$tree" O="$build" -j "$JOBS" bzImage modules 2>&1 | tee -a "$log" |
	progress '^ +(CC|AS|LD|AR)( \[M\])? ' steps 1950 ||
	die "cannot build the kernel: $(grep -m 1 -E '(error|Error):? ' "$log" || tail -n 1 "$log"); log: $log"
stage "build the selftests"
make -C "$tree" O="$build" headers >>"$log" 2>&1 ||
	die "cannot build the kernel headers; log: $log"
rm -rf "$build/guest/kselftest"
make -C "$tree/tools/testing/selftests" O="$build" TARGETS=uio LDFLAGS=-static \
	INSTALL_PATH="$build/guest/kselftest" install >>"$log" 2>&1 ||
	die "cannot build the selftests; log: $log"
initramfs
