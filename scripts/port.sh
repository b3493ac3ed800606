#!/bin/bash
# Take over into the series for Linux 6.12 what changed in the series since then,
# so that nothing is edited twice.
#
# Needs:  the tree of LTS=1 tree.sh, with nothing uncommitted in it
# Makes:  its branch "series" anew, and patches/linux-6.12
# Prints: the files that changed; if one cannot be merged, where it is, and what
#         to do
# Usage:  port.sh         merge
#         port.sh --check whether there is anything to merge: exit code 1, and it
. "$(dirname "$0")/lib.sh"

# patches/ as it was when patches/linux-6.12 was made from it.
lts=patches/linux-$LTS_BASE
if [ "$(cat "${SERIES[@]}" | sha256sum | cut -d ' ' -f 1)" = "$(cat "$TOP/$lts/ported")" ]; then
	say "nothing to port"
	exit
fi
[ "${1:-}" != --check ] || die "patches/ changed since $lts was made: 'make port'"
last=$(git -C "$TOP" log -1 --format=%H -- "$lts/ported")
[ -n "$last" ] || die "no commit here has $lts/ported"

main=$CACHE/linux
[ -d "$main" ] || KERNEL='' "$TOP/scripts/tree.sh" >/dev/null
tree=$CACHE/linux-$LTS_BASE
[ -d "$tree" ] || KERNEL='' LTS=1 "$TOP/scripts/tree.sh" >/dev/null
[ -z "$(git -C "$tree" status --porcelain -uno)" ] || die "$tree has uncommitted changes"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# The patches of a time, their messages, and the files at each of them.
states() {	# NAME PATCH...
	local name=$1 n=0 patch f
	shift
	mkdir -p "$tmp/$name/files"
	git -C "$tmp/$name/files" init -q
	for patch; do
		n=$((n + 1))
		git -C "$tmp" mailinfo "$tmp/$name/body" /dev/null <"$patch" >"$tmp/$name/head" 2>/dev/null
		{ sed -n 's/^Subject: //p' "$tmp/$name/head"; echo; cat "$tmp/$name/body"; } >"$tmp/$name/message.$n"
		git apply --numstat "$patch" | cut -f 3 >>"$tmp/files"
		while read -r f; do
			[ ! -e "$tmp/$name/files/$f" ] || continue
			mkdir -p "$tmp/$name/files/$(dirname "$f")"
			git -C "$main" show "base:$f" >"$tmp/$name/files/$f" 2>/dev/null || rm "$tmp/$name/files/$f"
		done < <(git apply --numstat "$patch" | cut -f 3)
		(cd "$tmp/$name/files" && git apply "$patch")
		cp -r "$tmp/$name/files" "$tmp/$name/$n"
	done
}

# Merge into FILE what is new; SHOWN is its name.
merge() {	# FILE BEFORE AFTER SHOWN
	cmp -s "$2" "$3" && return
	say "$4"
	git merge-file -q "$1" "$2" "$3" || {
		mkdir -p "$TOP/out/port/$(dirname "$4")"
		cp "$1" "$TOP/out/port/$4"
		die "cannot merge $4: see out/port/$4; amend the commits in $tree by hand, then LTS=1 make patches"
	}
}

mkdir "$tmp/before-patches"
for patch in $(git -C "$TOP" ls-tree --name-only "$last" patches/ | grep '/000[12]-'); do
	git -C "$TOP" show "$last:$patch" >"$tmp/before-patches/${patch##*/}"
done
states before "$tmp"/before-patches/*.patch
states after "${SERIES[@]}"

export GIT_INDEX_FILE=$tmp/index
parent=$(git -C "$tree" rev-parse base)
for n in 1 2; do
	commit=$(git -C "$tree" rev-list --reverse base..series | sed -n "${n}p")
	git -C "$tree" read-tree "$commit"
	while read -r f; do
		for state in before after; do
			[ -e "$tmp/$state/$n/$f" ] || { mkdir -p "$tmp/$state/$n/$(dirname "$f")"; : >"$tmp/$state/$n/$f"; }
		done
		git -C "$tree" show "$commit:$f" >"$tmp/file" 2>/dev/null || : >"$tmp/file"
		merge "$tmp/file" "$tmp/before/$n/$f" "$tmp/after/$n/$f" "$f"
		if [ -s "$tmp/file" ]; then
			git -C "$tree" update-index --add --cacheinfo \
				"100644,$(git -C "$tree" hash-object -w "$tmp/file"),$f"
		else
			git -C "$tree" update-index --force-remove "$f"
		fi
	done < <(sort -u "$tmp/files")
	git -C "$tree" log -1 --format=%B "$commit" >"$tmp/message"
	merge "$tmp/message" "$tmp/before/message.$n" "$tmp/after/message.$n" "message-$n"
	parent=$(GIT_AUTHOR_NAME=$(git -C "$tree" log -1 --format=%an "$commit") \
		GIT_AUTHOR_EMAIL=$(git -C "$tree" log -1 --format=%ae "$commit") \
		GIT_AUTHOR_DATE=$(git -C "$tree" log -1 --format=%ad "$commit") \
		GIT_COMMITTER_NAME=uio_msix GIT_COMMITTER_EMAIL=uio_msix@localhost \
		git -C "$tree" commit-tree -p "$parent" -F "$tmp/message" "$(git -C "$tree" write-tree)")
done
unset GIT_INDEX_FILE
git -C "$tree" reset -q --hard "$parent"
LTS=1 "$TOP/scripts/patches.sh"
