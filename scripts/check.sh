#!/bin/bash
# The tests: everything that can be checked here, one line a check.
#
# Needs:  what run.sh needs, shellcheck, python3-ply and python3-git (checkpatch)
# Makes:  out/check: a log per check
# Prints: a line per check with its time; "N passed, N failed" last
# Usage:  check.sh [CHECK...]
. "$(dirname "$0")/lib.sh"

logs=$TOP/out/check
mkdir -p "$logs"
passed=0 failed=0

# The kernel tree, of patches/ and nothing else.
check_tree() {
	tree=$("$TOP/scripts/tree.sh")
	[ "$(cut -d ' ' -f 2 "$tree/.git/uio_msix")" = "$(git -C "$tree" rev-parse HEAD)" ] &&
	[ -z "$(git -C "$tree" status --porcelain -uno)" ] ||
		die "$tree has what patches/ has not: 'make patches'"
}

# git am on the pristine kernel gives the files of the view, byte for byte, and
# the view has no others.
check_view() {
	local tree=$CACHE/linux am=$CACHE/tmp.am f bad=0
	git -C "$tree" worktree remove --force "$am" 2>/dev/null || rm -rf "$am"
	git -C "$tree" worktree prune
	git -C "$tree" worktree add -q --no-checkout --detach "$am" base
	git -C "$am" sparse-checkout set drivers/uio include Documentation tools/testing/selftests/uio
	git -C "$am" checkout -q
	GIT_COMMITTER_NAME=check GIT_COMMITTER_EMAIL=check@localhost \
		git -C "$am" am -q "${SERIES[@]}"
	git -C "$am" diff --name-only --diff-filter=A base HEAD | sort >"$logs/added"
	(cd "$TOP" && find drivers include tools Documentation -type f | sort) |
		diff "$logs/added" - || bad=1
	while read -r f; do
		git -C "$am" show "HEAD:$f" | cmp - "$TOP/$f" || bad=1
	done <"$logs/added"
	git -C "$am" diff -U0 base HEAD -- MAINTAINERS | sed -n '/^+++/d; s/^+//p' |
		cmp - "$TOP/MAINTAINERS.fragment" || bad=1
	git -C "$tree" worktree remove --force "$am"
	return $bad
}

# The poster signs off.
check_checkpatch() {
	packages python3-ply python3-git
	"$CACHE/linux/scripts/checkpatch.pl" --no-tree --root "$CACHE/linux" --strict \
		--ignore MISSING_SIGN_OFF --show-types "${SERIES[@]}"
}

check_shellcheck() {
	packages shellcheck
	(cd "$TOP" && shellcheck -x scripts/*.sh .ci/run)
}

check_run() {
	local rc=0
	"$TOP/scripts/run.sh" || rc=$?
	read -r n_passed n_failed < <(sed -n 's/^run: \([0-9]*\) passed, \([0-9]*\) failed.*/\1 \2/p' \
		"$TOP/out/run/summary" 2>/dev/null) || :
	return $rc
}

check() {
	local name=$1 start=$SECONDS rc=0 n_passed=1 n_failed=1
	# In this shell, for the counts; errors end the check, not the script.
	set +e
	if [ "$name" = run ]; then
		check_run
	else
		(set -e; "check_$name") >"$logs/$name.log" 2>&1
	fi
	rc=$?
	set -e
	if [ $rc = 0 ]; then
		passed=$((passed + n_passed))
		printf 'ok      %-12s %4d s\n' "$name" $((SECONDS - start))
	else
		[ "$name" != run ] || passed=$((passed + n_passed))
		failed=$((failed + (n_failed > 0 ? n_failed : 1)))
		printf 'not ok  %-12s %4d s  %s\n' "$name" $((SECONDS - start)) \
			"$(tail -n 1 "$logs/$name.log" 2>/dev/null)"
	fi
}

checks=("$@")
[ $# -gt 0 ] || checks=(tree view checkpatch shellcheck run)
for name in "${checks[@]}"; do
	declare -F "check_$name" >/dev/null || die "no check named $name"
	check "$name"
done
say "$passed passed, $failed failed"
[ "$failed" = 0 ]
