/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the programs of this folder share beyond the helpers of the selftests.
 */
#ifndef TESTS_GUEST_H
#define TESTS_GUEST_H

#include <assert.h>

#include "uio_msix_utils.h"

#define MEDDLE		"/sys/module/meddle/parameters/"	/* see tests/modules */
#define IORESOURCE_IO	0x100
#define IORESOURCE_MEM	0x200

/* The same for 32-bit programs. */
static_assert(sizeof(struct uio_msix_info) == 16, "ABI");
static_assert(sizeof(struct uio_msix_eventfd) == 16, "ABI");
static_assert(sizeof(struct uio_msix_mask) == 16, "ABI");

/* More registers of the devices that have a struct uio_msix_kind. */
struct guest_regs {
	uint32_t id;
	uint32_t scratch;	/* some register on the third 4 KB page */
	uint32_t cleared;	/* a register with a bit ... */
	uint32_t bit;		/* ... that a reset clears */
	uint32_t dma;		/* where to write address, size and command */
};

static inline const struct guest_regs *guest_regs(const struct uio_msix *dev)
{
	static const struct guest_regs none, regs[] = {
		{ 0x10c98086, 0x2800, 0x1524, 1, 0 },
		{ 0x10ca8086, 0x2800, 0x2828, 1 << 25, 0 },
		{ 0x00061b36, 0, 0, 0, 0x28 },
	};
	size_t i;

	for (i = 0; dev->kind && i < ARRAY_SIZE(regs); i++)
		if (regs[i].id == dev->kind->id)
			return &regs[i];
	return &none;
}

/* Enable the interrupts of a device that was reset while it is open. */
static inline void uio_msix_init(struct uio_msix *dev)
{
	size_t i;

	for (i = 0; dev->kind && i < ARRAY_SIZE(dev->kind->init); i++)
		if (dev->kind->init[i].reg)
			reg_write(dev->regs, dev->kind->init[i].reg,
				  dev->kind->init[i].value);
}

/* The number that the kernel gave an eventfd, until all let go of it. */
static inline int eventfd_id(int fd)
{
	char line[64];
	int id = -1;
	FILE *f = fopen(path("/proc/self/fdinfo/%d", fd), "re");

	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "eventfd-id: %d", &id);
	if (f)
		fclose(f);
	return id;
}

/* Whether a child waits for what it is to hear of; or is at its end. */
static inline bool sleeps(pid_t pid)
{
	FILE *f = fopen(path("/proc/%d/stat", pid), "re");
	char state = 0;

	if (f && fscanf(f, "%*d %*s %c", &state) != 1)
		state = 0;
	if (f)
		fclose(f);
	return state == 'S' || state == 'Z';
}

/* Whether one of the next eventfds gets @id: nobody has it any more. */
static inline bool eventfd_is_free(int id)
{
	int fds[64], i, found = 0;

	for (i = 0; i < 64; i++) {
		fds[i] = eventfd(0, EFD_CLOEXEC);
		found += eventfd_id(fds[i]) == id;
	}
	while (i--)
		close(fds[i]);
	return found;
}

/* Start and length of a BAR by the resource file; 0 if it is not of @kind. */
static inline uint64_t pci_bar(const char *bdf, int bar, unsigned int kind,
			       uint64_t *start)
{
	unsigned long long from = 0, to = 0, flags = 0;
	FILE *f = fopen(pci(bdf, "resource"), "re");

	for (; f && bar >= 0; bar--)
		if (fscanf(f, "%llx %llx %llx", &from, &to, &flags) != 3)
			flags = 0;
	if (f)
		fclose(f);
	*start = from;
	return flags & kind ? to - from + 1 : 0;
}

/* Whether an IOMMU translates for the device. */
static inline bool pci_translated(const char *bdf)
{
	char type[64];

	get(pci(bdf, "iommu_group/type"), type);
	return type[0] && strcmp(type, "identity");
}

#endif /* TESTS_GUEST_H */
