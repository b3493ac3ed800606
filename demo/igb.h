/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The Intel 82576 network controller, its PF (8086:10c9) and its VFs (8086:10ca):
 * two queue pairs, an interrupt vector for each, and one for link and mailbox.
 *
 * For little-endian machines. A VF does not survive a reset of its PF.
 */
#ifndef DEMO_IGB_H
#define DEMO_IGB_H

#include "device.h"
#include "nic.h"

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
	struct nic nic;			/* first */
	struct device dev;
	struct dma dma;
	const struct igb_ops *ops;
	struct igb_queue queue[IGB_QUEUES];
	bool loopback;			/* set before igb_open(): PF only */
	uint64_t link_changes;
};

/* Bring a device up that device_bind() took. 0 or -errno, with a line on stderr. */
int igb_open(struct igb *igb);
/* Stop it. Only then is the memory let go that it may have written to. */
void igb_close(struct igb *igb);

/* See struct nic_ops. */
void *igb_rx(struct nic *nic, unsigned int queue, unsigned int *len);
void igb_rx_done(struct nic *nic, unsigned int queue);
bool igb_tx(struct nic *nic, unsigned int queue, const void *frame,
	    unsigned int len);
bool igb_sleep(struct nic *nic, unsigned int queue, int ms);
int igb_polling(struct nic *nic, unsigned int queue, bool on);
void igb_event(struct nic *nic);

/* What igb_tx() does: put a frame into the ring, and tell the device. */
bool igb_tx_put(struct nic *nic, unsigned int queue, const void *frame,
		unsigned int len);
void igb_tx_kick(struct nic *nic, unsigned int queue);

extern const struct nic_ops igb_nic_ops;

#endif /* DEMO_IGB_H */
