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

# Pages larger than most BARs, another interrupt controller.
check_arm64_64k() { guest arm64-64k arm64 devices injected unplug; }

# The series before the one that the patches are based on.
check_previous() { PREVIOUS=1 guest previous x86_64 devices injected unplug; }
