#!/bin/bash
# Build a kernel tree, its uio selftests and an initramfs that runs them.
#
# Needs:  a compiler and what a kernel build takes; installs what is missing
# Makes:  BUILD: kernel build folder, with guest/kernel and guest/initramfs
# Prints: stages; nothing if all is as it was when it was built last
# Usage:  build.sh TREE BUILD x86_64|arm64[-debug|-rt|-bench]
. "$(dirname "$0")/lib.sh"

tree=$1 build=$2
export ARCH=${3%%-*}
flavour=${3#"$ARCH"} flavour=${flavour#-}
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

# The config: fragments on top of allnoconfig, then the flavour's on top of that,
# and every line of them must take.
configure() {
	local fragments=("$TOP/scripts/config/guest.config"
			 "$TOP/scripts/config/$ARCH.config") lost
	[ "$flavour" = bench ] || fragments+=(
		"$tree/tools/testing/selftests/uio/config" "$TOP/scripts/config/tests.config")
	local all=("${fragments[@]}" ${flavour:+"$TOP/scripts/config/$flavour.config"})
	[ ! -f "$build/.config" ] || ! cat "${all[@]}" | cmp -s - "$build/guest/fragments" || return 0
	stage "configure"
	merge -n "${fragments[@]}"
	# Else what EXPERT lets one turn off would be off.
	[ -z "$flavour" ] || {
		cp "$build/.config" "$build/guest/plain.config"
		merge "$build/guest/plain.config" "$TOP/scripts/config/$flavour.config"
	}
	lost=$(grep -h '^CONFIG' "${all[@]}" | grep -vxF -f "$build/.config" |
		grep -vwF -f <(sed -n 's/^# \(CONFIG.*\) is not set$/\1/p' "${all[@]}") || :)
	[ -z "$lost" ] || die "the kernel config does not take: ${lost//$'\n'/ }"
	cat "${all[@]}" >"$build/guest/fragments"
}

merge() {
	(cd "$tree" && scripts/kconfig/merge_config.sh -O "$build" "$@") >>"$log" 2>&1 ||
		die "cannot configure $tree; log: $log"
}

# The program in the documentation, as it stands there.
example() {
	local rst=$tree/Documentation/driver-api/uio-msix.rst c=$build/guest/example.c
	sed -n '/^  #include <err.h>/,/^[^ ]/ { /^  \|^$/ s/^  //p }' "$rst" >"$c"
	"${CROSS_COMPILE:-}gcc" -Wall -Wextra -Werror -Wno-sign-compare -Wno-unused-result -O2 -static \
		-isystem "$build/usr/include" -o "$build/guest/root/example" "$c"
}

# What is too heavy for the selftests. Called where set -e is off.
programs() {
	local t=$tree/tools/testing/selftests c
	local all=("$TOP"/tests/guest/*.c)
	[ "$flavour" != bench ] || all+=("$TOP/bench/bench.c")
	for c in "${all[@]}"; do
		"${CROSS_COMPILE:-}gcc" -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -Wall -Wextra -Werror -Wno-unused-parameter -Wno-clobbered -O2 -pthread \
			-static -isystem "$build/usr/include" -I "$t" -I "$t/uio" \
			-o "$build/guest/root/bin/$(basename "$c" .c)" "$c" || return
	done
	[ "$ARCH" != x86_64 ] || gcc -m32 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -Wall -Wextra -Werror -Wno-unused-parameter -Wno-clobbered -O2 -pthread \
		-static -isystem "$build/usr/include" -I "$t" -I "$t/uio" \
		-o "$build/guest/root/bin/extra32" "$TOP/tests/guest/extra.c" || return
	# These have nothing but the UAPI headers and libc; the header of a further
	# series is in the view.
	local own=("${CROSS_COMPILE:-}gcc" -D_GNU_SOURCE -Wall -Wextra -Werror -O2 -pthread -static
		-isystem "$build/usr/include" -idirafter "$TOP/include/uapi")
	for c in host test; do
		"${own[@]}" -o "$build/guest/root/bin/demo_$c" \
			"$TOP/demo/$c.c" "$TOP"/demo/{igb,vmxnet3,device}.c || return
	done
	[ "$flavour" != bench ] || "${own[@]}" -o "$build/guest/root/bin/packets" \
		"$TOP"/bench/packets.c "$TOP"/demo/{igb,device}.c || return
}

# Modules of ours that are no part of the series, each in a folder.
modules() {	# DESTINATION FOLDER...
	local folder name out
	for folder in "${@:2}"; do
		name=${folder##*/}
		out=$build/guest/$name
		rm -rf "$out"
		cp -r "$TOP/$folder" "$out"
		echo "obj-m := $name.o" >"$out/Makefile"
		make -C "$tree" O="$build" M="$out" modules >>"$log" 2>&1 ||
			die "cannot build $folder; log: $log"
		cp "$out/$name.ko" "$1"
	done
}

# What "make bench" compares with, out of the tree. Where igb_uio does not build,
# guest/igb_uio.absent says why.
peers() {
	local igb_uio=$CACHE/tools/dpdk-kmods-dkms-amd64 out=$build/guest/peers
	rm -rf "$out"
	mkdir -p "$out/igb_uio"
	modules "$1" bench/floor
	[ -e "$igb_uio" ] || foreign dpdk-kmods-dkms amd64
	cp "$igb_uio"/usr/src/*/* "$out/igb_uio"
	rm -f "$build/guest/igb_uio.absent"
	make -C "$tree" O="$build" M="$out/igb_uio" modules >"$out/igb_uio.log" 2>&1 ||
		grep -m 1 'error: ' "$out/igb_uio.log" | sed 's/.*error: //' >"$build/guest/igb_uio.absent"
	find "$out" -name '*.ko' -exec cp -t "$1" {} +
}

# PROGRAMs of this machine, with the libraries that they need.
foreign_programs() {	# ROOT PROGRAM...
	local root=$1 file
	packages iputils-ping hping3
	shift
	for program; do
		program=$(PATH=$PATH:/sbin:/usr/sbin command -v "$program")
		cp "$program" "$root/bin"
		for file in $(ldd "$program" | grep -o '/[^ ]*'); do
			mkdir -p "$root/${file%/*}"
			cp -L "$file" "$root/$file"
		done
	done
}

initramfs() {
	local root=$build/guest/root
	rm -rf "$root"
	mkdir -p "$root"/{bin,dev,proc,sys,tmp,etc,modules}
	cp "$busybox" "$root/bin/busybox"
	cp "$TOP/tests/guest/init.sh" "$root/init"
	cp -r "$build"/guest/kselftest* "$root"
	example >>"$log" 2>&1 ||
		die "the program in the documentation does not compile; log: $log"
	programs >>"$log" 2>&1 || die "cannot build the programs for the guest; log: $log"
	find "$build/drivers/uio" -name '*.ko' -exec cp -t "$root/modules" {} +
	[ "$flavour" != bench ] || {
		peers "$root/modules"
		foreign_programs "$root" ping hping3
	}
	[ "$flavour" = bench ] || modules "$root/modules" tests/modules/{meddle,plain,pte}
	case $ARCH-$flavour in
	x86_64-|x86_64-debug|x86_64-rt) modules "$root/modules" tests/modules/kick ;;
	esac
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

# All that what is built here depends on, but for installed packages.
sources() {
	git -C "$tree" rev-parse HEAD
	git -C "$tree" diff HEAD
	git -C "$tree" ls-files -z --others --exclude-standard | (cd "$tree" && xargs -0r sha256sum)
	(cd "$TOP" && find tests bench demo include scripts/config scripts/build.sh -type f ! -name '*.md' -exec sha256sum {} + | sort)
	"${CROSS_COMPILE:-}gcc" --version
}

mkdir -p "$build/guest"
want=$(sources | sha256sum)
[ "$(cat "$build/guest/sources" 2>/dev/null)" != "$want" ] || exit 0
rm -f "$build/guest/sources"
: >"$log"
configure
stage "build $(make -s -C "$tree" kernelversion) (log: $log)"
# Coverage is of the files of the series only.
gcov=()
! grep -qx CONFIG_GCOV_KERNEL=y "$build/.config" ||
	gcov=(GCOV_PROFILE_uio.o=y GCOV_PROFILE_uio_msix.o=y)
make -C "$tree" O="$build" -j "$JOBS" "${gcov[@]}" "$(basename "$image")" modules 2>&1 | tee -a "$log" |
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
echo "$want" >"$build/guest/sources"
