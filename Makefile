# uio_msix: the patch series and what tests it. 'make help' lists all of it.

export MINUTES KERNEL LTS SUBMITTER SIGNOFF V JOBS ROUNDS SEED CALLS INTERRUPTS MUTANTS PUBLISH

help:
	@echo 'make run       boot a kernel with the series in QEMU and run its kselftests'
	@echo 'make check     an hour of tests: the above, and what the bots of the kernel run'
	@echo 'make check-all all tests, which takes hours'
	@echo 'make check-X   one of them, X being'
	@scripts/check.sh --list | fold -s -w 60 | sed 's/^/               /'
	@echo 'make coverage  the lines of the series that the tests run'
	@echo 'make races     1,000 rounds of each race with the driver (ROUNDS=N)'
	@echo 'make fuzz      a million random calls (SEED=N CALLS=N)'
	@echo 'make soak      10 million interrupts (INTERRUPTS=N)'
	@echo 'make mediated  the mediated driver: its kselftest, fuzz, stress, mutants'
	@echo 'make mutants   break the driver on purpose: is it noticed? (MUTANTS="N N")'
	@echo 'make bench     what it costs, beside VFIO, igb_uio and others'
	@echo 'make demo      userspace drivers answer ping on a PF, a VF and a vmxnet3'
	@echo 'make dpdk      unmodified DPDK on it, by a library that speaks VFIO'
	@echo 'make dkms      a Debian package (dkms) with the modules, for Debian 13'
	@echo 'make dkms-test install it in a bare Debian 13, and run the tests on its kernel'
	@echo 'make tree      the kernel git tree to work in, the series as two commits'
	@echo 'make patches   write patches/ and the view from that tree'
	@echo 'make port      take what changed in patches/ over into patches/linux-6.12'
	@echo 'make clean     remove what was generated here (out/)'
	@echo 'make distclean remove the cache as well'
	@echo
	@echo 'KERNEL=DIR     run: use your kernel tree (it is copied, not changed)'
	@echo 'LTS=1          run, tree, patches: Linux 6.12 and patches/linux-6.12'
	@echo 'V=1            run: all that the tests say, not a line for each'
	@echo 'PUBLISH=1      bench, races, ...: the result into README.md and the cover letter'
	@echo 'CHECKS=...     check: these alone'
	@echo 'MINUTES=N      check: begin none later than that'
	@echo 'JOBS=N         how many jobs a build runs (default: one per CPU)'
	@echo 'SUBMITTER=...  patches: "Name <mail>", write the series to out/series as'
	@echo '               theirs; with V=N as version N, with SIGNOFF=1 signed off'
	@echo
	@echo 'The cache is $${XDG_CACHE_HOME:-~/.cache}/uio_msix; see README.md.'

check:
	@scripts/check.sh $(CHECKS)

run demo dpdk mediated dkms patches port:
	@scripts/$@.sh

dkms-test:
	@scripts/dkms.sh test

# The work trees of the further series, too, which are of the newest kernel.
tree:
	$(if $(LTS)$(KERNEL),,@scripts/tree.sh mediated >/dev/null && scripts/tree.sh wc >/dev/null)
	@scripts/tree.sh

bench:
	@bench/bench.sh

coverage races fuzz soak mutants:
	@scripts/long.sh $@

check-%:
	@scripts/check.sh $*

clean:
	rm -rf out

distclean: clean
	rm -rf "$${XDG_CACHE_HOME:-$$HOME/.cache}/uio_msix"

.PHONY: help run check bench demo dpdk mediated dkms dkms-test coverage races fuzz soak mutants tree patches port clean distclean
