# shellcheck shell=bash
# Common to all scripts: where things are, messages, packages.
# Needs: bash, and apt on a Debian-like system. Makes: the cache folder.

set -euo pipefail
shopt -s inherit_errexit

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/uio_msix
# Further series on top of it, each a folder of patches/ and a branch.
# shellcheck disable=SC2034
FURTHER=(wc mediated)
# The kernel series that the patches are based on.
# shellcheck disable=SC2034
BASE=7.3
# Where newer kernels than the machine's are. By codename: a mirror's aliases
# (testing, stable-backports) can be weeks behind.
# shellcheck disable=SC2034
KERNEL_SUITES=(trixie-backports forky sid experimental)
# The long-term kernel that has patches of its own, and the release of Debian
# that it is the kernel of.
# shellcheck disable=SC2034
LTS_BASE=6.12 LTS_SUITE=trixie
JOBS=${JOBS:-$(nproc)}
# What make was told is for us, not for the makes that are started here.
unset MAKEFLAGS MAKEOVERRIDES
export START=${START:-$(date +%s)}
# shellcheck disable=SC2034
SERIES=("$TOP"/patches/000[12]-*.patch)

say() { printf '%s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# Nobody else uses the cache from here on, but for what is started from here.
exclusive() {
	mkdir -p "$CACHE" 2>/dev/null || die "cannot create the cache folder $CACHE"
	[ -z "${UIO_MSIX_EXCLUSIVE:-}" ] || return 0
	exec 9>"$CACHE/lock"
	flock -n 9 || die "another run uses $CACHE"
	export UIO_MSIX_EXCLUSIVE=1
}

# The commit that is about to be tested, with a + if more than that has changed.
commit() {
	local commit
	commit=$(git -C "$TOP" rev-parse --short=12 HEAD 2>/dev/null) || commit=unknown
	echo "$commit$(git -C "$TOP" status --porcelain 2>/dev/null | sed 's/.*/+/; q')"
}

# Begin a stage of the main job, with the time since the start.
stage() {
	printf '[%3d s] %s\n' $(($(date +%s) - START)) "$*"
}

# Show how far a command is, from the lines it prints: a counter of those that
# match PATTERN, of about TOTAL; in place on a terminal, ten times elsewhere.
progress() {	# PATTERN UNIT TOTAL
	awk -v pattern="$1" -v unit="$2" -v total="$3" \
	    -v tty="$([ -t 1 ] && echo 1 || echo 0)" '
		$0 ~ pattern {
			if (++n % int(total / (tty ? 200 : 10) + 1)) next
			printf "%s        %d %s (%d%%)%s", tty ? "\r" : "", n, unit,
				n < total ? 100 * n / total : 99, tty ? "" : "\n"
			fflush()
		}
		END { if (tty && n) print "" }'
}

# root runs a command as root, which only the installation of packages needs.
root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo -E "$@"
	else
		die "packages must be installed: run as root, or install sudo"
	fi
}

# The address of the archive that this machine gets its Debian packages from.
# apt names it for sources whose lists are there; a bare machine may have none.
archive() {
	local uri
	uri=$(archive_of_sources)
	if [ -z "$uri" ]; then
		apt_private archive with_sources ''
		apt_update
		uri=$(archive_of_sources)
	fi
	[ -n "$uri" ] || die "no Debian archive among the package sources of this machine"
	echo "$uri"
}

# Updates, security and other vendors do not count.
archive_of_sources() {
	# shellcheck disable=SC2016 # apt's own variables
	apt-get indextargets --format '$(REPO_URI) $(RELEASE)' \
		'Created-By: Packages' |
		awk '$2 ~ /^((old)*stable|testing|unstable|sid|bookworm|trixie|forky|duke)$/ { print $1; exit }'
}

# Set APT_CONFIG to a private configuration NAME: with the sources of this
# machine or without, and with SUITEs of the archive at URI. Without them, of
# each package the highest version of any suite is taken, whatever pins and
# default release the machine has.
apt_private() {	# NAME with_sources|no_sources URI SUITE...
	local dir=$CACHE/apt/$1 sources=$2 uri=$3 key='' suite
	shift 3
	[ ! -f /usr/share/keyrings/debian-archive-keyring.gpg ] ||
		key='[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] '
	mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial" "$dir/parts"
	cat >"$dir/apt.conf" <<-EOF
		Dir::Etc::SourceList "$dir/sources.list";
		Dir::State::Lists "$dir/lists";
		Dir::Cache "$dir/cache";
		APT::Sandbox::User "root";
		APT::Update::Error-Mode "any";
		Acquire::Languages "none";
		Acquire::Retries "3";
		DPkg::Lock::Timeout "300";
	EOF
	if [ "$sources" = with_sources ]; then
		cat /etc/apt/sources.list 2>/dev/null || :
	else
		cat >>"$dir/apt.conf" <<-EOF
			Dir::Etc::SourceParts "-";
			Dir::Etc::PreferencesParts "$dir/parts";
			Dir::Etc::Preferences "$dir/preferences";
		EOF
		# For packages that match /./, which goes before what is for all.
		printf 'Package: /./\nPin: release *\nPin-Priority: 500\n' >"$dir/preferences"
	fi >"$dir/sources.list"
	for suite; do
		echo "deb $key$uri $suite main" >>"$dir/sources.list"
	done
	export APT_CONFIG=$dir/apt.conf
}

# One apt at a time, until the end of the subshell: checks run side by side.
apt_lock() {
	mkdir -p "$CACHE/apt"
	exec 7>"$CACHE/apt/lock"
	flock 7
}

# Of the suites that apt_private adds, those that the archive does not have, or
# whose lists it let expire, are left out, as long as any source is left.
apt_update() {	# [root]
	local log=$CACHE/apt/update.log dir=${APT_CONFIG%/*} gone suite
	until LC_ALL=C "$@" apt-get update >"$log" 2>&1; do
		gone=$(sed -nE "s/^E: The repository '[^ ]* ([^ ]*) (In)?Release' (does not have|is n).*/\1/p
			s/^E: Release file for .*\/dists\/([^ /]*)\/(In)?Release is (expired|not valid yet).*/\1/p" "$log")
		for suite in $gone; do
			grep -q " $suite main$" "$dir/sources.list" || gone=
			sed -i "/ $suite main$/d" "$dir/sources.list"
		done
		[ -n "$gone" ] && { [ ! -e "$dir/preferences" ] || grep -q '^deb ' "$dir/sources.list"; } ||
			die "cannot reach the package archive: $(grep -m 1 '^[EW]:' "$log" || tail -n 1 "$log")"
	done
}

# Install those of PACKAGEs that are missing.
packages() {
	local missing=() p
	for p; do
		dpkg-query -W -f '${Status}' "$p" 2>/dev/null |
			grep -q ' installed$' || missing+=("$p")
	done
	[ ${#missing[@]} = 0 ] || install_packages "" "${missing[@]}"
}

# Install PACKAGEs, from SUITE of the machine's archive where it is given.
install_packages() {	# SUITE PACKAGE...
	local suite=$1 log=$CACHE/apt/install.log uri
	shift
	stage "install packages: $*"
	(
		apt_lock
		uri=$(archive)
		apt_private system with_sources "$uri"
		if [ -n "$suite" ] && ! apt_has_suite "$suite"; then
			apt_private system with_sources "$uri" "$suite"
		fi
		apt_update root
		[ -z "$suite" ] || apt_has_suite "$suite" ||
			grep -q " $suite main$" "${APT_CONFIG%/*}/sources.list" || suite=
		DEBIAN_FRONTEND=noninteractive root apt-get install -y \
			--no-install-recommends ${suite:+-t "$suite"} "$@" \
			>"$log" 2>&1 </dev/null ||
			die "cannot install $*: $(grep -m 1 '^E:' "$log" || tail -n 1 "$log")"
	)
}

# What it takes to build a kernel.
build_packages() {
	packages gcc libc6-dev make flex bison bc libelf-dev libssl-dev openssl perl \
		python3 rsync
}

# Unpack PACKAGE, of another architecture or not to be installed, to
# $CACHE/tools/PACKAGE-ARCH.
foreign() {	# PACKAGE ARCH
	local dir=$CACHE/tools/$1-$2
	(
		apt_lock
		apt_private "$2" no_sources "$(archive)" trixie forky sid
		echo "APT::Architecture \"$2\"; APT::Architectures \"$2\";" >>"$APT_CONFIG"
		apt_update
		rm -rf "$dir.tmp"
		mkdir -p "$dir.tmp"
		cd "$dir.tmp"
		apt-get download "$1" >"$CACHE/apt/download.log" 2>&1 ||
			die "cannot download $1 for $2: $(grep -m 1 '^E:' "$CACHE/apt/download.log")"
		dpkg-deb -x ./*.deb .
		mv "$dir.tmp" "$dir"
	)
}

# Unpack PACKAGEs of SUITES, with all that they need, to ROOT. Nothing is installed.
unpack() {	# ROOT 'SUITE...' PACKAGE...
	local root=$1 apt=$CACHE/apt/${2// /-} deb
	local -a suites
	read -ra suites <<<"$2"
	shift 2
	(
		apt_lock
		apt_private "${apt##*/}" no_sources "$(archive)" "${suites[@]}"
		: >"$apt/status"
		echo "Dir::State::Status \"$apt/status\"; Debug::NoLocking \"true\";" >>"$APT_CONFIG"
		apt_update
		rm -rf "$root" "$root.tmp" "$apt/cache/archives"
		mkdir -p "$root.tmp" "$apt/cache/archives/partial"
		apt-get install -y --download-only --no-install-recommends "$@" \
			>"$CACHE/apt/download.log" 2>&1 ||
			die "cannot download $*: $(grep -m 1 '^E:' "$CACHE/apt/download.log")"
		for deb in "$apt"/cache/archives/*.deb; do
			dpkg-deb -x "$deb" "$root.tmp"
		done
		rm -rf "$apt/cache/archives"
		mv "$root.tmp" "$root"
	)
}

# Have PROGRAMs of PACKAGE in $CACHE/tools/bin, from newer suites of the archive
# and with the libraries that they need, for what this machine's release has too
# old.
borrow() {	# PACKAGE PROGRAM...
	local root=$CACHE/tools/$1 bin=$CACHE/tools/bin arch
	[ ! -x "$bin/$2" ] || return 0
	unpack "$root" "forky sid" "$1"
	mkdir -p "$bin"
	arch=$(gcc -print-multiarch)
	for program in "${@:2}"; do
		cat >"$bin/$program" <<-EOF
			#!/bin/sh
			exec "$(find "$root/usr/lib" -name 'ld-linux*' -print -quit)" \\
				--library-path "$root/usr/lib/$arch" "$root/usr/bin/$program" "\$@"
		EOF
		chmod +x "$bin/$program"
	done
}

apt_has_suite() {
	grep -rqsE "^(deb |Suites:).*\b$1\b" /etc/apt/sources.list /etc/apt/sources.list.d
}

# Fail unless so many gigabytes are free for the cache.
disk() {
	local free
	mkdir -p "$CACHE" 2>/dev/null || die "cannot create the cache folder $CACHE"
	free=$(df --output=avail -BG "$CACHE" | tr -dc '0-9\n' | tail -n 1)
	[ "$free" -ge "$1" ] ||
		die "not enough disk: $free GB free for $CACHE, $1 GB needed"
}

# The text of the cover letter in FILE as a branch description: subject, body.
cover_text() {	# FILE
	awk '
		!body && /^Subject: / { sub(/^Subject: \[[^]]*\] /, ""); subject = $0; folded = 1; next }
		!body && folded && /^ / { subject = subject $0; next }
		!body { folded = 0 }
		!body && !NF { body = 1; print subject; print ""; next }
		body && / \([0-9]+\):$/ { exit }
		body { print }' "$1"
}
