// SPDX-License-Identifier: GPL-2.0-only
/*
 * Rules that the selftest has no room for, or that only the module "order" beside it
 * sees:
 *
 *	vmxrules BDF
 *
 * Exit code 1 if one is broken.
 */
#include <sys/stat.h>
#include <sys/wait.h>

#include "vmxguest.h"

#define SMALL	65536
#define ORDER	"/sys/module/order/parameters/"

static struct vmx vmx;

static int sealed(unsigned int flags, int seals)
{
	int fd = vmx_memfd(flags ? HUGE_PAGE : SMALL, flags);

	if (fd >= 0 && fcntl(fd, F_ADD_SEALS, seals))
		errx(1, "seals %#x", seals);
	return fd;
}

static int reopened(unsigned int flags, int mode)
{
	return open(path("/proc/self/fd/%d", sealed(flags, 0)), mode | O_CLOEXEC);
}

/* Of which files memory can be. */
static void files(unsigned int flags)
{
	const struct {
		const char *what;
		int fd, error;
	} cases[] = {
		{ "not sealed", sealed(flags, 0), 0 },
		{ "sealed, but to be written",
		  sealed(flags, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL), 0 },
		{ "F_SEAL_WRITE", sealed(flags, F_SEAL_WRITE), EPERM },
		{ "F_SEAL_FUTURE_WRITE", sealed(flags, F_SEAL_FUTURE_WRITE), EPERM },
		{ "O_RDWR", reopened(flags, O_RDWR), 0 },
		{ "O_RDONLY", reopened(flags, O_RDONLY), EACCES },
		{ "O_WRONLY", reopened(flags, O_WRONLY), EACCES },
		{ "O_PATH", reopened(flags, O_PATH), EBADF },
	};
	size_t i;
	int ret;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		if (cases[i].fd < 0)
			errx(1, "%s: no file", cases[i].what);
		ret = vmx_set_memory(&vmx, cases[i].fd, 0, flags ? HUGE_PAGE : SMALL);
		if (ret != -cases[i].error)
			errx(1, "%s%s: %d", flags ? "huge pages, " : "", cases[i].what, ret);
		/* What is memory cannot be sealed. */
		if (!ret && i != 1 &&
		    (!fcntl(cases[i].fd, F_ADD_SEALS, F_SEAL_WRITE) || errno != EBUSY))
			errx(1, "%s%s: sealed", flags ? "huge pages, " : "", cases[i].what);
		if (vmx_set_memory(&vmx, -1, 0, 0))
			errx(1, "memory stays");
		close(cases[i].fd);
	}
}

static uint64_t order(const char *name)
{
	return get_u64(path(ORDER "%s", name));
}

static void session(void)
{
	int ret = vmx_open(&vmx) ?: vmx_memory(&vmx, SMALL, 0);

	if (ret)
		errx(1, "%s: %s", bdf, strerror(-ret));
}

static void run(void)
{
	int ret = vmx_start(&vmx, 1500, 0);

	if (ret || vmx_submit_one(&vmx, TX, 0, 60) != 1 || vmx_done(&vmx, TX, EVENT_MS, NULL))
		errx(1, "does not run: %s", strerror(-ret));
}

/* It is as before a START that fails. */
static void failed_start(void)
{
	int ret;

	session();
	put(ORDER "fail_start", "1");
	ret = vmx_start(&vmx, 1500, 0);
	if (order("fail_start"))
		errx(1, "does not try to start");
	if (ret != -EIO || vmx_state(&vmx) != UIO_VMXNET3_STOPPED || pci_master(bdf))
		errx(1, "START: %d, state %u, bus master %d", ret, vmx.info.state,
		     pci_master(bdf));
	if (vmx_submit_one(&vmx, TX, 0, 60) != -ENETDOWN ||
	    vmx_set_memory(&vmx, vmx.memfd, 0, SMALL))
		errx(1, "not stopped");
	run();
	vmx_close(&vmx);
}

/* The device is reset before its bus mastering goes off; memory dirty, then unpinned. */
static void orders(void)
{
	uint64_t clears, unpins;

	session();
	clears = order("clears");
	run();
	if (vmx_stop(&vmx) || order("clears") != clears + 1)
		errx(1, "STOP leaves bus mastering on");
	unpins = order("unpins");
	run();
	vmx_close(&vmx);
	if (order("clears") != clears + 2)
		errx(1, "close leaves bus mastering on");
	if (order("unpins") != unpins + SMALL / getpagesize())
		errx(1, "close leaves memory pinned");
	if (order("early_clears"))
		errx(1, "bus mastering goes off before the reset");
	if (order("clean_unpins"))
		errx(1, "unpinned before it is dirty");
}

/* What the file loses before it is locked, as to a huge page, is not its memory. */
static void lost_folio(void)
{
	int fd = vmx_memfd(SMALL, 0), ms, ret, status;
	char page[4096] = "x";
	struct stat st;
	unsigned int i;
	pid_t pid;

	for (i = 0; i < SMALL; i += sizeof(page))
		if (pwrite(fd, page, sizeof(page), i) != sizeof(page))
			err(1, "memfd");
	ret = vmx_open(&vmx);
	if (ret)
		errx(1, "%s: %s", bdf, strerror(-ret));
	put(ORDER "hold_pin", "1");
	pid = fork();
	if (!pid) {
		for (ms = 0; ms < EVENT_MS && order("hold_pin") != 2; ms++)
			usleep(1000);
		ret = order("hold_pin") != 2 ||
		      fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
				sizeof(page));
		put(ORDER "hold_pin", "0");
		_exit(ret);
	}
	ret = vmx_set_memory(&vmx, fd, 0, SMALL);
	if (waitpid(pid, &status, 0) != pid || status)
		errx(1, "no folio was lost: status %#x", status);
	if (ret || fstat(fd, &st) || st.st_blocks * 512 != SMALL)
		errx(1, "SET_MEMORY: %d, of which the file has %ld bytes", ret,
		     (long)st.st_blocks * 512);
	vmx_close(&vmx);
	close(fd);
}

int main(int argc, char **argv)
{
	int ret;

	if (argc != 2)
		errx(2, "usage: vmxrules BDF");
	bdf = argv[1];
	vmx_prepare(&vmx);
	ret = vmx_open(&vmx);
	if (ret)
		errx(1, "%s: %s", bdf, strerror(-ret));
	files(0);
	files(MFD_HUGETLB);
	vmx_close(&vmx);
	ret = put(ORDER "device", bdf);
	if (ret)
		errx(1, "module order: %s", strerror(-ret));
	failed_start();
	orders();
	put(ORDER "device", "none");
	lost_folio();
	return 0;
}
