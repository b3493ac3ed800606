// SPDX-License-Identifier: MIT
/*
 * uio_msix_vfio: VFIO no-IOMMU for programs, on PCI devices bound to uio_msix.
 *
 * Preloaded, or linked before libc, it stands in for /dev/vfio/vfio and for
 * /dev/vfio/noiommu-N of the devices that are bound to uio_msix, and for nothing
 * else. What it cannot do it refuses with the errno that VFIO has for it and a
 * line on stderr. See README.md in this folder.
 *
 * A container is a memfd, a group the locked sysfs file of the BAR with the MSI-X
 * table, a device /dev/uioN itself: files of the kernel, which live as long as
 * those of VFIO would. They are known by inode, not by number: dup() is no concern.
 */
#undef _FILE_OFFSET_BITS
#undef _FORTIFY_SOURCE
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/capability.h>
#include <linux/pci_regs.h>
#include <linux/uio_msix.h>
#include <linux/vfio.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#define EXPORT		__attribute__((visibility("default")))
#define PCI_DEVICES	"/sys/bus/pci/devices/"
#define PCI_DRIVERS	"/sys/bus/pci/drivers/"
#define UIO_CLASS	"/sys/class/uio/"
#define NOIOMMU_MODE	"/sys/module/vfio/parameters/enable_unsafe_noiommu_mode"
#define FIRST_GROUP	1000000		/* no real group has such a number */
#define REGION_SHIFT	40
#define REGION_MASK	((1ull << REGION_SHIFT) - 1)
#define CONFIG_SIZE	4096
#define MAX_PIECES	16
/* In "resource" of sysfs */
#define RESOURCE_IO		0x100
#define RESOURCE_PREFETCH	0x2000
#define RESOURCE_MEM_64		0x100000
#define OPEN_TRIES	100		/* of 20 ms, for EAGAIN */

/* What the next one in line, libc as a rule, has by that name. */
#define NEXT(fn) ({						\
	static __typeof__(&fn) next_;				\
	if (!next_)						\
		next_ = (__typeof__(&fn))dlsym(RTLD_NEXT, #fn);	\
	next_;							\
})

/* What libc itself makes of fortified and of older programs' calls. */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int dirfd, const char *path, int flags);
int __openat64_2(int dirfd, const char *path, int flags);
ssize_t __pread_chk(int fd, void *buf, size_t len, off_t off, size_t size);
ssize_t __pread64_chk(int fd, void *buf, size_t len, off64_t off, size_t size);
ssize_t __readlink_chk(const char *path, char *buf, size_t len, size_t size);
ssize_t __readlinkat_chk(int dirfd, const char *path, char *buf, size_t len, size_t size);
char *__realpath_chk(const char *path, char *buf, size_t size);
int __xstat(int ver, const char *path, struct stat *st);
int __lxstat(int ver, const char *path, struct stat *st);
int __fxstatat(int ver, int dirfd, const char *path, struct stat *st, int flags);
int __xstat64(int ver, const char *path, struct stat64 *st);
int __lxstat64(int ver, const char *path, struct stat64 *st);
int __fxstatat64(int ver, int dirfd, const char *path, struct stat64 *st, int flags);
void __chk_fail(void) __attribute__((noreturn));

struct inode {
	dev_t dev;
	ino_t ino;
};

struct container {
	struct container *next;
	struct inode inode;
	bool iommu;		/* VFIO_SET_IOMMU was called */
};

/* Part of a BAR that is UIO map @map. */
struct piece {
	unsigned int bar, map;
	uint64_t start, len;
};

/* A bound device; all of it changes under @lock. */
struct device {
	struct device *next;
	unsigned int uio;		/* the N of /dev/uioN */
	char bdf[32];
	bool told;			/* that an IOMMU translates */

	struct inode group;		/* the file that was opened last */
	int group_fd;
	struct container *container;

	dev_t rdev;			/* of /dev/uioN */
	int fd;
	uint64_t bar_flags[PCI_STD_NUM_BARS], bar_size[PCI_STD_NUM_BARS];
	struct piece piece[MAX_PIECES];
	unsigned int num_pieces;
	unsigned int table_bar;
	uint64_t table_start, table_end;

	unsigned int config_size;
	uint8_t virt[PCI_STD_HEADER_SIZEOF];	/* what is not the hardware's */
	uint8_t write[CONFIG_SIZE];		/* the bits that go to the hardware */

	unsigned int num_vectors;
	bool enabled;			/* MSI-X, as VFIO sees it */
	int *eventfd;			/* of each vector, duplicated; or -1 */
	int notify[2];			/* of the ERR and REQ interrupt */
};

/* Recursive: an allocator of the program may map files. */
static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static struct container *containers;
static struct device *devices;
static DIR *listing;		/* a stream that lists /dev/vfio */
static bool active;		/* a container or group was opened */

__attribute__((format(printf, 2, 3)))
static void say(const struct device *dev, const char *fmt, ...)
{
	int saved = errno, len;
	char line[512];
	va_list ap;

	len = snprintf(line, sizeof(line), "uio_msix_vfio: %s%s", dev ? dev->bdf : "",
		       dev ? ": " : "");
	va_start(ap, fmt);
	len += vsnprintf(line + len, sizeof(line) - len, fmt, ap);
	va_end(ap);
	if (len >= (int)sizeof(line))
		len = sizeof(line) - 1;
	len = write(STDERR_FILENO, line, len);
	errno = saved;
}

#define say_once(dev, ...) do {			\
	static bool said_;			\
	if (!said_)				\
		say(dev, __VA_ARGS__);		\
	said_ = true;				\
} while (0)

/* The program's pointers may be bad: that is EFAULT, no crash. */
static int copy(void *to, const void *from, size_t len, bool in)
{
	struct iovec ours = { in ? to : (void *)from, len };
	struct iovec theirs = { in ? (void *)from : to, len };
	long ret = syscall(in ? SYS_process_vm_readv : SYS_process_vm_writev,
			   getpid(), &ours, 1, &theirs, 1, 0);

	if (ret < 0 && (errno == ENOSYS || errno == EPERM)) {
		memcpy(to, from, len);
		return 0;
	}
	return ret == (long)len ? 0 : -EFAULT;
}

static int copy_in(void *to, const void *from, size_t len)
{
	return copy(to, from, len, true);
}

static int copy_out(void *to, const void *from, size_t len)
{
	return copy(to, from, len, false);
}

static int next_open(const char *path, int flags)
{
	return NEXT(open64)(path, flags);
}

/* The last component of the link at @path. */
static bool link_name(const char *path, char name[64])
{
	char target[PATH_MAX];
	ssize_t len = NEXT(readlink)(path, target, sizeof(target) - 1);
	const char *base;

	if (len <= 0)
		return false;
	target[len] = 0;
	base = strrchr(target, '/');
	snprintf(name, 64, "%.63s", base ? base + 1 : target);
	return true;
}

static bool read_text(const char *path, char *text, size_t size)
{
	int fd = next_open(path, O_RDONLY | O_CLOEXEC);
	ssize_t len = fd < 0 ? -1 : read(fd, text, size - 1);

	if (fd >= 0)
		NEXT(close)(fd);
	if (len < 0)
		return false;
	text[len] = 0;
	text[strcspn(text, "\n")] = 0;
	return true;
}

static uint64_t read_number(const char *path)
{
	char text[64];

	return read_text(path, text, sizeof(text)) ? strtoull(text, NULL, 0) : 0;
}

static bool is_bdf(const char *name)
{
	unsigned int domain, bus, slot, fn;
	int len = 0;

	return sscanf(name, "%8x:%2x:%2x.%1x%n", &domain, &bus, &slot, &fn, &len) == 4 &&
		len >= 12 && !name[len];
}

static bool bound(const char *bdf)
{
	char path[128], driver[64];

	snprintf(path, sizeof(path), PCI_DEVICES "%.31s/driver", bdf);
	return link_name(path, driver) && !strcmp(driver, "uio_msix");
}

static struct device *new_device(const char *bdf, unsigned int uio)
{
	struct device *dev;

	for (dev = devices; dev; dev = dev->next)
		if (dev->uio == uio && !strcmp(dev->bdf, bdf))
			return dev;
	dev = calloc(1, sizeof(*dev));
	if (!dev)
		return NULL;
	snprintf(dev->bdf, sizeof(dev->bdf), "%.31s", bdf);
	dev->uio = uio;
	dev->group_fd = -1;
	dev->fd = -1;
	dev->notify[0] = -1;
	dev->notify[1] = -1;
	dev->next = devices;
	devices = dev;
	return dev;
}

/* What translates the addresses of a device makes the physical ones useless. */
static bool translated(struct device *dev)
{
	char path[128], type[64];

	snprintf(path, sizeof(path), PCI_DEVICES "%s/iommu_group/type", dev->bdf);
	if (!read_text(path, type, sizeof(type)) || !strcmp(type, "identity"))
		return false;
	if (!dev->told)
		say(dev, "left alone: an IOMMU translates its DMA, which only VFIO can set up: use vfio-pci\n");
	dev->told = true;
	return true;
}

/* The device at @bdf, if it is one of ours. */
static struct device *device_at(const char *bdf)
{
	struct device *dev = NULL;
	struct dirent *entry;
	char path[128];
	unsigned int n;
	DIR *dir;

	if (!bound(bdf))
		return NULL;
	snprintf(path, sizeof(path), PCI_DEVICES "%.31s/uio", bdf);
	dir = NEXT(opendir)(path);
	if (!dir)
		return NULL;
	while (!dev && (entry = NEXT(readdir)(dir)))
		if (sscanf(entry->d_name, "uio%u", &n) == 1)
			dev = new_device(bdf, n);
	NEXT(closedir)(dir);
	return dev && !translated(dev) ? dev : NULL;
}

/* The device whose group has that number, if it is one of ours. */
static struct device *device_of_group(const char *number)
{
	char path[128], bdf[64], *end;
	unsigned long n = strtoul(number, &end, 10);
	struct device *dev;

	if (*end || end == number || n < FIRST_GROUP || n - FIRST_GROUP > 1 << 20)
		return NULL;
	snprintf(path, sizeof(path), UIO_CLASS "uio%lu/device", n - FIRST_GROUP);
	if (!link_name(path, bdf) || !is_bdf(bdf))
		return NULL;
	dev = device_at(bdf);
	return dev && dev->uio == n - FIRST_GROUP ? dev : NULL;
}

static bool any_device(void)
{
	struct dirent *entry;
	bool found = false;
	DIR *dir;

	dir = NEXT(opendir)(PCI_DRIVERS "uio_msix");
	while (dir && !found && (entry = NEXT(readdir)(dir)))
		found = is_bdf(entry->d_name) && device_at(entry->d_name);
	if (dir)
		NEXT(closedir)(dir);
	return found;
}

/* Paths */

enum kind { OTHER, DIRECTORY, CONTAINER, GROUP, DEVICE, MODULE, MODE, DRIVER_LINK, GROUP_LINK };

/* Make @path, seen from @dirfd, absolute if its last component may be of interest. */
static const char *absolute(int dirfd, const char *path, char buf[PATH_MAX])
{
	const char *base;
	char link[64];
	ssize_t len;

	if (!path || path[0] == '/')
		return path;
	base = strrchr(path, '/');
	base = base ? base + 1 : path;
	if (strcmp(base, "driver") && strcmp(base, "iommu_group") &&
	    strcmp(base, "vfio") && strncmp(base, "noiommu-", 8))
		return NULL;
	if (dirfd == AT_FDCWD)
		snprintf(link, sizeof(link), "/proc/self/cwd");
	else
		snprintf(link, sizeof(link), "/proc/self/fd/%d", dirfd);
	len = NEXT(readlink)(link, buf, PATH_MAX - 1);
	if (len <= 0 || snprintf(buf + len, PATH_MAX - len, "/%s", path) >= PATH_MAX - len)
		return NULL;
	return buf;
}

/* What @path is to a user of VFIO. */
static enum kind kind_of(int dirfd, const char *path, struct device **dev)
{
	char buf[PATH_MAX], bdf[64];
	const char *base, *dir;
	enum kind kind = OTHER;
	int saved = errno;

	path = absolute(dirfd, path, buf);
	if (!path || (strncmp(path, "/dev/vfio", 9) && strncmp(path, "/sys/", 5)))
		goto out;
	*dev = NULL;
	if (!strcmp(path, "/dev/vfio") || !strcmp(path, "/dev/vfio/"))
		kind = DIRECTORY;
	else if (!strcmp(path, "/dev/vfio/vfio"))
		kind = CONTAINER;
	else if (!strncmp(path, "/dev/vfio/noiommu-", 18))
		kind = GROUP;
	else if (!strcmp(path, "/sys/module/vfio") || !strcmp(path, "/sys/module/vfio_pci"))
		kind = MODULE;
	else if (!strcmp(path, NOIOMMU_MODE))
		kind = MODE;
	base = strrchr(path, '/') + 1;
	if (kind == OTHER && (!strcmp(base, "driver") || !strcmp(base, "iommu_group"))) {
		for (dir = base - 1; dir > path && dir[-1] != '/'; dir--)
			;
		snprintf(bdf, sizeof(bdf), "%.*s", (int)(base - 1 - dir), dir);
		if (is_bdf(bdf))
			kind = *base == 'd' ? DRIVER_LINK : GROUP_LINK;
	}
	if (kind == OTHER)
		goto out;

	pthread_mutex_lock(&lock);
	if (kind == GROUP)
		*dev = device_of_group(path + 18);
	else if (kind == DRIVER_LINK || kind == GROUP_LINK)
		*dev = device_at(bdf);
	else if (!any_device())
		kind = OTHER;
	if ((kind == GROUP || kind == DRIVER_LINK || kind == GROUP_LINK) && !*dev)
		kind = OTHER;
	pthread_mutex_unlock(&lock);
out:
	errno = saved;
	return kind;
}

/* A path that looks to stat() and access() as @path would with VFIO. */
static const char *stand_in(int dirfd, const char *path, char buf[64])
{
	struct device *dev;

	switch (kind_of(dirfd, path, &dev)) {
	case DIRECTORY:
		return "/dev";
	case CONTAINER:
		return "/dev/null";
	case GROUP:
		snprintf(buf, 64, "/dev/uio%u", dev->uio);
		return buf;
	case GROUP_LINK:
		snprintf(buf, 64, UIO_CLASS "uio%u", dev->uio);
		return buf;
	case MODULE:
		return "/sys/module/uio_msix";
	case MODE:
		return "/sys/module/uio_msix/parameters/allow_unsafe_vf";
	default:
		return path;
	}
}

/* The target of a link that VFIO would have there: its length, or 0. */
static size_t fake_link(int dirfd, const char *path, char target[PATH_MAX])
{
	char real[PATH_MAX], name[64];
	struct device *dev;
	enum kind kind = kind_of(dirfd, path, &dev);
	ssize_t len;
	char *bus;

	if (kind != DRIVER_LINK && kind != GROUP_LINK)
		return 0;
	snprintf(name, sizeof(name), PCI_DEVICES "%.31s/driver", dev->bdf);
	len = NEXT(readlink)(name, real, sizeof(real) - 1);
	if (len <= 0)
		return 0;
	real[len] = 0;
	bus = strstr(real, "bus/pci/");
	if (!bus)
		return 0;
	*bus = 0;
	if (kind == DRIVER_LINK)
		return snprintf(target, PATH_MAX, "%.*sbus/pci/drivers/vfio-pci", 1024, real);
	return snprintf(target, PATH_MAX, "%.*skernel/iommu_groups/%u", 1024, real,
			FIRST_GROUP + dev->uio);
}

/* Files */

static bool same_inode(const struct inode *a, const struct stat64 *st)
{
	return a->dev == st->st_dev && a->ino == st->st_ino;
}

/* Whether @fd is a file of ours, and which. */
static enum kind file_of(int fd, struct container **container, struct device **dev)
{
	struct stat64 st;

	if (fstat64(fd, &st))
		return OTHER;
	if (S_ISCHR(st.st_mode)) {
		for (*dev = devices; *dev; *dev = (*dev)->next)
			if ((*dev)->rdev && (*dev)->rdev == st.st_rdev)
				return DEVICE;
		return OTHER;
	}
	for (*container = containers; *container; *container = (*container)->next)
		if (same_inode(&(*container)->inode, &st))
			return CONTAINER;
	for (*dev = devices; *dev; *dev = (*dev)->next)
		if ((*dev)->group.ino && same_inode(&(*dev)->group, &st))
			return GROUP;
	return OTHER;
}

static bool is_device(int fd, const struct device *dev)
{
	struct stat64 st;

	return fd >= 0 && dev->rdev && !fstat64(fd, &st) && S_ISCHR(st.st_mode) &&
		st.st_rdev == dev->rdev;
}

static bool is_group(int fd, const struct device *dev)
{
	struct stat64 st;

	return fd >= 0 && dev->group.ino && !fstat64(fd, &st) && same_inode(&dev->group, &st);
}

/* @fd if it still is that file, else another descriptor that is, else -1. */
static int still_open(int fd, const struct device *dev,
		      bool (*is)(int fd, const struct device *dev))
{
	struct dirent *entry;
	DIR *dir;

	if (fd < 0 || is(fd, dev))
		return fd;
	fd = -1;
	dir = NEXT(opendir)("/proc/self/fd");
	while (dir && fd < 0 && (entry = NEXT(readdir)(dir)))
		if (*entry->d_name != '.' && is(atoi(entry->d_name), dev))
			fd = atoi(entry->d_name);
	if (dir)
		NEXT(closedir)(dir);
	return fd;
}

static void set_fd(int *slot, int fd)
{
	if (*slot >= 0)
		NEXT(close)(*slot);
	*slot = fd;
}

static void forget_vectors(struct device *dev)
{
	unsigned int i;

	for (i = 0; dev->eventfd && i < dev->num_vectors; i++)
		set_fd(&dev->eventfd[i], -1);
	dev->enabled = false;
}

/*
 * Nobody tells when a file is closed. So look, before it matters, which devices and
 * groups are open no longer: as in VFIO, a device keeps its group, and a container
 * without groups has no IOMMU.
 */
static void reap(void)
{
	struct container *c;
	struct device *dev;
	bool used;

	for (dev = devices; dev; dev = dev->next) {
		dev->fd = still_open(dev->fd, dev, is_device);
		if (dev->fd < 0 && dev->rdev) {
			forget_vectors(dev);
			set_fd(&dev->notify[0], -1);
			set_fd(&dev->notify[1], -1);
			dev->rdev = 0;
		}
		if (dev->fd >= 0)
			continue;
		dev->group_fd = still_open(dev->group_fd, dev, is_group);
		if (dev->group_fd < 0) {
			dev->group.ino = 0;
			dev->container = NULL;
		}
	}
	for (c = containers; c; c = c->next) {
		used = false;
		for (dev = devices; dev; dev = dev->next)
			used |= dev->container == c;
		c->iommu &= used;
	}
}

static int open_container(int flags)
{
	struct container *c = calloc(1, sizeof(*c));
	struct stat64 st;
	int fd;

	if (!c)
		return -ENOMEM;
	fd = syscall(SYS_memfd_create, "vfio", flags & O_CLOEXEC ? 1 : 0);
	if (fd < 0 || fstat64(fd, &st)) {
		free(c);
		return -errno;
	}
	c->inode = (struct inode){ st.st_dev, st.st_ino };
	c->next = containers;
	containers = c;
	active = true;
	return fd;
}

static bool capable(unsigned int cap)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = {};

	return !syscall(SYS_capget, &head, data) &&
		data[cap / 32].effective & 1u << (cap % 32);
}

static int read_config(const struct device *dev, void *buf, size_t len, unsigned int pos)
{
	char path[128];
	ssize_t ret;
	int fd;

	snprintf(path, sizeof(path), PCI_DEVICES "%s/config", dev->bdf);
	fd = next_open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = NEXT(pread64)(fd, buf, len, pos);
	if (ret < 0)
		ret = -errno;
	NEXT(close)(fd);
	return ret;
}

static int write_config(const struct device *dev, const void *buf, size_t len, unsigned int pos)
{
	char path[128];
	ssize_t ret;
	int fd;

	snprintf(path, sizeof(path), PCI_DEVICES "%s/config", dev->bdf);
	fd = next_open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	ret = NEXT(pwrite64)(fd, buf, len, pos);
	if (ret < 0)
		ret = -errno;
	NEXT(close)(fd);
	return ret;
}

static uint16_t word(const uint8_t *bytes)
{
	return bytes[0] | bytes[1] << 8;
}

static uint32_t dword(const uint8_t *bytes)
{
	return word(bytes) | (uint32_t)word(bytes + 2) << 16;
}

static uint16_t command(const struct device *dev)
{
	uint8_t bytes[2] = {};

	read_config(dev, bytes, 2, PCI_COMMAND);
	return word(bytes);
}

/* The BARs, and which parts of them are UIO maps. */
static int read_bars(struct device *dev)
{
	unsigned long long start[PCI_STD_NUM_BARS] = {}, end, flags, off;
	char path[128], name[64];
	struct piece *piece;
	unsigned int i, bar;
	FILE *f;

	snprintf(path, sizeof(path), PCI_DEVICES "%s/resource", dev->bdf);
	f = NEXT(fopen64)(path, "re");
	if (!f)
		return -errno;
	for (i = 0; i < PCI_STD_NUM_BARS; i++) {
		if (fscanf(f, "%llx %llx %llx", &start[i], &end, &flags) != 3)
			break;
		dev->bar_size[i] = flags && end ? end - start[i] + 1 : 0;
		dev->bar_flags[i] = flags;
	}
	fclose(f);

	dev->num_pieces = 0;
	for (i = 0; i < MAX_PIECES; i++) {
		snprintf(path, sizeof(path), UIO_CLASS "uio%u/maps/map%u/name", dev->uio, i);
		if (!read_text(path, name, sizeof(name)))
			break;
		off = 0;
		if (sscanf(name, "BAR%u+%llx", &bar, &off) < 1 || bar >= PCI_STD_NUM_BARS)
			continue;
		/* As in VFIO, none that does not begin with its page. */
		snprintf(path, sizeof(path), UIO_CLASS "uio%u/maps/map%u/offset", dev->uio, i);
		if (read_number(path))
			continue;
		snprintf(path, sizeof(path), UIO_CLASS "uio%u/maps/map%u/size", dev->uio, i);
		piece = &dev->piece[dev->num_pieces++];
		*piece = (struct piece){ .bar = bar, .map = i, .start = off };
		piece->len = read_number(path);
	}
	return 0;
}

static void allow(struct device *dev, unsigned int pos, uint32_t mask, unsigned int len)
{
	for (; len; len--, pos++, mask >>= 8)
		dev->write[pos] = mask;
}

static void allow_range(struct device *dev, unsigned int pos, unsigned int len, uint8_t mask)
{
	memset(dev->write + pos, mask, len);
}

/* The length of a capability that VFIO knows, which bounds what is read-only. */
static unsigned int cap_len(const uint8_t *cap)
{
	uint16_t flags = word(cap + 2);

	switch (cap[0]) {
	case PCI_CAP_ID_PM:	return PCI_PM_SIZEOF;
	case PCI_CAP_ID_VPD:	return 8;
	case PCI_CAP_ID_MSI:
		return 10 + (flags & PCI_MSI_FLAGS_64BIT ? 4 : 0) +
			(flags & PCI_MSI_FLAGS_MASKBIT ? 10 : 0);
	case PCI_CAP_ID_MSIX:	return PCI_CAP_MSIX_SIZEOF;
	case PCI_CAP_ID_EXP:	return (flags & PCI_EXP_FLAGS_VERS) > 1 ? 0x3c : 0x14;
	case PCI_CAP_ID_AF:	return PCI_CAP_AF_SIZEOF;
	case PCI_CAP_ID_VNDR:	return flags & 0xff;
	default:		return 4;
	}
}

/*
 * Which bits of the configuration space the program may write, which is what VFIO
 * allows less what the driver in the kernel, or a reset, would mind: the MSI and
 * MSI-X capabilities, FLR, and the extended capabilities but vendors' ones.
 */
static void walk_caps(struct device *dev, const uint8_t *config)
{
	unsigned int pos, len, n;
	const uint8_t *cap;
	uint32_t head;

	memset(dev->write, 0, sizeof(dev->write));
	allow(dev, PCI_COMMAND, (uint16_t)~PCI_COMMAND_INTX_DISABLE, 2);
	allow(dev, PCI_CACHE_LINE_SIZE, 0xffff, 2);
	allow(dev, PCI_BIST, 0xff, 1);
	/* What lies between capabilities may be registers of the device. */
	allow_range(dev, PCI_STD_HEADER_SIZEOF, PCI_CFG_SPACE_SIZE - PCI_STD_HEADER_SIZEOF, 0xff);

	pos = config[PCI_CAPABILITY_LIST] & 0xfc;
	for (n = 0; pos >= PCI_STD_HEADER_SIZEOF && n < 48; n++, pos = cap[1] & 0xfc) {
		cap = config + pos;
		len = cap_len(cap);
		if (pos + len > PCI_CFG_SPACE_SIZE)
			len = PCI_CFG_SPACE_SIZE - pos;
		allow_range(dev, pos, len, 0);
		switch (cap[0]) {
		case PCI_CAP_ID_PM:
			allow(dev, pos + PCI_PM_CTRL, 0xff, 1);
			break;
		case PCI_CAP_ID_VPD:
			allow(dev, pos + PCI_VPD_ADDR, 0xffff, 2);
			allow(dev, pos + PCI_VPD_DATA, 0xffffffff, 4);
			break;
		case PCI_CAP_ID_EXP:
			allow(dev, pos + PCI_EXP_DEVCTL,
			      (uint16_t)~(PCI_EXP_DEVCTL_PHANTOM | PCI_EXP_DEVCTL_PAYLOAD |
					  PCI_EXP_DEVCTL_BCR_FLR), 2);
			if (len > PCI_EXP_DEVCTL2 + 1)
				allow(dev, pos + PCI_EXP_DEVCTL2,
				      (uint16_t)~PCI_EXP_DEVCTL2_ARI, 2);
			break;
		case PCI_CAP_ID_VNDR:
			allow_range(dev, pos, len, 0xff);
			break;
		case PCI_CAP_ID_MSIX:
			head = dword(cap + PCI_MSIX_TABLE);
			dev->table_bar = head & PCI_MSIX_TABLE_BIR;
			dev->table_start = head & PCI_MSIX_TABLE_OFFSET;
			dev->table_end = dev->table_start + PCI_MSIX_ENTRY_SIZE *
				((word(cap + PCI_MSIX_FLAGS) & PCI_MSIX_FLAGS_QSIZE) + 1);
			break;
		}
	}
	pos = dev->config_size > PCI_CFG_SPACE_SIZE ? PCI_CFG_SPACE_SIZE : 0;
	for (n = 0; pos >= PCI_CFG_SPACE_SIZE && n < 256; n++, pos = PCI_EXT_CAP_NEXT(head)) {
		head = dword(config + pos);
		if (PCI_EXT_CAP_ID(head) != PCI_EXT_CAP_ID_VNDR)
			continue;
		len = PCI_VNDR_HEADER_LEN(dword(config + pos + PCI_VNDR_HEADER));
		if (len > 8 && pos + len <= CONFIG_SIZE)
			allow_range(dev, pos + 8, len - 8, 0xff);
	}
}

/* What the program is to see of the header, and cannot change in the device. */
static void init_header(struct device *dev, const uint8_t *config)
{
	static const char * const id[] = { "vendor", "device" };
	char path[128];
	uint16_t value;
	unsigned int i;

	memcpy(dev->virt, config, sizeof(dev->virt));
	/* Those of a VF read as ones. */
	for (i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), PCI_DEVICES "%s/%s", dev->bdf, id[i]);
		value = read_number(path);
		dev->virt[2 * i] = value;
		dev->virt[2 * i + 1] = value >> 8;
	}
	dev->virt[PCI_COMMAND] |= PCI_COMMAND_MEMORY;
	dev->virt[PCI_COMMAND + 1] &= ~(PCI_COMMAND_INTX_DISABLE >> 8);
	dev->virt[PCI_INTERRUPT_PIN] = 0;
	memset(dev->virt + PCI_ROM_ADDRESS, 0, 4);
}

static bool is_vf(const struct device *dev)
{
	char path[128];

	snprintf(path, sizeof(path), PCI_DEVICES "%s/physfn", dev->bdf);
	return !NEXT(access)(path, F_OK);
}

static int get_info(int fd, struct uio_msix_info *info)
{
	return NEXT(ioctl)(fd, UIO_MSIX_GET_INFO, info) ? -errno : 0;
}

static int open_device(struct device *dev)
{
	uint8_t config[CONFIG_SIZE] = {};
	struct uio_msix_info info;
	struct stat64 st;
	char path[64];
	int fd, ret, i;

	/* As VFIO, let those who have the group have the device more than once. */
	if (is_device(dev->fd, dev)) {
		fd = fcntl(dev->fd, F_DUPFD_CLOEXEC, 0);
		return fd < 0 ? -errno : fd;
	}
	snprintf(path, sizeof(path), "/dev/uio%u", dev->uio);
	for (i = 0; i < OPEN_TRIES; i++) {
		fd = next_open(path, O_RDWR | O_CLOEXEC);
		if (fd >= 0 || errno != EAGAIN)
			break;
		usleep(20000);
	}
	if (fd < 0) {
		ret = -errno;
		if (ret == -EBUSY)
			say(dev, "%s is open elsewhere: only one can have it\n", path);
		else
			say(dev, "%s cannot be opened (%s): the kernel log may say why\n", path,
			    strerror(-ret));
		return ret;
	}
	ret = get_info(fd, &info);
	if (ret)
		goto err;
	snprintf(path, sizeof(path), PCI_DEVICES "%.31s/config", dev->bdf);
	if (fstat64(fd, &st) || NEXT(stat64)(path, &st)) {
		ret = -errno;
		goto err;
	}
	dev->config_size = st.st_size > PCI_CFG_SPACE_SIZE ? CONFIG_SIZE : PCI_CFG_SPACE_SIZE;
	forget_vectors(dev);
	free(dev->eventfd);
	dev->num_vectors = info.num_vectors;
	dev->eventfd = malloc(info.num_vectors * sizeof(int));
	ret = dev->eventfd ? read_bars(dev) : -ENOMEM;
	if (ret)
		goto err;
	for (i = 0; i < (int)info.num_vectors; i++)
		dev->eventfd[i] = -1;
	ret = read_config(dev, config, dev->config_size, 0);
	if (ret != (int)dev->config_size) {
		ret = ret < 0 ? ret : -EACCES;
		goto err;
	}
	walk_caps(dev, config);
	/* With VFIO it is the program that turns it on. */
	config[PCI_COMMAND] &= ~PCI_COMMAND_MASTER;
	ret = write_config(dev, config + PCI_COMMAND, 2, PCI_COMMAND);
	if (ret < 0)
		say_once(dev, "config cannot be written (%s): bus mastering is on from the start\n",
			 strerror(-ret));
	init_header(dev, config);
	fstat64(fd, &st);
	dev->rdev = st.st_rdev;
	dev->fd = fd;
	return fd;
err:
	NEXT(close)(fd);
	return ret;
}

static int open_group(struct device *dev, int flags)
{
	struct stat64 st;
	char path[128];
	unsigned int i;
	int fd = -1;

	snprintf(path, sizeof(path), "/dev/uio%u", dev->uio);
	if (NEXT(faccessat)(AT_FDCWD, path, R_OK | W_OK, AT_EACCESS))
		return -errno;
	if (!capable(CAP_SYS_RAWIO)) {
		say(dev, "the group cannot be opened without CAP_SYS_RAWIO\n");
		return -EPERM;
	}
	reap();
	if (dev->fd >= 0 || dev->group_fd >= 0)
		return -EBUSY;
	/* A file that only its owner can open, and with that lock. */
	for (i = 0; i < PCI_STD_NUM_BARS && fd < 0; i++) {
		snprintf(path, sizeof(path), PCI_DEVICES "%s/resource%u", dev->bdf, i);
		fd = next_open(path, O_RDONLY | (flags & O_CLOEXEC));
	}
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) || fstat64(fd, &st)) {
		NEXT(close)(fd);
		say(dev, "the group is open elsewhere: only one can have it\n");
		return -EBUSY;
	}
	dev->group = (struct inode){ st.st_dev, st.st_ino };
	dev->group_fd = fd;
	dev->container = NULL;
	active = true;
	return fd;
}

/* ioctls: they return what VFIO's do, errors as -errno */

static int container_ioctl(struct container *c, unsigned int cmd, unsigned long arg)
{
	struct device *dev;

	switch (cmd) {
	case VFIO_GET_API_VERSION:
		return VFIO_API_VERSION;
	case VFIO_CHECK_EXTENSION:
		return arg == VFIO_NOIOMMU_IOMMU;
	case VFIO_SET_IOMMU:
		for (dev = devices; dev && dev->container != c; dev = dev->next)
			;
		if (!dev || c->iommu)
			return -EINVAL;
		if (arg != VFIO_NOIOMMU_IOMMU)
			return -ENODEV;
		if (!capable(CAP_SYS_RAWIO))
			return -EPERM;
		c->iommu = true;
		return 0;
	case VFIO_IOMMU_MAP_DMA:
		say_once(NULL, "no IOMMU maps memory here: give the device physical addresses, or use vfio-pci with an IOMMU\n");
	}
	return c->iommu ? -ENOTTY : -EINVAL;
}

static int set_container(struct device *dev, const int *arg)
{
	struct container *c = NULL;
	struct device *other;
	int fd;

	if (copy_in(&fd, arg, sizeof(fd)))
		return -EFAULT;
	if (fcntl(fd, F_GETFD) < 0)
		return -EBADF;
	if (dev->container)
		return -EINVAL;
	if (file_of(fd, &c, &other) != CONTAINER) {
		say(dev, "this container is not for uio_msix: a program has either devices on uio_msix or on vfio-pci\n");
		return -EBADFD;
	}
	if (!capable(CAP_SYS_RAWIO))
		return -EPERM;
	dev->container = c;
	return 0;
}

static int get_device_fd(struct device *dev, const char *arg)
{
	char name[PATH_MAX];
	unsigned int i;
	size_t len;

	for (i = 0; i < sizeof(name); i++) {
		if (copy_in(&name[i], arg + i, 1))
			return -EFAULT;
		if (!name[i])
			break;
	}
	if (i == sizeof(name))
		return -EINVAL;
	len = strlen(dev->bdf);
	if (strncmp(name, dev->bdf, len) || (name[len] && name[len] != ' '))
		return -ENODEV;
	/* A token, which only PFs and VFs of VFIO have. */
	if (name[len + strspn(name + len, " ")])
		return -EINVAL;
	if (!dev->container || !dev->container->iommu)
		return -EINVAL;
	if (!capable(CAP_SYS_RAWIO))
		return -EPERM;
	return open_device(dev);
}

static int group_ioctl(struct device *dev, unsigned int cmd, unsigned long arg)
{
	struct vfio_group_status status;

	switch (cmd) {
	case VFIO_GROUP_GET_STATUS:
		if (copy_in(&status, (void *)arg, sizeof(status)))
			return -EFAULT;
		if (status.argsz < sizeof(status))
			return -EINVAL;
		status.flags = VFIO_GROUP_FLAGS_VIABLE |
			(dev->container ? VFIO_GROUP_FLAGS_CONTAINER_SET : 0);
		return copy_out((void *)arg, &status, sizeof(status));
	case VFIO_GROUP_SET_CONTAINER:
		return set_container(dev, (void *)arg);
	case VFIO_GROUP_UNSET_CONTAINER:
		if (!dev->container)
			return -EINVAL;
		if (dev->fd >= 0)
			return -EBUSY;
		dev->container = NULL;
		return 0;
	case VFIO_GROUP_GET_DEVICE_FD:
		return get_device_fd(dev, (void *)arg);
	default:
		return -ENOTTY;
	}
}

static bool mappable(const struct device *dev, unsigned int bar)
{
	unsigned int i;

	for (i = 0; i < dev->num_pieces; i++)
		if (dev->piece[i].bar == bar)
			return true;
	return false;
}

static int get_device_info(void *arg)
{
	size_t minsz = offsetof(struct vfio_device_info, num_irqs) + 4;
	struct vfio_device_info info = {};

	if (copy_in(&info, arg, minsz))
		return -EFAULT;
	if (info.argsz < minsz)
		return -EINVAL;
	info.flags = VFIO_DEVICE_FLAGS_PCI;
	info.num_regions = VFIO_PCI_NUM_REGIONS;
	info.num_irqs = VFIO_PCI_NUM_IRQS;
	return copy_out(arg, &info, info.argsz < sizeof(info) ? info.argsz : sizeof(info));
}

static int get_region_info(struct device *dev, struct vfio_region_info *arg)
{
	struct vfio_info_cap_header cap = { VFIO_REGION_INFO_CAP_MSIX_MAPPABLE, 1, 0 };
	struct vfio_region_info info;

	if (copy_in(&info, arg, sizeof(info)))
		return -EFAULT;
	if (info.argsz < sizeof(info) || info.index >= VFIO_PCI_VGA_REGION_INDEX)
		return -EINVAL;
	info.offset = (uint64_t)info.index << REGION_SHIFT;
	info.size = 0;
	info.flags = 0;
	if (info.index == VFIO_PCI_CONFIG_REGION_INDEX)
		info.size = dev->config_size;
	else if (info.index <= VFIO_PCI_BAR5_REGION_INDEX)
		info.size = dev->bar_size[info.index];
	if (info.size)
		info.flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
	if (info.index <= VFIO_PCI_BAR5_REGION_INDEX && mappable(dev, info.index)) {
		info.flags |= VFIO_REGION_INFO_FLAG_MMAP;
		if (info.index == dev->table_bar) {
			info.flags |= VFIO_REGION_INFO_FLAG_CAPS;
			info.cap_offset = 0;
			if (info.argsz < sizeof(info) + sizeof(cap)) {
				info.argsz = sizeof(info) + sizeof(cap);
			} else {
				if (copy_out(arg + 1, &cap, sizeof(cap)))
					return -EFAULT;
				info.cap_offset = sizeof(info);
			}
		}
	}
	return copy_out(arg, &info, sizeof(info));
}

/* How many interrupts VFIO would have, and we have, of that kind. */
static unsigned int irq_count(const struct device *dev, unsigned int index)
{
	switch (index) {
	case VFIO_PCI_MSIX_IRQ_INDEX:
		return dev->num_vectors;
	case VFIO_PCI_ERR_IRQ_INDEX:
	case VFIO_PCI_REQ_IRQ_INDEX:
		return 1;
	default:
		return 0;
	}
}

static int get_irq_info(struct device *dev, void *arg)
{
	struct vfio_irq_info info;

	if (copy_in(&info, arg, sizeof(info)))
		return -EFAULT;
	if (info.argsz < sizeof(info) || info.index >= VFIO_PCI_NUM_IRQS)
		return -EINVAL;
	info.count = irq_count(dev, info.index);
	info.flags = VFIO_IRQ_INFO_EVENTFD;
	if (info.index == VFIO_PCI_INTX_IRQ_INDEX)
		info.flags |= VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED;
	else if (info.index == VFIO_PCI_MSIX_IRQ_INDEX)
		info.flags |= VFIO_IRQ_INFO_MASKABLE;
	else
		info.flags |= VFIO_IRQ_INFO_NORESIZE;
	return copy_out(arg, &info, sizeof(info));
}

static int attach(struct device *dev, int fd, unsigned int vector, int eventfd)
{
	struct uio_msix_eventfd arg = { .vector = vector, .fd = eventfd < 0 ? -1 : eventfd };

	if (NEXT(ioctl)(fd, UIO_MSIX_SET_EVENTFD, &arg)) {
		int ret = -errno;

		if (ret == -ENOSPC)
			say(dev, "the machine has no interrupt left for vector %u\n", vector);
		return ret;
	}
	set_fd(&dev->eventfd[vector], eventfd < 0 ? -1 : fcntl(eventfd, F_DUPFD_CLOEXEC, 0));
	return 0;
}

/* As VFIO, what fails leaves none of the block attached that it came to. */
static int attach_block(struct device *dev, int fd, unsigned int start, unsigned int count,
			const int32_t *fds)
{
	unsigned int i, j;
	int ret;

	for (i = 0; i < count; i++) {
		ret = attach(dev, fd, start + i, fds[i]);
		if (!ret)
			continue;
		for (j = 0; j <= i; j++)
			attach(dev, fd, start + j, -1);
		return ret;
	}
	return 0;
}

static void disable(struct device *dev, int fd)
{
	unsigned int i;

	for (i = 0; i < dev->num_vectors; i++)
		attach(dev, fd, i, -1);
	dev->enabled = false;
}

static void signal_eventfd(int fd)
{
	uint64_t one = 1;

	if (fd >= 0 && write(fd, &one, sizeof(one)) < 0)
		errno = 0;
}

static int set_msix_trigger(struct device *dev, int fd, const struct vfio_irq_set *set,
			    const void *data)
{
	const uint8_t *bools = data;
	unsigned int i;
	int ret;

	if (set->flags & VFIO_IRQ_SET_DATA_EVENTFD) {
		/* VFIO fails to allocate as many. */
		if (!dev->enabled && !(set->start + set->count))
			return -ERANGE;
		ret = attach_block(dev, fd, set->start, set->count, data);
		if (ret && !dev->enabled)
			disable(dev, fd);
		else
			dev->enabled = true;
		return ret;
	}
	if (!dev->enabled)
		return -EINVAL;
	if (!set->count && set->flags & VFIO_IRQ_SET_DATA_NONE) {
		disable(dev, fd);
		return 0;
	}
	for (i = 0; i < set->count; i++)
		if (set->flags & VFIO_IRQ_SET_DATA_NONE || bools[i])
			signal_eventfd(dev->eventfd[set->start + i]);
	return 0;
}

/* VFIO refuses this, which a driver that polls wants. */
static int set_msix_mask(int fd, const struct vfio_irq_set *set, const void *data, bool masked)
{
	const uint8_t *bools = data;
	unsigned int i;

	if (set->flags & VFIO_IRQ_SET_DATA_EVENTFD)
		return -ENOTTY;
	for (i = 0; i < set->count; i++) {
		struct uio_msix_mask arg = { .vector = set->start + i, .masked = masked };

		if (set->flags & VFIO_IRQ_SET_DATA_BOOL && !bools[i])
			continue;
		if (NEXT(ioctl)(fd, UIO_MSIX_SET_MASK, &arg))
			return -errno;
	}
	return 0;
}

/* Errors and requests to go are not told by uio_msix: accepted, never signalled. */
static int set_notify(int *slot, const struct vfio_irq_set *set, const void *data)
{
	char path[64], target[64] = "";
	int32_t fd;

	if (set->flags & VFIO_IRQ_SET_DATA_NONE) {
		if (*slot < 0)
			return -EINVAL;
		if (set->count)
			signal_eventfd(*slot);
		else
			set_fd(slot, -1);
		return 0;
	}
	if (!set->count)
		return -EINVAL;
	if (set->flags & VFIO_IRQ_SET_DATA_BOOL) {
		if (*(const uint8_t *)data)
			signal_eventfd(*slot);
		return 0;
	}
	memcpy(&fd, data, sizeof(fd));
	if (fd < -1)
		return -EINVAL;
	if (fd >= 0) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		if (fcntl(fd, F_GETFD) < 0)
			return -EBADF;
		if (NEXT(readlink)(path, target, sizeof(target) - 1) > 0 &&
		    !strstr(target, "[eventfd]"))
			return -EINVAL;
		fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	}
	set_fd(slot, fd);
	return 0;
}

static int set_irqs(struct device *dev, int fd, struct vfio_irq_set *arg)
{
	unsigned int num, size = 0;
	struct vfio_irq_set set;
	void *data = NULL;
	int ret = 0;

	if (copy_in(&set, arg, sizeof(set)))
		return -EFAULT;
	num = irq_count(dev, set.index);
	if (set.argsz < sizeof(set) || set.index >= VFIO_PCI_NUM_IRQS ||
	    set.count >= UINT32_MAX - set.start ||
	    set.flags & ~(VFIO_IRQ_SET_DATA_TYPE_MASK | VFIO_IRQ_SET_ACTION_TYPE_MASK))
		return -EINVAL;
	if (set.index <= VFIO_PCI_MSI_IRQ_INDEX) {
		say_once(dev, "there are no %s interrupts here, only MSI-X: without those, use vfio-pci or uio_pci_generic\n",
			 set.index == VFIO_PCI_MSI_IRQ_INDEX ? "MSI" : "INTx");
		return -EINVAL;
	}
	if (set.start >= num || set.start + set.count > num)
		return -EINVAL;
	switch (set.flags & VFIO_IRQ_SET_DATA_TYPE_MASK) {
	case VFIO_IRQ_SET_DATA_NONE:
		break;
	case VFIO_IRQ_SET_DATA_BOOL:
		size = sizeof(uint8_t);
		break;
	case VFIO_IRQ_SET_DATA_EVENTFD:
		size = sizeof(int32_t);
		break;
	default:
		return -EINVAL;
	}
	if (set.argsz - sizeof(set) < (uint64_t)set.count * size)
		return -EINVAL;
	size *= set.count;
	if (size) {
		data = malloc(size);
		if (!data)
			return -ENOMEM;
		ret = copy_in(data, arg->data, size);
	}
	if (ret)
		goto out;

	ret = -ENOTTY;
	switch (set.flags & VFIO_IRQ_SET_ACTION_TYPE_MASK) {
	case VFIO_IRQ_SET_ACTION_TRIGGER:
		if (set.index == VFIO_PCI_MSIX_IRQ_INDEX)
			ret = set_msix_trigger(dev, fd, &set, data);
		else
			ret = set_notify(&dev->notify[set.index == VFIO_PCI_REQ_IRQ_INDEX],
					 &set, data);
		break;
	case VFIO_IRQ_SET_ACTION_MASK:
	case VFIO_IRQ_SET_ACTION_UNMASK:
		if (set.index == VFIO_PCI_MSIX_IRQ_INDEX)
			ret = set_msix_mask(fd, &set, data,
					    set.flags & VFIO_IRQ_SET_ACTION_MASK);
		break;
	}
out:
	free(data);
	return ret;
}

/* What begins with the size of the argument, of which at least @minsz is read. */
static int check_argsz(const void *arg, size_t minsz)
{
	char buf[64];
	uint32_t argsz;

	if (copy_in(buf, arg, minsz))
		return -EFAULT;
	memcpy(&argsz, buf, sizeof(argsz));
	return argsz < minsz ? -EINVAL : 0;
}

static int device_ioctl(struct device *dev, int fd, unsigned int cmd, unsigned long arg)
{
	struct uio_msix_info info;
	int ret;

	/* ENODEV once the session has ended. */
	ret = get_info(fd, &info);
	if (ret)
		return ret;
	switch (cmd) {
	case VFIO_DEVICE_GET_INFO:
		return get_device_info((void *)arg);
	case VFIO_DEVICE_GET_REGION_INFO:
		return get_region_info(dev, (void *)arg);
	case VFIO_DEVICE_GET_IRQ_INFO:
		return get_irq_info(dev, (void *)arg);
	case VFIO_DEVICE_SET_IRQS:
		return set_irqs(dev, fd, (void *)arg);
	case VFIO_DEVICE_RESET:
		/* Done by open; by hand it would end the session. */
		return -EINVAL;
	case VFIO_DEVICE_GET_PCI_HOT_RESET_INFO:
	case VFIO_DEVICE_PCI_HOT_RESET:
		ret = check_argsz((void *)arg, 12);
		return ret ?: -ENODEV;
	case VFIO_DEVICE_FEATURE:
		ret = check_argsz((void *)arg, 8);
		return ret ?: -ENOTTY;
	case VFIO_DEVICE_IOEVENTFD:
		say_once(dev, "no ioeventfd here: use vfio-pci\n");
	}
	return -ENOTTY;
}

/* Memory */

/* Map [@start, @start + @len) of @piece to @to. */
static bool map_piece(int fd, const struct piece *piece, void *to, uint64_t start, size_t len,
		      int prot)
{
	uint64_t front = start - piece->start;
	off64_t off = (off64_t)piece->map * getpagesize();
	char *tmp;

	if (!front)
		return NEXT(mmap64)(to, len, prot, MAP_SHARED | MAP_FIXED, fd, off) != MAP_FAILED;
	/* UIO maps from the beginning only. */
	tmp = NEXT(mmap64)(NULL, front + len, prot, MAP_SHARED, fd, off);
	if (tmp == MAP_FAILED)
		return false;
	munmap(tmp, front);
	if (mremap(tmp + front, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, to) != MAP_FAILED)
		return true;
	munmap(tmp + front, len);
	return false;
}

/*
 * Map what there is of [@start, @start + @len) of a BAR. The table's pages, for one, are
 * in no UIO map: there the program gets memory that it cannot access.
 */
static void *map_bar(struct device *dev, int fd, void *addr, unsigned int bar, uint64_t start,
		     size_t len, int prot, int flags)
{
	uint64_t page = getpagesize(), from, to, end;
	const struct piece *piece;
	unsigned int i;
	char *base;

	base = NEXT(mmap64)(addr, len, PROT_NONE,
			    (flags & ~MAP_TYPE) | MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			    -1, 0);
	if (base == MAP_FAILED)
		return base;
	for (i = 0; i < dev->num_pieces; i++) {
		piece = &dev->piece[i];
		end = (piece->start + piece->len + page - 1) & -page;
		from = piece->start > start ? piece->start : start;
		to = end < start + len ? end : start + len;
		if (piece->bar != bar || from >= to)
			continue;
		if (!map_piece(fd, piece, base + (from - start), from, to - from, prot)) {
			int saved = errno;

			munmap(base, len);
			errno = saved;
			return MAP_FAILED;
		}
	}
	return base;
}

static void *map_region(struct device *dev, int fd, void *addr, size_t len, int prot, int flags,
			off64_t off)
{
	uint64_t page = getpagesize(), start = off & REGION_MASK, pages;
	uint64_t index = (uint64_t)off >> REGION_SHIFT;
	struct uio_msix_info info;
	int ret;

	ret = get_info(fd, &info);
	if (ret) {
		errno = -ret;
		return MAP_FAILED;
	}
	pages = (len + page - 1) & -page;
	if (!len || start % page || index > VFIO_PCI_BAR5_REGION_INDEX ||
	    (flags & MAP_TYPE) == MAP_PRIVATE || !mappable(dev, index) ||
	    start + pages > ((dev->bar_size[index] + page - 1) & -page)) {
		errno = EINVAL;
		return MAP_FAILED;
	}
	return map_bar(dev, fd, addr, index, start, pages, prot, flags);
}

/* One access of the width that its address and length have. */
static size_t access_memory(volatile void *mem, uint8_t *buf, uint64_t pos, uint64_t len,
			    bool write)
{
	if (len >= 8 && !(pos % 8)) {
		uint64_t v;

		memcpy(&v, buf, 8);
		if (write)
			*(volatile uint64_t *)mem = v;
		else
			v = *(volatile uint64_t *)mem;
		memcpy(buf, &v, 8);
		return 8;
	}
	if (len >= 4 && !(pos % 4)) {
		uint32_t v;

		memcpy(&v, buf, 4);
		if (write)
			*(volatile uint32_t *)mem = v;
		else
			v = *(volatile uint32_t *)mem;
		memcpy(buf, &v, 4);
		return 4;
	}
	if (len >= 2 && !(pos % 2)) {
		uint16_t v;

		memcpy(&v, buf, 2);
		if (write)
			*(volatile uint16_t *)mem = v;
		else
			v = *(volatile uint16_t *)mem;
		memcpy(buf, &v, 2);
		return 2;
	}
	if (write)
		*(volatile uint8_t *)mem = *buf;
	else
		*buf = *(volatile uint8_t *)mem;
	return 1;
}

static uint64_t min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static ssize_t memory_rw(struct device *dev, int fd, unsigned int bar, uint8_t *buf, size_t len,
			 uint64_t pos, bool write)
{
	uint64_t page = getpagesize(), done = 0, end, first, pages, n;
	const struct piece *piece;
	unsigned int i;
	char *map;

	if (!is_vf(dev) && !(command(dev) & PCI_COMMAND_MEMORY))
		return -EIO;
	while (done < len) {
		/* Of the table one reads ones, and what one writes is lost. */
		if (bar == dev->table_bar && pos >= dev->table_start && pos < dev->table_end) {
			n = min(len - done, dev->table_end - pos);
			if (!write)
				memset(buf + done, 0xff, n);
			done += n;
			pos += n;
			continue;
		}
		end = pos + len - done;
		if (bar == dev->table_bar && pos < dev->table_start)
			end = min(end, dev->table_start);
		for (i = 0; i < dev->num_pieces; i++) {
			piece = &dev->piece[i];
			if (piece->bar == bar && pos >= piece->start &&
			    pos < piece->start + piece->len)
				break;
		}
		if (i == dev->num_pieces) {
			say_once(dev, "BAR%u+%#llx is closed: it is in a page with the MSI-X table, or shared: use vfio-pci\n",
				 bar, (unsigned long long)pos);
			return -EIO;
		}
		end = min(end, piece->start + piece->len);
		first = pos & -page;
		pages = ((end + page - 1) & -page) - first;
		map = map_bar(dev, fd, NULL, bar, first, pages, PROT_READ | PROT_WRITE, MAP_SHARED);
		if (map == MAP_FAILED)
			return -EIO;
		for (; pos < end; pos += n, done += n)
			n = access_memory(map + (pos - first), buf + done, pos, end - pos, write);
		munmap(map, pages);
	}
	return done;
}

static ssize_t port_rw(struct device *dev, unsigned int bar, uint8_t *buf, size_t len, uint64_t pos,
		       bool write)
{
	ssize_t done = 0, ret = 0;
	char path[128];
	size_t n;
	int fd;

	snprintf(path, sizeof(path), PCI_DEVICES "%s/resource%u", dev->bdf, bar);
	fd = next_open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	while ((size_t)done < len) {
		for (n = 4; n > len - done || pos % n; n /= 2)
			;
		if (write)
			ret = NEXT(pwrite64)(fd, buf + done, n, pos);
		else
			ret = NEXT(pread64)(fd, buf + done, n, pos);
		if (ret <= 0)
			break;
		done += n;
		pos += n;
	}
	if (ret < 0)
		done = -errno;
	NEXT(close)(fd);
	return done;
}

/* The bits of byte @pos that the program sees from @virt. */
static uint8_t virtual_bits(const struct device *dev, unsigned int pos, bool vf)
{
	if (pos <= PCI_DEVICE_ID + 1 || pos == PCI_INTERRUPT_LINE || pos == PCI_INTERRUPT_PIN ||
	    (pos >= PCI_BASE_ADDRESS_0 && pos < PCI_BASE_ADDRESS_5 + 4) ||
	    (pos >= PCI_ROM_ADDRESS && pos < PCI_ROM_ADDRESS + 4))
		return 0xff;
	if (pos == PCI_COMMAND)
		return vf ? PCI_COMMAND_MEMORY : 0;
	return pos == PCI_COMMAND + 1 ? PCI_COMMAND_INTX_DISABLE >> 8 : 0;
}

/* The size of a BAR is what one reads after one wrote ones: no BAR moves for that. */
static void fix_bars(struct device *dev)
{
	uint32_t bar, low;
	uint64_t mask;
	unsigned int i;

	for (i = 0; i < PCI_STD_NUM_BARS; i++) {
		uint8_t *p = dev->virt + PCI_BASE_ADDRESS_0 + 4 * i;

		if (!dev->bar_size[i]) {
			memset(p, 0, 4);
			continue;
		}
		mask = -dev->bar_size[i];
		low = dev->bar_flags[i] & RESOURCE_IO ? PCI_BASE_ADDRESS_SPACE_IO :
			(dev->bar_flags[i] & RESOURCE_PREFETCH ? PCI_BASE_ADDRESS_MEM_PREFETCH : 0) |
			(dev->bar_flags[i] & RESOURCE_MEM_64 ? PCI_BASE_ADDRESS_MEM_TYPE_64 : 0);
		memcpy(&bar, p, 4);
		bar = (bar & (uint32_t)mask) | low;
		memcpy(p, &bar, 4);
		if (low & PCI_BASE_ADDRESS_SPACE_IO || !(low & PCI_BASE_ADDRESS_MEM_TYPE_64))
			continue;
		p += 4;
		i++;
		memcpy(&bar, p, 4);
		bar &= (uint32_t)(mask >> 32);
		memcpy(p, &bar, 4);
	}
}

static ssize_t config_read(struct device *dev, uint8_t *buf, size_t len, unsigned int pos)
{
	int ret = read_config(dev, buf, len, pos);
	bool vf = is_vf(dev);
	unsigned int i;
	uint8_t bits;

	if (ret != (int)len)
		return ret < 0 ? ret : -EIO;
	fix_bars(dev);
	for (i = 0; i < len && pos + i < PCI_STD_HEADER_SIZEOF; i++) {
		bits = virtual_bits(dev, pos + i, vf);
		buf[i] = (buf[i] & ~bits) | (dev->virt[pos + i] & bits);
	}
	return len;
}

static ssize_t config_write(struct device *dev, const uint8_t *buf, size_t len, unsigned int pos)
{
	uint8_t old[CONFIG_SIZE], bits;
	unsigned int i, j;
	int ret;

	for (i = 0; i < len && pos + i < PCI_STD_HEADER_SIZEOF; i++) {
		bits = virtual_bits(dev, pos + i, true);
		if (pos + i <= PCI_DEVICE_ID + 1 || pos + i == PCI_INTERRUPT_PIN ||
		    (pos + i >= PCI_ROM_ADDRESS && pos + i < PCI_ROM_ADDRESS + 4))
			continue;
		dev->virt[pos + i] = (dev->virt[pos + i] & ~bits) | (buf[i] & bits);
	}
	/* Runs of bytes with a bit that goes to the hardware. */
	for (i = 0; i < len; i = j) {
		for (j = i; j < len && dev->write[pos + j]; j++)
			;
		if (i == j) {
			j++;
			continue;
		}
		ret = read_config(dev, old, j - i, pos + i);
		if (ret < 0)
			return ret;
		for (unsigned int k = i; k < j; k++) {
			bits = dev->write[pos + k];
			old[k - i] = (old[k - i] & ~bits) | (buf[k] & bits);
		}
		ret = write_config(dev, old, j - i, pos + i);
		if (ret < 0) {
			say_once(dev, "config cannot be written: %s\n", strerror(-ret));
			return ret;
		}
	}
	return len;
}

static ssize_t region_rw(struct device *dev, int fd, void *user, size_t len, off64_t off,
			 bool write)
{
	uint64_t pos = off & REGION_MASK, index = (uint64_t)off >> REGION_SHIFT;
	struct uio_msix_info info;
	ssize_t ret;
	uint8_t *buf;

	if (!len)
		return 0;
	if (off < 0)
		return -EINVAL;
	if (get_info(fd, &info))
		return -EIO;
	if (index == VFIO_PCI_CONFIG_REGION_INDEX) {
		if (pos >= dev->config_size || pos + len > dev->config_size)
			return -EFAULT;
	} else if (index > VFIO_PCI_BAR5_REGION_INDEX || pos >= dev->bar_size[index]) {
		return -EINVAL;
	} else {
		len = min(len, dev->bar_size[index] - pos);
	}
	buf = malloc(len);
	if (!buf)
		return -ENOMEM;
	ret = write ? copy_in(buf, user, len) : 0;
	if (ret)
		goto out;
	if (index == VFIO_PCI_CONFIG_REGION_INDEX)
		ret = write ? config_write(dev, buf, len, pos) : config_read(dev, buf, len, pos);
	else if (dev->bar_flags[index] & RESOURCE_IO)
		ret = port_rw(dev, index, buf, len, pos, write);
	else
		ret = memory_rw(dev, fd, index, buf, len, pos, write);
	if (ret > 0 && !write && copy_out(user, buf, ret))
		ret = -EFAULT;
out:
	free(buf);
	return ret;
}

/* The calls that are ours to answer */

static long result(long ret)
{
	if (ret >= 0)
		return ret;
	errno = -ret;
	return -1;
}

/* Open what is ours; -2 for what is not. */
static int ours_open(int dirfd, const char *path, int flags)
{
	struct device *dev;
	int ret = -2;
	enum kind kind = kind_of(dirfd, path, &dev);

	if (kind != CONTAINER && kind != GROUP && kind != MODE)
		return -2;
	pthread_mutex_lock(&lock);
	if (kind == CONTAINER) {
		ret = open_container(flags);
	} else if (kind == GROUP) {
		ret = open_group(dev, flags);
	} else {
		ret = syscall(SYS_memfd_create, "noiommu", flags & O_CLOEXEC ? 1 : 0);
		if (ret >= 0 && NEXT(pwrite64)(ret, "Y\n", 2, 0) != 2)
			ret = -EIO;
	}
	pthread_mutex_unlock(&lock);
	return result(ret);
}

#define OPEN(name, dirfd, params, next)					\
EXPORT int name params							\
{									\
	mode_t mode = 0;						\
	va_list ap;							\
	int fd;								\
									\
	if (flags & O_CREAT || (flags & O_TMPFILE) == O_TMPFILE) {	\
		va_start(ap, flags);					\
		mode = va_arg(ap, mode_t);				\
		va_end(ap);						\
	}								\
	fd = ours_open(dirfd, path, flags);				\
	return fd != -2 ? fd : NEXT(name)next;				\
}

OPEN(open, AT_FDCWD, (const char *path, int flags, ...), (path, flags, mode))
OPEN(open64, AT_FDCWD, (const char *path, int flags, ...), (path, flags, mode))
OPEN(openat, dirfd, (int dirfd, const char *path, int flags, ...), (dirfd, path, flags, mode))
OPEN(openat64, dirfd, (int dirfd, const char *path, int flags, ...), (dirfd, path, flags, mode))

EXPORT int __open_2(const char *path, int flags)
{
	return open(path, flags);
}

EXPORT int __open64_2(const char *path, int flags)
{
	return open64(path, flags);
}

EXPORT int __openat_2(int dirfd, const char *path, int flags)
{
	return openat(dirfd, path, flags);
}

EXPORT int __openat64_2(int dirfd, const char *path, int flags)
{
	return openat64(dirfd, path, flags);
}

#define FOPEN(name)							\
EXPORT FILE *name(const char *path, const char *mode)			\
{									\
	struct device *dev;						\
	int fd;								\
									\
	if (kind_of(AT_FDCWD, path, &dev) != MODE || *mode != 'r')	\
		return NEXT(name)(path, mode);				\
	fd = ours_open(AT_FDCWD, path, O_CLOEXEC);			\
	return fd < 0 ? NULL : fdopen(fd, "r");				\
}

FOPEN(fopen)
FOPEN(fopen64)

#define STAT(name, dirfd, params, next)					\
EXPORT int name params							\
{									\
	char buf[64];							\
									\
	path = stand_in(dirfd, path, buf);				\
	return NEXT(name)next;						\
}

STAT(stat, AT_FDCWD, (const char *restrict path, struct stat *restrict st), (path, st))
STAT(lstat, AT_FDCWD, (const char *restrict path, struct stat *restrict st), (path, st))
STAT(fstatat, dirfd, (int dirfd, const char *restrict path, struct stat *restrict st,
	int flags), (dirfd, path, st, flags))
STAT(stat64, AT_FDCWD, (const char *restrict path, struct stat64 *restrict st), (path, st))
STAT(lstat64, AT_FDCWD, (const char *restrict path, struct stat64 *restrict st), (path, st))
STAT(fstatat64, dirfd, (int dirfd, const char *restrict path, struct stat64 *restrict st,
	int flags), (dirfd, path, st, flags))
STAT(statx, dirfd, (int dirfd, const char *restrict path, int flags, unsigned int mask,
	struct statx *restrict st), (dirfd, path, flags, mask, st))
STAT(access, AT_FDCWD, (const char *path, int mode), (path, mode))
STAT(euidaccess, AT_FDCWD, (const char *path, int mode), (path, mode))
STAT(eaccess, AT_FDCWD, (const char *path, int mode), (path, mode))
STAT(faccessat, dirfd, (int dirfd, const char *path, int mode, int flags),
	(dirfd, path, mode, flags))

EXPORT int __xstat(int ver, const char *path, struct stat *st)
{
	return stat(path, st);
}

EXPORT int __lxstat(int ver, const char *path, struct stat *st)
{
	return lstat(path, st);
}

EXPORT int __fxstatat(int ver, int dirfd, const char *path, struct stat *st, int flags)
{
	return fstatat(dirfd, path, st, flags);
}

EXPORT int __xstat64(int ver, const char *path, struct stat64 *st)
{
	return stat64(path, st);
}

EXPORT int __lxstat64(int ver, const char *path, struct stat64 *st)
{
	return lstat64(path, st);
}

EXPORT int __fxstatat64(int ver, int dirfd, const char *path, struct stat64 *st, int flags)
{
	return fstatat64(dirfd, path, st, flags);
}

EXPORT ssize_t readlinkat(int dirfd, const char *restrict path, char *restrict buf, size_t len)
{
	char target[PATH_MAX];
	size_t n = fake_link(dirfd, path, target);

	if (!n)
		return NEXT(readlinkat)(dirfd, path, buf, len);
	n = min(n, len);
	return copy_out(buf, target, n) ? result(-EFAULT) : (ssize_t)n;
}

EXPORT ssize_t readlink(const char *restrict path, char *restrict buf, size_t len)
{
	char target[PATH_MAX];

	if (!fake_link(AT_FDCWD, path, target))
		return NEXT(readlink)(path, buf, len);
	return readlinkat(AT_FDCWD, path, buf, len);
}

EXPORT ssize_t __readlink_chk(const char *path, char *buf, size_t len, size_t size)
{
	if (len > size)
		__chk_fail();
	return readlink(path, buf, len);
}

EXPORT ssize_t __readlinkat_chk(int dirfd, const char *path, char *buf, size_t len, size_t size)
{
	if (len > size)
		__chk_fail();
	return readlinkat(dirfd, path, buf, len);
}

EXPORT char *realpath(const char *restrict path, char *restrict buf)
{
	char target[PATH_MAX], *name;

	if (!fake_link(AT_FDCWD, path, target))
		return NEXT(realpath)(path, buf);
	name = strstr(target, "bus/pci/");
	if (!name)
		name = strstr(target, "kernel/");
	if (!buf)
		buf = malloc(PATH_MAX);
	if (buf)
		snprintf(buf, PATH_MAX, "/sys/%.*s", PATH_MAX - 8, name);
	return buf;
}

EXPORT char *__realpath_chk(const char *path, char *buf, size_t size)
{
	if (size < PATH_MAX)
		__chk_fail();
	return realpath(path, buf);
}

EXPORT char *canonicalize_file_name(const char *path)
{
	return realpath(path, NULL);
}

/* /dev/vfio: the container first, then what /sys/class/uio has of ours. */
EXPORT DIR *opendir(const char *path)
{
	struct device *dev;
	DIR *dir;

	if (kind_of(AT_FDCWD, path, &dev) != DIRECTORY)
		return NEXT(opendir)(path);
	dir = NEXT(opendir)(UIO_CLASS);
	if (dir)
		listing = dir;
	return dir;
}

static bool list_name(char *name, size_t size)
{
	struct device *dev;
	char number[32];
	unsigned int n;

	if (!strcmp(name, ".")) {
		snprintf(name, size, "vfio");
		return true;
	}
	if (sscanf(name, "uio%u", &n) != 1)
		return false;
	snprintf(number, sizeof(number), "%u", FIRST_GROUP + n);
	pthread_mutex_lock(&lock);
	dev = device_of_group(number);
	pthread_mutex_unlock(&lock);
	if (dev)
		snprintf(name, size, "noiommu-%s", number);
	return dev;
}

#define READDIR(name, type)						\
EXPORT type *name(DIR *dir)						\
{									\
	static type entry;						\
	type *found = NEXT(name)(dir);					\
									\
	if (dir != listing)					\
		return found;						\
	for (; found; found = NEXT(name)(dir)) {			\
		entry = *found;						\
		entry.d_type = DT_CHR;					\
		if (list_name(entry.d_name, sizeof(entry.d_name)))	\
			return &entry;					\
	}								\
	return NULL;							\
}

READDIR(readdir, struct dirent)
READDIR(readdir64, struct dirent64)

EXPORT int closedir(DIR *dir)
{
	if (dir == listing)
		listing = NULL;
	return NEXT(closedir)(dir);
}

EXPORT int ioctl(int fd, unsigned long cmd, ...)
{
	struct container *c = NULL;
	struct device *dev = NULL;
	unsigned long arg;
	va_list ap;
	int ret, their;

	va_start(ap, cmd);
	arg = va_arg(ap, unsigned long);
	va_end(ap);
	if (!active || _IOC_TYPE(cmd) != VFIO_TYPE)
		return NEXT(ioctl)(fd, cmd, arg);

	pthread_mutex_lock(&lock);
	reap();
	switch (file_of(fd, &c, &dev)) {
	case CONTAINER:
		ret = container_ioctl(c, cmd, arg);
		break;
	case GROUP:
		ret = group_ioctl(dev, cmd, arg);
		break;
	case DEVICE:
		ret = device_ioctl(dev, fd, cmd, arg);
		break;
	default:
		/* A device of the kernel's VFIO cannot be with ours in a container. */
		if (cmd == VFIO_GROUP_SET_CONTAINER && !copy_in(&their, (void *)arg, sizeof(their)) &&
		    file_of(their, &c, &dev) == CONTAINER)
			say_once(NULL, "this group is not of uio_msix: a program has either devices on uio_msix or on vfio-pci\n");
		pthread_mutex_unlock(&lock);
		return NEXT(ioctl)(fd, cmd, arg);
	}
	pthread_mutex_unlock(&lock);
	return result(ret);
}

/* The device behind @fd, with the lock held; NULL, without, if it is none of ours. */
static struct device *lock_device(int fd)
{
	struct device *dev = NULL;
	struct container *c;
	struct stat64 st;
	int saved = errno;

	if (active && fd >= 0 && !fstat64(fd, &st) && S_ISCHR(st.st_mode)) {
		pthread_mutex_lock(&lock);
		if (file_of(fd, &c, &dev) != DEVICE)
			pthread_mutex_unlock(&lock);
	}
	errno = saved;
	return dev;
}

#define MMAP(name, type)								\
EXPORT void *name(void *addr, size_t len, int prot, int flags, int fd, type off)	\
{											\
	struct device *dev = flags & MAP_ANONYMOUS ? NULL : lock_device(fd);		\
	void *ret;									\
											\
	if (!dev)									\
		return NEXT(name)(addr, len, prot, flags, fd, off);			\
	ret = map_region(dev, fd, addr, len, prot, flags, off);				\
	pthread_mutex_unlock(&lock);							\
	return ret;									\
}

MMAP(mmap, off_t)
MMAP(mmap64, off64_t)

#define RW(name, qualifier, type, write)						\
EXPORT ssize_t name(int fd, qualifier void *buf, size_t len, type off)			\
{											\
	struct device *dev = lock_device(fd);						\
	ssize_t ret;									\
											\
	if (!dev)									\
		return NEXT(name)(fd, buf, len, off);					\
	ret = region_rw(dev, fd, (void *)buf, len, off, write);				\
	pthread_mutex_unlock(&lock);							\
	return result(ret);								\
}

RW(pread, , off_t, false)
RW(pread64, , off64_t, false)
RW(pwrite, const, off_t, true)
RW(pwrite64, const, off64_t, true)

EXPORT ssize_t __pread_chk(int fd, void *buf, size_t len, off_t off, size_t size)
{
	if (len > size)
		__chk_fail();
	return pread(fd, buf, len, off);
}

EXPORT ssize_t __pread64_chk(int fd, void *buf, size_t len, off64_t off, size_t size)
{
	if (len > size)
		__chk_fail();
	return pread64(fd, buf, len, off);
}
