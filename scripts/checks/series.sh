# shellcheck shell=bash
# Checks of the series as text. Sourced by check.sh.

# The trees that are tested have patches/ and nothing else.
check_tree() {
	local tree name
	for name in '' "${FURTHER[@]}"; do
		tree=$("$TOP/scripts/tree.sh" ${name:+"$name"})
		[ "$(cut -d ' ' -f 2 "$(git -C "$tree" rev-parse --absolute-git-dir)/uio_msix")" = \
		  "$(git -C "$tree" rev-parse HEAD)" ] &&
		[ -z "$(git -C "$tree" status --porcelain -uno)" ] ||
			fail "$tree has what patches/ has not: 'make patches'"
	done
}

# Lines added to FILE... from one STATE to the next, or with "all" those removed, too.
lines_of() {	# added|all STATE STATE FILE...
	git -C "$src" diff --numstat "check-$2" "check-$3" -- "${@:4}" |
		awk -v what="$1" '{ n += $1 + (what == "all" ? $2 : 0) } END { print n + 0 }'
}

# What can be reviewed, as it is promised; and who posts it signs.
check_sizes() {
	local t=tools/testing/selftests/uio name lines limit bad=0
	while read -r name limit lines; do
		echo "$name: $lines of $limit"
		[ "$lines" -le "$limit" ] || bad=1
	done <<-END
		patch-1 120 $(lines_of all base 1 .)
		patch-2 2100 $(lines_of added 1 2 .)
		driver 700 $(lines_of added 1 2 drivers/uio/uio_msix.c)
		kselftest 1000 $(lines_of added 1 2 "$t/*.c" "$t/*.h")
		uio_vmxnet3.c 800 $(lines_of added 2 mediated drivers/uio/uio_vmxnet3.c)
	END
	! grep -rnE '^(Signed-off|Reviewed|Acked|Tested)-by:' "$TOP"/patches || bad=1
	[ $bad = 0 ] || fail "more lines than promised, or a sign-off, which is the poster's"
}

# git am on the pristine kernel, as README.md has it, gives the files of the view,
# byte for byte, and the view has no others.
check_view() {
	local f name bad=0 pattern
	: >"$logs/added"
	viewed() {	# BELOW STATE
		git -C "$src" diff --name-only --diff-filter=A "check-$1" "check-$2" >"$logs/added.$2"
		cat "$logs/added.$2" >>"$logs/added"
		while read -r f; do
			git -C "$src" show "check-$2:$f" | cmp - "$TOP/$f" || bad=1
		done <"$logs/added.$2"
	}
	# shellcheck disable=SC2016 # a mark
	pattern=$(sed -nE 's/.*`git am (patches[^`]*)`.*/\1/p' "$TOP/README.md")
	at base
	# shellcheck disable=SC2086 # a pattern
	GIT_COMMITTER_NAME=check GIT_COMMITTER_EMAIL=check@localhost \
		git -C "$src" am -q "$TOP"/$pattern &&
		git -C "$src" diff --exit-code check-2 || {
		git -C "$src" am --abort || :
		bad=1
	}
	viewed base 2
	for name in "${FURTHER[@]}"; do viewed 2 "$name"; done
	(cd "$TOP" && find drivers include tools Documentation -type f | sort) |
		diff <(sort "$logs/added") - || bad=1
	git -C "$src" diff -U0 check-base check-2 -- MAINTAINERS | sed -n '/^+++/d; s/^+//p' |
		cmp - "$TOP/MAINTAINERS.fragment" || bad=1
	[ $bad = 0 ] || fail "README's git am fails, or the view is not what patches/ adds: 'make patches'"
}

# Left out: the sign-off, which is the poster's; 'iput', which is a function.
check_checkpatch() {
	local checkpatch f name bad=0
	packages python3-ply python3-git codespell
	at 2
	grep -v '^iput->' "$(dpkg -L codespell | grep '/dictionary\.txt$')" >"$work/dictionary"
	checkpatch=("$src/scripts/checkpatch.pl" --strict --codespell
		--codespellfile "$work/dictionary"
		--show-types --ignore MISSING_SIGN_OFF)
	cd "$src"
	checked() {	# FOLDER BELOW STATE
		at "$3"
		# The names of vmxnet3_defs.h are what they are.
		[ "$3" != mediated ] || checkpatch+=(--ignore CAMELCASE)
		"${checkpatch[@]}" "$1"/000[1-9]-*.patch || bad=1
		"${checkpatch[@]}" --no-tree --root "$src" "$1/0000-cover-letter.patch" || bad=1
		while read -r f; do
			"${checkpatch[@]}" -f "$f" || bad=1
		done < <(git diff --name-only --diff-filter=A "check-$2" "check-$3")
	}
	checked "$TOP/patches" base 2
	for name in wc mediated; do checked "$TOP/patches/$name" 2 "$name"; done
	[ $bad = 0 ] || fail "$(grep -m 1 -E '^(ERROR|WARNING|CHECK):' "$logs/checkpatch.log")"
}

# Where the series adds to a list, it keeps or makes no worse its order: a name
# goes between two neighbours if it can.
sorted() {	# FILE PATTERN: PATTERN's first group is the name
	python3 - "$1" "$2" <(git -C "$src" show "check-base:$1" 2>/dev/null) "$src/$1" <<-'EOF'
	import re, sys
	file, pattern, base, now = sys.argv[1:]
	names = lambda f: re.findall(pattern, open(f).read(), re.M)
	before, after = names(base), names(now)
	new = [n for n in after if n not in before]
	if not new:
	    sys.exit(f"{file}: the series adds nothing to a list that matches {pattern}")
	key = str.upper
	for n in new:
	    i = after.index(n)
	    fits = lambda a, x, b: (a is None or key(a) <= key(x)) and (b is None or key(x) <= key(b))
	    rest = after[:i] + after[i + 1:]
	    possible = [j for j in range(len(rest) + 1)
	                if fits(rest[j - 1] if j else None, n, rest[j] if j < len(rest) else None)]
	    if possible and i not in possible:
	        j = possible[0]
	        sys.exit(f"{file}: {n} is not in order: it could follow {rest[j - 1] if j else 'nothing'}")
	EOF
}

check_order() {
	packages python3
	at 2
	sorted drivers/uio/Kconfig '^config (\w+)'
	sorted drivers/uio/Makefile '^obj-\$\((\w+)\)'
	sorted tools/testing/selftests/Makefile '^TARGETS \+= (\S+)'
	sorted tools/testing/selftests/uio/config '^(\w+)='
	sorted MAINTAINERS '^([0-9A-Z][^:\n][^\n]*)\n[A-Z]:\t'
	sorted Documentation/userspace-api/ioctl/ioctl-number.rst "^('.'\s+[0-9A-F]{2})-[0-9A-F]{2}\s"
	sorted Documentation/admin-guide/kernel-parameters.txt '^\t(\w[\w.-]*)=?'
	sorted drivers/uio/uio_msix.c '^#include (<linux/.*>)$'
}

# Whom the cover letter is sent to: whom get_maintainer.pl asks for, and others
# only if MAINTAINERS knows them. The new entry is well-formed.
check_maintainers() {
	local cover=$TOP/patches/0000-cover-letter.patch who missing extra state dir
	packages perl
	at 2
	addresses() { { grep -oE '[^ <]+@[^ >]+' || :; } | sort -u; }
	sed -nE 's/^(To|Cc): //p' "$cover" | addresses >"$logs/cover.to"
	(cd "$src" && for patch in "${SERIES[@]}"; do
		scripts/get_maintainer.pl --no-git --no-git-fallback --no-rolestats "$patch"
	done) >"$logs/maintainers.answer"
	cat "$logs/maintainers.answer"
	addresses <"$logs/maintainers.answer" >"$logs/maintainers.to"
	missing=$(comm -13 "$logs/cover.to" "$logs/maintainers.to")
	[ -z "$missing" ] || fail "the cover letter does not name $missing"
	extra=$(comm -23 "$logs/cover.to" "$logs/maintainers.to")
	for who in $extra; do
		grep -qF "$who" "$src/MAINTAINERS" || fail "MAINTAINERS does not know $who"
	done
	[ -s "$logs/maintainers.to" ] || fail "get_maintainer.pl names nobody"

	# Not its tests of every link in MAINTAINERS; and of the patterns only whether
	# they match what the series touches, because all on all takes minutes.
	for state in base 2; do
		dir=$work/self-test-$state
		rm -rf "$dir"
		mkdir -p "$dir"/{Documentation,arch,include,drivers,fs,init,ipc,kernel,lib,scripts}
		git -C "$src" diff --name-only check-base check-2 |
			xargs git -C "$src" ls-tree -r --name-only "check-$state" \
				COPYING CREDITS Kbuild MAINTAINERS Makefile README |
			xargs git -C "$src" archive "check-$state" | tar -x -C "$dir"
		git -C "$dir" init -q
		git -C "$dir" add -A
		(cd "$dir" && "$src/scripts/get_maintainer.pl" --self-test=sections,patterns) \
			>"$logs/self-test.$state" 2>&1
	done
	[ -s "$logs/self-test.2" ] || fail "get_maintainer.pl --self-test says nothing at all"
	nothing_new "$logs/self-test.base" "$logs/self-test.2"
}

check_shellcheck() {
	local files
	packages shellcheck
	cd "$TOP" || return
	mapfile -t files < <(grep -rlE '^#!.*sh$' .ci scripts tests bench demo vfio dkms)
	printf '%s\n' "${files[@]}"
	shellcheck -x -a "${files[@]}" || fail "shellcheck complains"
}
