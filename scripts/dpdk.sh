#!/bin/bash
# Unmodified DPDK on uio_msix, by vfio/uio_msix_vfio.c: Debian's own testpmd and a
# program that sleeps on its queues' interrupts answer the guest's kernel; and each
# VFIO call of the library is compared with the kernel's own VFIO.
#
# Needs:  what run.sh needs; installs ping; the packages of DPDK, of several releases
#         of Debian, which are unpacked and not installed
# Makes:  out/dpdk (or LOGS): logs, and "summary" with the counts
# Prints: what happens in the guest; last "dpdk: N sent, N answered, N lost; N checks
#         passed, N failed"
# Usage:  dpdk.sh [short]
#         dpdk.sh count       for bench.sh: the boot that counts instructions, alone
. "$(dirname "$0")/lib.sh"

short=${1:-}
logs=${LOGS:-$TOP/out/dpdk}
# Of the machine's own release, whose libc we build for, and newer ones.
suites=(bookworm trixie forky)
case $(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release) in
trixie) suites=(trixie forky) ;;
forky|sid) suites=(forky) ;;
esac
case $short in
short)	suites=("${suites[0]}") ;;
count)	suites=("${suites[-1]}") ;;
esac
drivers=(net_e1000 net_vmxnet3 net_virtio mempool_ring)

exclusive
rm -rf "$logs"
mkdir -p "$logs"

# The library, and what is built here for the guest, with this machine's libc.
programs() {	# ROOT HEADERS
	gcc -std=gnu11 -O2 -Wall -Wextra -Werror -Wno-unused-parameter -fPIC -shared \
		-fvisibility=hidden -isystem "$2" -o "$1/lib/uio_msix_vfio.so" \
		"$TOP/vfio/uio_msix_vfio.c" &&
	gcc -O2 -Wall -Wextra -Werror -Wno-unused-result -isystem "$2" \
		-o "$1/bin/calls" "$TOP/vfio/calls.c" &&
	libraries "$1" "$1/bin/calls"
}

# The kernel's own test of VFIO devices, for groups without an IOMMU.
kselftest() {	# ROOT HEADERS
	local t=$tree/tools/testing/selftests/vfio tmp=$logs/kselftest
	packages uuid-dev
	mkdir -p "$tmp" &&
	sed 's#"/dev/vfio/%d", group#"/dev/vfio/noiommu-%d", group#' "$t/lib/vfio_pci_device.c" \
		>"$tmp/vfio_pci_device.c" &&
	sed -e 's/default_iommu_mode = MODE_IOMMUFD/default_iommu_mode = MODE_VFIO_TYPE1_IOMMU/' \
		-e 's/iommu_type = VFIO_TYPE1_IOMMU/iommu_type = VFIO_NOIOMMU_IOMMU/' \
		"$t/lib/iommu.c" >"$tmp/iommu.c" &&
	gcc -O2 -D_GNU_SOURCE= -isystem "$2" -I"$t/lib" -I"$t/.." -I"$tree/tools/include" \
		-I"$t/lib/include" -pthread -o "$1/bin/vfio_pci_device_test" \
		"$t/vfio_pci_device_test.c" "$tmp"/*.c \
		"$t"/lib/{iova_allocator,libvfio,sysfs,vfio_pci_driver}.c "$t"/lib/drivers/*/*.c -luuid &&
	libraries "$1" "$1/bin/vfio_pci_device_test"
}

# The libraries that PROGRAM of this machine needs.
libraries() {	# ROOT PROGRAM
	local file
	for file in $(ldd "$2" | grep -o '/[^ ]*'); do
		mkdir -p "$1/${file%/*}"
		cp -L "$file" "$1/$file"
	done
}

# testpmd and our program on DPDK as SUITE has it, as /dpdk/VERSION/{testpmd,queues}.
dpdk() {	# ROOT SUITE
	local from=$CACHE/tools/dpdk-$2 arch version dir loader driver file
	local -a path plugins=()
	arch=$(gcc -print-multiarch)
	[ -e "$from" ] || { stage "fetch DPDK of $2"; unpack "$from" "$2" dpdk-dev; } || return 1
	version=$(sed -n 's/^Version: //p' "$from/usr/lib/$arch/pkgconfig/libdpdk.pc")
	dir=$1/dpdk/$version
	path=("$from/usr/lib/$arch" "$from/lib/$arch")
	loader=$(find "${path[@]}" -name 'ld-linux*' 2>/dev/null | head -n 1)
	mkdir -p "$dir/lib"
	gcc -O2 -Wall -Wextra -Werror -march=corei7 -isystem "$from/usr/include/dpdk" \
		-isystem "$from/usr/include/$arch/dpdk" -o "$dir/queues.bin" "$TOP/vfio/queues.c" \
		-L"${path[0]}" -Wl,--allow-shlib-undefined -lrte_ethdev -lrte_eal -lrte_mbuf \
		-lrte_mempool -lrte_net || return 1
	cp -L "$from/usr/bin/dpdk-testpmd" "$dir/testpmd.bin" || return 1
	cp -L "$loader" "$dir/loader" || return 1
	# Only one copy of each: in the place that both the loader and -d look at.
	for driver in "${drivers[@]}"; do
		driver=$(basename "$(find "${path[0]}" -maxdepth 1 -name "librte_$driver.so.*" | sort | head -n 1)")
		plugins+=(-d "/dpdk/$version/lib/$driver")
		cp -L "${path[0]}/$driver" "$dir/lib" || return 1
	done
	# Threads that end look for it by themselves.
	cp -L "$(find "${path[@]}" -name libgcc_s.so.1 2>/dev/null | head -n 1)" "$dir/lib" || return 1
	for file in "$dir"/*.bin "$dir"/lib/*; do
		"$loader" --library-path "${path[0]}:${path[1]}" --list "$file" |
			awk '/=> \// { print $3 }' | xargs -r cp -L -u -t "$dir/lib" || return 1
	done
	for file in testpmd queues; do
		printf '#!/bin/sh\nexec %s --library-path %s %s.bin %s "$@"\n' \
			"/dpdk/$version/loader" "/dpdk/$version/lib" \
			"/dpdk/$version/$file" "${plugins[*]}" >"$dir/$file"
		chmod +x "$dir/$file"
	done
}

# What all these need, on top of the initramfs of BUILD.
initramfs() {	# BUILD
	local root=$logs/root suite
	rm -rf "$root"
	mkdir -p "$root"/{bin,lib}
	packages iputils-ping
	programs "$root" "$1/usr/include" >"$logs/build.log" 2>&1 ||
		die "cannot build vfio/: $(grep -m 1 error "$logs/build.log"); log: $logs/build.log"
	kselftest "$root" "$1/usr/include" >>"$logs/build.log" 2>&1 ||
		die "cannot build the kernel's test: $(grep -m 1 error "$logs/build.log"); log: $logs/build.log"
	cp "$(command -v ping)" "$root/bin"
	libraries "$root" "$root/bin/ping"
	cp "$TOP"/vfio/{guest.sh,differences} "$root"
	for suite in "${suites[@]}"; do
		dpdk "$root" "$suite" >>"$logs/build.log" 2>&1 ||
			die "cannot prepare DPDK of $suite: $(tail -n 1 "$logs/build.log"); log: $logs/build.log"
	done
	(cd "$root" && find . | cpio -o -H newc --quiet -R 0:0 | gzip -1) >"$logs/dpdk.cpio"
	rm -rf "$root"
}

tree=$("$TOP/scripts/tree.sh")
plain=$CACHE/build-linux
vfio=$CACHE/build-linux-x86_64-bench
"$TOP/scripts/build.sh" "$tree" "$plain" x86_64
"$TOP/scripts/build.sh" "$tree" "$vfio" x86_64-bench
! grep -q '^CONFIG_VFIO' "$plain/.config" || die "the plain kernel has VFIO"
# On a plain kernel there is nothing to be known before.
: >"$logs/baseline.reports"
initramfs "$plain"

failed=0
boot() {	# BUILD BOOT [ARGUMENT...]
	stage "boot: $2"
	EXTRA=$logs/dpdk.cpio "$TOP/scripts/boot.sh" "$1" "$2" "$logs" "${@:3}" || failed=1
}
export LIMIT=${LIMIT:-1800}
if [ "$short" = count ]; then
	boot "$vfio" dpdkcount
	rm -f "$logs/dpdk.cpio"
	exit $failed
fi
boot "$plain" dpdk ${short:+"$short"}
[ -n "$short" ] || {
	boot "$plain" dpdkvf
	boot "$plain" dpdkiommu
}
boot "$vfio" dpdkvfio ${short:+"$short"}
rm -f "$logs/dpdk.cpio"

for log in "$logs"/dpdk{,vf,iommu,vfio}.log; do
	[ ! -f "$log" ] || cat "$log"
done | tr -d '\r' | awk -v failed="$failed" '
	/^peer: ping/ { counts = !/VFIO/ }
	match($0, /[0-9]+ packets transmitted, [0-9]+ received/) && counts {
		split(substr($0, RSTART), word, " ")
		sent += word[1]; answered += word[4]
	}
	/^ok / { passed++ }
	/^not ok / { failed++; print }
	/^with VFIO: not ok / { print }
	END {
		printf "dpdk: %d sent, %d answered, %d lost; %d checks passed, %d failed\n", sent,
			answered, sent - answered, passed, failed
		exit failed || !sent || !passed || answered < sent
	}' | tee "$logs/summary"
