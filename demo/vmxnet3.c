// SPDX-License-Identifier: GPL-2.0-only
/* See vmxnet3.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "vmxnet3.h"

#define MEMORY		((VMXNET3_RX + VMXNET3_TX) * VMXNET3_BUFFER)
#define TX_OFFSET	(VMXNET3_RX * VMXNET3_BUFFER)
#define MAX_FRAME	(VMXNET3_MTU + 14)
#define MIN_FRAME	60
#define ANY_FRAME	(MAX_FRAME + 4)		/* with a VLAN tag */

static struct vmxnet3 *to_vmxnet3(struct nic *nic)
{
	return (struct vmxnet3 *)nic;
}

/* Hand the requests over that were put together. */
static void submit(struct vmxnet3 *v, struct vmxnet3_ring *ring)
{
	struct uio_vmxnet3_submit *s = &ring->submit;
	int ret;

	while (s->count) {
		ret = ioctl(v->dev.fd, UIO_VMXNET3_SUBMIT, s);
		if (ret < 0) {
			/* Nothing that is asked for here can be refused. */
			perror("UIO_VMXNET3_SUBMIT");
			ret = s->count;
		}
		s->count -= ret;
		memmove(s->request, s->request + ret,
			s->count * sizeof(*s->request));
	}
}

static void request(struct vmxnet3 *v, struct vmxnet3_ring *ring,
		    uint32_t offset, uint32_t len)
{
	struct uio_vmxnet3_submit *s = &ring->submit;

	s->request[s->count].offset = offset;
	s->request[s->count++].len = len;
	ring->submitted++;
	if (s->count == UIO_VMXNET3_MAX_REQUESTS)
		submit(v, ring);
}

/*
 * Take the next completion, if there is one. False if there is none. Requests are
 * completed in their order; those before it are complete too, or were skipped.
 */
static bool complete(struct vmxnet3_ring *ring, struct uio_vmxnet3_completion *c)
{
	volatile struct uio_vmxnet3_completion *next = &ring->completions[ring->next];
	uint32_t slot;

	c->status = next->status;
	if (!(c->status & UIO_VMXNET3_GEN) == ring->gen)
		return false;
	atomic_thread_fence(memory_order_acquire);
	c->slot = next->slot;
	c->len = next->len;
	slot = c->slot & UIO_VMXNET3_SLOT;
	ring->completed += (slot - ring->completed) % ring->ring_size + 1;
	if (++ring->next == ring->num_completions) {
		ring->next = 0;
		ring->gen = !ring->gen;
	}
	return true;
}

/* Have the device receive into the buffer of a request once more. */
static void renew(struct vmxnet3 *v, uint32_t number)
{
	request(v, &v->rx, number % VMXNET3_RX * VMXNET3_BUFFER, ANY_FRAME);
}

static void *rx(struct nic *nic, unsigned int queue, unsigned int *len)
{
	struct vmxnet3 *v = to_vmxnet3(nic);
	uint32_t number = v->rx.completed;
	struct uio_vmxnet3_completion c;

	for (; complete(&v->rx, &c); renew(v, number++)) {
		while (number != v->rx.completed - 1)
			renew(v, number++);
		*len = c.len & UIO_VMXNET3_LEN;
		if (*len && !(c.len & UIO_VMXNET3_ERROR)) {
			nic->queue[queue].rx_packets++;
			return v->memory + number % VMXNET3_RX * VMXNET3_BUFFER;
		}
	}
	submit(v, &v->tx);
	submit(v, &v->rx);
	return NULL;
}

static void rx_done(struct nic *nic, unsigned int queue)
{
	struct vmxnet3 *v = to_vmxnet3(nic);

	(void)queue;
	renew(v, v->rx.completed - 1);
}

static bool tx(struct nic *nic, unsigned int queue, const void *frame,
	       unsigned int len)
{
	struct vmxnet3 *v = to_vmxnet3(nic);
	struct uio_vmxnet3_completion c;
	uint32_t offset;

	while (complete(&v->tx, &c))
		;
	if (v->tx.submitted - v->tx.completed == VMXNET3_TX || len > MAX_FRAME) {
		nic->queue[queue].dropped++;
		return false;
	}
	offset = TX_OFFSET + v->tx.submitted % VMXNET3_TX * VMXNET3_BUFFER;
	memcpy(v->memory + offset, frame, len);
	if (len < MIN_FRAME)
		memset(v->memory + offset + len, 0, MIN_FRAME - len);
	request(v, &v->tx, offset, len < MIN_FRAME ? MIN_FRAME : len);
	nic->queue[queue].tx_packets++;
	return true;
}

/* A vector masks itself when it fires. What came since then fires it at once. */
static bool vmxnet3_sleep(struct nic *nic, unsigned int queue, int ms)
{
	device_mask(&to_vmxnet3(nic)->dev, UIO_VMXNET3_RX, false);
	return device_wait(nic->queue[queue].eventfd, ms,
			   &nic->queue[queue].interrupts);
}

static int polling(struct nic *nic, unsigned int queue, bool on)
{
	(void)nic, (void)queue, (void)on;
	return 0;
}

static void event(struct nic *nic)
{
	struct vmxnet3 *v = to_vmxnet3(nic);
	struct uio_vmxnet3_info info;

	device_wait(nic->other, 0, &nic->other_interrupts);
	device_mask(&v->dev, UIO_VMXNET3_EVENT, false);
	if (!ioctl(v->dev.fd, UIO_VMXNET3_GET_INFO, &info))
		nic->link = info.link_mbit;
}

static void vmxnet3_close(struct nic *nic)
{
	struct vmxnet3 *v = to_vmxnet3(nic);

	/* Ends its DMA, before the memory is anybody else's. */
	device_close(&v->dev);
	munmap(v->memory, MEMORY);
	munmap((void *)v->rx.completions, v->rx.num_completions * sizeof(*v->rx.completions));
	munmap((void *)v->tx.completions, v->tx.num_completions * sizeof(*v->tx.completions));
	close(nic->queue[0].eventfd);
	close(nic->other);
}

/* Memory that is ours, and that the device may read and write from now on. */
static int share_memory(struct vmxnet3 *v)
{
	struct uio_vmxnet3_memory arg = { .len = MEMORY };

	arg.fd = memfd_create("vmxnet3", MFD_CLOEXEC | MFD_HUGETLB);
	if (arg.fd < 0 || ftruncate(arg.fd, MEMORY))
		return -1;
	v->memory = mmap(NULL, MEMORY, PROT_READ | PROT_WRITE, MAP_SHARED, arg.fd, 0);
	if (v->memory == MAP_FAILED || ioctl(v->dev.fd, UIO_VMXNET3_SET_MEMORY, &arg))
		return -1;
	return close(arg.fd);
}

static int map_completions(struct vmxnet3 *v, struct vmxnet3_ring *ring,
			   uint32_t queue, const struct uio_vmxnet3_info *info)
{
	ring->submit = (struct uio_vmxnet3_submit){ .queue = queue };
	ring->num_completions = info->completions[queue];
	ring->ring_size = info->ring_size[queue];
	ring->gen = true;
	ring->completions = mmap(NULL, ring->num_completions * sizeof(*ring->completions),
				 PROT_READ, MAP_SHARED, v->dev.fd,
				 queue * getpagesize());
	return ring->completions == MAP_FAILED ? -1 : 0;
}

static int start(struct vmxnet3 *v, const char *file)
{
	struct uio_vmxnet3_start arg = { .mtu = VMXNET3_MTU };
	struct uio_vmxnet3_info info;
	struct nic *nic = &v->nic;
	int i;

	v->dev.fd = open(file, O_RDWR | O_CLOEXEC);
	if (v->dev.fd < 0 || ioctl(v->dev.fd, UIO_VMXNET3_GET_INFO, &info) ||
	    map_completions(v, &v->rx, UIO_VMXNET3_RX, &info) ||
	    map_completions(v, &v->tx, UIO_VMXNET3_TX, &info) ||
	    share_memory(v) || ioctl(v->dev.fd, UIO_VMXNET3_START, &arg))
		return -1;
	for (i = 0; i < VMXNET3_RX; i++)
		renew(v, i);
	submit(v, &v->rx);

	nic->name = "vmxnet3";
	nic->fd = v->dev.fd;
	nic->queues = 1;
	memcpy(nic->mac, info.mac, sizeof(nic->mac));
	nic->link = info.link_mbit;
	nic->queue[0].eventfd = device_vector(&v->dev, UIO_VMXNET3_RX);
	nic->other = device_vector(&v->dev, UIO_VMXNET3_EVENT);
	return nic->queue[0].eventfd < 0 || nic->other < 0 ? -1 : 0;
}

/* What there is after a failure ends with the process. */
static int vmxnet3_open(struct nic *nic, const char *file)
{
	if (!start(to_vmxnet3(nic), file))
		return 0;
	perror(file);
	return -1;
}

const struct nic_ops vmxnet3_nic_ops = {
	.open = vmxnet3_open,
	.rx = rx,
	.rx_done = rx_done,
	.tx = tx,
	.sleep = vmxnet3_sleep,
	.polling = polling,
	.event = event,
	.close = vmxnet3_close,
};
