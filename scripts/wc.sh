#!/bin/bash
# Build uio_msix with write-combining against a kernel that build.sh built, and
# what tests it, as a cpio that boot.sh takes on top of its initramfs.
#
# Needs:  TREE: a work tree of the series with patches/wc; BUILD: by build.sh, of
#         the series without: the patch changes no other module
# Makes:  OUT: the cpio (EXTRA of boot.sh); OUT.d beside it
# Usage:  wc.sh TREE BUILD OUT, then EXTRA=OUT boot.sh BUILD wc LOGDIR
. "$(dirname "$0")/lib.sh"

tree=$1 build=$2 out=$3
t=$tree/tools/testing/selftests
root=$out.d/root
rm -rf "$out" "$out.d"
mkdir -p "$root"/{bin,modules,kselftest/uio} "$out.d/include/linux"

# The module, against the source that the kernel was built from.
mkdir "$out.d/uio_msix"
cp "$tree/drivers/uio/uio_msix.c" "$out.d/uio_msix"
printf 'obj-m := uio_msix.o\nccflags-y += -include %s\n' \
	"$tree/include/uapi/linux/uio_msix.h" >"$out.d/uio_msix/Makefile"
make -C "$build/source" O="$build" M="$out.d/uio_msix" W=1 modules >>"$out.d/log" 2>&1 ||
	die "cannot build uio_msix; log: $out.d/log"
cp "$out.d/uio_msix/uio_msix.ko" "$root/modules"

# Its header first; for the rest what "make headers" made.
cp "$tree/include/uapi/linux/uio_msix.h" "$out.d/include/linux"
program() {	# FILE SOURCE [FLAG...]
	mkdir -p "$(dirname "$root/$1")"
	gcc -D_GNU_SOURCE= -D_FILE_OFFSET_BITS=64 -Wall -Wextra -Werror \
		-Wno-unused-parameter -Wno-unused-result -O2 -pthread -static "${@:3}" -I "$out.d/include" \
		-isystem "$build/usr/include" -I "$t" -I "$t/uio" -o "$root/$1" "$2"
}
program kselftest/uio/uio_msix_test "$t/uio/uio_msix_test.c"
program kselftest32/uio/uio_msix_test "$t/uio/uio_msix_test.c" -m32
program bin/wc_test "$TOP/tests/wc/wc.c"
(cd "$root" && find . | cpio -o -H newc --quiet -R 0:0 | gzip -1) >"$out"
