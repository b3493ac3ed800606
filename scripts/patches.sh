#!/bin/bash
# Write the series from the kernel git tree, where it is two commits.
#
# Needs:  the tree that tree.sh makes, with nothing uncommitted in it
# Makes:  patches/ and the view: the new files of the series at the top of the
#         repository, and MAINTAINERS.fragment
# Usage:  patches.sh
#         SUBMITTER='Name <mail>' [V=2] [SIGNOFF=1] patches.sh
#             writes the series to out/series as that person posts it, and
#             leaves patches/ and the view alone
#         LTS=1 patches.sh
#             writes patches/linux-6.12 from the tree of that kernel, nothing else
. "$(dirname "$0")/lib.sh"

tree=$CACHE/linux${LTS:+-$LTS_BASE}
[ -d "$tree" ] || die "no kernel tree yet: 'make tree' prepares it"
[ -z "$(git -C "$tree" status --porcelain -uno)" ] ||
	die "the tree has uncommitted changes: git -C $tree commit --amend"
mapfile -t commits < <(git -C "$tree" rev-list --reverse base..HEAD)
[ ${#commits[@]} = 2 ] ||
	die "the series is two commits, the tree has ${#commits[@]} on top of base"

mail_of() { local mail=${1##*<}; echo "${mail%>}"; }

# Format base..HEAD into OUTDIR as mails of AUTHOR.
format() {	# OUTDIR HEAD AUTHOR ARGUMENT...
	local out=$1 head=$2 author=$3
	shift 3
	rm -rf "$out"
	git -C "$tree" branch -q -f posting "$head"
	git -C "$tree" config branch.posting.description \
		"$(git -C "$tree" config branch.series.description)"
	# The cover letter is the committer's.
	GIT_COMMITTER_NAME=${author% <*} GIT_COMMITTER_EMAIL=$(mail_of "$author") \
	git -C "$tree" -c core.abbrev=12 \
		-c diff.algorithm=histogram format-patch -q --no-signature \
		--zero-commit --stat=75 --cover-letter --cover-from-description=subject \
		-o "$out" --from="$author" "$@" base..posting
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
	format "$TOP/out/series" "$head" "$SUBMITTER" ${V:+-v "$V"}
	say "out/series: $(cd "$TOP/out/series" && echo *.patch)"
	exit
fi

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
format "$tmp/patches" HEAD 'uio_msix submitter <submitter@localhost.invalid>'
# The date of the cover letter is that of the run, and nothing else changes.
date=$(git -C "$tree" log -1 --format=%aD HEAD)
sed -i "1,/^\$/s/^Date: .*/Date: $date/" "$tmp/patches/0000-cover-letter.patch"
out=$TOP/patches${LTS:+/linux-$LTS_BASE}
mkdir -p "$out"
rm -f "$out"/*.patch
cp "$tmp"/patches/*.patch "$out"
printf '%s %s\n' "$(cat "$out"/*.patch | sha256sum | cut -d ' ' -f 1)" \
	"$(git -C "$tree" rev-parse HEAD)" >"$tree/.git/uio_msix"
say "${out#"$TOP/"}: $(cd "$out" && echo *.patch)"
[ -z "${LTS:-}" ] || exit 0

# The view. What is no longer in the series goes.
view_files=$(git -C "$tree" diff --name-only --diff-filter=A base HEAD)
rm -rf "$TOP"/{drivers,include,tools,Documentation}
while read -r f; do
	mkdir -p "$TOP/$(dirname "$f")"
	git -C "$tree" show "HEAD:$f" >"$TOP/$f"
done <<<"$view_files"
git -C "$tree" diff -U0 base HEAD -- MAINTAINERS |
	sed -n '/^+++/d; s/^+//p' >"$TOP/MAINTAINERS.fragment"
