#!/bin/bash
# The tests that take long, each of which "make check-all" runs in short.
#
# Needs:  what run.sh needs
# Makes:  out/NAME (or LOGS): logs, and "summary", of which the last line is the
#         result; how a run in full ended, by record.sh
# Prints: stages, what the programs in the guest say, and the result last
# Usage:  [PUBLISH=1] long.sh coverage|coverage_report|races|fuzz|soak|mutants
#         coverage_report: of what "coverage", or check.sh, left in out/
#         ROUNDS (1000), CALLS (1000000), SEED (1), INTERRUPTS (10000000) and
#         MUTANTS (all) say how long
. "$(dirname "$0")/lib.sh"

name=$1
logs=${LOGS:-$TOP/out/${name%_report}}

coverage() {
	LOGS=$TOP/out/debug "$TOP/scripts/run.sh" x86_64-debug injected faults devices iommu compat lockdown unplug
	LOGS=$TOP/out/arm64-64k "$TOP/scripts/run.sh" arm64 devices injected unplug
	coverage_report
}

# What the logs of these two runs say.
coverage_report() {
	local tree
	mkdir -p "$logs"
	tree=$("$TOP/scripts/tree.sh")
	python3 "$TOP/tests/coverage.py" "$tree" \
		"gcov:$CACHE/build-linux-x86_64-debug:$TOP/out/debug" \
		"aarch64-linux-gnu-gcov:$CACHE/build-linux-arm64:$TOP/out/arm64-64k" |
		tee "$logs/summary"
}

# A kernel, and guests of it that run side by side; "failed" says whether one did
# not end as it should, or its kernel reported something.
failed=0
guests() {	# FLAVOUR ARGUMENTS BOOT...
	local tree build flavour=$1 arguments=$2
	shift 2
	rm -rf "$logs"
	mkdir -p "$logs"
	tree=$("$TOP/scripts/tree.sh")
	build=$CACHE/build-linux${flavour:+-x86_64-$flavour}
	"$TOP/scripts/build.sh" "$tree" "$build" "x86_64${flavour:+-$flavour}"
	stage "boot: baseline"
	"$TOP/scripts/boot.sh" "$build" baseline "$logs" || failed=1
	stage "boot: $*"
	printf '%s\n' "$@" |
		LIMIT=${LIMIT:-14400} MULTI=${MULTI-1} xargs -P $((JOBS + 1)) -I BOOT \
			sh -c "\"$TOP/scripts/boot.sh\" \"$build\" BOOT \"$logs\" $arguments" || failed=1
}

# The counts of what the programs in the guests said.
summary() {
	find "$logs" -name '*.log' -exec cat {} + | tr -d '\r' | awk -v name="$name" -v failed="$failed" '
		/^ok / && !/# SKIP/ { passed++ }
		/^not ok/ { failed++ }
		END {
			if (!passed) failed++
			printf "%s: %d passed, %d failed\n", name, passed, failed
			exit failed > 0
		}' | tee "$logs/summary"
}

# In full, each in a guest of its own: QEMU may abort, which begins a guest anew.
# With KASAN a round takes five times as long: a tenth of them is with it. Hot-plug
# begins: it takes longest, and waits most of it.
races() {
	local all=$logs boots=(racespf racesvf racesrocker) names race
	rm -rf "$all"
	if [ "${ROUNDS:=1000}" -gt 20 ]; then
		names=$(sed -n '/} races\[\] = {/,/^};/ s/^\t{ "\([a-z_]*\)".*/\1/p' "$TOP/tests/guest/races.c")
		boots=()
		for race in $names; do
			boots+=("racespf:$race" "racesvf:$race" "racesrocker:$race")
		done
		logs=$all/lockdep guests "" "$ROUNDS" racesplug "${boots[@]}"
		ROUNDS=$((ROUNDS / 10))
	fi
	logs=$all/kasan guests debug "$ROUNDS" racesplug "${boots[@]}"
	summary
}

# One CPU at a time is enough: its processes take turns.
fuzz() {
	MULTI='' guests debug "${SEED:-1} ${CALLS:-1000000}" fuzzpf fuzzvf fuzzrocker fuzznvme
	summary
}

soak() {
	guests "" "${INTERRUPTS:-10000000}" soakrocker soakpf
	summary
}

mutants() {
	local tree rc=0
	tree=$("$TOP/scripts/tree.sh")
	# The fast one first.
	"$TOP/scripts/build.sh" "$tree" "$CACHE/build-linux" x86_64
	"$TOP/scripts/build.sh" "$tree" "$CACHE/build-linux-x86_64-debug" x86_64-debug
	stage "mutants (logs: $logs)"
	mkdir -p "$logs"
	# shellcheck disable=SC2086 # a list
	python3 "$TOP/tests/mutants.py" "$tree" "$CACHE/build-linux:$CACHE/build-linux-x86_64-debug" \
		"$logs" "$JOBS" ${MUTANTS:-} | tee "$logs/output" || rc=$?
	# If it came to its end.
	grep -x '[0-9]* mutants, [0-9]* caught' "$logs/output" >"$logs/summary"
	return "$rc"
}

# What ran, if that was all of it.
in_full() {
	case $name in
	races)	[ "${ROUNDS:-1000}" -ge 1000 ] && echo "${ROUNDS:-1000} rounds of each race, $((${ROUNDS:-1000} / 10)) with KASAN" ;;
	fuzz)	[ "${CALLS:-1000000}" -ge 1000000 ] && echo "${CALLS:-1000000} calls on each device" ;;
	soak)	[ "${INTERRUPTS:-10000000}" -ge 10000000 ] && echo "${INTERRUPTS:-10000000} interrupts" ;;
	mutants) [ -z "${MUTANTS:-}" ] && echo "all" ;;
	coverage) echo "x86_64, and arm64 with 64 KB pages" ;;
	*)	return 1 ;;
	esac
}

exclusive
commit=$(commit)
rm -f "$logs/summary"
set +e
(set -e; "$name")
rc=$?
set -e
if [ -s "$logs/summary" ] && what=$(in_full); then
	"$TOP/scripts/record.sh" "$name" "$commit" "$what" "$(tail -n 1 "$logs/summary")"
fi
[ $rc = 0 ]
