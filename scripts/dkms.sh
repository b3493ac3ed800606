#!/bin/bash
# The modules for the kernel of Debian 13, as a Debian package for dkms: uio_msix,
# and the UIO core that it needs, from the archive's source of that kernel.
#
# Needs:  the package archive; test: root, for a chroot, and 6 GB of disk
# Makes:  out/uio-msix-dkms_VERSION_all.deb; test: a bare Debian 13 in the cache,
#         and logs in out/dkms (or LOGS)
# Prints: the package; test: a line per check, what run.sh prints, and last
#         "dkms: N passed, N failed"
# Usage:  dkms.sh       the package
#         dkms.sh test  and install it in that Debian, boot the kernel that is there
#                       in QEMU, with these modules, and run the kselftests
. "$(dirname "$0")/lib.sh"

out=$TOP/out
logs=${LOGS:-$out/dkms}
log=$logs/dkms.log

# Of when it was changed last, to be the same whenever it is made.
changed() {
	local what=("patches/linux-$LTS_BASE" dkms scripts/dkms.sh)
	git -C "$TOP" log -1 --format=%ct -- "${what[@]}" 2>/dev/null ||
		(cd "$TOP" && find "${what[@]}" -printf '%Ts\n' | sort -n | tail -n 1)
}

package() {
	local dir=$out/package src doc f
	packages make git patch
	tree=$(LTS=1 KERNEL='' PREVIOUS='' "$TOP/scripts/tree.sh")
	SOURCE_DATE_EPOCH=$(changed)
	export SOURCE_DATE_EPOCH
	version=$(make -s -C "$tree" kernelversion)+$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y%m%d.%H%M)
	deb=$out/uio-msix-dkms_${version}_all.deb
	src=$dir/usr/src/uio-msix-$version
	doc=$dir/usr/share/doc/uio-msix-dkms
	rm -rf "$dir" "$out"/uio-msix-dkms_*.deb
	mkdir -p "$dir/DEBIAN" "$src"/include/{,uapi/}linux "$doc/examples" "$dir/usr/include/uio-msix/linux"
	cp "$tree"/drivers/uio/{uio,uio_msix}.c "$TOP/dkms/Makefile" "$src"
	cp "$tree/include/linux/uio_driver.h" "$src/include/linux"
	cp "$tree/include/uapi/linux/uio_msix.h" "$src/include/uapi/linux"
	patch -s -d "$src" -p1 --no-backup-if-mismatch <"$TOP/dkms/stock-drivers.patch" ||
		die "dkms/stock-drivers.patch does not apply to $tree"
	for f in control postinst prerm; do
		sed "s/@VERSION@/$version/" "$TOP/dkms/$f" >"$dir/DEBIAN/$f"
	done
	chmod 755 "$dir"/DEBIAN/p*
	sed "s/@VERSION@/$version/" "$TOP/dkms/dkms.conf" >"$src/dkms.conf"
	sed "s/@VERSION@/$version/" "$TOP/dkms/copyright" >"$doc/copyright"
	cp "$tree/Documentation/driver-api/uio-msix.rst" "$doc"
	example_of "$doc/uio-msix.rst" >"$doc/examples/example.c"
	# As the kernel's "make headers" has it, where no package of libc will look.
	cp "$tree/include/uapi/linux/uio_msix.h" "$dir/usr/include/uio-msix/linux"
	chmod -R u=rwX,go=rX "$dir/usr"
	dpkg-deb --root-owner-group -b "$dir" "$deb" >/dev/null
	rm -rf "$dir"
	say "${deb#"$TOP"/}"
}

# The program in the documentation, as it stands there.
example_of() { sed -n '/^  #include <err.h>/,/^[^ ]/ { /^  \|^$/ s/^  //p }' "$1"; }

# A COMMAND as root of the Debian in $debian.
in_debian() {
	# shellcheck disable=SC2016 # for the other shell
	root unshare -m sh -c 'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"' "$debian" \
		env -i PATH=/usr/sbin:/usr/bin LC_ALL=C DEBIAN_FRONTEND=noninteractive "$@" </dev/null
}

# A machine with Debian 13 and its kernel, and little else; and the copy of it that
# is $debian from here on.
bare_debian() {
	local bare=$CACHE/chroot-$LTS_SUITE
	if [ ! -e "$bare" ]; then
		disk 6
		packages debootstrap
		stage "a bare Debian ($LTS_SUITE)"
		debian=$bare.tmp
		root rm -rf "$debian"
		root debootstrap --variant=minbase "$LTS_SUITE" "$debian" "$(archive)" >>"$log" 2>&1 ||
			die "debootstrap: $(tail -n 1 "$log"); log: $log"
		in_debian apt-get install -y --no-install-recommends linux-image-amd64 >>"$log" 2>&1 ||
			die "cannot install linux-image-amd64: $(grep -m 1 '^E:' "$log"); log: $log"
		root mv "$debian" "$bare"
	fi
	debian=$CACHE/dkms-debian
	root rm -rf "$debian"
	root cp -a "$bare" "$debian"
	in_debian sh -c 'apt-get update && apt-get -y dist-upgrade' >>"$log" 2>&1 ||
		die "apt-get: $(grep -m 1 '^E:' "$log"); log: $log"
}

# result NAME COMMAND...: its line, and the counts.
passed=0 failed=0
result() {
	local name=$1
	shift
	if "$@" >>"$log" 2>&1; then
		say "ok      $name"
		passed=$((passed + 1))
	else
		say "FAILED  $name: $(tail -n 1 "$log")"
		failed=$((failed + 1))
	fi
}

modinfo_of() { in_debian modinfo -k "$kernel" -n "$1"; }
is_ours() { modinfo_of "$1" | tee -a /dev/stderr | grep -q "^/lib/modules/$kernel/updates/dkms/$1.ko"; }
is_stock() { modinfo_of "$1" | tee -a /dev/stderr | grep -q "^/lib/modules/$kernel/kernel/.*/$1.ko"; }
is_gone() { ! modinfo_of "$1"; }

# All modules of the kernel that use uio.ko get from ours what they were built for.
stock_modules_fit() {
	local uio users user n=0 bad=0
	uio=$(modinfo_of uio)
	in_debian modprobe --show-exports "$uio" | sort >"$logs/exports"
	[ -s "$logs/exports" ] || return 1
	users=$(sed -n "s#^\(kernel/[^:]*\):.*/uio\.ko.*#\1#p" "$debian/lib/modules/$kernel/modules.dep")
	for user in $users; do
		in_debian modprobe --dump-modversions "/lib/modules/$kernel/$user" |
			grep -wF -f <(cut -f 2 "$logs/exports") >"$logs/imports" || continue
		n=$((n + 1))
		say "$user: $(wc -l <"$logs/imports") symbols"
		grep -vxF -f "$logs/exports" "$logs/imports" && bad=1
	done
	say "$n modules"
	[ $n -gt 0 ] && [ $bad = 0 ]
}

# MODULEs of ours, in folders of their own, built in that Debian.
test_modules() {	# DESTINATION FOLDER...
	local folder name
	for folder in "${@:2}"; do
		name=${folder##*/}
		root rm -rf "$debian/tmp/$name"
		root cp -r "$folder" "$debian/tmp"
		[ -f "$folder/Makefile" ] || echo "obj-m := $name.o" | root tee "$debian/tmp/$name/Makefile"
		in_debian make -C "/lib/modules/$kernel/build" M="/tmp/$name" modules || return
		cp "$debian/tmp/$name"/*.ko "$1" || return
	done
}

# The bus that uio_hv_generic is for, as this kernel has it, but for the search for
# a Hyper-V below: QEMU without KVM is none.
vmbus() {	# DESTINATION
	local dir=$build/hv
	rm -rf "$dir"
	cp -r "$tree/drivers/hv" "$dir"
	sed -i '/^static int vmbus_exists/,/^}/ s/hv_dev == NULL/0/
		/^static int __init hv_acpi_init/,/^}/ s/if (!hv_is_hyperv_initialized())/if (1)/
		/^static int __init hv_acpi_init/,/^}/ s/return -ENODEV;/return bus_register(\&hv_bus);/' "$dir/vmbus_drv.c"
	sed -i '/^obj-/d; 1i obj-m := hv_vmbus.o' "$dir/Makefile"
	test_modules "$1" "$dir"
}

# A program of that Debian with its libraries.
take() {	# ROOT PROGRAM...
	local guest=$1 file
	for file in "${@:2}" $(in_debian ldd "${@:2}" | grep -o '/[^ ]*'); do
		mkdir -p "$guest/${file%/*}"
		cp -L "$debian$file" "$guest$file"
	done
}

# What boot.sh wants, of Debian's kernel and modules, ours among them as dkms built
# and depmod listed them; with the kselftests, and the package's own example.
initramfs() {
	local guest=$build/guest/root dir=lib/modules/$kernel name module
	rm -rf "$build/guest"
	mkdir -p "$guest"/{bin,dev,proc,sys,tmp,etc,modules,"$dir"}
	cp "$debian/boot/vmlinuz-$kernel" "$build/guest/kernel"
	cp "$(command -v busybox)" "$guest/bin/busybox"
	cp "$TOP/tests/guest/init.sh" "$guest/init"
	take "$guest" /usr/bin/kmod /usr/bin/bash
	ln -s ../usr/bin/bash "$guest/bin/bash"
	for name in insmod lsmod modprobe rmmod; do
		ln -s ../usr/bin/kmod "$guest/bin/$name"
	done
	mkdir "$guest/sbin"
	ln -s ../usr/bin/kmod "$guest/sbin/modprobe"
	cp "$debian/usr/sbin/driverctl" "$guest/bin"
	cp "$debian/$dir"/modules.* "$guest/$dir"
	echo igb e1000e nvme vmxnet3 virtio_pci virtio_console virtio_rng >"$guest/etc/modules"
	# shellcheck disable=SC2013 # words
	for name in $(cat "$guest/etc/modules") uio_msix $stock; do
		in_debian modprobe -S "$kernel" -D "$name"
	done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | sort -u | while read -r module; do
		mkdir -p "$guest${module%/*}"
		cp "$debian$module" "$guest$module"
	done
	for name in uio uio_msix; do
		xz -dc "$debian$(modinfo_of $name)" >"$guest/modules/$name.ko"
	done
	test_modules "$guest/modules" "$TOP"/tests/modules/{inject,meddle} || return
	vmbus "$guest/modules" || return
	in_debian gcc -static -I /usr/include/uio-msix -o /tmp/example \
		/usr/share/doc/uio-msix-dkms/examples/example.c || return
	cp "$debian/tmp/example" "$guest/example"
	make -C "$tree" O="$build" headers || return
	rm -rf "$build/kselftest"
	make -C "$tree/tools/testing/selftests" O="$build" TARGETS=uio USERLDFLAGS=-static \
		INSTALL_PATH="$guest/kselftest" install || return
	gcc -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -O2 -pthread -static -isystem "$build/usr/include" \
		-I "$tree/tools/testing/selftests" -I "$tree/tools/testing/selftests/uio" \
		-o "$guest/bin/extra" "$TOP/tests/guest/extra.c" || return
	(cd "$guest" && find . | cpio -o -H newc --quiet -R 0:0 | gzip -1) >"$build/guest/initramfs"
}

stage "the package"
package
[ "${1:-}" = test ] || exit 0

exclusive
rm -rf "$logs"
mkdir -p "$logs"
build_packages
packages cpio xz-utils busybox-static
build=$CACHE/build-dkms
mkdir -p "$build"
# The UIO drivers that come with the kernel.
stock="uio_pci_generic uio_hv_generic uio_aec uio_cif uio_mf624 uio_netx uio_sercos3"

bare_debian
root cp "$deb" "$debian/tmp"
stage "install it there, and build (log: $log)"
result "apt install ./${deb##*/} driverctl" in_debian apt-get install -y "/tmp/${deb##*/}" driverctl
kernel=$(cd "$debian/boot" && printf '%s\n' vmlinuz-* | sort -V | tail -n 1)
kernel=${kernel#vmlinuz-}
result "modprobe finds this uio" is_ours uio
result "modprobe finds uio_msix" is_ours uio_msix
result "modules of the kernel fit this uio" stock_modules_fit
result "programs and modules for the tests" initramfs
result "apt purge uio-msix-dkms" in_debian apt-get purge -y uio-msix-dkms
result "modprobe finds the kernel's uio again" is_stock uio
result "uio_msix is gone" is_gone uio_msix
root rm -rf "$debian"

BUILD=$build LOGS=$logs/run "$TOP/scripts/run.sh" x86_64 stock || :
read -r n_passed n_failed < <(sed -n 's/^run: \([0-9]*\) passed, \([0-9]*\) failed.*/\1 \2/p' "$logs/run/summary") ||
	n_passed=0 n_failed=1
say "dkms: $((passed + n_passed)) passed, $((failed + n_failed)) failed" | tee "$logs/summary"
[ $((failed + n_failed)) = 0 ]
