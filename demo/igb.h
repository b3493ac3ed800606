/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The Intel 82576 network controller, its PF (8086:10c9) and its VFs (8086:10ca):
 * two queue pairs, an interrupt vector for each, and one for link and mailbox.
 *
 * For little-endian machines. A VF does not survive a reset of its PF.
 *
 * One thread a queue; igb_event() belongs to the thread of the last vector.
 */
#ifndef DEMO_IGB_H
#define DEMO_IGB_H

#include "device.h"

#define IGB_QUEUES	2
#define IGB_RING	256		/* descriptors, of 16 bytes */
#define IGB_BUFFER	10240		/* holds a frame of IGB_MAX_FRAME */
#define IGB_MAX_FRAME	9018		/* with header, without CRC */
#define IGB_OTHER	IGB_QUEUES	/* vector for link and mailbox */

/* As the device sees it: an address, and what it writes over that. */
struct igb_desc {
	uint64_t addr;
	uint32_t len;			/* and commands */
	uint32_t status;
};

struct igb_queue {
	volatile struct igb_desc *rx, *tx;
	void *rx_buf[IGB_RING], *tx_buf[IGB_RING];
	uint64_t rx_phys[IGB_RING], tx_phys[IGB_RING];
	unsigned int rx_next, tx_next, tx_clean;
	uint32_t rx_base, tx_base;	/* of its registers */
	int eventfd;
	uint64_t rx_packets, tx_packets, interrupts, dropped;
};

struct igb;

struct igb_ops {
	uint32_t id;
	const char *name;
	uint32_t rx_base, tx_base, stride;
	int (*start)(struct igb *igb);		/* to where queues can be set up */
	void (*route)(struct igb *igb);		/* causes to vectors */
	void (*event)(struct igb *igb);		/* link or mailbox */
};

struct igb {
	struct device dev;
	struct dma dma;
	const struct igb_ops *ops;
	struct igb_queue queue[IGB_QUEUES];
	uint8_t mac[6];
	int other;			/* eventfd of IGB_OTHER */
	bool link;
	bool loopback;			/* set before igb_open(): PF only */
	uint64_t other_interrupts, link_changes;
};

/* Bring a device up that device_bind() took. 0 or -errno, with a line on stderr. */
int igb_open(struct igb *igb);
/* Stop it. Only then is the memory let go that it may have written to. */
void igb_close(struct igb *igb);

/*
 * The next frame that a queue has received, or NULL. It stays where it is until
 * igb_rx_done(), which makes room for another one.
 */
void *igb_rx(struct igb *igb, unsigned int queue, unsigned int *len);
void igb_rx_done(struct igb *igb, unsigned int queue);

/* Send a frame, which is copied. False if the queue is full. */
bool igb_tx(struct igb *igb, unsigned int queue, const void *frame,
	    unsigned int len);

/* Sleep until the vector of a queue had an interrupt; false after @ms without. */
bool igb_sleep(struct igb *igb, unsigned int queue, int ms);
/* Poll a queue without its interrupts; what arrives meanwhile is one at the end. */
int igb_polling(struct igb *igb, unsigned int queue, bool on);

/* What the vector for link and mailbox announced. */
void igb_event(struct igb *igb);

#endif /* DEMO_IGB_H */
