// SPDX-License-Identifier: GPL-2.0-only
/* See device.h. */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/uio_msix.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "device.h"

#define DEVICES		"/sys/bus/pci/devices/"
#define DRIVERS		"/sys/bus/pci/drivers/"

__attribute__((format(printf, 2, 3)))
static int error(int ret, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, ": %s\n", strerror(-ret));
	return ret;
}

/* An attribute; good until the next call. */
static const char *attr(const char *bdf, const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), DEVICES "%s/%s", bdf, name);
	return path;
}

static int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC), ret = 0;

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		ret = -errno;
	if (fd >= 0)
		close(fd);
	return ret;
}

static int get(const char *path, char text[64])
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? -1 : read(fd, text, 63);

	if (fd >= 0)
		close(fd);
	text[len < 0 ? 0 : len] = 0;
	text[strcspn(text, "\n")] = 0;
	return len < 0 ? -errno : 0;
}

static uint64_t get_u64(const char *path)
{
	char text[64];

	return get(path, text) ? 0 : strtoull(text, NULL, 0);
}

static void driver_of(const char *bdf, char name[64])
{
	char link[256] = "";
	ssize_t len = readlink(attr(bdf, "driver"), link, sizeof(link) - 1);

	snprintf(name, 64, "%s", len < 0 ? "" : strrchr(link, '/') + 1);
}

static int bind_to(const char *bdf, const char *driver)
{
	char path[256], old[64];
	int ret = 0;

	driver_of(bdf, old);
	if (!strcmp(old, driver))
		return 0;
	if (*old) {
		snprintf(path, sizeof(path), DRIVERS "%s/unbind", old);
		ret = put(path, bdf);
	}
	if (ret || !*driver)
		return ret;
	put(attr(bdf, "driver_override"), driver);
	snprintf(path, sizeof(path), DRIVERS "%s/bind", driver);
	ret = put(path, bdf);
	put(attr(bdf, "driver_override"), "\n");
	return ret;
}

int device_bind(struct device *dev, const char *bdf)
{
	char type[64];
	int ret;

	*dev = (struct device){ .fd = -1 };
	snprintf(dev->bdf, sizeof(dev->bdf), "%s", bdf);
	dev->id = get_u64(attr(bdf, "vendor")) | get_u64(attr(bdf, "device")) << 16;
	if (!dev->id)
		return error(-ENODEV, "%s", bdf);
	get(attr(bdf, "iommu_group/type"), type);
	if (!strncmp(type, "DMA", 3)) {
		fprintf(stderr, "%s: an IOMMU translates what this device does, and nothing but VFIO can tell it about our memory: use vfio-pci\n",
			bdf);
		return -EOPNOTSUPP;
	}
	driver_of(bdf, dev->old_driver);
	ret = bind_to(bdf, "uio_msix");
	if (ret) {
		error(ret, "%s: cannot be bound to uio_msix (see dmesg)", bdf);
		bind_to(bdf, dev->old_driver);
	}
	return ret;
}

void device_unbind(struct device *dev)
{
	int ret = bind_to(dev->bdf, dev->old_driver);

	if (ret)
		error(ret, "%s: not given back to '%s'", dev->bdf, dev->old_driver);
}

/* Map the UIO map that is BAR0; the MSI-X table is in no map. */
static int map_bar0(struct device *dev, const char *uio)
{
	char path[256], name[64];
	uint64_t offset;
	int i;

	for (i = 0; i < DEVICE_MAX_MAPS; i++) {
		snprintf(path, sizeof(path), "/sys/class/uio/%s/maps/map%d/name", uio, i);
		if (get(path, name) || strcmp(name, "BAR0"))
			continue;
		snprintf(path, sizeof(path), "/sys/class/uio/%s/maps/map%d/size", uio, i);
		dev->map_size = get_u64(path);
		snprintf(path, sizeof(path), "/sys/class/uio/%s/maps/map%d/offset", uio, i);
		offset = get_u64(path);
		dev->map = mmap(NULL, dev->map_size, PROT_READ | PROT_WRITE,
				MAP_SHARED, dev->fd, i * getpagesize());
		if (dev->map == MAP_FAILED)
			return -errno;
		dev->regs = dev->map + offset;
		return 0;
	}
	return -ENXIO;
}

int device_open(struct device *dev)
{
	struct uio_msix_info info;
	char path[64], *uio;
	glob_t found;
	int ret;

	if (glob(attr(dev->bdf, "uio/uio*"), 0, NULL, &found))
		return error(-ENODEV, "%s: not bound to uio_msix", dev->bdf);
	uio = strrchr(found.gl_pathv[0], '/') + 1;
	snprintf(path, sizeof(path), "/dev/%s", uio);
	dev->fd = open(path, O_RDWR | O_CLOEXEC);
	ret = dev->fd < 0 || ioctl(dev->fd, UIO_MSIX_GET_INFO, &info) ? -errno : 0;
	if (!ret)
		ret = map_bar0(dev, uio);
	globfree(&found);
	if (ret) {
		error(ret, "%s: %s", dev->bdf, path);
		device_close(dev);
		return ret;
	}
	dev->num_vectors = info.num_vectors;
	return 0;
}

void device_close(struct device *dev)
{
	if (dev->regs)
		munmap(dev->map, dev->map_size);
	dev->regs = NULL;
	if (dev->fd >= 0)
		close(dev->fd);
	dev->fd = -1;
}

int device_vector(struct device *dev, uint32_t vector)
{
	struct uio_msix_eventfd arg = { .vector = vector };
	int ret;

	arg.fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (arg.fd >= 0 && !ioctl(dev->fd, UIO_MSIX_SET_EVENTFD, &arg))
		return arg.fd;
	ret = error(-errno, "%s: vector %u", dev->bdf, vector);
	close(arg.fd);
	return ret;
}

int device_mask(struct device *dev, uint32_t vector, bool masked)
{
	struct uio_msix_mask arg = { .vector = vector, .masked = masked };

	return ioctl(dev->fd, UIO_MSIX_SET_MASK, &arg) ? -errno : 0;
}

bool device_wait(int eventfd, int ms, uint64_t *interrupts)
{
	struct pollfd pfd = { .fd = eventfd, .events = POLLIN };
	uint64_t count;

	poll(&pfd, 1, ms);
	if (read(eventfd, &count, sizeof(count)) != sizeof(count))
		return false;
	*interrupts += count;
	return true;
}

/* Where a page that is there is in physical memory; 0 if the kernel won't say. */
static uint64_t phys_of(void *page)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry = 0, pfn;

	if (pread(fd, &entry, 8, (uintptr_t)page / getpagesize() * 8) != 8)
		entry = 0;
	close(fd);
	pfn = entry & ((1ull << 55) - 1);
	return entry >> 63 ? pfn * getpagesize() : 0;
}

void *dma_alloc(struct dma *dma, size_t size, uint64_t *phys)
{
	void *page;

	size = (size + 127) & ~127ul;
	if (!dma->pages || dma->used + size > DMA_PAGE) {
		if (dma->pages == DMA_MAX_PAGES || size > DMA_PAGE)
			return error(-ENOMEM, "DMA memory"), NULL;
		page = mmap(NULL, DMA_PAGE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_POPULATE |
			    21 << MAP_HUGE_SHIFT, -1, 0);
		if (page == MAP_FAILED)
			return error(-errno, "no huge page (vm.nr_hugepages)"), NULL;
		/* Not in a child: a copy on write would move ours. */
		madvise(page, DMA_PAGE, MADV_DONTFORK);
		dma->phys[dma->pages] = phys_of(page);
		if (!dma->phys[dma->pages]) {
			munmap(page, DMA_PAGE);
			return error(-EPERM, "/proc/self/pagemap has no addresses without CAP_SYS_ADMIN"), NULL;
		}
		dma->page[dma->pages++] = page;
		dma->used = 0;
	}
	page = dma->page[dma->pages - 1] + dma->used;
	*phys = dma->phys[dma->pages - 1] + dma->used;
	dma->used += size;
	return page;
}

void dma_free(struct dma *dma)
{
	while (dma->pages)
		munmap(dma->page[--dma->pages], DMA_PAGE);
}
