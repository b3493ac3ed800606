/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tests of uio_msix share: a PCI device, bound and opened, and how to
 * have it send an interrupt.
 */
#ifndef SELFTESTS_UIO_MSIX_UTILS_H
#define SELFTESTS_UIO_MSIX_UTILS_H

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
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

#include "kselftest.h"

#define PCI_DEVICES	"/sys/bus/pci/devices/"
#define PCI_DRIVERS	"/sys/bus/pci/drivers/"
#define UIO_MAP		"/sys/class/uio/%s/maps/map"
#define ALLOW_VF	"/sys/module/uio_msix/parameters/allow_unsafe_vf"
#define MAX_MAPS	5
#define EVENT_MS	20000	/* an event that takes longer is lost */
#define QUIET_MS	50	/* no event for so long is silence */

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

/* An attribute of a PCI device, by the address of the device. */
#define pci(bdf, attr)		path(PCI_DEVICES "%s/%s", bdf, attr)
#define pci_has(bdf, attr)	(!access(pci(bdf, attr), F_OK))
#define pci_is_vf(bdf)		pci_has(bdf, "physfn")

static inline uint32_t pci_config(const char *bdf, int offset, int size)
{
	int fd = open(pci(bdf, "config"), O_RDONLY | O_CLOEXEC);
	uint32_t value = 0;

	if (pread(fd, &value, size, offset) != size)
		value = 0;
	close(fd);
	return le32toh(value);
}

#define pci_master(bdf)							\
	(!!(pci_config(bdf, PCI_COMMAND, 2) & PCI_COMMAND_MASTER))

/* A VF has no INTx, and no bit for it. */
static inline bool pci_intx(const char *bdf)
{
	return !pci_is_vf(bdf) &&
	       !(pci_config(bdf, PCI_COMMAND, 2) & PCI_COMMAND_INTX_DISABLE);
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

/* How a kind of device is made to interrupt by its own registers, in BAR0. */
struct uio_msix_kind {
	uint32_t id;		/* device and vendor */
	uint32_t fire;		/* where to write the vector, ... */
	bool as_bit;		/* ... or 1 << vector, which this init enables */
	struct {
		uint32_t reg;
		uint32_t value;
	} init[4];
};

static const struct uio_msix_kind uio_msix_kinds[] = {
	/* Intel 82576, PF and VF: cleared and auto-cleared, no moderation */
	{ 0x10c98086, 0x1520, true, { { 0x1528, ~0u }, { 0x1514, 0xc0000011 },
				      { 0x152c, 0x3ff }, { 0x1524, 0x3ff } } },
	{ 0x10ca8086, 0x1520, true, { { 0x1528, ~0u }, { 0x152c, 7 },
				      { 0x1524, 7 } } },
	/* QEMU's rocker switch, which has a register to test its vectors */
	{ 0x00061b36, 0x20, false, { } },
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
#define REG(regs, offset)	((uint32_t *)(regs) + (offset) / 4)
#define reg_read(regs, offset)						\
	le32toh(__atomic_load_n(REG(regs, offset), __ATOMIC_ACQUIRE))
#define reg_write(regs, offset, value)					\
	__atomic_store_n(REG(regs, offset), htole32(value), __ATOMIC_RELEASE)

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

/* open(): 0 or -errno. */
static inline int try_open(struct uio_msix *dev)
{
	int fd = open(dev->path, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
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

	/* Only if its registers can be mapped. */
	for (i = 0; i < ARRAY_SIZE(uio_msix_kinds); i++)
		if (uio_msix_kinds[i].id == id && !strcmp(dev->maps[0].name, "BAR0"))
			dev->kind = &uio_msix_kinds[i];
	if (!dev->kind)
		return 0;

	dev->bar0 = uio_msix_map(dev, 0);
	if (dev->bar0 == MAP_FAILED)
		return -errno;
	dev->regs = dev->bar0 + dev->maps[0].offset;
	for (i = 0; i < ARRAY_SIZE(dev->kind->init); i++)
		if (dev->kind->init[i].reg)
			reg_write(dev->regs, dev->kind->init[i].reg,
				  dev->kind->init[i].value);
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

/* The interrupt number of a vector that has an eventfd, from its name; or -1. */
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

static sigjmp_buf sigbus_jmp;

static inline void sigbus(int sig)
{
	siglongjmp(sigbus_jmp, sig);
}

static inline bool sigbus_at(uint32_t *p)
{
	signal(SIGBUS, sigbus);
	if (sigsetjmp(sigbus_jmp, 1))
		return true;
	reg_read(p, 0);
	return false;
}

/* mmap(): 0 or -errno. */
static inline int try_mmap(int fd, uint64_t offset, size_t size, int flags)
{
	void *p = mmap(NULL, size, PROT_READ, flags, fd, offset);

	if (p == MAP_FAILED)
		return -errno;
	munmap(p, size);
	return 0;
}

/* Map one page of @file, which may be of procfs: 0 or -errno. */
static inline int try_map(const char *file, uint64_t offset)
{
	int fd = open(file, O_RDWR | O_SYNC | O_CLOEXEC), ret;

	if (fd < 0)
		return -errno;
	ioctl(fd, PCIIOC_MMAP_IS_MEM);
	ret = try_mmap(fd, offset, getpagesize(), MAP_SHARED);
	close(fd);
	return ret;
}

/* The kernel log from now on. */
static inline int log_open(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	lseek(fd, 0, SEEK_END);
	return fd;
}

/* How often it said @what of @dev since it was opened or counted. */
static inline int log_count(int fd, const char *dev, const char *what)
{
	char line[8192];
	int count = 0;
	ssize_t len;

	/* EPIPE: records were overwritten before they were read. */
	while ((len = read(fd, line, sizeof(line) - 1)) > 0 || errno == EPIPE) {
		line[len < 0 ? 0 : len] = 0;
		count += strstr(line, dev) && strstr(line, what);
	}
	return count;
}

/* The device under test, and what it has to become again. */
static struct {
	const char *bdf;
	char driver[64], override[64], allow_vf[64];
	pid_t pid;
} taken;

/* The harness exits by itself, and forks. */
static inline void give_back(void)
{
	if (getpid() != taken.pid || !pci_has(taken.bdf, "vendor"))
		return;
	if (pci_bind(taken.bdf, taken.driver))
		fprintf(stderr, "not given back to '%s'\n", taken.driver);
	if (strcmp(taken.override, "(null)"))
		put(pci(taken.bdf, "driver_override"), taken.override);
	put(ALLOW_VF, taken.allow_vf);
}

/* The device that UIO_MSIX_DEV names; NULL if there is none. */
static inline const char *take(void)
{
	taken.bdf = getenv("UIO_MSIX_DEV");
	if (taken.bdf) {
		pci_driver(taken.bdf, taken.driver);
		get(pci(taken.bdf, "driver_override"), taken.override);
		get(ALLOW_VF, taken.allow_vf);
		if (pci_is_vf(taken.bdf))
			put(ALLOW_VF, "Y");
		taken.pid = getpid();
		atexit(give_back);
	}
	return taken.bdf;
}

#endif /* SELFTESTS_UIO_MSIX_UTILS_H */
