/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * As much of an NVMe driver as it takes to have a drive interrupt: an admin
 * queue, and I/O queues whose completions have a vector each. Little endian.
 */
#ifndef NVME_H
#define NVME_H

#include <assert.h>

#include "uio_msix_utils.h"

#define NVME_PAGE	4096
#define NVME_PAGES	64
#define NVME_SLOTS	64	/* of a queue, which then fits a page */
#define NVME_QUEUES	8
#define NVME_READY_MS	60000

#define NVME_CAP_STRIDE	0x4	/* the high half: DSTRD is bits 32 to 35 */
#define NVME_CC		0x14
#define NVME_CSTS	0x1c
#define NVME_AQA	0x24
#define NVME_ASQ	0x28
#define NVME_ACQ	0x30
#define NVME_DOORBELL	0x1000

#define NVME_CREATE_SQ	0x01
#define NVME_CREATE_CQ	0x05
#define NVME_IDENTIFY	0x06
#define NVME_READ	0x02

struct nvme_command {
	uint8_t opcode;
	uint8_t flags;
	uint16_t id;
	uint32_t nsid;
	uint64_t reserved[2];
	uint64_t prp1;
	uint64_t prp2;
	uint32_t arg[6];	/* from CDW10 on */
};

struct nvme_completion {
	uint64_t result;
	uint16_t sq_head;
	uint16_t sq_id;
	uint16_t id;
	uint16_t status;	/* bit 0 changes with each turn of the queue */
};

struct nvme_queue {
	struct nvme_command *sq;
	struct nvme_completion *cq;
	unsigned int tail;
	unsigned int head;	/* counts on, for the turn that it is */
};

/* Memory that the drive reaches: pages of known physical addresses. */
struct nvme {
	struct uio_msix *dev;
	uint8_t *bar;
	uint32_t *regs;
	uint8_t *pool;
	uint64_t phys[NVME_PAGES];
	unsigned int used;
	struct nvme_queue queues[NVME_QUEUES + 1];	/* 0: admin */
};

/* Locked, which pins it in a guest that neither compacts nor offlines memory. */
static inline int nvme_alloc(struct nvme *nvme)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), i;
	uint64_t entry;

	nvme->pool = mmap(NULL, NVME_PAGES * NVME_PAGE, PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED |
			  MAP_POPULATE, -1, 0);
	for (i = 0; i < NVME_PAGES && nvme->pool != MAP_FAILED; i++) {
		entry = 0;
		pread(fd, &entry, 8,
		      ((uintptr_t)nvme->pool / NVME_PAGE + i) * 8);
		nvme->phys[i] = (entry & ((1ull << 55) - 1)) * NVME_PAGE;
		if (!nvme->phys[i])
			break;
	}
	close(fd);
	return i == NVME_PAGES ? 0 : -1;
}

static inline void *nvme_page(struct nvme *nvme, uint64_t *phys)
{
	assert(nvme->used < NVME_PAGES);
	*phys = nvme->phys[nvme->used];
	return memset(nvme->pool + NVME_PAGE * nvme->used++, 0, NVME_PAGE);
}

static inline void nvme_doorbell(struct nvme *nvme, int index, uint32_t value)
{
	uint32_t stride = 4 << (reg_read(nvme->regs, NVME_CAP_STRIDE) & 0xf);

	reg_write(nvme->regs, NVME_DOORBELL + index * stride, value);
}

static inline void nvme_submit(struct nvme *nvme, int queue,
			       const struct nvme_command *cmd)
{
	struct nvme_queue *q = &nvme->queues[queue];

	q->sq[q->tail] = *cmd;
	q->sq[q->tail].id = q->tail;
	q->tail = (q->tail + 1) % NVME_SLOTS;
	nvme_doorbell(nvme, 2 * queue, q->tail);
}

/* Whether the drive has written the completion that is @ahead of the next. */
static inline bool nvme_completed(struct nvme *nvme, int queue, int ahead)
{
	struct nvme_queue *q = &nvme->queues[queue];
	unsigned int at = q->head + ahead;
	uint16_t status = __atomic_load_n(&q->cq[at % NVME_SLOTS].status,
					  __ATOMIC_ACQUIRE);

	return (status & 1) != (at / NVME_SLOTS) % 2;
}

/* Take the next completion: its status, 0 for success, or -1 if there is none. */
static inline int nvme_reap(struct nvme *nvme, int queue)
{
	struct nvme_queue *q = &nvme->queues[queue];
	int status;

	if (!nvme_completed(nvme, queue, 0))
		return -1;
	status = q->cq[q->head % NVME_SLOTS].status >> 1;
	q->head++;
	nvme_doorbell(nvme, 2 * queue + 1, q->head % NVME_SLOTS);
	return status;
}

static inline bool nvme_ready(struct nvme *nvme, bool ready)
{
	int ms;

	for (ms = 0; ms < NVME_READY_MS; ms++) {
		if ((reg_read(nvme->regs, NVME_CSTS) & 1) == ready)
			return true;
		usleep(1000);
	}
	return false;
}

/* Map the registers, and start the drive with an admin queue: 0 or -1. */
static inline int nvme_start(struct nvme *nvme, struct uio_msix *dev)
{
	struct nvme_queue *admin = &nvme->queues[0];
	uint64_t sq, cq;

	nvme->dev = dev;
	nvme->bar = uio_msix_map(dev, 0);
	if (nvme->bar == MAP_FAILED || strcmp(dev->maps[0].name, "BAR0"))
		return -1;
	nvme->regs = (uint32_t *)(nvme->bar + dev->maps[0].offset);
	/* The open has reset it. */
	if (reg_read(nvme->regs, NVME_CC) & 1 || !nvme_ready(nvme, false))
		return -1;

	admin->sq = nvme_page(nvme, &sq);
	admin->cq = nvme_page(nvme, &cq);
	reg_write(nvme->regs, NVME_AQA,
		  (NVME_SLOTS - 1) << 16 | (NVME_SLOTS - 1));
	reg_write(nvme->regs, NVME_ASQ, sq);
	reg_write(nvme->regs, NVME_ASQ + 4, sq >> 32);
	reg_write(nvme->regs, NVME_ACQ, cq);
	reg_write(nvme->regs, NVME_ACQ + 4, cq >> 32);
	/* Entries of 16 and 64 bytes; enable */
	reg_write(nvme->regs, NVME_CC, 4 << 20 | 6 << 16 | 1);
	return nvme_ready(nvme, true) ? 0 : -1;
}

/* One admin command, without its interrupt: its status, or -1. */
static inline int nvme_admin(struct nvme *nvme, const struct nvme_command *cmd)
{
	int status, ms;

	nvme_submit(nvme, 0, cmd);
	for (ms = 0; ms < NVME_READY_MS; ms++) {
		status = nvme_reap(nvme, 0);
		if (status >= 0)
			return status;
		usleep(1000);
	}
	return -1;
}

/* An I/O queue whose completions interrupt by @vector. */
static inline int nvme_create(struct nvme *nvme, int queue, int vector)
{
	struct nvme_queue *q = &nvme->queues[queue];
	struct nvme_command cq = { .opcode = NVME_CREATE_CQ };
	struct nvme_command sq = { .opcode = NVME_CREATE_SQ };

	q->cq = nvme_page(nvme, &cq.prp1);
	q->sq = nvme_page(nvme, &sq.prp1);
	cq.arg[0] = (NVME_SLOTS - 1) << 16 | queue;
	cq.arg[1] = vector << 16 | 3;	/* interrupts; contiguous */
	sq.arg[0] = cq.arg[0];
	sq.arg[1] = queue << 16 | 1;
	return nvme_admin(nvme, &cq) ?: nvme_admin(nvme, &sq);
}

/* Read the sector @lba to @phys. */
static inline void nvme_read(struct nvme *nvme, int queue, uint64_t lba,
			     uint64_t phys)
{
	struct nvme_command cmd = { .opcode = NVME_READ, .nsid = 1,
				    .prp1 = phys,
				    .arg = { lba, lba >> 32 } };

	nvme_submit(nvme, queue, &cmd);
}

#endif /* NVME_H */
