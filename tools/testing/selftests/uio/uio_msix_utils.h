/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tests of uio_msix share: a PCI device, bound and opened, and how to
 * have it send an interrupt.
 */
#ifndef SELFTESTS_UIO_MSIX_UTILS_H
#define SELFTESTS_UIO_MSIX_UTILS_H

#include <assert.h>
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
#include <linux/pci_regs.h>
#include <linux/uio_msix.h>

#include "kselftest.h"

#define PCI_DEVICES	"/sys/bus/pci/devices/"
#define PCI_DRIVERS	"/sys/bus/pci/drivers/"
#define UIO_MAP		"/sys/class/uio/%s/maps/map"
#define ALLOW_VF	"/sys/module/uio_msix/parameters/allow_unsafe_vf"
#define MAX_MAPS	5
#define EVENT_MS	5000	/* an event that takes longer is lost */
#define QUIET_MS	50	/* no event for so long is silence */

/* The same for 32-bit programs. */
static_assert(sizeof(struct uio_msix_info) == 16, "ABI");
static_assert(sizeof(struct uio_msix_eventfd) == 16, "ABI");
static_assert(sizeof(struct uio_msix_mask) == 16, "ABI");

/* Format a path; good until the fourth call after it in this thread. */
static inline const char *path(const char *fmt, ...)
{
	static __thread char buf[4][256];
	static __thread int turn;
	va_list ap;

	turn = (turn + 1) % 4;
	va_start(ap, fmt);
	vsnprintf(buf[turn], sizeof(buf[turn]), fmt, ap);
	va_end(ap);
	return buf[turn];
}

/* One write(2) of @text: 0 or -errno. */
static inline int put(const char *file, const char *text)
{
	int fd = open(file, O_WRONLY | O_CLOEXEC), ret = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, text, strlen(text)) < 0)
		ret = -errno;
	close(fd);
	return ret;
}

/* The first word of a file, "" if there is none. */
static inline char *get(const char *file, char word[64])
{
	FILE *f = fopen(file, "re");

	if (!f || fscanf(f, "%63s", word) != 1)
		word[0] = 0;
	if (f)
		fclose(f);
	return word;
}

static inline uint64_t get_u64(const char *file)
{
	char word[64];

	return strtoull(get(file, word), NULL, 0);
}

/* An attribute of a PCI device. */
static inline const char *pci(const char *bdf, const char *attr)
{
	return path(PCI_DEVICES "%s/%s", bdf, attr);
}

static inline bool pci_has(const char *bdf, const char *attr)
{
	return !access(pci(bdf, attr), F_OK);
}

static inline uint32_t pci_config(const char *bdf, int offset, int size)
{
	int fd = open(pci(bdf, "config"), O_RDONLY | O_CLOEXEC);
	uint32_t value = 0;

	if (pread(fd, &value, size, offset) != size)
		value = 0;
	close(fd);
	return value;
}

static inline bool pci_master(const char *bdf)
{
	return pci_config(bdf, PCI_COMMAND, 2) & PCI_COMMAND_MASTER;
}

static inline bool pci_intx(const char *bdf)
{
	return !(pci_config(bdf, PCI_COMMAND, 2) & PCI_COMMAND_INTX_DISABLE);
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
	char link[256];
	ssize_t len = readlink(pci(bdf, "driver"), link, sizeof(link) - 1);

	link[len < 0 ? 0 : len] = 0;
	snprintf(name, 64, "%s", len < 0 ? "" : strrchr(link, '/') + 1);
	return name;
}

/* From whatever driver it has to @driver, "" for none: 0 or probe's -errno. */
static inline int pci_bind(const char *bdf, const char *driver)
{
	char old[64];
	int ret = 0;

	if (*pci_driver(bdf, old))
		ret = put(path(PCI_DRIVERS "%s/unbind", old), bdf);
	if (ret || !*driver)
		return ret;
	if (!strncmp(driver, "uio_", 4))
		put(pci(bdf, "driver_override"), driver);
	ret = put(path(PCI_DRIVERS "%s/bind", driver), bdf);
	put(pci(bdf, "driver_override"), "\n");
	return ret;
}

struct uio_map {
	char name[64];
	uint64_t addr;
	uint64_t size;
	uint64_t offset;	/* of the BAR in its first page */
};

/*
 * How a kind of device is made to interrupt by its own registers, in BAR0; if
 * that can be mapped, see maps_all_but_the_table.
 */
struct uio_msix_kind {
	uint32_t id;		/* device and vendor */
	uint32_t fire;		/* where to write the vector, ... */
	uint32_t scratch;	/* some register on the third 4 KB page */
	uint32_t cleared;	/* a register with a bit ... */
	uint32_t bit;		/* ... that a reset clears */
	bool as_bit;		/* ... or 1 << vector, which this init enables */
	uint32_t dma;		/* where to write address, size and command */
	struct {
		uint32_t reg;
		uint32_t value;
	} init[4];
};

static const struct uio_msix_kind uio_msix_kinds[] = {
	/* Intel 82576, PF and VF: cleared and auto-cleared, no moderation */
	{ 0x10c98086, 0x1520, 0x2800, 0x1524, 1, true, 0, { { 0x1528, ~0u },
		{ 0x1514, 0xc0000011 }, { 0x152c, 0x3ff }, { 0x1524, 0x3ff } } },
	{ 0x10ca8086, 0x1520, 0x2800, 0x2828, 1 << 25, true, 0, { { 0x1528, ~0u },
		{ 0x152c, 7 }, { 0x1524, 7 } } },
	/* QEMU's rocker switch, 128 vectors, and registers to test them and DMA */
	{ 0x00061b36, 0x20, 0, 0, 0, false, 0x28, { } },
};

struct uio_msix {
	const char *bdf;
	int fd;
	char path[64];
	uint32_t num_vectors;
	int num_maps;
	struct uio_map maps[MAX_MAPS];
	const struct uio_msix_kind *kind;	/* NULL: fired by the kernel */
	void *bar0;
	uint32_t *regs;
};

/* Registers; atomic, for the compiler to leave each access alone. */
static inline uint32_t reg_read(uint32_t *regs, uint32_t offset)
{
	return __atomic_load_n(regs + offset / 4, __ATOMIC_ACQUIRE);
}

static inline void reg_write(uint32_t *regs, uint32_t offset, uint32_t value)
{
	__atomic_store_n(regs + offset / 4, value, __ATOMIC_RELEASE);
}

/* Fill in what sysfs says of a bound device. 0 or -1. */
static inline int uio_msix_find(struct uio_msix *dev, const char *bdf)
{
	glob_t found;
	char *uio;
	int i;

	*dev = (struct uio_msix){ .bdf = bdf, .fd = -1 };
	if (glob(pci(bdf, "uio/uio*"), 0, NULL, &found))
		return -1;
	uio = strrchr(found.gl_pathv[0], '/') + 1;
	snprintf(dev->path, sizeof(dev->path), "/dev/%s", uio);
	for (i = 0; i < MAX_MAPS; i++) {
		if (!*get(path(UIO_MAP "%d/name", uio, i), dev->maps[i].name))
			break;
		dev->maps[i].addr = get_u64(path(UIO_MAP "%d/addr", uio, i));
		dev->maps[i].size = get_u64(path(UIO_MAP "%d/size", uio, i));
		dev->maps[i].offset = get_u64(path(UIO_MAP "%d/offset", uio, i));
	}
	dev->num_maps = i;
	globfree(&found);
	return 0;
}

static inline void *uio_msix_map(struct uio_msix *dev, int map)
{
	return mmap(NULL, dev->maps[map].size, PROT_READ | PROT_WRITE,
		    MAP_SHARED, dev->fd, map * getpagesize());
}

/* Enable the interrupts of a device that was reset. */
static inline void uio_msix_init(struct uio_msix *dev)
{
	size_t i;

	for (i = 0; dev->kind && i < 4 && dev->kind->init[i].reg; i++)
		reg_write(dev->regs, dev->kind->init[i].reg,
			  dev->kind->init[i].value);
}

/* Open and make ready to fire: 0 or -errno. */
static inline int uio_msix_open(struct uio_msix *dev)
{
	uint32_t id = get_u64(pci(dev->bdf, "vendor")) |
		      get_u64(pci(dev->bdf, "device")) << 16;
	struct uio_msix_info info;
	size_t i;

	dev->fd = open(dev->path, O_RDWR | O_CLOEXEC);
	if (dev->fd < 0 || ioctl(dev->fd, UIO_MSIX_GET_INFO, &info))
		return -errno;
	dev->num_vectors = info.num_vectors;

	for (i = 0; i < ARRAY_SIZE(uio_msix_kinds); i++)
		if (uio_msix_kinds[i].id == id &&
		    !strcmp(dev->maps[0].name, "BAR0"))
			dev->kind = &uio_msix_kinds[i];
	if (!dev->kind)
		return 0;

	dev->bar0 = uio_msix_map(dev, 0);
	if (dev->bar0 == MAP_FAILED)
		return -errno;
	dev->regs = dev->bar0 + dev->maps[0].offset;
	uio_msix_init(dev);
	return 0;
}

static inline void uio_msix_close(struct uio_msix *dev)
{
	if (dev->regs)
		munmap(dev->bar0, dev->maps[0].size);
	if (dev->fd >= 0)
		close(dev->fd);
	dev->regs = NULL;
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
		reg_write(dev->regs, dev->kind->fire,
			  dev->kind->as_bit ? 1u << vector : vector);
		return 0;
	}
	for (tries = 0; ret == -EBUSY && tries < 100; tries++) {
		ret = put(path("/sys/kernel/debug/irq/irqs/%d",
			       uio_msix_irq(dev, vector)), "trigger");
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

/* The device under test, and what it has to become again. */
static struct {
	const char *bdf;
	char driver[64];
	char allow_vf[64];
	pid_t pid;
} taken;

/* The harness exits by itself, and forks. */
static inline void give_back(void)
{
	if (getpid() != taken.pid || !pci_has(taken.bdf, "vendor"))
		return;
	if (pci_bind(taken.bdf, taken.driver))
		fprintf(stderr, "%s not given back to '%s'\n", taken.bdf,
			taken.driver);
	put(ALLOW_VF, taken.allow_vf);
}

/* The last argument or else UIO_MSIX_DEV; NULL if there is neither. */
static inline const char *take(int *argc, char **argv)
{
	taken.bdf = getenv("UIO_MSIX_DEV");
	if (*argc > 1 && pci_has(argv[*argc - 1], "vendor"))
		taken.bdf = argv[--*argc];
	argv[*argc] = NULL;

	if (taken.bdf) {
		pci_driver(taken.bdf, taken.driver);
		get(ALLOW_VF, taken.allow_vf);
		if (pci_has(taken.bdf, "physfn"))
			put(ALLOW_VF, "Y");
		taken.pid = getpid();
		atexit(give_back);
	}
	return taken.bdf;
}

#endif /* SELFTESTS_UIO_MSIX_UTILS_H */
