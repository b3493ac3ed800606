/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the host needs of a network card, whoever drives it: up to two queue
 * pairs, an eventfd for each, and one for the link.
 *
 * One thread a queue; ->event() belongs to the thread that waits for @other.
 */
#ifndef DEMO_NIC_H
#define DEMO_NIC_H

#include <stdbool.h>
#include <stdint.h>

#define NIC_MAX_QUEUES	2

struct nic;

struct nic_ops {
	/* Bring it up, by the address or the file that it has. */
	int (*open)(struct nic *nic, const char *where);
	/*
	 * The next frame that a queue has received, or NULL, and then all that was
	 * sent is on its way. It stays where it is until ->rx_done(), which makes
	 * room for another one.
	 */
	void *(*rx)(struct nic *nic, unsigned int queue, unsigned int *len);
	void (*rx_done)(struct nic *nic, unsigned int queue);
	/* Send a frame, which is copied. False if the queue is full. */
	bool (*tx)(struct nic *nic, unsigned int queue, const void *frame,
		   unsigned int len);
	/* Sleep until a queue had an interrupt; false after @ms without. */
	bool (*sleep)(struct nic *nic, unsigned int queue, int ms);
	/* Poll a queue without its interrupts; what comes meanwhile is one at the end. */
	int (*polling)(struct nic *nic, unsigned int queue, bool on);
	/* What @other announced. */
	void (*event)(struct nic *nic);
	/* Stop it, and then let go of the memory that it may have written to. */
	void (*close)(struct nic *nic);
};

struct nic_queue {
	int eventfd;
	uint64_t rx_packets, tx_packets, interrupts, dropped;
};

struct nic {
	const char *name;
	int fd;				/* of its UIO file: POLLERR if it is gone */
	unsigned int queues;
	struct nic_queue queue[NIC_MAX_QUEUES];
	uint8_t mac[6];
	int other;			/* eventfd */
	bool link;
	uint64_t other_interrupts;
};

#endif /* DEMO_NIC_H */
