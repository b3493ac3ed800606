# shellcheck shell=bash
# Checks of the header for userspace. Sourced by check.sh.

# The kernel's own comparison of all of them with what they were.
check_check_uapi() {
	local abidiff state
	build_packages
	packages abigail-tools
	abidiff=$(abidiff --version)
	if ! printf '%s\n' 2.4 "${abidiff##* }" | sort -CV; then
		borrow abigail-tools abidiff
	fi
	for state in 2 "${FURTHER[@]}"; do
		at "$state"
		(cd "$src" && PATH=$CACHE/tools/bin:$PATH scripts/check-uapi.sh -b "check-$state" -p check-base)
	done
}

# A header by itself: by the kernel's own test (C90, C++98), and the same in
# every language and on every word size.
header() {	# STATE NAME MEMBERS
	local h=$work/tiny/usr/include name=$2 m std
	at "$1"
	tiny tiny mm UAPI_HEADER_TEST=y HEADERS_INSTALL=y
	grep -q '^CONFIG_UAPI_HEADER_TEST=y' "$work/tiny/.config" || fail "no CONFIG_UAPI_HEADER_TEST"
	rm -f "$h/linux/$name.hdrtest"
	kbuild tiny headers
	kbuild tiny usr/
	[ -f "$h/linux/$name.hdrtest" ] || fail "CONFIG_UAPI_HEADER_TEST did not test $name.h"
	for m in -m32 -m64; do
		for std in c90 c11 c++98 c++20; do
			echo "#include <linux/$name.h>" |
				gcc -x "${std/[0-9]*/}" -std=$std $m -isystem "$h" -Wall -Wextra \
				-Werror -fsyntax-only -
		done
		# As no system header, for -Wpadded to speak: of holes.
		gcc -std=c11 $m -isystem "$h" -Wall -Wextra -Wpadded -Werror -x c \
			-fsyntax-only "$src/include/uapi/linux/$name.h"
		{
			echo '#include <stdio.h>'
			echo '#include <stddef.h>'
			echo "#include <linux/$name.h>"
			echo 'int main(void) {'
			sed -nE 's/^struct (\w+) \{/\1/p; s/^\t__(le)?[us][0-9]+ (\w+)(\[.*)?;/. \2/p;
				 s/^#define (UIO_[A-Z0-9_]+)\s.*/= \1/p' "$src/include/uapi/linux/$name.h" |
			awk '$1 == "=" { printf "printf(\"%s %%#lx\\n\", (unsigned long)%s);\n", $2, $2; next }
			     $1 == "." { printf "printf(\"%s.%s %%zu\\n\", offsetof(struct %s, %s));\n", s, $2, s, $2; next }
			     { s = $1; printf "printf(\"%s %%zu\\n\", sizeof(struct %s));\n", s, s }'
			echo '}'
		} >"$work/layout.c"
		gcc -Wall -Werror $m -isystem "$h" -o "$work/layout$m" "$work/layout.c"
		"$work/layout$m" >"$logs/layout$m"
	done
	cat "$logs/layout-m64"
	[ "$(wc -l <"$logs/layout-m64")" -ge "$3" ] || fail "the layout misses members"
	cmp "$logs/layout-m32" "$logs/layout-m64" || fail "another layout with -m32"
}

check_header() {
	build_packages
	packages g++ "lib32gcc-$(gcc -dumpversion)-dev" libc6-dev-i386
	header 2 uio_msix 15
	header wc uio_msix 20
	header mediated uio_vmxnet3 25
}
