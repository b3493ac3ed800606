/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the programs of this folder share beyond the helpers of the selftest: a
 * device and a wire that root prepares, and a generator of numbers.
 *
 *	UIO_VMXNET3_PEER=eth0	NIC of this kernel on the same wire
 */
#ifndef TESTS_VMXGUEST_H
#define TESTS_VMXGUEST_H

#include <err.h>
#include <pthread.h>
#include <time.h>
#include <sys/prctl.h>

#include "uio_vmxnet3_utils.h"

static const char *bdf;
static struct wire wire = { .fd = -1 };

static inline unsigned long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* rand() has a lock, which may be held at a fork. */
static __thread uint64_t seed = 1;

static inline uint32_t rnd(uint32_t n)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (seed >> 16) % n;
}

/* As root: bound, found and given away. 0 or -errno. */
static inline int vmx_hand_over(struct vmx *vmx)
{
	int ret = pci_bind(bdf, "uio_vmxnet3");

	*vmx = (struct vmx){ .uio.fd = -1 };
	if (!ret)
		ret = uio_msix_find(&vmx->uio, bdf);
	if (!ret && chown(vmx->uio.path, USER_ID, USER_ID))
		ret = -errno;
	return ret;
}

/* As root: huge pages, the device, and the wire. */
static inline void vmx_prepare(struct vmx *vmx)
{
	const char *peer = getenv("UIO_VMXNET3_PEER");
	int ret;

	if (get_u64("/proc/sys/vm/nr_hugepages") < 8)
		put("/proc/sys/vm/nr_hugepages", "8");
	ret = vmx_hand_over(vmx);
	if (!ret)
		ret = vmx_open(vmx);
	if (ret)
		errx(1, "%s: %s", bdf, strerror(-ret));
	if (peer && wire_open(&wire, peer, vmx->info.mac))
		err(1, "%s", peer);
	vmx_close(vmx);
}

#endif /* TESTS_VMXGUEST_H */
