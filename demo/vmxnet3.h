/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * vmxnet3 on uio_vmxnet3: one queue pair, for who may open its file. No other
 * right is needed, but for so much locked memory (RLIMIT_MEMLOCK), in huge pages.
 *
 * For little-endian machines.
 */
#ifndef DEMO_VMXNET3_H
#define DEMO_VMXNET3_H

#include <linux/uio_vmxnet3.h>

#include "device.h"
#include "nic.h"

#define VMXNET3_BUFFER	16384		/* none is in two huge pages */
#define VMXNET3_RX	256		/* buffers to receive into: request modulo that */
#define VMXNET3_TX	128		/* and to send from */
#define VMXNET3_MTU	9000

/* Requests that are on their way to a queue, and what became of those before. */
struct vmxnet3_ring {
	struct uio_vmxnet3_submit submit;
	volatile struct uio_vmxnet3_completion *completions;
	uint32_t num_completions, next;
	bool gen;			/* of a completion that is there */
	uint32_t submitted, completed;	/* requests, modulo 2^32 */
	uint32_t ring_size;
};

struct vmxnet3 {
	struct nic nic;			/* first */
	struct device dev;
	void *memory;
	struct vmxnet3_ring rx, tx;
};

/* Of which ->open() is given the UIO file. */
extern const struct nic_ops vmxnet3_nic_ops;

#endif /* DEMO_VMXNET3_H */
