# shellcheck shell=bash
# Static analysis. Sourced by check.sh.

# Run COMMAND, which prints messages, on the objects at base and at the end of each
# series.
analyse() {	# NAME COMMAND [ARGUMENT...]
	local name=$1 state
	shift
	for state in base 2 "${FURTHER[@]}"; do
		at "$state"
		kbuild x86_64 ARCH=x86_64 allmodconfig
		kbuild x86_64 ARCH=x86_64 prepare
		"$@" >"$logs/$name.$state" 2>&1 ||
			fail "$(grep -m 1 -E 'rror' "$logs/$name.$state" || tail -n 1 "$logs/$name.$state")"
		cat "$logs/$name.$state"
		nothing_new "$logs/$name.base" "$logs/$name.$state"
	done
}

# Each of them, as the tool must know the file for its silence to mean anything.
seen() {	# LOG DRIVER
	grep -q "uio/uio_$2\.[co]" "$1" || fail "uio_$2.c was not looked at"
}

run_sparse() {
	make -C "$src" O="$work/x86_64" ARCH=x86_64 -j "$JOBS" C=2 CHECK="$sparse" \
		CF=-D__CHECK_ENDIAN__ drivers/uio/
}

# The kernel needs a newer one than most releases of Debian have.
check_sparse() {
	local sparse=sparse
	build_packages
	packages sparse
	at 2
	if [ "$(sh -eu "$src/scripts/checker-valid.sh" sparse)" != 1 ]; then
		borrow sparse sparse
		sparse=$CACHE/tools/bin/sparse
	fi
	[ "$(sh -eu "$src/scripts/checker-valid.sh" "$sparse")" = 1 ] ||
		absent "the archive has no sparse that is new enough for this kernel"
	analyse sparse run_sparse
	seen "$logs/sparse.2" msix
	seen "$logs/sparse.mediated" vmxnet3
}

run_coccicheck() {
	local dir
	for dir in drivers/uio tools/testing/selftests/uio; do
		[ ! -d "$src/$dir" ] ||
			make -C "$src" O="$work/x86_64" ARCH=x86_64 coccicheck MODE=report M="$dir" J="$JOBS"
	done | sed '/^warning: Skipping/d; /be a metavariable/d'
}

check_coccicheck() {
	build_packages
	packages coccinelle ocaml-nox ocaml-findlib libpython3-dev
	analyse coccicheck run_coccicheck
}

run_smatch() {
	make -C "$src" O="$work/x86_64" ARCH=x86_64 -j "$JOBS" C=2 CHECK="smatch -p=kernel" drivers/uio/
}

check_smatch() {
	command -v smatch >/dev/null ||
		absent "Debian has no package of it, and none is installed"
	build_packages
	analyse smatch run_smatch
	seen "$logs/smatch.2" msix
}

# By the kernel's own wrapper of clang-tidy, on what 'clang' has compiled.
check_clang_analyzer() {
	local v state
	v=$(clang_version)
	build_packages
	packages "clang-$v" "lld-$v" "llvm-$v" "clang-tidy-$v"
	for state in base 2 "${FURTHER[@]}"; do
		at "$state"
		kbuild clang LLVM="-$v" allmodconfig
		kbuild clang LLVM="-$v" prepare
		kbuild clang LLVM="-$v" drivers/uio/
		"$src/scripts/clang-tools/gen_compile_commands.py" -d "$work/clang" \
			-o "$work/clang/compile_commands.json" "$work/clang/drivers/uio"
		[ "$state" = base ] || seen "$work/clang/compile_commands.json" msix
		[ "$state" != mediated ] || seen "$work/clang/compile_commands.json" vmxnet3
		for kind in clang-analyzer clang-tidy; do
			(cd "$work/clang" && PATH=/usr/lib/llvm-$v/bin:$PATH \
				"$src/scripts/clang-tools/run-clang-tools.py" $kind compile_commands.json)
		done >"$logs/clang-analyzer.$state" 2>&1
	done
	cat "$logs/clang-analyzer.mediated"
	# What it says of headers depends on which the files include.
	for state in 2 "${FURTHER[@]}"; do
		git -C "$src" diff --name-only check-base "check-$state"
	done | sort -u >"$logs/touched"
	for state in base 2 "${FURTHER[@]}"; do
		grep -F -f "$logs/touched" "$logs/clang-analyzer.$state" >"$logs/clang-analyzer.$state.ours" || :
		nothing_new "$logs/clang-analyzer.base.ours" "$logs/clang-analyzer.$state.ours"
	done
}
