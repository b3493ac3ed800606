#!/bin/bash
# The tests, one line a check: those that take an hour in all on two CPUs from
# nothing, or with "all" everything that can be checked here, which takes hours.
#
# Only what the series could have caused counts: the same check on the tree
# without it says what was there before.
#
# Needs:  root, to install what is missing; 16 GB of disk
# Makes:  out/check: a log per check, and "rc passed failed" in NAME.result
# Prints: a line per check with its time; "N passed, N failed" last
# Usage:  [MINUTES=N] check.sh [all|CHECK...]
#         what is left out is named; with MINUTES, none begins later than that
#         check.sh --list
. "$(dirname "$0")/lib.sh"

# The modules for Python are those of Debian's packages.
export PATH=/usr/bin:$PATH

logs=$TOP/out/check
src=$CACHE/check/src
work=$CACHE/check

. "$(dirname "$0")/checks/series.sh"
. "$(dirname "$0")/checks/build.sh"
. "$(dirname "$0")/checks/analysis.sh"
. "$(dirname "$0")/checks/docs.sh"
. "$(dirname "$0")/checks/uapi.sh"
. "$(dirname "$0")/checks/kselftest.sh"
. "$(dirname "$0")/checks/guest.sh"

# Two lanes, which run side by side: what works on the source, and what boots
# guests, which wait half of the time. First those that have one guest at a time.
on_source=(tree view sizes checkpatch order maintainers shellcheck
	   prefix config x86_64 i386 arm64 riscv64 s390x ppc64 ppc64le clang
	   sparse coccicheck smatch clang-analyzer
	   kernel-doc htmldocs doc-refs get_abi
	   check-uapi header
	   kselftest)
in_guests=(run compat mediated wc dpdk demo debug arm64-64k coverage bench
	   mutants races fuzz soak previous lts dkms rt kcsan)
all=("${on_source[@]}" "${in_guests[@]}")
# Those with a kernel of their own, or of which "make X" does the whole.
longer=(smatch check-uapi debug arm64-64k coverage bench
	mutants races fuzz soak previous dkms rt kcsan)

# What a check says last, and why it could not be done (exit code 77).
fail() { printf '%s\n' "$*"; return 1; }
absent() { printf '%s\n' "$*"; exit 77; }

# The source at a state of the series: base, 1 or 2 patches applied, or those of a
# further series on top, by its name.
at() { git -C "$src" checkout -q --detach "check-$1"; }

am() {	# PATCH
	GIT_COMMITTER_NAME=check GIT_COMMITTER_EMAIL=check@localhost \
		git -C "$src" am -q "$1" >"$logs/am.log" 2>&1 ||
		die "${1#"$TOP"/} does not apply: $(grep -m 1 '^error:' "$logs/am.log")"
}

# The source, with a tag for each state, by git am of patches/ and nothing else.
source_tree() {
	local want
	[ -e "$CACHE/linux" ] || KERNEL='' "$TOP/scripts/tree.sh" >/dev/null
	want=$({ cat "$TOP"/patches/{.,*}/*.patch && git -C "$CACHE/linux" rev-parse base; } | sha256sum | cut -d ' ' -f 1)
	[ "$(cat "$work/series" 2>/dev/null)" != "$want" ] || return 0
	disk 16
	mkdir -p "$work"
	if [ ! -e "$src" ]; then
		git -C "$CACHE/linux" worktree prune
		git -C "$CACHE/linux" worktree add -q --detach "$src" base
	fi
	git -C "$src" am -q --abort >/dev/null 2>&1 || :
	git -C "$src" checkout -q -f --detach base
	git -C "$src" tag -f check-base >/dev/null
	local n=0 patch name
	for patch in "${SERIES[@]}"; do
		am "$patch"
		git -C "$src" tag -f "check-$((n += 1))" >/dev/null
	done
	for name in "${FURTHER[@]}"; do
		at 2
		for patch in "$TOP/patches/$name"/000[1-9]-*.patch; do am "$patch"; done
		git -C "$src" tag -f "check-$name" >/dev/null
	done
	echo "$want" >"$work/series"
}

# The warnings and errors in LOG, without what moves when lines are added. What
# coccicheck says begins with ./ and may have no such word.
messages() {
	grep -E '\b(warning|error|WARNING|ERROR|CRITICAL|Warning|Error)\b|^\./' "$1" |
		sed -E "s#$src/##g; s/:[0-9]+(:[0-9]+)?:?/:/g; s/\bline [0-9]+/line/g" | sort || :
}

# Fail if LOG has messages that the log of the same BEFORE the series has not.
nothing_new() {	# BEFORE LOG
	local new
	new=$(comm -13 <(messages "$1") <(messages "$2"))
	[ -z "$new" ] || fail "new: ${new%%$'\n'*}"
}

# The last line of LOG, or the first error if that is only what make made of it.
reason() {	# LOG
	local last
	last=$(tail -n 1 "$1")
	case $last in
	make:*|make\[*|cc1:*) grep -m 1 'error: ' "$1" || echo "$last" ;;
	*:*" passed, "*) grep -m 1 '^error: ' "$1" || echo "$last" ;;
	*) echo "$last" ;;
	esac
}

# The first line of LOG that tells of something wrong.
symptom() {	# LOG
	grep -m 1 -E 'MISSED|FAILED|NO REASON|not ok|NOT RUN|(^|: )error: ' "$1" | cut -c -200 || reason "$1"
}

# Its line, and "rc passed failed" in NAME.result for the sum.
check() {
	local name=$1 start=$SECONDS rc result=ok n_passed=1 n_failed=0 more=
	rm -f "$logs/$name".*
	# Errors end the check, not the script.
	set +e
	(
		set -e
		[[ " ${on_source[*]} " != *" $name "* ]] || source_tree
		"check_${name//-/_}"
	) >"$logs/$name.log" 2>&1
	rc=$?
	set -e
	case $rc in
	0)	;;
	77)	result=absent n_passed=0 ;;
	*)	result=FAILED n_passed=0 n_failed=1 ;;
	esac
	if [ $rc != 0 ]; then
		more=$(reason "$logs/$name.log")
	fi
	if [ -f "$logs/$name.counts" ]; then
		read -r n_passed n_failed <"$logs/$name.counts"
		[ $rc = 0 ] && more="$n_passed tests" || [ "$n_failed" -gt 0 ] || n_failed=1
	fi
	echo "$rc $n_passed $n_failed" >"$logs/$name.result"
	printf '%-14s %-6s %4d s  %s\n' "$name" "$result" $((SECONDS - start)) "$more"
}

# Of CHECKs, those that were asked for, as long as there is time to begin one.
lane() {	# CHECK...
	local name
	for name; do
		[[ " ${checks[*]} " = *" $name "* ]] || continue
		if [ $((SECONDS / 60)) -lt "${MINUTES:-9999}" ]; then
			check "$name"
		else
			echo "78 0 0" >"$logs/$name.result"
		fi
	done
}

if [ "${1:-}" = --list ]; then
	say "${all[*]}"
	exit
fi
exclusive
mkdir -p "$logs"
passed=0 failed=0 missing=() late=() broken=()
checks=("$@")
[ "$*" != all ] || checks=("${all[@]}")
[ $# != 0 ] || {
	mapfile -t checks < <(printf '%s\n' "${all[@]}" | grep -vxF -f <(printf '%s\n' "${longer[@]}"))
	say "only by \"make check-all\": ${longer[*]}"
}
for name in "${checks[@]}"; do
	[[ " ${all[*]} " = *" $name "* ]] || die "no check named $name: ${all[*]}"
done
# What an interrupted check may have left.
[ ! -e "$src" ] || git -C "$src" clean -xdfq
# A pipeline, which Ctrl-C ends; nothing goes through it.
exec 3>&1
lane "${on_source[@]}" >&3 </dev/null | lane "${in_guests[@]}" >&3 </dev/null
for name in "${checks[@]}"; do
	[ -f "$logs/$name.result" ] || die "$name has not ended"
	read -r rc n_passed n_failed <"$logs/$name.result"
	passed=$((passed + n_passed)) failed=$((failed + n_failed))
	case $rc in
	0)	;;
	77)	missing+=("$name") ;;
	78)	late+=("$name") ;;
	*)	broken+=("$name: $(symptom "$logs/$name.log")") ;;
	esac
done
[ ${#missing[@]} = 0 ] || say "not checked, for want of the tool: ${missing[*]}"
[ ${#late[@]} = 0 ] || say "NOT CHECKED, for want of time (MINUTES=$MINUTES): ${late[*]}"
[ $failed = 0 ] || printf 'failed: %s\n' "${broken[@]}"
say "$passed passed, $failed failed"
[ "$failed" = 0 ]
