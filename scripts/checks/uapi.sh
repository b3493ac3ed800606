# shellcheck shell=bash
# Checks of the header for userspace. Sourced by check.sh.

# The kernel's own comparison of all of them with what they were.
check_check_uapi() {
	local abidiff
	build_packages
	packages abigail-tools
	abidiff=$(abidiff --version)
	if ! printf '%s\n' 2.4 "${abidiff##* }" | sort -CV; then
		borrow abigail-tools abidiff
	fi
	at 2
	(cd "$src" && PATH=$CACHE/tools/bin:$PATH scripts/check-uapi.sh -b check-2 -p check-base)
}

# The header by itself: by the kernel's own test (C90, C++98), and the same in
# every language and on every word size.
check_header() {
	local h=$work/tiny/usr/include m
	build_packages
	packages g++ "lib32gcc-$(gcc -dumpversion)-dev" libc6-dev-i386
	at 2
	tiny tiny mm UAPI_HEADER_TEST=y HEADERS_INSTALL=y
	grep -q '^CONFIG_UAPI_HEADER_TEST=y' "$work/tiny/.config" || fail "no CONFIG_UAPI_HEADER_TEST"
	rm -f "$h/linux/uio_msix.hdrtest"
	kbuild tiny headers
	kbuild tiny usr/
	[ -f "$h/linux/uio_msix.hdrtest" ] || fail "CONFIG_UAPI_HEADER_TEST did not test it"
	for m in -m32 -m64; do
		for std in c90 c11 c++98 c++20; do
			echo '#include <linux/uio_msix.h>' |
				gcc -x "${std/[0-9]*/}" -std=$std $m -isystem "$h" -Wall -Wextra \
				-Werror -fsyntax-only -
		done
		# As no system header, for -Wpadded to speak: of holes.
		gcc -std=c11 $m -isystem "$h" -Wall -Wextra -Wpadded -Werror -x c \
			-fsyntax-only "$src/include/uapi/linux/uio_msix.h"
		{
			echo '#include <stdio.h>'
			echo '#include <stddef.h>'
			echo '#include <linux/uio_msix.h>'
			echo 'int main(void) {'
			sed -nE 's/^struct (\w+) \{/\1/p; s/^\t__[us][0-9]+ (\w+)(\[.*)?;/. \1/p;
				 s/^#define (UIO_MSIX_\w+)\s.*/= \1/p' "$src/include/uapi/linux/uio_msix.h" |
			awk '$1 == "=" { printf "printf(\"%s %%#lx\\n\", (unsigned long)%s);\n", $2, $2; next }
			     $1 == "." { printf "printf(\"%s.%s %%zu\\n\", offsetof(struct %s, %s));\n", s, $2, s, $2; next }
			     { s = $1; printf "printf(\"%s %%zu\\n\", sizeof(struct %s));\n", s, s }'
			echo '}'
		} >"$work/layout.c"
		gcc -Wall -Werror $m -isystem "$h" -o "$work/layout$m" "$work/layout.c"
		"$work/layout$m" >"$logs/layout$m"
	done
	cat "$logs/layout-m64"
	[ "$(wc -l <"$logs/layout-m64")" -ge 15 ] || fail "the layout misses members"
	cmp "$logs/layout-m32" "$logs/layout-m64" || fail "another layout with -m32"
}
