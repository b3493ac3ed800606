#!/bin/bash
# The main job: a kernel with the series, booted in QEMU with real (emulated)
# PCI devices, and the kselftests there.
#
# Needs:  what tree.sh, build.sh and boot.sh need
# Makes:  out/run (or LOGS): logs, and "summary" with the counts of the tests
# Prints: stages, a line per test (with V=1 all of their KTAP), a table,
#         "run: N passed, ..."
# Usage:  [KERNEL=DIR|PREVIOUS=1|LTS=1] [LOGS=DIR] [V=1] run.sh [ARCH[-FLAVOUR] BOOT...]
#         BUILD=DIR run.sh ARCH BOOT...: what is there has been built already
. "$(dirname "$0")/lib.sh"

exclusive

logs=${LOGS:-$TOP/out/run}
arch=${1:-x86_64}
boots=("${@:2}")
[ $# != 0 ] || boots=(devices injected faults unplug lockdown nomsi iommu nointremap field onecpu)

rm -rf "$logs"
mkdir -p "$logs"

build=${BUILD:-}
if [ -z "$build" ]; then
	tree=$("$TOP/scripts/tree.sh")
	build=$CACHE/build-$(basename "$tree")
	[ "$arch" = x86_64 ] || build=$build-$arch
	"$TOP/scripts/build.sh" "$tree" "$build" "$arch"
fi

# A guest takes one CPU, and half of the time it waits: more than there are.
failed=0
stage "boot: baseline"
"$TOP/scripts/boot.sh" "$build" baseline "$logs" || failed=1
stage "boot: ${boots[*]}"
printf '%s\n' "${boots[@]}" |
	xargs -P $((JOBS + 1)) -I BOOT "$TOP/scripts/boot.sh" "$build" BOOT "$logs" || failed=1

# The table: a line per device. A test that no device could run has not run,
# which is a failure where all devices are there.
stage "results ($([ -n "${BUILD:-}" ] || echo "$(git -C "$tree" log -1 --format=%s base), ")log: $logs)"
cat "$logs"/*.log | tr -d '\r' | awk -v broken="$failed" -v all="$(($# == 0))" '
	# A program that ended before its tests did.
	function ended() {
		if (seen < planned) {
			print name ": FAILED after " seen " of " planned " tests"
			fail[name]++; fails++
		}
		seen = planned = 0
	}
	/^guest: device / { ended(); name = $3; order[++devices] = name }
	/^# 1\.\.[0-9]+/ { ended(); planned = substr($2, 4) + 0 }
	/^not ok: / { print; broken++ }
	/^not ok [0-9]+ selftests/ && !fail[name] { print name ": FAILED " $0; fail[name]++; fails++ }
	/^# (not )?ok [0-9]+ / {
		seen++
		test = $0
		sub(/^# (not )?ok [0-9]+ /, "", test)
		sub(/ # SKIP.*/, "", test)
		tests[test]
		if (/^# not ok/) { fail[name]++; fails++; print name ": FAILED " test }
		else if (/# SKIP/) { skip[name]++; skips++ }
		else { pass[name]++; passes++; ran[test] }
	}
	END {
		ended()
		for (test in tests) if (!(test in ran)) {
			print "NOT RUN on any device: " test
			broken += all
		}
		for (i = 1; i <= devices; i++)
			printf "%-16s %3d passed %3d failed %3d skipped\n", order[i],
				pass[order[i]], fail[order[i]], skip[order[i]]
		if (!passes) { print "no test ran"; broken++ }
		printf "run: %d passed, %d failed, %d skipped\n", passes, fails + broken, skips
		exit fails + broken > 0
	}' | tee "$logs/summary"
