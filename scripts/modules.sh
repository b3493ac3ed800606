# shellcheck shell=bash
# The modules of patches/mediated on a kernel that build.sh built for the series.
# Needs: lib.sh, and what build.sh needs. Makes: BUILD/guest/mediated.cpio.

# Build them, as EXTRA for boot.sh. uio_msix is among them: it shares code there.
mediated_modules() {	# BUILD
	local build=$1 out=$1/guest/mediated-modules tree log=$1/guest/mediated-modules.log
	tree=$("$TOP/scripts/tree.sh" mediated)
	rm -rf "$out"
	mkdir -p "$out"/{src,include/uapi/linux,root/modules}
	cp "$tree"/drivers/uio/{uio_msix.c,uio_vmxnet3.c,uio_vectors.h} "$out/src"
	cp "$tree/include/uapi/linux/uio_vmxnet3.h" "$out/include/uapi/linux"
	cat >"$out/src/Makefile" <<-END
		obj-m := uio_msix.o uio_vmxnet3.o
		ccflags-y := -I\$(src)/../include -I\$(srctree)/drivers/uio
	END
	make -C "$CACHE/linux" O="$build" M="$out/src" modules >"$log" 2>&1 ||
		die "cannot build the modules of patches/mediated; log: $log"
	cp "$out"/src/*.ko "$out/root/modules"
	(cd "$out/root" && find . | cpio -o -H newc --quiet -R 0:0 | gzip -1) >"$build/guest/mediated.cpio"
}
