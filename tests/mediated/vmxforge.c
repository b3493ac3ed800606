// SPDX-License-Identifier: GPL-2.0-only
/*
 * Completions that vmxnet3 never sent: another device, QEMU's rocker, writes them
 * by DMA to where the kernel has them. The queue has to stop, and only that:
 *
 *	vmxforge BDF ROCKER [ROUNDS]
 *
 * Exit code 1 if a forged one was taken for true.
 */
#include "vmxguest.h"

#define ROCKER_DMA_ADDR		0x28
#define ROCKER_DMA_SIZE		0x30
#define ROCKER_DMA_CTRL		0x34
#define ROCKER_DMA_FILL		2	/* with 0x96, which has the generation set */

static struct vmx vmx;
static struct uio_msix rocker;

static uint64_t physical(const void *p)
{
	uint64_t entry = 0;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	pread(fd, &entry, sizeof(entry), (uintptr_t)p / getpagesize() * sizeof(entry));
	close(fd);
	entry &= (1ULL << 55) - 1;
	return entry ? entry * getpagesize() + (uintptr_t)p % getpagesize() : 0;
}

/* Fill @size bytes there as a device does it. */
static void forge(const void *p, uint32_t size)
{
	uint64_t addr = physical(p);

	if (!addr)
		errx(1, "no address");
	reg_write(rocker.regs, ROCKER_DMA_ADDR, addr);
	reg_write(rocker.regs, ROCKER_DMA_ADDR + 4, addr >> 32);
	reg_write(rocker.regs, ROCKER_DMA_SIZE, size);
	reg_write(rocker.regs, ROCKER_DMA_CTRL, ROCKER_DMA_FILL);
}

/* What of a completion is forged */
enum { SLOT, AGAIN, RING };

/* A running queue, and a completion that it does not wait for. */
static void check(int queue, int before, int what)
{
	const struct uio_vmxnet3_completion *next;
	int ret, i;

	ret = vmx_start(&vmx, 1500, 0);
	if (ret)
		errx(1, "START: %s", strerror(-ret));
	for (i = 0; i < before; i++)
		if (vmx_submit_one(&vmx, queue, 0, 2048) != 1 ||
		    (queue == TX && vmx_done(&vmx, TX, EVENT_MS, NULL) != i))
			errx(1, "queue %d does not run", queue);
	next = &vmx.done[queue][vmx.seen[queue]];
	/*
	 * No queue has a slot 0x696; slot 0 has been sent; or else it is the right one,
	 * but not of the only ring that there is to receive into.
	 */
	if (what == SLOT)
		forge(next, 16);
	if (what == RING)
		forge((char *)next + 2, 2);
	if (what != SLOT)
		forge((char *)next + 15, 1);
	for (i = 0; i < 3; i++) {
		ret = vmx_submit_one(&vmx, queue, 0, 2048);
		if (ret != -EIO)
			errx(1, "queue %d: %d, not EIO", queue, ret);
		if (vmx_state(&vmx) != UIO_VMXNET3_BROKEN)
			errx(1, "state %u", vmx.info.state);
		/* Nothing else goes on, but that it is stopped. */
		if (vmx_start(&vmx, 1500, 0) != -EIO || vmx_start(&vmx, 59, 0) != -EINVAL ||
		    vmx_set_memory(&vmx, vmx.memfd, 0, HUGE_PAGE) != -EIO ||
		    vmx_set_memory(&vmx, -1, 0, 0) != -EIO || pci_master(bdf))
			errx(1, "queue %d: not broken", queue);
	}
	ret = vmx_stop(&vmx);
	if (ret || vmx_state(&vmx) != UIO_VMXNET3_STOPPED)
		errx(1, "STOP: %d, state %u", ret, vmx.info.state);
}

int main(int argc, char **argv)
{
	int rounds = argc > 3 ? atoi(argv[3]) : 10, round, ret;

	if (argc < 3)
		errx(2, "usage: vmxforge BDF ROCKER [ROUNDS]");
	bdf = argv[1];
	ret = pci_bind(argv[2], "uio_msix") ?: uio_msix_find(&rocker, argv[2]) ?:
	      uio_msix_open(&rocker);
	if (ret || !rocker.regs)
		errx(1, "%s: %s", argv[2], strerror(-ret));
	vmx_prepare(&vmx);
	ret = vmx_open(&vmx) ?: vmx_memory(&vmx, HUGE_PAGE, MFD_HUGETLB);
	if (ret)
		errx(1, "%s: %s", bdf, strerror(-ret));
	for (round = 0; round < rounds; round++) {
		check(TX, rnd(100), SLOT);
		check(TX, 1 + rnd(100), AGAIN);
		check(RX, rnd(100), SLOT);
		check(RX, 1 + rnd(100), RING);
	}
	/* As good as new. */
	if (vmx_start(&vmx, 9000, 0) || vmx_submit_one(&vmx, TX, 0, 60) != 1 ||
	    vmx_done(&vmx, TX, EVENT_MS, NULL) || vmx_state(&vmx) != UIO_VMXNET3_RUNNING)
		errx(1, "not as before");
	printf("# %d rounds\n", round);
	return 0;
}
