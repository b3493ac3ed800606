/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A PCI device on uio_msix: bind and give back, open, map, make it interrupt.
 */
#ifndef UIO_MSIX_UTIL_H
#define UIO_MSIX_UTIL_H

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <linux/pci.h>
#include <linux/pci_regs.h>
#include <linux/uio_msix.h>

#define PCI_DEVICES	"/sys/bus/pci/devices/"
#define PCI_DRIVERS	"/sys/bus/pci/drivers/"
#define ALLOW_VF	"/sys/module/uio_msix/parameters/allow_unsafe_vf"
#define MAX_MAPS	5
#define EVENT_MS	5000	/* an event that takes longer is lost */
#define QUIET_MS	50	/* no event for so long is silence */

/* One write(2) of @text to the file that @fmt names: 0 or -errno. */
__attribute__((format(printf, 2, 3)))
static inline int put(const char *text, const char *fmt, ...)
{
	char path[256];
	va_list ap;
	int fd, ret = 0;

	va_start(ap, fmt);
	vsnprintf(path, sizeof(path), fmt, ap);
	va_end(ap);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

/* The first word of the file that @fmt names, "" if there is none. */
__attribute__((format(printf, 2, 3)))
static inline char *get(char word[64], const char *fmt, ...)
{
	char path[256];
	va_list ap;
	FILE *f;

	va_start(ap, fmt);
	vsnprintf(path, sizeof(path), fmt, ap);
	va_end(ap);
	word[0] = 0;
	f = fopen(path, "re");
	if (f) {
		if (fscanf(f, "%63s", word) != 1)
			word[0] = 0;
		fclose(f);
	}
	return word;
}

static inline uint64_t get_u64(const char *bdf, const char *attr)
{
	char word[64];

	return strtoull(get(word, PCI_DEVICES "%s/%s", bdf, attr), NULL, 0);
}

static inline int pci_has(const char *bdf, const char *attr)
{
	char path[256];

	snprintf(path, sizeof(path), PCI_DEVICES "%s/%s", bdf, attr);
	return !access(path, F_OK);
}

static inline uint32_t pci_config(const char *bdf, int offset, int size)
{
	uint32_t value = 0;
	char path[256];
	int fd;

	snprintf(path, sizeof(path), PCI_DEVICES "%s/config", bdf);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || pread(fd, &value, size, offset) != size)
		value = 0;
	close(fd);
	return value;
}

static inline int pci_master(const char *bdf)
{
	return !!(pci_config(bdf, PCI_COMMAND, 2) & PCI_COMMAND_MASTER);
}

static inline int pci_find_cap(const char *bdf, int id)
{
	int pos = pci_config(bdf, PCI_CAPABILITY_LIST, 1);

	while (pos && pci_config(bdf, pos, 1) != (uint32_t)id)
		pos = pci_config(bdf, pos + 1, 1);
	return pos;
}

/* The name of the driver that @bdf is bound to, "" if none. */
static inline char *pci_driver(const char *bdf, char name[64])
{
	char path[256], link[256];
	ssize_t len;

	snprintf(path, sizeof(path), PCI_DEVICES "%s/driver", bdf);
	len = readlink(path, link, sizeof(link) - 1);
	link[len < 0 ? 0 : len] = 0;
	snprintf(name, 64, "%s", len < 0 ? "" : strrchr(link, '/') + 1);
	return name;
}

static inline int pci_unbind(const char *bdf)
{
	char name[64];

	if (!*pci_driver(bdf, name))
		return 0;
	return put(bdf, PCI_DRIVERS "%s/unbind", name);
}

/* From whatever driver it has to @driver, "" for none: 0 or probe's -errno. */
static inline int pci_bind(const char *bdf, const char *driver)
{
	int ret = pci_unbind(bdf);

	if (ret || !*driver)
		return ret;
	put(strcmp(driver, "uio_msix") ? "\n" : driver,
	    PCI_DEVICES "%s/driver_override", bdf);
	ret = put(bdf, PCI_DRIVERS "%s/bind", driver);
	put("\n", PCI_DEVICES "%s/driver_override", bdf);
	return ret;
}

struct uio_map {
	char name[64];
	uint64_t addr;
	uint64_t size;
};

/* How a kind of device is made to interrupt by its own registers, in BAR0. */
struct uio_msix_kind {
	uint32_t id;		/* device and vendor */
	uint32_t fire;		/* where to write the vector, ... */
	uint32_t scratch;	/* some register on the third 4 KB page */
	uint32_t cleared;	/* a register with a bit ... */
	uint32_t bit;		/* ... that a reset clears */
	bool as_bit;		/* ... or 1 << vector, which this init enables */
	struct {
		uint32_t reg;
		uint32_t value;
	} init[4];
};

static const struct uio_msix_kind uio_msix_kinds[] = {
	/* Intel 82576, PF and VF: cleared and auto-cleared, no moderation */
	{ 0x10c98086, 0x1520, 0x2800, 0x1524, 1, true, { { 0x1528, ~0u },
		{ 0x1514, 0xc0000011 }, { 0x152c, 0x3ff }, { 0x1524, 0x3ff } } },
	{ 0x10ca8086, 0x1520, 0x2800, 0x2828, 1 << 25, true, { { 0x1528, ~0u },
		{ 0x152c, 7 }, { 0x1524, 7 } } },
	/* QEMU's rocker switch, 128 vectors and a register to fire them */
	{ 0x00061b36, 0x20, 0, 0, 0, false, { } },
};

struct uio_msix {
	const char *bdf;
	int fd;
	char path[64];
	uint32_t num_vectors;
	int num_maps;
	struct uio_map maps[MAX_MAPS];
	const struct uio_msix_kind *kind;	/* NULL: fired by the kernel */
	volatile uint32_t *regs;
};

/* Fill in what sysfs says of a bound device. 0 or -1. */
static inline int uio_msix_find(struct uio_msix *dev, const char *bdf)
{
	char pattern[256], word[64];
	glob_t found;
	int i;

	memset(dev, 0, sizeof(*dev));
	dev->bdf = bdf;
	dev->fd = -1;
	snprintf(pattern, sizeof(pattern), PCI_DEVICES "%s/uio/uio*", bdf);
	if (glob(pattern, 0, NULL, &found))
		return -1;
	snprintf(dev->path, sizeof(dev->path), "/dev/%s",
		 strrchr(found.gl_pathv[0], '/') + 1);
	globfree(&found);

	for (i = 0; i < MAX_MAPS; i++) {
		struct uio_map *map = &dev->maps[i];
		const char *uio = dev->path + strlen("/dev/");

		get(map->name, "/sys/class/uio/%s/maps/map%d/name", uio, i);
		if (!map->name[0])
			break;
		map->addr = strtoull(get(word, "/sys/class/uio/%s/maps/map%d/addr",
					 uio, i), NULL, 0);
		map->size = strtoull(get(word, "/sys/class/uio/%s/maps/map%d/size",
					 uio, i), NULL, 0);
	}
	dev->num_maps = i;
	return 0;
}

static inline void *uio_msix_map(struct uio_msix *dev, int map)
{
	return mmap(NULL, dev->maps[map].size, PROT_READ | PROT_WRITE,
		    MAP_SHARED, dev->fd, map * getpagesize());
}

/* Open and make ready to fire: 0 or -errno. */
static inline int uio_msix_open(struct uio_msix *dev)
{
	struct uio_msix_info info;
	size_t i;
	void *p;

	dev->fd = open(dev->path, O_RDWR | O_CLOEXEC);
	if (dev->fd < 0 || ioctl(dev->fd, UIO_MSIX_GET_INFO, &info))
		return -errno;
	dev->num_vectors = info.num_vectors;

	for (i = 0; i < sizeof(uio_msix_kinds) / sizeof(*uio_msix_kinds); i++)
		if (uio_msix_kinds[i].id == (get_u64(dev->bdf, "vendor") |
					     get_u64(dev->bdf, "device") << 16))
			dev->kind = &uio_msix_kinds[i];
	if (!dev->kind)
		return 0;

	p = uio_msix_map(dev, 0);
	if (p == MAP_FAILED)
		return -errno;
	dev->regs = p;
	for (i = 0; i < 4 && dev->kind->init[i].reg; i++)
		dev->regs[dev->kind->init[i].reg / 4] = dev->kind->init[i].value;
	return 0;
}

static inline void uio_msix_close(struct uio_msix *dev)
{
	if (dev->regs)
		munmap((void *)dev->regs, dev->maps[0].size);
	dev->regs = NULL;
	if (dev->fd >= 0)
		close(dev->fd);
	dev->fd = -1;
}

/* The interrupt number of a vector that has an eventfd, from its name. */
static inline int uio_msix_irq(struct uio_msix *dev, uint32_t vector)
{
	char name[64], line[4096];
	int irq = -1;
	FILE *f;

	snprintf(name, sizeof(name), " uio_msix[%u](%s)", vector, dev->bdf);
	f = fopen("/proc/interrupts", "re");
	while (f && fgets(line, sizeof(line), f))
		if (strstr(line, name))
			irq = atoi(line);
	if (f)
		fclose(f);
	return irq;
}

/* Have the device send one interrupt, or else the kernel: 0 or -errno. */
static inline int uio_msix_fire(struct uio_msix *dev, uint32_t vector)
{
	int ret = -EBUSY, tries;

	if (dev->kind) {
		dev->regs[dev->kind->fire / 4] =
			dev->kind->as_bit ? 1u << vector : vector;
		return 0;
	}
	for (tries = 0; ret == -EBUSY && tries < 100; tries++) {
		ret = put("trigger", "/sys/kernel/debug/irq/irqs/%d",
			  uio_msix_irq(dev, vector));
		usleep(ret ? 1000 : 0);
	}
	return ret;
}

static inline int set_eventfd(struct uio_msix *dev, uint32_t vector, int fd)
{
	struct uio_msix_eventfd arg = { .vector = vector, .fd = fd };

	return ioctl(dev->fd, UIO_MSIX_SET_EVENTFD, &arg) ? -errno : 0;
}

static inline int set_mask(struct uio_msix *dev, uint32_t vector, int masked)
{
	struct uio_msix_mask arg = { .vector = vector, .masked = masked };

	return ioctl(dev->fd, UIO_MSIX_SET_MASK, &arg) ? -errno : 0;
}

/* What arrived on a non-blocking eventfd within @ms. */
static inline int events(int fd, int ms)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	uint64_t count = 0;

	poll(&pfd, 1, ms);
	if (read(fd, &count, sizeof(count)) != sizeof(count))
		count = 0;
	return count;
}

#endif /* UIO_MSIX_UTIL_H */
