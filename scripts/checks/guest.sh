# shellcheck shell=bash
# Runs of the kselftests in a guest. Sourced by check.sh.

# run.sh, with the counts of its tests for the sum.
guest() {	# NAME ARGUMENT...
	local name=$1 rc=0
	shift
	rm -rf "$TOP/out/$name"
	LOGS=$TOP/out/$name "$TOP/scripts/run.sh" "$@" || rc=$?
	sed -n 's/^run: \([0-9]*\) passed, \([0-9]*\) failed.*/\1 \2/p' \
		"$TOP/out/$name/summary" >"$logs/$name.counts" 2>/dev/null || :
	[ -s "$logs/$name.counts" ] || rm -f "$logs/$name.counts"
	return $rc
}

check_run() { guest run; }

# The 32-bit test program on the 64-bit kernel.
check_compat() { guest compat x86_64 compat; }

# Write-combining: the module with patches/wc, on the same kernel.
check_wc() {
	local tree
	tree=$("$TOP/scripts/tree.sh" wc)
	"$TOP/scripts/build.sh" "$CACHE/linux" "$CACHE/build-linux" x86_64
	"$TOP/scripts/wc.sh" "$tree" "$CACHE/build-linux" "$CACHE/wc.cpio"
	EXTRA=$CACHE/wc.cpio guest wc x86_64 wc
}

# Pages larger than most BARs, another interrupt controller.
check_arm64_64k() { guest arm64-64k arm64 devices injected; }

# The series before the one that the patches are based on.
check_previous() { PREVIOUS=1 guest previous x86_64 unplug; }

# The kernel of Debian 13, with the patches for it, which are what patches/ has.
check_lts() {
	"$TOP/scripts/port.sh" --check
	LTS=1 guest lts x86_64 devices injected
}

# The package for it, in a bare Debian 13.
check_dkms() {
	LOGS=$TOP/out/dkms "$TOP/scripts/dkms.sh" test
	sed -n 's/^dkms: \([0-9]*\) passed, .*/\1 0/p' "$TOP/out/dkms/summary" >"$logs/dkms.counts"
}

# Everything that finds mistakes, as far as one kernel can have it, and faults
# injected; with coverage of the files of the series, which "coverage" reads.
check_debug() { guest debug x86_64-debug iommu faults devices lockdown unplug; }

check_rt() { guest rt x86_64-rt devices; }

# Data races, on the same kernel: for them to happen, guest CPUs run side by side.
check_kcsan() { MULTI=1 LIMIT=300 guest kcsan x86_64-rt devices; }

# long.sh in short.
long() {	# NAME VARIABLE=VALUE...
	local name=$1 rc=0
	shift
	env LOGS="$TOP/out/$name" "$@" "$TOP/scripts/long.sh" "$name" || rc=$?
	sed -n 's/^[a-z]*: \([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' \
		"$TOP/out/$name/summary" >"$logs/$name.counts" 2>/dev/null || :
	[ -s "$logs/$name.counts" ] || rm -f "$logs/$name.counts"
	return $rc
}

check_coverage() {
	[[ " ${checks[*]} " = *" debug "* && " ${checks[*]} " = *" arm64-64k "* ]] ||
		{ "$TOP/scripts/long.sh" coverage; return; }
	"$TOP/scripts/long.sh" coverage_report
}

# The userspace driver: its tests, and what it answers.
check_demo() {
	rm -f "$TOP"/out/demo*/summary
	"$TOP/scripts/demo.sh" test
	"$TOP/scripts/demo.sh"
	sed -n 's/^demotest: \([0-9]*\) passed, .*/\1 0/p' "$TOP/out/demotest/summary" \
		>"$logs/demo.counts"
}

# Whether its targets are met.
check_bench() { "$TOP/bench/bench.sh"; }

check_races() { long races LIMIT=600 ROUNDS=4; }
check_fuzz() { long fuzz LIMIT=600 CALLS=10000; }
check_soak() { long soak LIMIT=300 INTERRUPTS=200000; }

# One of each kind: handler, ioctls, end of a session, core.
check_mutants() { MUTANTS="0 15 118 176" "$TOP/scripts/long.sh" mutants; }

# The mediated driver, in short.
check_mediated() {
	LOGS=$TOP/out/mediated "$TOP/scripts/mediated.sh" short
	sed -n 's/^mediated: \([0-9]*\) passed, \([0-9]*\) failed$/\1 \2/p' "$TOP/out/mediated/summary" \
		>"$logs/mediated.counts"
}

# DPDK of one release, on few cards.
check_dpdk() {
	LOGS=$TOP/out/dpdk "$TOP/scripts/dpdk.sh" short
	sed -n 's/^dpdk: .* \([0-9]*\) checks passed, .*/\1 0/p' "$TOP/out/dpdk/summary" >"$logs/dpdk.counts"
}
