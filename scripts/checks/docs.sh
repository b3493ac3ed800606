# shellcheck shell=bash
# Checks of the documentation. Sourced by check.sh.

# The files that have kernel-doc; what is new in them has no complaint.
check_kernel_doc() {
	local state f
	packages python3
	for state in base 2 "${FURTHER[@]}"; do
		at "$state"
		for f in drivers/uio/uio{,_msix,_vmxnet3}.c drivers/uio/uio_vectors.h \
			 include/linux/uio_driver.h include/uapi/linux/uio_{msix,vmxnet3}.h; do
			[ ! -f "$src/$f" ] || (cd "$src" && scripts/kernel-doc -none -Wall "$f")
		done >"$logs/kernel-doc.$state" 2>&1
		cat "$logs/kernel-doc.$state"
		nothing_new "$logs/kernel-doc.base" "$logs/kernel-doc.$state"
	done
	# Not with -q, of whose end a writer may hear.
	documented() {	# STATE HEADER STRUCT
		at "$1"
		(cd "$src" && scripts/kernel-doc -rst "include/uapi/linux/$2") |
			grep "struct:: $3" >/dev/null || fail "kernel-doc finds nothing in $2"
	}
	documented 2 uio_msix.h uio_msix_mask
	documented mediated uio_vmxnet3.h uio_vmxnet3_submit
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

# The books that the series touch, at base and then what they change.
check_htmldocs() {
	local state book
	packages make python3-sphinx python3-sphinx-rtd-theme python3-yaml
	for state in base 2 "${FURTHER[@]}"; do
		at "$state"
		for book in driver-api userspace-api/ioctl; do
			make -s -C "$src" O="$work/docs-${book##*/}" SPHINXDIRS=$book htmldocs || exit
		done 2>&1 | other_books >"$logs/htmldocs.$state"
	done
	built() {	# DRIVER WORD
		grep -q "$2" "$work/docs-driver-api/Documentation/output/driver-api/uio-$1.html" ||
			fail "uio-$1.html was not built"
	}
	built msix UIO_MSIX_SET_MASK
	built vmxnet3 UIO_VMXNET3_SUBMIT
	for state in 2 "${FURTHER[@]}"; do
		cat "$logs/htmldocs.$state"
		nothing_new "$logs/htmldocs.base" "$logs/htmldocs.$state"
	done
}

# References in Documentation to files that are not there.
check_doc_refs() {
	local state
	packages perl
	for state in base 2 "${FURTHER[@]}"; do
		at "$state"
		{ (cd "$src" && tools/docs/documentation-file-ref-check) 2>&1 || :; } |
			sed 's/^/Warning: /' >"$logs/doc-refs.$state"
		nothing_new "$logs/doc-refs.base" "$logs/doc-refs.$state"
	done
	[ -s "$logs/doc-refs.base" ] || fail "it says nothing at all"
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
		grep uio_msix >/dev/null || fail "get_abi.py does not find allow_unsafe_vf"
}
