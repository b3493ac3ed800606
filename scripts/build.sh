#!/bin/bash
# Build a kernel tree, its uio selftests and an initramfs that runs them.
#
# Needs:  a compiler and what a kernel build takes; installs what is missing
# Makes:  BUILD: kernel build folder, with guest/kernel and guest/initramfs
# Usage:  build.sh TREE BUILD x86_64|arm64
. "$(dirname "$0")/lib.sh"

tree=$1 build=$2
export ARCH=$3
log=$build.log

build_packages
case $ARCH in
x86_64)
	image=arch/x86/boot/bzImage
	packages cpio kmod xz-utils busybox-static lib32gcc-"$(gcc -dumpversion)"-dev libc6-dev-i386
	busybox=$(command -v busybox) ;;
arm64)
	image=arch/arm64/boot/Image
	export CROSS_COMPILE=aarch64-linux-gnu-
	packages cpio kmod xz-utils gcc-aarch64-linux-gnu libc6-dev-arm64-cross
	[ -e "$CACHE/tools/busybox-static-arm64" ] || foreign busybox-static arm64
	busybox=$(find "$CACHE/tools/busybox-static-arm64" -type f -path '*bin/busybox') ;;
esac

# The config: fragments on top of allnoconfig, and every line of them must take.
configure() {
	local fragments=("$TOP/scripts/config/guest.config"
			 "$TOP/scripts/config/$ARCH.config"
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
	"${CROSS_COMPILE:-}gcc" -Wall -Wextra -Werror -Wno-sign-compare -Wno-unused-result -O2 -static \
		-isystem "$build/usr/include" -o "$build/guest/root/example" "$c"
}

initramfs() {
	local root=$build/guest/root
	rm -rf "$root"
	mkdir -p "$root"/{bin,dev,proc,sys,tmp,etc,modules}
	cp "$busybox" "$root/bin/busybox"
	cp "$TOP/scripts/guest-init.sh" "$root/init"
	cp -r "$build"/guest/kselftest* "$root"
	example >>"$log" 2>&1 ||
		die "the program in the documentation does not compile; log: $log"
	find "$build/drivers/uio" -name '*.ko' -exec cp -t "$root/modules" {} +
	(cd "$root" && find . | cpio -o -H newc --quiet -R 0:0 | gzip -1) \
		>"$build/guest/initramfs.tmp"
	mv "$build/guest/initramfs.tmp" "$build/guest/initramfs"
}

# The selftests, static, as guest/kselftestNAME.
selftests() {	# NAME [FLAG...]
	rm -rf "$build/kselftest/uio"
	make -C "$tree/tools/testing/selftests" O="$build" TARGETS=uio \
		USERCFLAGS="${*:2}" USERLDFLAGS="-static ${*:2}" \
		INSTALL_PATH="$build/guest/kselftest$1" install >>"$log" 2>&1 ||
		die "cannot build the selftests; log: $log"
}

mkdir -p "$build/guest"
: >"$log"
configure
stage "build $(make -s -C "$tree" kernelversion) (log: $log)"
make -C "$tree" O="$build" -j "$JOBS" "$(basename "$image")" modules 2>&1 | tee -a "$log" |
	progress '^ +(CC|AS|LD|AR)( \[M\])? ' steps 1950 ||
	die "cannot build the kernel: $(grep -m 1 -E '(error|Error):? ' "$log" || tail -n 1 "$log"); log: $log"
stage "build the selftests"
make -C "$tree" O="$build" headers >>"$log" 2>&1 ||
	die "cannot build the kernel headers; log: $log"
rm -rf "$build"/guest/kselftest* "$build/kselftest"
# The last one is what stays in the build folder.
[ "$ARCH" != x86_64 ] || selftests 32 -m32
selftests ''
initramfs
cp "$build/$image" "$build/guest/kernel"
