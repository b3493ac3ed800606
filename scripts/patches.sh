#!/bin/bash
# Write the series from the kernel git tree, where it is two commits, and those
# on top of it.
#
# Needs:  the trees that tree.sh makes, with nothing uncommitted in them
# Makes:  patches/ and the view: the new files of all series at the top of the
#         repository, and MAINTAINERS.fragment, of the first
# Usage:  patches.sh
#         SUBMITTER='Name <mail>' [V=2] [SIGNOFF=1] patches.sh
#             writes the series to out/series as that person posts it, and
#             leaves patches/ and the view alone
#         LTS=1 patches.sh
#             writes patches/linux-6.12 from the tree of that kernel, nothing else
. "$(dirname "$0")/lib.sh"

tree=$CACHE/linux${LTS:+-$LTS_BASE}
[ -d "$tree" ] || die "no kernel tree yet: 'make tree' prepares it"
committed() {
	[ -z "$(git -C "$1" status --porcelain -uno)" ] ||
		die "the tree has uncommitted changes: git -C $1 commit --amend"
}
committed "$tree"
mapfile -t commits < <(git -C "$tree" rev-list --reverse base..series)
[ ${#commits[@]} = 2 ] ||
	die "the series is two commits, the tree has ${#commits[@]} on top of base"

mail_of() { local mail=${1##*<}; echo "${mail%>}"; }

# Format BASE..HEAD into OUTDIR as mails of AUTHOR, with the cover letter of BRANCH.
format() {	# OUTDIR BRANCH BASE HEAD AUTHOR ARGUMENT...
	local out=$1 branch=$2 base=$3 head=$4 author=$5
	shift 5
	rm -rf "$out"
	git -C "$tree" branch -q -f posting "$head"
	git -C "$tree" config branch.posting.description \
		"$(git -C "$tree" config "branch.$branch.description")"
	# The cover letter is the committer's.
	GIT_COMMITTER_NAME=${author% <*} GIT_COMMITTER_EMAIL=$(mail_of "$author") \
	git -C "$tree" -c core.abbrev=12 format-patch -q --no-signature \
		--zero-commit --stat=75 --cover-letter --cover-from-description=subject \
		-o "$out" --from="$author" "$@" "$base..posting"
}

# The same two commits by SUBMITTER, who also becomes the maintainer.
as_submitter() {
	local name=${SUBMITTER% <*} mail parent=base c index message blob
	mail=$(mail_of "$SUBMITTER")
	[[ $SUBMITTER =~ ^[^\<\>]+\ \<[^@\ ]+@[^@\ ]+\>$ ]] ||
		die "SUBMITTER must be like 'Name <name@example.org>'"
	index=$(mktemp -u)
	for c in "${commits[@]}"; do
		GIT_INDEX_FILE=$index git -C "$tree" read-tree "$c"
		blob=$(git -C "$tree" show "$c:MAINTAINERS" |
			awk -v m="M:	$SUBMITTER" '
				!NF { ours = 0 }
				ours && /^S:/ { $0 = "S:	Maintained" }
				{ print }
				/^UIO DRIVER FOR PCI MSI-X$/ { print m; ours = 1 }' |
			git -C "$tree" hash-object -w --stdin)
		GIT_INDEX_FILE=$index git -C "$tree" update-index \
			--cacheinfo "100644,$blob,MAINTAINERS"
		message=$(git -C "$tree" log -1 --format=%B "$c")
		[ -z "${SIGNOFF:-}" ] ||
			message=$(git interpret-trailers --trailer "Signed-off-by: $SUBMITTER" <<<"$message")
		parent=$(GIT_AUTHOR_NAME=$name GIT_AUTHOR_EMAIL=$mail \
			GIT_COMMITTER_NAME=$name GIT_COMMITTER_EMAIL=$mail \
			git -C "$tree" commit-tree -p "$parent" -m "$message" \
			"$(GIT_INDEX_FILE=$index git -C "$tree" write-tree)")
	done
	rm -f "$index"
	echo "$parent"
}

if [ -n "${SUBMITTER:-}" ]; then
	head=$(as_submitter)
	format "$TOP/out/series" series base "$head" "$SUBMITTER" ${V:+-v "$V"}
	say "out/series: $(cd "$TOP/out/series" && echo *.patch)"
	exit
fi

# Which patches/ is which commit, for tree.sh.
record() {	# TREE PATCH...
	local record
	record=$(git -C "$1" rev-parse --absolute-git-dir)/uio_msix
	printf '%s %s\n' "$(cat "${@:2}" | sha256sum | cut -d ' ' -f 1)" \
		"$(git -C "$1" rev-parse HEAD)" >"$record"
}

# BASE..BRANCH as patches in FOLDER, and its new files in the view, which is not of
# an old kernel.
publish() {	# FOLDER BRANCH BASE FORMAT-PATCH-ARGUMENT...
	local folder=$1 branch=$2 base=$3 date f
	format "$tmp/patches" "$branch" "$base" "$branch" \
		'uio_msix submitter <submitter@localhost.invalid>' "${@:4}"
	# The date of the cover letter is that of the run, and nothing else changes.
	date=$(git -C "$tree" log -1 --format=%aD "$branch")
	sed -i "1,/^\$/s/^Date: .*/Date: $date/" "$tmp/patches/0000-cover-letter.patch"
	mkdir -p "$folder"
	rm -f "$folder"/*.patch
	cp "$tmp"/patches/*.patch "$folder"
	say "${folder#"$TOP"/}: $(cd "$folder" && echo *.patch)"
	[ -z "${LTS:-}" ] || return 0
	while read -r f; do
		mkdir -p "$TOP/$(dirname "$f")"
		git -C "$tree" show "$branch:$f" >"$TOP/$f"
	done < <(git -C "$tree" diff --name-only --diff-filter=A "$base" "$branch")
}

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
if [ -n "${LTS:-}" ]; then
	publish "$TOP/patches/linux-$LTS_BASE" series base
	record "$tree" "$TOP/patches/linux-$LTS_BASE"/*.patch
	# What it has been ported from, for port.sh.
	cat "${SERIES[@]}" | sha256sum | cut -d ' ' -f 1 >"$TOP/patches/linux-$LTS_BASE/ported"
	exit
fi

# What is no longer in a series goes.
rm -rf "$TOP"/{drivers,include,tools,Documentation}
publish "$TOP/patches" series base
git -C "$tree" diff -U0 base series -- MAINTAINERS |
	sed -n '/^+++/d; s/^+//p' >"$TOP/MAINTAINERS.fragment"
record "$tree" "$TOP"/patches/*.patch

for name in "${FURTHER[@]}"; do
	[ -e "$CACHE/linux-$name" ] || "$TOP/scripts/tree.sh" "$name" >/dev/null
	committed "$CACHE/linux-$name"
	below=$(git -C "$CACHE/linux-$name" merge-base --fork-point series HEAD) ||
		die "branch $name has not been on top of branch series"
	[ "$below" = "$(git -C "$tree" rev-parse series)" ] ||
		git -C "$CACHE/linux-$name" rebase -q --onto series "$below" ||
		die "$name does not go on top of the series as it is now: rebase $CACHE/linux-$name"
	case $name in
	mediated) publish "$TOP/patches/$name" "$name" series --rfc ;;
	*)	publish "$TOP/patches/$name" "$name" series ;;
	esac
	record "$CACHE/linux-$name" "$TOP/patches/$name"/*.patch "$TOP"/patches/*.patch
done
