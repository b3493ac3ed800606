#!/bin/bash
# Prepare the kernel git tree with the series applied, and print its path last.
#
# Needs:  the package archive, once; 6 GB of disk
# Makes:  a git tree in the cache: the kernel as Debian has it (tag "base"), and
#         the series as two commits on branch "series"; a work tree of it for each
#         further series that is asked for, on a branch on top
# Usage:  tree.sh             the kernel that the series is based on
#         tree.sh mediated|wc that and patches/mediated or patches/wc
#         PREVIOUS=1 tree.sh  the newest series of kernels before that one
#         KERNEL=DIR tree.sh  a copy of the user's own tree; DIR is not touched
. "$(dirname "$0")/lib.sh"

export GIT_AUTHOR_NAME=base GIT_AUTHOR_EMAIL=base@localhost
export GIT_COMMITTER_NAME=uio_msix GIT_COMMITTER_EMAIL=uio_msix@localhost

# The package with the kernel source: the version that the series is based on,
# else the newest of all; with PREVIOUS the newest before that. Of each the
# highest version of any suite.
fetch() (	# DIR: leaves one .deb there
	apt_lock
	apt_private kernel no_sources "$(archive)" "${KERNEL_SUITES[@]}"
	apt_update
	name=linux-source-$BASE
	if [ -n "${PREVIOUS:-}" ]; then
		name=$({ apt-cache pkgnames linux-source- | grep -x 'linux-source-[0-9.]*'; echo "$name"; } |
			sort -uV | sed "/^$name\$/,\$d" | tail -n 1)
		[ -n "$name" ] || die "the archive has no linux-source before $BASE"
	elif ! apt-cache show "$name" >/dev/null 2>&1; then
		name=$(apt-cache pkgnames linux-source- |
			grep -x 'linux-source-[0-9.]*' | sort -V | tail -n 1)
		[ -n "$name" ] || die "the archive has no linux-source package"
		say "the archive no longer has linux-source-$BASE: taking $name"
	fi
	stage "download $name"
	(cd "$1" && apt-get download "$name") >"$CACHE/apt/download.log" 2>&1 ||
		die "cannot download $name: $(grep -m 1 '^E:' "$CACHE/apt/download.log")"
)

# A git tree at $1 with one commit, tagged base, from what is there.
git_base() {
	stage "make it a git tree"
	git -C "$1" init -q -b series
	git -C "$1" config gc.auto 0
	git -C "$1" add -A -f
	git -C "$1" commit -q -m "$2"
	git -C "$1" tag base
}

fetched_tree() {
	local deb tmp
	tree=$CACHE/${PREVIOUS:+previous-}linux
	tmp=$tree.tmp
	[ ! -e "$tree" ] || return 0

	disk 6
	packages git xz-utils
	rm -rf "$tmp"
	mkdir -p "$tmp/deb" "$tmp/linux"
	fetch "$tmp/deb"
	deb=$(echo "$tmp"/deb/*.deb)
	stage "unpack $(basename "$deb")"
	dpkg-deb --fsys-tarfile "$deb" |
		tar -xO --wildcards './usr/src/linux-source-*.tar.xz' |
		tar -xJv -C "$tmp/linux" --strip-components=1 |
		progress . files 102500
	# Debian's is not the kernel's: it ignores everything at the top, and every
	# .gitignore, of which W=1 complains.
	rm -f "$tmp/linux/.gitignore"
	git_base "$tmp/linux" "Linux $(make -s -C "$tmp/linux" kernelversion) ($(basename "$deb" .deb))"
	mv "$tmp/linux" "$tree"
	rm -rf "$tmp"
}

# The user's tree as of its HEAD, or as it is if it is not a git tree.
user_tree() {
	local from tmp=$CACHE/tmp.user
	from=$(cd "$KERNEL" 2>/dev/null && pwd -P) || die "KERNEL=$KERNEL: no such folder"
	[ -f "$from/MAINTAINERS" ] && [ -f "$from/Kbuild" ] ||
		die "KERNEL=$KERNEL: not a kernel source tree"
	tree=$CACHE/user-$(printf %s "$from" | sha256sum | cut -c 1-12)
	packages git
	rm -rf "$tmp"
	if [ -e "$from/.git" ]; then
		[ -z "$(git -C "$from" status --porcelain -uno)" ] ||
			say "note: changes in $from that are not committed are left out"
		if [ ! -e "$tree" ]; then
			disk 6
			stage "copy $from"
			git clone -q --shared --no-checkout "$from" "$tmp"
			mv "$tmp" "$tree"
		fi
		git -C "$tree" fetch -q "$from" HEAD
		[ "$(git -C "$tree" rev-parse -q --verify base)" != \
		  "$(git -C "$tree" rev-parse FETCH_HEAD)" ] || return 0
		git -C "$tree" tag -f base FETCH_HEAD >/dev/null
		git -C "$tree" checkout -q -f -B series base
		rm -f "$tree/.git/uio_msix"
	elif [ ! -e "$tree" ]; then
		disk 6
		stage "copy $from"
		cp -a "$from" "$tmp"
		make -s -C "$tmp" mrproper
		git_base "$tmp" "$from"
		mv "$tmp" "$tree"
	fi
}

# Have PATCHES in $tree, on top of BASE as BRANCH, unless the tree is ahead of
# them: the file uio_msix in its git folder says which became which commit.
apply() {	# BRANCH BASE PATCHES [BELOW...]
	local branch=$1 base=$2 patches=$3 want hash='' commit='' log=$CACHE/am.log record
	shift 3
	want=$(cat "$patches"/*.patch "$@" | sha256sum | cut -d ' ' -f 1)
	record=$(git -C "$tree" rev-parse --absolute-git-dir)/uio_msix
	[ ! -f "$record" ] || read -r hash commit <"$record"
	if [ "$hash" = "$want" ]; then
		[ "$commit" = "$(git -C "$tree" rev-parse HEAD)" ] &&
			[ -z "$(git -C "$tree" status --porcelain -uno)" ] ||
			say "note: the tree has changes that patches/ has not ('make patches' takes them over)"
		return
	fi
	if [ -n "$commit" ] && { [ "$commit" != "$(git -C "$tree" rev-parse HEAD)" ] ||
	   [ -n "$(git -C "$tree" status --porcelain -uno)" ]; }; then
		die "patches/ changed, and so did $tree: 'make patches' keeps the tree's, 'git -C $tree reset --hard $commit' the other"
	fi
	# From here on until the end, an interrupted run starts over.
	rm -f "$record"
	git -C "$tree" am -q --abort >/dev/null 2>&1 || :
	git -C "$tree" reset -q --hard "$base"
	if [ "$base" = base ] && [ -e "$tree/drivers/uio/uio_msix.c" ]; then
		stage "the series is in the tree already"
	else
		stage "apply ${patches#"$TOP"/} with git am"
		if ! git -C "$tree" am -q "$patches"/000[1-9]-*.patch >"$log" 2>&1; then
			git -C "$tree" am -q --abort >/dev/null 2>&1 || :
			die "${patches#"$TOP"/} does not apply to $(git -C "$tree" log -1 --format=%s "$base"): $(grep -m 1 '^error:' "$log")"
		fi
	fi
	# The text of the cover letter, for format-patch to put it back.
	git -C "$tree" config "branch.$branch.description" "$(cover_text "$patches/0000-cover-letter.patch")"
	printf '%s %s\n' "$want" "$(git -C "$tree" rev-parse HEAD)" >"$record"
}

# A further series, in a work tree of the same repository.
further() {	# NAME
	local main=$tree
	tree=$CACHE/linux-$1
	if [ ! -e "$tree" ]; then
		stage "a work tree for $1"
		git -C "$main" worktree prune
		git -C "$main" worktree add -q -B "$1" "$tree" series
	fi
	apply "$1" series "$TOP/patches/$1" "$TOP"/patches/*.patch
}

# The stages go to the terminal, the path alone to stdout. Checks run side by
# side, and some want the same tree.
exec 3>&1 >&2
mkdir -p "$CACHE" 2>/dev/null || die "cannot create the cache folder $CACHE"
exec 6>"$CACHE/lock.tree${PREVIOUS:+.previous}"
flock 6
if [ -n "${KERNEL:-}" ]; then user_tree; else fetched_tree; fi
apply series base "$TOP/patches"
[ $# = 0 ] || further "$1"
printf '%s\n' "$tree" >&3
