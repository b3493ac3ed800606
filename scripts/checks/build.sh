# shellcheck shell=bash
# Checks that build: every prefix of the series, every configuration, every
# architecture, two compilers. Sourced by check.sh.

# Build in a folder of its own; no output but warnings and errors.
kbuild() {	# BUILD [ARGUMENT...]
	make -s -C "$src" O="$work/$1" -j "$JOBS" "${@:2}"
}

# The newest clang that is installed, if it is new enough for the kernel, else
# the newest that the archive has.
clang_version() {
	local v min
	min=$(SRCARCH=x86 "$src/scripts/min-tool-version.sh" llvm)
	v=$({ compgen -G '/usr/bin/clang-[0-9]*' || :; } | sed -n 's/.*clang-\([0-9]*\)$/\1/p' | sort -n | tail -n 1)
	if [ "${v:-0}" -le "${min%%.*}" ]; then
		v=$(apt_lock
			apt_private system with_sources "$(archive)"
			apt_update root
			apt-cache pkgnames clang- | sed -n 's/^clang-\([0-9]*\)$/\1/p' | sort -n | tail -n 1)
	fi
	[ "${v:-0}" -gt "${min%%.*}" ] || absent "the archive has no clang newer than $min" >&2
	echo "$v"
}

# Whether STATE changes nothing, after what was built BEFORE, that kconfig or the
# preparation of a build reads.
only_c() {	# BEFORE STATE
	git -C "$src" diff --quiet "check-$1" "check-$2" -- ':!Documentation' ':!tools' \
		':!MAINTAINERS' ':!drivers/uio/*.[ch]' ':!include/linux/uio_driver.h' \
		':!include/uapi/linux/uio_*.h'
}

# What uses the header that the series changes can be built with allmodconfig at
# every state, without a new warning, and the drivers are in it at the last.
touched() {	# NAME CONFIG [ARGUMENT...]
	local name=$1 config=$2 state before=base driver there
	shift 2
	build_packages
	for state in base 1 2 "${FURTHER[@]}"; do
		at "$state"
		echo "== $state"
		{
			if [ "$state" = base ] || ! only_c "$before" "$state"; then
				kbuild "$name" "$@" "$config"
				kbuild "$name" "$@" prepare
			fi
			rm -f "$work/$name"/drivers/uio/uio_{msix,vmxnet3}.o
			kbuild "$name" "$@" W=1 drivers/uio/ drivers/target/target_core_user.o
		} >"$logs/$name.$state" 2>&1 ||
			fail "$state: $(grep -m 1 -E 'error|Error' "$logs/$name.$state")"
		cat "$logs/$name.$state"
		nothing_new "$logs/$name.base" "$logs/$name.$state"
		# Kconfig leaves s390 out.
		for driver in msix vmxnet3; do
			there=absent
			[ "$name" = s390x ] || [ ! -f "$src/drivers/uio/uio_$driver.c" ] || there=there
			[ $there = "$([ -f "$work/$name/drivers/uio/uio_$driver.o" ] && echo there || echo absent)" ] ||
				fail "$state: uio_$driver is not $there"
		done
		before=$state
	done
}

cross() {	# NAME ARCH PREFIX [CONFIG]
	packages "gcc-${3//_/-}"
	touched "$1" "${4:-allmodconfig}" ARCH="$2" CROSS_COMPILE="$3-"
}

check_x86_64() { touched x86_64 allmodconfig ARCH=x86_64; }
check_i386() { touched i386 allmodconfig ARCH=i386; }
check_arm64() { cross arm64 arm64 aarch64-linux-gnu; }
check_riscv64() { cross riscv64 riscv riscv64-linux-gnu; }
check_s390x() { cross s390x s390 s390x-linux-gnu; }
# Big-endian, as s390x is.
check_ppc64() { cross ppc64 powerpc powerpc64-linux-gnu; }
check_ppc64le() { cross ppc64le powerpc powerpc64le-linux-gnu ppc64le_allmodconfig; }

check_clang() {
	local v
	v=$(clang_version)
	packages "clang-$v" "lld-$v" "llvm-$v"
	touched clang allmodconfig LLVM="-$v"
}

# The smallest kernel that has the driver, with OPTIONs changed; .config must
# then say what is EXPECTed of UIO and UIO_MSIX.
tiny() {	# BUILD EXPECT OPTION... [-- ARGUMENT...]
	local build=$1 expect=$2 got o s f=$work/tiny.fragment options=()
	shift 2
	while [ $# -gt 0 ] && [ "$1" != -- ]; do options+=("$1"); shift; done
	[ $# = 0 ] || shift
	printf 'CONFIG_%s\n' EXPERT=y 64BIT=y MODULES=y PCI=y PCI_MSI=y UIO=m UIO_MSIX=m EVENTFD=y \
		SECURITY=n IOMMU_SUPPORT=n >"$f"
	# The last of a symbol would win, with a warning.
	for o in "${options[@]}"; do
		sed -i "/^CONFIG_${o%=*}=/d" "$f"
		echo "CONFIG_$o" >>"$f"
	done
	echo "== $(git -C "$src" describe --tags), ${options[*]} $*"
	KCONFIG_ALLCONFIG=$f kbuild "$build" allnoconfig "$@" 2>&1 | tee "$logs/tiny.config"
	[ ! -s "$logs/tiny.config" ] || fail "${options[*]}: $(head -n 1 "$logs/tiny.config")"
	got=$(for s in UIO UIO_MSIX; do
		sed -n "s/^CONFIG_$s=//p" "$work/$build/.config" | grep . || echo n
	done | tr -d '\n')
	[ "$got" = "$expect" ] || fail "${options[*]}: UIO, UIO_MSIX = $got, not $expect"
}

# Every prefix of the series, all of a kernel, linked, modpost included.
check_prefix() {
	local state
	build_packages
	for state in base 1 2; do
		at $state
		case $state in
		2)	tiny tiny mm ;;
		*)	tiny tiny mn ;;
		esac
		kbuild tiny W=1 >"$logs/prefix.$state" 2>&1 ||
			fail "$state: $(grep -m 1 -E 'error|Error|undefined' "$logs/prefix.$state")"
		cat "$logs/prefix.$state"
		nothing_new "$logs/prefix.base" "$logs/prefix.$state"
	done
	[ -f "$work/tiny/drivers/uio/uio_msix.ko" ] || fail "uio_msix was not built"
}

# What is built where the driver is in another form, or in none.
check_config() {
	local o=$work/tiny/drivers/uio/uio_msix
	build_packages
	packages gcc-riscv64-linux-gnu
	at 2
	quiet() {	# WHAT [ARGUMENT...]: kbuild, no message about us
		local new
		rm -f "$o".*
		kbuild tiny W=1 "${@:2}" 2>&1 | sed "s#$src/##g" | tee "$logs/tiny.log"
		new=$(grep -m 1 -iE 'uio.*(warning|error)|undefined' "$logs/tiny.log" || :)
		[ -z "$new" ] || fail "$1: $new"
	}
	linked() {	# EXPECT OPTION...: all of the kernel
		tiny tiny "$@"
		quiet "$*"
		case $1 in
		?m)	[ -f "$o.ko" ] ;;
		?y)	[ ! -f "$o.ko" ] && grep -q ' uio_msix_probe$' "$work/tiny/System.map" ;;
		esac || fail "$*: not built as that"
	}
	compiled() {	# EXPECT OPTION...: drivers/uio alone
		tiny tiny "$@"
		quiet "$*" prepare
		quiet "$*" drivers/uio/
		case $1 in
		?n)	[ ! -f "$o.o" ] ;;
		*)	[ -f "$o.o" ] ;;
		esac || fail "$*: not built as that"
	}
	linked mm EVENTFD=n
	grep -q '^CONFIG_EVENTFD=y' "$work/tiny/.config" || fail "EVENTFD=n is not overridden"
	linked mm UIO_MSIX=y
	linked ym UIO=y
	linked yy UIO=y UIO_MSIX=y
	compiled yn UIO=y UIO_MSIX=n
	compiled nn UIO=n
	compiled mn PCI_MSI=n
	compiled mn PCI=n
	# Without both is what is linked.
	compiled mm SECURITY=y
	compiled mm ACPI=y IOMMU_SUPPORT=y INTEL_IOMMU=y
	# No MMU: no UIO, so nothing of it.
	tiny nommu nn NONPORTABLE=y MMU=n -- ARCH=riscv CROSS_COMPILE=riscv64-linux-gnu-
	grep -q '^# CONFIG_MMU is not set' "$work/nommu/.config" || fail "MMU=n is not to be had"
	kbuild nommu prepare ARCH=riscv CROSS_COMPILE=riscv64-linux-gnu-
	kbuild nommu drivers/uio/ ARCH=riscv CROSS_COMPILE=riscv64-linux-gnu-
	[ ! -f "$work/nommu/drivers/uio/uio_msix.o" ] || fail "MMU=n builds it"
}
