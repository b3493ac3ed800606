// SPDX-License-Identifier: GPL-2.0-only
/* See igb.h; names of registers as in the 82576 datasheet. */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/random.h>

#include "igb.h"

/* Both */
#define CTRL		0x0000
#define  CTRL_SLU	(1u << 6)
#define  CTRL_RST	(1u << 26)
#define STATUS		0x0008
#define  STATUS_LU	(1u << 1)
#define EIMS		0x1524
#define EIMC		0x1528
#define EIAC		0x152c
#define IVAR0		0x1700
#define  IVAR_VALID	0x80
#define IVAR_MISC	0x1740

/* PF */
#define MDIC		0x0020
#define  MDIC_WRITE	(1u << 26 | 1u << 21)	/* of PHY 1 */
#define  MDIC_READY	(1u << 28)
#define  BMCR_ANEG	0x1200	/* PHY register 0: negotiate, now */
#define ICR		0x00c0
#define IMS		0x00d0
#define  IMS_LSC	(1u << 2)
#define RCTL		0x0100
#define  RCTL_EN	(1u << 1)
#define  RCTL_LPE	(1u << 5)
#define  RCTL_LBM_MAC	(1u << 6)
#define  RCTL_BAM	(1u << 15)
#define  RCTL_SECRC	(1u << 26)
#define TCTL		0x0400
#define  TCTL_EN	(1u << 1)
#define  TCTL_PSP	(1u << 3)
#define GPIE		0x1514
#define  GPIE_MSIX	0xc0000011	/* many vectors, auto-mask, PBA, read to clear */
#define RXCSUM		0x5000
#define  RXCSUM_PCSD	(1u << 13)	/* a hash for RSS, no checksum */
#define RLPML		0x5004
#define RAL0		0x5400
#define RAH0		0x5404
#define MRQC		0x5818
#define  MRQC_RSS_IPV4	(2u | 1u << 17)
#define RETA		0x5c00
#define RSSRK		0x5c80

/* VF */
#define VMBMEM		0x0800
#define V2PMAILBOX	0x0c40
#define  MBX_REQ	(1u << 0)
#define  MBX_ACK	(1u << 1)
#define  MBX_VFU	(1u << 2)	/* the VF has the buffer */
#define  MBX_PFSTS	(1u << 4)	/* the PF wrote a message */
#define  MBX_RSTI	(1u << 6)	/* the PF is in reset */
#define VF_RESET	0x01
#define VF_SET_MAC	0x02
#define VF_SET_LPE	0x05
#define PF_ACK		(1u << 31)

/* A queue, from its base on */
#define xDBAL		0x00
#define xDBAH		0x04
#define xDLEN		0x08
#define SRRCTL		0x0c
#define  SRRCTL_ONEBUF	(1u << 25)
#define  SRRCTL_DROP	(1u << 31)
#define xDT		0x18
#define xDCTL		0x28
#define  xDCTL_ENABLE	(1u << 25)

/* Descriptors */
#define RX_DD		(1u << 0)
#define TX_DD		(1u << 0)
#define TX_DATA		(3u << 20 | 1u << 24 | 1u << 25 | 1u << 27 | 1u << 29)

/* Wait for a bit, for a second at most. */
static bool wait_for(struct igb *igb, uint32_t reg, uint32_t mask, uint32_t value)
{
	int tries;

	for (tries = 0; tries < 1000; tries++) {
		if ((reg_read(&igb->dev, reg) & mask) == value)
			return true;
		usleep(1000);
	}
	return false;
}

static void read_link(struct igb *igb)
{
	bool link = reg_read(&igb->dev, STATUS) & STATUS_LU;

	igb->link_changes += link != igb->nic.link;
	igb->nic.link = link;
}

static int pf_start(struct igb *igb)
{
	/* Any key spreads; an odd entry of the table is the second queue. */
	static const uint32_t key[10] = {
		0xda565a6d, 0xc20e5b25, 0x3d256741, 0xb08fa343, 0xcb2bcad0,
		0xb4307bae, 0xa32dcb77, 0x0cf23080, 0x3bb7426a, 0xfa01acbe,
	};
	struct device *dev = &igb->dev;
	uint32_t low = reg_read(dev, RAL0), high = reg_read(dev, RAH0);
	int i;

	memcpy(igb->nic.mac, &low, 4);
	memcpy(igb->nic.mac + 4, &high, 2);
	reg_write(dev, EIMC, ~0u);
	reg_write(dev, CTRL, reg_read(dev, CTRL) | CTRL_SLU);
	reg_write(dev, MDIC, MDIC_WRITE | BMCR_ANEG);
	if (!wait_for(igb, MDIC, MDIC_READY, MDIC_READY))
		return -ETIMEDOUT;
	reg_write(dev, RLPML, IGB_MAX_FRAME + 4);
	for (i = 0; i < 10; i++)
		reg_write(dev, RSSRK + 4 * i, key[i]);
	for (i = 0; i < 32; i++)
		reg_write(dev, RETA + 4 * i, 0x01000100);
	reg_write(dev, RXCSUM, RXCSUM_PCSD);
	reg_write(dev, MRQC, MRQC_RSS_IPV4);
	reg_write(dev, TCTL, TCTL_EN | TCTL_PSP);
	reg_write(dev, RCTL, RCTL_EN | RCTL_LPE | RCTL_BAM | RCTL_SECRC |
			     (igb->loopback ? RCTL_LBM_MAC : 0));
	return 0;
}

static void pf_route(struct igb *igb)
{
	struct device *dev = &igb->dev;
	uint32_t q;

	reg_write(dev, GPIE, GPIE_MSIX);
	/* The low half of IVAR n is for queue n: receive, transmit. */
	for (q = 0; q < IGB_QUEUES; q++)
		reg_write(dev, IVAR0 + 4 * q, q | IVAR_VALID);
	reg_write(dev, IVAR_MISC, (IGB_OTHER | IVAR_VALID) << 8);
	reg_write(dev, IMS, IMS_LSC);
}

static void pf_event(struct igb *igb)
{
	reg_read(&igb->dev, ICR);
	read_link(igb);
}

/* One word to the PF, and its answer of up to three. */
static int vf_ask(struct igb *igb, uint32_t *msg, int words)
{
	struct device *dev = &igb->dev;
	uint32_t what = msg[0];
	int i;

	reg_write(dev, V2PMAILBOX, MBX_VFU);
	if (!wait_for(igb, V2PMAILBOX, MBX_VFU, MBX_VFU))
		return -EBUSY;
	for (i = 0; i < words; i++)
		reg_write(dev, VMBMEM + 4 * i, msg[i]);
	reg_write(dev, V2PMAILBOX, MBX_REQ);
	if (!wait_for(igb, V2PMAILBOX, MBX_PFSTS, MBX_PFSTS))
		return -ETIMEDOUT;
	for (i = 0; i < 3; i++)
		msg[i] = reg_read(dev, VMBMEM + 4 * i);
	reg_write(dev, V2PMAILBOX, MBX_ACK);
	return (msg[0] & 0xffff) == what && msg[0] & PF_ACK ? 0 : -EPERM;
}

static int vf_start(struct igb *igb)
{
	uint32_t reset[3] = { VF_RESET };
	uint32_t lpe[3] = { VF_SET_LPE, IGB_MAX_FRAME + 4 };
	uint32_t mac[3] = { VF_SET_MAC };
	int ret;

	reg_write(&igb->dev, EIMC, ~0u);
	reg_write(&igb->dev, CTRL, CTRL_RST);
	if (!wait_for(igb, V2PMAILBOX, MBX_RSTI, 0))
		return -ETIMEDOUT;
	ret = vf_ask(igb, reset, 1);
	memcpy(igb->nic.mac, reset + 1, 6);
	if (ret == -EPERM) {
		/* The administrator gave it no address: any local one. */
		if (getrandom(igb->nic.mac, 6, 0) != 6)
			return -EIO;
		igb->nic.mac[0] = 0x02;
		memcpy(mac + 1, igb->nic.mac, 6);
		ret = vf_ask(igb, mac, 3);
	}
	return ret ?: vf_ask(igb, lpe, 2);
}

static void vf_route(struct igb *igb)
{
	/* One IVAR for both queues: receive 0, transmit 0, receive 1, ... */
	reg_write(&igb->dev, IVAR0, IVAR_VALID | (1 | IVAR_VALID) << 16);
	reg_write(&igb->dev, IVAR_MISC, IGB_OTHER | IVAR_VALID);
}

/* The PF says that the link changed. */
static void vf_event(struct igb *igb)
{
	struct device *dev = &igb->dev;

	if (reg_read(dev, V2PMAILBOX) & MBX_PFSTS)
		reg_write(dev, V2PMAILBOX, MBX_ACK);
	read_link(igb);
}

static const struct igb_ops ops[] = {
	{ 0x10c98086, "82576", 0xc000, 0xe000, 0x40, pf_start, pf_route, pf_event },
	{ 0x10ca8086, "82576 VF", 0x2800, 0x3800, 0x100, vf_start, vf_route, vf_event },
};

static struct igb *to_igb(struct nic *nic)
{
	return (struct igb *)nic;
}

static int ring(struct igb *igb, uint32_t base, volatile struct igb_desc **desc)
{
	uint64_t phys;

	*desc = dma_alloc(&igb->dma, IGB_RING * sizeof(**desc), &phys);
	if (!*desc)
		return -ENOMEM;
	reg_write(&igb->dev, base + xDBAL, phys);
	reg_write(&igb->dev, base + xDBAH, phys >> 32);
	reg_write(&igb->dev, base + xDLEN, IGB_RING * sizeof(**desc));
	return 0;
}

static int start_queue(struct igb *igb, unsigned int n)
{
	struct igb_queue *q = &igb->queue[n];
	struct device *dev = &igb->dev;
	int i;

	q->rx_base = igb->ops->rx_base + n * igb->ops->stride;
	q->tx_base = igb->ops->tx_base + n * igb->ops->stride;
	if (ring(igb, q->rx_base, &q->rx) || ring(igb, q->tx_base, &q->tx))
		return -ENOMEM;
	for (i = 0; i < IGB_RING; i++) {
		q->rx_buf[i] = dma_alloc(&igb->dma, IGB_BUFFER, &q->rx_phys[i]);
		q->tx_buf[i] = dma_alloc(&igb->dma, IGB_BUFFER, &q->tx_phys[i]);
		if (!q->rx_buf[i] || !q->tx_buf[i])
			return -ENOMEM;
		q->rx[i].addr = q->rx_phys[i];
	}
	reg_write(dev, q->rx_base + SRRCTL,
		  SRRCTL_ONEBUF | SRRCTL_DROP | IGB_BUFFER >> 10);
	reg_write(dev, q->rx_base + xDCTL, xDCTL_ENABLE);
	reg_write(dev, q->tx_base + xDCTL, xDCTL_ENABLE);
	if (!wait_for(igb, q->rx_base + xDCTL, xDCTL_ENABLE, xDCTL_ENABLE) ||
	    !wait_for(igb, q->tx_base + xDCTL, xDCTL_ENABLE, xDCTL_ENABLE))
		return -ETIMEDOUT;
	/* One stays free, for a full ring to look unlike an empty one. */
	reg_write(dev, q->rx_base + xDT, IGB_RING - 1);
	return 0;
}

int igb_open(struct igb *igb)
{
	unsigned int i;
	int ret;

	igb->ops = NULL;
	for (i = 0; i < sizeof(ops) / sizeof(*ops); i++)
		if (ops[i].id == igb->dev.id)
			igb->ops = &ops[i];
	if (!igb->ops) {
		fprintf(stderr, "%s: not an 82576\n", igb->dev.bdf);
		return -ENODEV;
	}
	memset(igb->queue, 0, sizeof(igb->queue));
	memset(igb->nic.queue, 0, sizeof(igb->nic.queue));
	for (i = 0; i < IGB_QUEUES; i++)
		igb->nic.queue[i].eventfd = -1;
	igb->nic.other = -1;
	ret = device_open(&igb->dev);
	if (ret)
		return ret;
	igb->nic.name = igb->ops->name;
	igb->nic.queues = IGB_QUEUES;
	igb->nic.fd = igb->dev.fd;

	ret = igb->ops->start(igb);
	for (i = 0; i < IGB_QUEUES && !ret; i++) {
		ret = start_queue(igb, i);
		if (ret)
			break;
		igb->nic.queue[i].eventfd = device_vector(&igb->dev, i);
		if (igb->nic.queue[i].eventfd < 0)
			ret = igb->nic.queue[i].eventfd;
	}
	if (!ret)
		ret = igb->nic.other = device_vector(&igb->dev, IGB_OTHER);
	if (ret < 0) {
		fprintf(stderr, "%s: %s: %s\n", igb->dev.bdf, igb->ops->name,
			strerror(-ret));
		igb_close(igb);
		return ret;
	}
	igb->ops->route(igb);
	/* A vector's cause is cleared as its message is sent. */
	reg_write(&igb->dev, EIAC, (1u << (IGB_OTHER + 1)) - 1);
	reg_write(&igb->dev, EIMS, (1u << (IGB_OTHER + 1)) - 1);
	read_link(igb);
	igb->link_changes = 0;
	return 0;
}

void igb_close(struct igb *igb)
{
	unsigned int i;

	/* Ends its bus mastering, before the memory is anybody else's. */
	device_close(&igb->dev);
	for (i = 0; i < IGB_QUEUES; i++)
		if (igb->nic.queue[i].eventfd >= 0)
			close(igb->nic.queue[i].eventfd);
	if (igb->nic.other >= 0)
		close(igb->nic.other);
	dma_free(&igb->dma);
}

void *igb_rx(struct nic *nic, unsigned int queue, unsigned int *len)
{
	struct igb *igb = to_igb(nic);
	struct igb_queue *q = &igb->queue[queue];
	volatile struct igb_desc *desc = &q->rx[q->rx_next];

	/* Written over by the device: status and length are the second half. */
	if (!(desc->len & RX_DD))
		return NULL;
	atomic_thread_fence(memory_order_acquire);
	*len = desc->status & 0xffff;
	igb->nic.queue[queue].rx_packets++;
	return q->rx_buf[q->rx_next];
}

void igb_rx_done(struct nic *nic, unsigned int queue)
{
	struct igb *igb = to_igb(nic);
	struct igb_queue *q = &igb->queue[queue];
	volatile struct igb_desc *desc = &q->rx[q->rx_next];

	desc->addr = q->rx_phys[q->rx_next];
	desc->len = 0;
	desc->status = 0;
	atomic_thread_fence(memory_order_release);
	/* The one before is the last that the device may fill. */
	reg_write(&igb->dev, q->rx_base + xDT, q->rx_next);
	q->rx_next = (q->rx_next + 1) % IGB_RING;
}

bool igb_tx_put(struct nic *nic, unsigned int queue, const void *frame,
		unsigned int len)
{
	struct igb *igb = to_igb(nic);
	struct igb_queue *q = &igb->queue[queue];
	unsigned int i = q->tx_next, next = (i + 1) % IGB_RING;

	while (q->tx_clean != i && q->tx[q->tx_clean].status & TX_DD)
		q->tx_clean = (q->tx_clean + 1) % IGB_RING;
	if (next == q->tx_clean || len > IGB_MAX_FRAME) {
		igb->nic.queue[queue].dropped++;
		return false;
	}
	memcpy(q->tx_buf[i], frame, len);
	q->tx[i].addr = q->tx_phys[i];
	q->tx[i].len = len | TX_DATA;
	q->tx[i].status = len << 14;
	q->tx_next = next;
	igb->nic.queue[queue].tx_packets++;
	return true;
}

void igb_tx_kick(struct nic *nic, unsigned int queue)
{
	struct igb *igb = to_igb(nic);
	struct igb_queue *q = &igb->queue[queue];

	atomic_thread_fence(memory_order_release);
	reg_write(&igb->dev, q->tx_base + xDT, q->tx_next);
}

bool igb_tx(struct nic *nic, unsigned int queue, const void *frame,
	    unsigned int len)
{
	if (!igb_tx_put(nic, queue, frame, len))
		return false;
	igb_tx_kick(nic, queue);
	return true;
}

bool igb_sleep(struct nic *nic, unsigned int queue, int ms)
{
	return device_wait(nic->queue[queue].eventfd, ms,
			   &nic->queue[queue].interrupts);
}

int igb_polling(struct nic *nic, unsigned int queue, bool on)
{
	return device_mask(&to_igb(nic)->dev, queue, on);
}

void igb_event(struct nic *nic)
{
	struct igb *igb = to_igb(nic);

	device_wait(nic->other, 0, &nic->other_interrupts);
	igb->ops->event(igb);
}

/* Taken from the driver that it has, and given back. */
static int open_nic(struct nic *nic, const char *bdf)
{
	struct igb *igb = to_igb(nic);
	int ret = device_bind(&igb->dev, bdf);

	if (ret)
		return ret;
	ret = igb_open(igb);
	if (ret)
		device_unbind(&igb->dev);
	return ret;
}

static void close_nic(struct nic *nic)
{
	igb_close(to_igb(nic));
	device_unbind(&to_igb(nic)->dev);
}

const struct nic_ops igb_nic_ops = {
	.open = open_nic,
	.rx = igb_rx,
	.rx_done = igb_rx_done,
	.tx = igb_tx,
	.sleep = igb_sleep,
	.polling = igb_polling,
	.event = igb_event,
	.close = close_nic,
};
