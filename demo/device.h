/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A PCI device on uio_msix, from its address to its registers and vectors, and
 * memory that it can reach.
 *
 * The device reads and writes physical addresses, which are taken from
 * /proc/self/pagemap, for which one must have CAP_SYS_ADMIN. Nothing keeps it
 * from any other memory of the machine: who can run this is trusted with all of
 * it. With an IOMMU that translates, the addresses mean nothing to the device:
 * use VFIO there. device_bind() says so and fails.
 *
 * Functions return 0 (or what they say) or -errno, after one line on stderr.
 */
#ifndef DEMO_DEVICE_H
#define DEMO_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DEVICE_MAX_MAPS	5

struct device {
	char bdf[16];
	char old_driver[64];		/* to be given back to */
	uint32_t id;			/* device << 16 | vendor */
	int fd;
	uint32_t num_vectors;
	volatile uint32_t *regs;	/* BAR0 */
	void *map;			/* its pages */
	size_t map_size;
};

/* Take the device from the driver it has. */
int device_bind(struct device *dev, const char *bdf);
/* Give it back to that. */
void device_unbind(struct device *dev);

/* Open it and map BAR0; bus mastering is on from here to device_close(). */
int device_open(struct device *dev);
/* Close it, which stops and resets it. */
void device_close(struct device *dev);

/* A new non-blocking eventfd that the vector signals, to be closed by the caller. */
int device_vector(struct device *dev, uint32_t vector);
/* Hold the interrupts of a vector back, or deliver them again. */
int device_mask(struct device *dev, uint32_t vector, bool masked);
/* Wait until a vector has signalled its eventfd, and count; false after @ms without. */
bool device_wait(int eventfd, int ms, uint64_t *interrupts);

static inline uint32_t reg_read(struct device *dev, uint32_t offset)
{
	return dev->regs[offset / 4];
}

static inline void reg_write(struct device *dev, uint32_t offset, uint32_t value)
{
	dev->regs[offset / 4] = value;
}

/*
 * Huge pages: contiguous for the device, and never moved. What is allocated is
 * zeroed, aligned to 128 bytes, within one page, and stays until dma_free().
 */
#define DMA_PAGE	(2ul << 20)
#define DMA_MAX_PAGES	16

struct dma {
	void *page[DMA_MAX_PAGES];
	uint64_t phys[DMA_MAX_PAGES];
	unsigned int pages;
	size_t used;			/* of the last one */
};

void *dma_alloc(struct dma *dma, size_t size, uint64_t *phys);
void dma_free(struct dma *dma);

#endif /* DEMO_DEVICE_H */
