#!/bin/bash
# The mediated driver of patches/mediated: its kselftest, that of the series on
# what the two share, and the programs of tests/mediated, each in a guest; and that
# it has nothing to map a BAR with.
#
# Needs:  what run.sh needs. The kernel is that of the series: the modules of the
#         branch "mediated" are built against it
# Makes:  out/mediated (or LOGS): logs, and "summary" with the counts
# Prints: a line per test; "mediated: N passed, N failed" last
# Usage:  mediated.sh         a million calls, a minute of what deadlocks, 100 rounds
#                             of each end in traffic; on the debug kernel too
#         mediated.sh short   what takes three minutes, on the plain kernel
#         CALLS, STRESS (seconds) and ROUNDS say how long, FLAVOUR=debug|"" on which kernel
. "$(dirname "$0")/lib.sh"

exclusive

logs=${LOGS:-$TOP/out/mediated}
calls=1000000 seconds=60 rounds=100 flavours=(debug "")
[ "${1:-}" != short ] || calls=20000 seconds=10 rounds=2 flavours=("")
[ -z "${FLAVOUR+set}" ] || flavours=("$FLAVOUR")
calls=${CALLS:-$calls} seconds=${STRESS:-$seconds} rounds=${ROUNDS:-$rounds}

# Everything for the guest that the series does not have, as one archive. Called
# where set -e is off.
extra() {	# TREE BUILD
	local tree=$CACHE/linux-mediated work=$2/guest/mediated root t c
	t=$tree/tools/testing/selftests root=$work/root
	rm -rf "$work"
	mkdir -p "$root"/{bin,modules,mediated} "$work"/{modules,include/linux,include/uapi/linux}
	cp "$tree"/include/uapi/linux/uio_vmxnet3.h "$work/include/linux"
	cp "$tree"/include/uapi/linux/uio_vmxnet3.h "$work/include/uapi/linux"

	cp "$tree"/drivers/uio/{uio_msix.c,uio_vmxnet3.c,uio_vectors.h} \
		"$TOP/tests/mediated/order.c" "$work/modules"
	cat >"$work/modules/Makefile" <<-END
		obj-m := uio_msix.o uio_vmxnet3.o order.o
		ccflags-y := -I$work/include -I\$(srctree)/drivers/uio
	END
	make -C "$1" O="$2" M="$work/modules" modules || return
	cp "$work"/modules/*.ko "$root/modules"

	# The headers are those of the build, and the new one.
	ln -s "$2/usr" "$work/usr"
	make -C "$t" O="$work" TARGETS=uio USERCFLAGS="-isystem $work/include" \
		USERLDFLAGS=-static INSTALL_PATH="$root/mediated/kselftest" install || return
	for c in "$TOP"/tests/mediated/vmx*.c; do
		gcc -D_GNU_SOURCE= -D_FILE_OFFSET_BITS=64 -Wall -Wextra -Werror \
			-Wno-unused-parameter -O2 -pthread -static -isystem "$work/include" \
			-isystem "$2/usr/include" -I "$t" -I "$t/uio" \
			-o "$root/bin/$(basename "$c" .c)" "$c" || return
	done
	# The program in the documentation, as it stands there.
	sed -n '/^  #define _GNU_SOURCE/,/^[^ ]/ { /^  \|^$/ s/^  //p }' \
		"$tree/Documentation/driver-api/uio-vmxnet3.rst" >"$work/example.c"
	gcc -Wall -Wextra -Werror -Wno-sign-compare -Wno-unused-result -O2 -static \
		-isystem "$work/include" -isystem "$2/usr/include" \
		-o "$root/example_vmxnet3" "$work/example.c" || return
	(cd "$root" && find . | cpio -o -H newc --quiet -R 0:0 | gzip -1) >"$work/extra"
}

# Neither a symbol that maps one, nor that mmap_prepare() asks for it to be mapped.
maps_no_bar() {	# FOLDER
	if [ ! -f "$1/uio_vmxnet3.ko" ] || nm -u "$1/uio_vmxnet3.ko" |
	   grep -E 'remap_pfn|vmf_insert|vm_insert|vm_iomap|vm_map_pages|mmap_action|pci_mmap' ||
	   grep -oE '\<(mmap_action_|MMAP_)\w+|\<action[.]\w+' "$1"/uio_{vmxnet3.c,vectors.h} |
	   grep -v ':mmap_action_map_kernel_pages_full$'
	then
		echo "not ok vmxnet3: can map a BAR"
	else
		echo "ok vmxnet3: cannot map a BAR"
	fi
}

guests() {	# BUILD LOGDIR 'BOOT ARGUMENT...'...
	local build=$1 out=$2 boot words pids=()
	shift 2
	for boot; do
		read -ra words <<<"$boot"
		EXTRA=$build/guest/mediated/extra LIMIT=1200 "$TOP/scripts/boot.sh" \
			"$build" "${words[0]}" "$out" "${words[@]:1}" &
		pids+=($!)
	done
	for boot in "${pids[@]}"; do
		wait "$boot" || failed=1
	done
}

rm -rf "$logs"
mkdir -p "$logs"
"$TOP/scripts/tree.sh" mediated >/dev/null
tree=$("$TOP/scripts/tree.sh")
[ -e "$CACHE/linux-mediated/drivers/uio/uio_vmxnet3.c" ] ||
	die "no tree of patches/mediated in $CACHE/linux-mediated"
failed=0
for flavour in "${flavours[@]}"; do
	build=$CACHE/build-linux${flavour:+-x86_64-$flavour}
	out=$logs/${flavour:-plain}
	mkdir -p "$out"
	"$TOP/scripts/build.sh" "$tree" "$build" "x86_64${flavour:+-$flavour}"
	stage "build the mediated driver and its tests (log: $out/build.log)"
	extra "$tree" "$build" >"$out/build.log" 2>&1 ||
		die "$(grep -m 1 -E 'error|Error' "$out/build.log" || tail -n 1 "$out/build.log")"
	maps_no_bar "$build/guest/mediated/modules" | tee "$out/maps.log"
	boots=(mediated "mediatedstress $seconds $rounds" "mediatedfuzz $calls"
	       "mediatediommu all $((calls / 5)) $rounds")
	# What the debug kernel is for; it is slow.
	[ "$flavour" != debug ] ||
		boots=(mediated "mediatedstress $seconds $rounds" "mediatedfuzz $((calls / 20))")
	stage "boot: baseline"
	"$TOP/scripts/boot.sh" "$build" baseline "$out" || failed=1
	stage "boot: $(printf '%s, ' "${boots[@]}")side by side"
	guests "$build" "$out" "${boots[@]}"
done

[ "${1:-}" = short ] || [ -n "${FLAVOUR+set}" ] || {
	stage "mutants (log: $logs/mutants)"
	python3 "$TOP/tests/mediated/mutants.py" "$tree" "$CACHE/build-linux" "$logs/mutants" |
		tee "$logs/plain/mutants.log" || failed=1
}

# A test that no boot could run, or a device on which none did, is a failure.
cat "$logs"/*/*.log | tr -d '\r' | awk -v failed="$failed" '
	function ended() { if (device && !ran[device]) { print "NO TEST RAN: " device; failed++ } }
	/^guest: device / { ended(); device = $3 }
	/^# (not )?ok [0-9]+ / {
		test = $0
		sub(/^# (not )?ok [0-9]+ /, "", test)
		sub(/ # SKIP.*/, "", test)
		tests[test]
		if (/^# not ok/) { print "FAILED: " device " " test; failed++; ran[device]++; done[test] }
		else if (!/# SKIP/) { passed++; ran[device]++; done[test] }
	}
	/^ok vmx/ { passed++ }
	/^not ok/ && !/^not ok [0-9]+ selftests/ { print; failed++ }
	/^[0-9]+ mutants, / { passed += $3; failed += $1 - $3 }
	END {
		ended()
		for (test in tests) if (!(test in done) && test !~ /vf_needs|unplug_while/) {
			print "NOT RUN: " test
			failed++
		}
		printf "mediated: %d passed, %d failed\n", passed, failed
		exit failed > 0 || !passed
	}' | tee "$logs/summary"
