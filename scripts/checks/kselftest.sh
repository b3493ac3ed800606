# shellcheck shell=bash
# The kselftests as the kernel's own tools build them. Sourced by check.sh.

check_kselftest() {
	local v
	v=$(clang_version)
	build_packages
	packages file "clang-$v" "lld-$v" "llvm-$v" "lib32gcc-$(gcc -dumpversion)-dev" libc6-dev-i386
	kselftests 2 uio_msix_test
	kselftests mediated uio_msix_test uio_vmxnet3_test
}

kselftests() {	# STATE PROGRAM...
	local t=tools/testing/selftests programs=("${@:2}")
	local uio=$src/$t/uio o=$work/kselftest
	at "$1"
	ours() { make -s -C "$src/$t" TARGETS=uio USERCFLAGS="-Werror -Wall -Wextra ${flags:-}" \
		USERLDFLAGS="${flags:-}" "$@"; }
	is() {	# FILE DESCRIPTION [COMMAND...]
		file -L "$1" | grep "$2" >/dev/null || fail "$1 is not $2"
	}

	echo "== $1: in tree, gcc"
	# No O= build works while there is anything of this.
	trap 'git -C "$src" clean -xdfq' EXIT
	make -s -C "$src" -j "$JOBS" headers
	ours
	for program in "${programs[@]}"; do
		is "$uio/$program" 'ELF 64-bit'
		[ "$(git -C "$src" check-ignore --no-index -v "$t/uio/$program" | cut -d : -f 1)" = "$t/uio/.gitignore" ] ||
			fail "$t/uio/.gitignore does not name $program"
	done
	for f in $(git -C "$src" ls-files "$t/uio"); do
		! git -C "$src" check-ignore --no-index -v "$f" | grep "^$t" || fail "$f is ignored"
	done
	[ -z "$(git -C "$src" ls-files --others --exclude-from="$uio/.gitignore" "$t/uio")" ] ||
		fail "$t/uio has what .gitignore does not name"
	ours clean
	[ -z "$(git -C "$src" ls-files --others "$t/uio")" ] || fail "make clean leaves programs"
	git -C "$src" clean -xdfq

	for how in gcc -m32 clang; do
		echo "== $1: O=, installed, $how"
		rm -rf "$o"
		make -s -C "$src" O="$o" -j "$JOBS" headers
		case $how in
		clang)	ours O="$o" LLVM="-$v" INSTALL_PATH="$o/installed" install ;;
		-m32)	flags=-m32 ours O="$o" INSTALL_PATH="$o/installed" install ;;
		gcc)	ours O="$o" INSTALL_PATH="$o/installed" install ;;
		esac
		for program in "${programs[@]}"; do
			case $how in
			-m32)	is "$o/installed/uio/$program" 'ELF 32-bit' ;;
			*)	is "$o/installed/uio/$program" 'ELF 64-bit' ;;
			esac
			"$o/installed/run_kselftest.sh" -l | grep -x "uio:$program" >/dev/null ||
				fail "run_kselftest.sh does not list $program"
		done
		[ -s "$o/installed/uio/settings" ] || fail "settings are not installed"
	done
	[ -z "$(git -C "$src" status --porcelain --ignored "$t/uio")" ] || fail "O= writes to the source"

	echo "== kselftest_deps.sh"
	(cd "$src/$t" && ./kselftest_deps.sh gcc uio) | tee "$logs/deps"
	! grep -q FAIL "$logs/deps" || fail "kselftest_deps.sh: $(grep -m 1 FAIL "$logs/deps")"
}
