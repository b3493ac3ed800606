#!/bin/bash
# What uio_msix costs, and uio_vmxnet3 of patches/mediated, beside what could be
# used instead, on a plain kernel.
#
# Needs:  what run.sh needs; installs gnuplot
# Makes:  out/bench: bench.csv, table.txt, *.svg, logs. With PUBLISH=1 the medians
#         also in README.md and bench/README.md, and in the descriptions of the
#         branches that are the cover letters
# Prints: stages, the table, a line per target; "bench: N targets met, N missed"
# Usage:  [PUBLISH=1] bench.sh
. "$(dirname "$0")/../scripts/lib.sh"
. "$(dirname "$0")/../scripts/modules.sh"

logs=$TOP/out/bench
exclusive
commit=$(commit)
packages gnuplot-nox
rm -rf "$logs"
mkdir -p "$logs"

tree=$("$TOP/scripts/tree.sh")
build=$CACHE/build-linux-x86_64-bench
"$TOP/scripts/build.sh" "$tree" "$build" x86_64-bench

# On a plain kernel there is nothing to be known before.
: >"$logs/baseline.reports"
stage "boot: bench (speed: instructions, one CPU)"
"$TOP/scripts/boot.sh" "$build" bench "$logs" >"$logs/bench.out" 2>&1 ||
	die "$(grep -v csv, "$logs/bench.out" | tail -n 1); log: $logs/bench.log"
stage "build the modules of patches/mediated"
mediated_modules "$build"
stage "boot: benchpackets (sending and receiving: instructions, one CPU)"
EXTRA=$build/guest/mediated.cpio "$TOP/scripts/boot.sh" "$build" benchpackets "$logs" \
	>"$logs/benchpackets.out" 2>&1 ||
	die "$(grep -v csv, "$logs/benchpackets.out" | tail -n 1); log: $logs/benchpackets.log"
stage "boot: benchfire (loss: two CPUs side by side)"
MULTI=1 LIMIT=300 "$TOP/scripts/boot.sh" "$build" benchfire "$logs" >"$logs/benchfire.out" 2>&1 ||
	die "$(grep -v csv, "$logs/benchfire.out" | tail -n 1); log: $logs/benchfire.log"
LOGS=$logs/dpdk "$TOP/scripts/dpdk.sh" count >"$logs/dpdkcount.out" 2>&1 ||
	die "$(tail -n 1 "$logs/dpdkcount.out"); log: $logs/dpdkcount.out"
cp "$logs/dpdk/dpdkcount.log" "$logs"
if grep -q '^kvm' "$CACHE/accel-2" 2>/dev/null; then
	stage "boot: benchkvm (speed: time)"
	"$TOP/scripts/boot.sh" "$build" benchkvm "$logs" >"$logs/benchkvm.out" 2>&1 ||
		die "$(grep -v csv, "$logs/benchkvm.out" | tail -n 1); log: $logs/benchkvm.log"
fi

{
	echo "Linux $(make -s -C "$tree" kernelversion), $(gcc --version | head -n 1), $(qemu-system-x86_64 --version | head -n 1)"
	echo "host: $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1), $(nproc) CPUs, load $(cut -d ' ' -f 1 /proc/loadavg)"
	grep -q '^kvm' "$CACHE/accel-2" 2>/dev/null || echo "no wall time: KVM does not work here"
	[ ! -f "$build/guest/igb_uio.absent" ] ||
		echo "igb_uio is missing: it does not build on this kernel: $(cat "$build/guest/igb_uio.absent")"
} >"$logs/machine"

stage "results (log: $logs)"
rc=0
if [ -n "${PUBLISH:-}" ]; then
	for branch in series mediated; do
		git -C "$tree" config "branch.$branch.description" >"$logs/cover-$branch"
	done
	python3 "$TOP/bench/bench.py" "$logs" "$TOP"/{,bench/}README.md "$logs"/cover-{series,mediated} || rc=$?
	for branch in series mediated; do
		git -C "$tree" config "branch.$branch.description" "$(cat "$logs/cover-$branch")"
	done
else
	python3 "$TOP/bench/bench.py" "$logs" || rc=$?
fi
tail -n 1 "$logs/targets"
"$TOP/scripts/record.sh" bench "$commit" "all" "$(tail -n 1 "$logs/targets")"
exit $rc
