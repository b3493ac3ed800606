# shellcheck shell=bash
# Checks of the documentation. Sourced by check.sh.

# The files that have kernel-doc; what is new in them has no complaint.
check_kernel_doc() {
	local state f
	packages python3
	for state in base 2; do
		at $state
		for f in drivers/uio/uio.c drivers/uio/uio_msix.c include/linux/uio_driver.h \
			 include/uapi/linux/uio_msix.h; do
			[ ! -f "$src/$f" ] || (cd "$src" && scripts/kernel-doc -none -Wall "$f")
		done >"$logs/kernel-doc.$state" 2>&1
	done
	cat "$logs/kernel-doc.2"
	nothing_new "$logs/kernel-doc.base" "$logs/kernel-doc.2"
	(cd "$src" && scripts/kernel-doc -rst include/uapi/linux/uio_msix.h) |
		grep -q 'struct:: uio_msix_mask' || fail "kernel-doc finds nothing in uio_msix.h"
}

# Without complaints about references to documents that are there, but in a book
# that is not being built.
other_books() {
	local line doc
	while IFS= read -r line; do
		doc=${line##*unknown document: \'/}
		[ "$doc" != "$line" ] && [ -f "$src/Documentation/${doc%\'*}.rst" ] ||
			printf '%s\n' "$line"
	done
}

# The books that the series touches, at base and then what it changes.
check_htmldocs() {
	local state book
	packages make python3-sphinx python3-sphinx-rtd-theme python3-yaml
	for state in base 2; do
		at $state
		for book in driver-api userspace-api/ioctl; do
			make -s -C "$src" O="$work/docs-${book##*/}" SPHINXDIRS=$book htmldocs || exit
		done 2>&1 | other_books >"$logs/htmldocs.$state"
	done
	cat "$logs/htmldocs.2"
	grep -q 'UIO_MSIX_SET_MASK' "$work/docs-driver-api/Documentation/output/driver-api/uio-msix.html" ||
		fail "uio-msix.html was not built"
	nothing_new "$logs/htmldocs.base" "$logs/htmldocs.2"
}

# References in Documentation to files that are not there.
check_doc_refs() {
	local state
	packages perl
	for state in base 2; do
		at $state
		(cd "$src" && tools/docs/documentation-file-ref-check) >"$logs/doc-refs.$state" 2>&1 || :
	done
	sed 's/^/Warning: /' "$logs/doc-refs.base" >"$logs/doc-refs.before"
	sed 's/^/Warning: /' "$logs/doc-refs.2" | tee "$logs/doc-refs.after"
	[ -s "$logs/doc-refs.base" ] || fail "it says nothing at all"
	nothing_new "$logs/doc-refs.before" "$logs/doc-refs.after"
}

check_get_abi() {
	local state
	packages python3
	for state in base 2; do
		at $state
		(cd "$src" && tools/docs/get_abi.py validate) >"$logs/get_abi.$state" 2>&1
	done
	cat "$logs/get_abi.2"
	nothing_new "$logs/get_abi.base" "$logs/get_abi.2"
	(cd "$src" && tools/docs/get_abi.py search allow_unsafe_vf) |
		grep -q uio_msix || fail "get_abi.py does not find allow_unsafe_vf"
}
