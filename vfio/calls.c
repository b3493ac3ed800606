// SPDX-License-Identifier: MIT
/*
 * Each call that uio_msix_vfio serves, and what it gives: a line "name: result".
 * Run once on the kernel's VFIO and once on the library, the lines are compared.
 *
 *	calls BDF, the address of an 82576 (igb)
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define REGION(index, off)	(((uint64_t)(index) << 40) + (off))
#define CONFIG(off)		REGION(VFIO_PCI_CONFIG_REGION_INDEX, off)
#define PAGE			4096

/* Registers of igb */
#define STATUS	0x00008
#define EICS	0x01520
#define EIMS	0x01524
#define GPIE	0x01514
#define GPIE_MSIX	0xc0000011
#define IVAR0	0x01700
#define MSIX_BAR	3

/* Say what a call returned. */
#define GAVE(name, ...) do {					\
	long ret_;						\
								\
	errno = 0;						\
	ret_ = (long)(__VA_ARGS__);				\
	if (ret_ == -1)						\
		printf("%s: %s\n", name, strerrorname_np(errno));	\
	else							\
		printf("%s: %ld\n", name, ret_);			\
} while (0)

static char group_path[64];
static void *volatile bad_pointer = (void *)8;	/* points nowhere, which gcc is not to know */
static int container, group, device;

static int opened(int fd)
{
	if (fd < 0)
		return -1;
	close(fd);
	return 0;
}

static const char *base(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static uint32_t config(unsigned int off, unsigned int len)
{
	uint32_t v = 0;

	return pread(device, &v, len, CONFIG(off)) == len ? v : 0xdead;
}

static void paths(const char *bdf)
{
	static const char mode[] = "/sys/module/vfio/parameters/enable_unsafe_noiommu_mode";
	char path[PATH_MAX], target[PATH_MAX] = "", text[8] = "";
	struct dirent *entry;
	unsigned int seen = 0;
	struct stat st;
	ssize_t len;
	DIR *dir;
	FILE *f;
	int fd;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver", bdf);
	len = readlink(path, target, sizeof(target) - 1);
	printf("readlink driver: %s\n", len > 0 ? base(target) : "");
	printf("realpath driver: %s\n", realpath(path, target) ? target : "");
	GAVE("readlink driver, short", readlink(path, target, 4));
	GAVE("readlink driver, bad pointer", readlink(path, bad_pointer, 100));

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group", bdf);
	memset(target, 0, sizeof(target));
	GAVE("readlink iommu_group", readlink(path, target, sizeof(target) - 1) > 0);
	snprintf(group_path, sizeof(group_path), "/dev/vfio/noiommu-%s", base(target));
	GAVE("stat iommu_group", stat(path, &st));
	printf("realpath iommu_group: %d\n",
	       realpath(path, target) && !strncmp(target, "/sys/kernel/iommu_groups/", 25));

	GAVE("stat module", stat("/sys/module/vfio", &st));
	GAVE("stat module pci", stat("/sys/module/vfio_pci", &st));
	GAVE("access mode", access(mode, R_OK));
	fd = open(mode, O_RDONLY);
	GAVE("read mode", read(fd, text, sizeof(text)));
	printf("mode: %c\n", text[0]);
	close(fd);
	f = fopen(mode, "r");
	printf("mode by stdio: %c\n", f ? fgetc(f) : '-');
	if (f)
		fclose(f);

	GAVE("stat container", stat("/dev/vfio/vfio", &st));
	printf("container is a character device: %d\n", S_ISCHR(st.st_mode));
	GAVE("access container", access("/dev/vfio/vfio", R_OK | W_OK));
	GAVE("stat group", stat(group_path, &st));
	printf("group is a character device: %d\n", S_ISCHR(st.st_mode));
	GAVE("access group", access(group_path, R_OK | W_OK));
	snprintf(path, sizeof(path), "/dev/vfio/%s", base(group_path) + strlen("noiommu-"));
	GAVE("open group with IOMMU", open(path, O_RDWR));
	GAVE("open group of nobody", open("/dev/vfio/noiommu-4711", O_RDWR));
	dir = opendir("/dev/vfio");
	while (dir && (entry = readdir(dir)))
		seen |= (!strcmp(entry->d_name, "vfio")) |
			(!strcmp(entry->d_name, base(group_path))) << 1;
	printf("listed: %u\n", seen);
	if (dir)
		closedir(dir);
}

static void containers(void)
{
	container = open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC);
	GAVE("open container", container < 0 ? -1 : 0);
	GAVE("container close-on-exec", fcntl(container, F_GETFD));
	GAVE("API version", ioctl(container, VFIO_GET_API_VERSION));
	GAVE("extension no-IOMMU", ioctl(container, VFIO_CHECK_EXTENSION, VFIO_NOIOMMU_IOMMU));
	GAVE("extension type 1", ioctl(container, VFIO_CHECK_EXTENSION, VFIO_TYPE1_IOMMU));
	GAVE("extension 999", ioctl(container, VFIO_CHECK_EXTENSION, 999));
	GAVE("set IOMMU without group", ioctl(container, VFIO_SET_IOMMU, VFIO_NOIOMMU_IOMMU));
	GAVE("map DMA without IOMMU", ioctl(container, VFIO_IOMMU_MAP_DMA, bad_pointer));
	GAVE("unknown ioctl of container", ioctl(container, _IO(VFIO_TYPE, 250)));
	GAVE("ioctl of a device on container", ioctl(container, VFIO_DEVICE_GET_INFO, bad_pointer));
}

static void groups(const char *bdf)
{
	struct vfio_group_status status = { .argsz = 4 };
	int event = eventfd(0, 0), fd = 9999;
	char name[64];

	group = open(group_path, O_RDWR);
	GAVE("open group", group < 0 ? -1 : 0);
	GAVE("open group twice", open(group_path, O_RDWR));
	GAVE("group status, short", ioctl(group, VFIO_GROUP_GET_STATUS, &status));
	GAVE("group status, bad pointer", ioctl(group, VFIO_GROUP_GET_STATUS, bad_pointer));
	status.argsz = sizeof(status);
	GAVE("group status", ioctl(group, VFIO_GROUP_GET_STATUS, &status));
	printf("group flags: %u\n", status.flags);
	GAVE("device without container", ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf));
	GAVE("unset container without", ioctl(group, VFIO_GROUP_UNSET_CONTAINER));
	GAVE("set container, bad fd", ioctl(group, VFIO_GROUP_SET_CONTAINER, &fd));
	GAVE("set container, no container", ioctl(group, VFIO_GROUP_SET_CONTAINER, &event));
	GAVE("set container, bad pointer", ioctl(group, VFIO_GROUP_SET_CONTAINER, bad_pointer));
	GAVE("set container", ioctl(group, VFIO_GROUP_SET_CONTAINER, &container));
	GAVE("set container again", ioctl(group, VFIO_GROUP_SET_CONTAINER, &container));
	GAVE("group status with container", ioctl(group, VFIO_GROUP_GET_STATUS, &status));
	printf("group flags with container: %u\n", status.flags);
	GAVE("device without IOMMU", ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf));
	GAVE("unset container before", ioctl(group, VFIO_GROUP_UNSET_CONTAINER));
	GAVE("set IOMMU after unset", ioctl(container, VFIO_SET_IOMMU, VFIO_NOIOMMU_IOMMU));
	GAVE("set container once more", ioctl(group, VFIO_GROUP_SET_CONTAINER, &container));
	GAVE("set IOMMU type 1", ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1_IOMMU));
	GAVE("set IOMMU", ioctl(container, VFIO_SET_IOMMU, VFIO_NOIOMMU_IOMMU));
	GAVE("set IOMMU again", ioctl(container, VFIO_SET_IOMMU, VFIO_NOIOMMU_IOMMU));
	GAVE("extension type 1 with IOMMU", ioctl(container, VFIO_CHECK_EXTENSION, VFIO_TYPE1_IOMMU));
	GAVE("map DMA", ioctl(container, VFIO_IOMMU_MAP_DMA, bad_pointer));
	GAVE("unknown ioctl of container with IOMMU", ioctl(container, _IO(VFIO_TYPE, 250)));
	GAVE("unknown ioctl of group", ioctl(group, _IO(VFIO_TYPE, 250)));
	GAVE("device, bad pointer", ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bad_pointer));
	GAVE("device of another name", ioctl(group, VFIO_GROUP_GET_DEVICE_FD, "0000:77:00.0"));
	snprintf(name, sizeof(name), "%s0", bdf);
	GAVE("device of a longer name", ioctl(group, VFIO_GROUP_GET_DEVICE_FD, name));
	snprintf(name, sizeof(name), "%s what=ever", bdf);
	GAVE("device with an option", ioctl(group, VFIO_GROUP_GET_DEVICE_FD, name));
	device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf);
	GAVE("device", device < 0 ? -1 : 0);
	GAVE("device close-on-exec", fcntl(device, F_GETFD));
	GAVE("device twice", opened(ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf)));
	GAVE("unset container in use", ioctl(group, VFIO_GROUP_UNSET_CONTAINER));
	close(event);
}

static void info(void)
{
	struct vfio_device_info dev = { .argsz = 8 };
	struct vfio_irq_info irq = { .argsz = 8 };
	struct {
		struct vfio_region_info info;
		uint8_t caps[64];
	} region;
	struct vfio_info_cap_header *cap;
	unsigned int i;

	GAVE("device info, short", ioctl(device, VFIO_DEVICE_GET_INFO, &dev));
	GAVE("device info, bad pointer", ioctl(device, VFIO_DEVICE_GET_INFO, bad_pointer));
	dev.argsz = sizeof(dev);
	GAVE("device info", ioctl(device, VFIO_DEVICE_GET_INFO, &dev));
	printf("device flags: %u\ndevice regions: %u\ndevice interrupts: %u\n", dev.flags,
	       dev.num_regions, dev.num_irqs);

	GAVE("region info, bad pointer", ioctl(device, VFIO_DEVICE_GET_REGION_INFO, bad_pointer));
	for (i = 0; i < 11; i++) {
		memset(&region, 0, sizeof(region));
		region.info.argsz = sizeof(region.info);
		region.info.index = i;
		if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &region)) {
			printf("region %u: %s\n", i, strerrorname_np(errno));
			continue;
		}
		printf("region %u: size %#llx flags %u offset %#llx argsz %u cap %u\n", i,
		       region.info.size, region.info.flags, region.info.offset,
		       region.info.argsz, region.info.cap_offset);
		region.info.argsz = sizeof(region);
		if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &region) || !region.info.cap_offset)
			continue;
		cap = (void *)((char *)&region + region.info.cap_offset);
		printf("region %u: capability %u version %u next %u\n", i, cap->id, cap->version,
		       cap->next);
	}
	region.info.argsz = 16;
	region.info.index = 0;
	GAVE("region info, short", ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &region));

	GAVE("interrupt info, short", ioctl(device, VFIO_DEVICE_GET_IRQ_INFO, &irq));
	GAVE("interrupt info, bad pointer", ioctl(device, VFIO_DEVICE_GET_IRQ_INFO, bad_pointer));
	irq.argsz = sizeof(irq);
	for (irq.index = 0; irq.index < 7; irq.index++) {
		if (ioctl(device, VFIO_DEVICE_GET_IRQ_INFO, &irq))
			printf("interrupt %u: %s\n", irq.index, strerrorname_np(errno));
		else
			printf("interrupt %u: count %u flags %u\n", irq.index, irq.count, irq.flags);
	}

	GAVE("ioctl of a group on device", ioctl(device, VFIO_GROUP_GET_STATUS, bad_pointer));
	GAVE("unknown ioctl of device", ioctl(device, _IO(VFIO_TYPE, 250)));
	GAVE("hot reset info, bad pointer", ioctl(device, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, bad_pointer));
	GAVE("hot reset info, short", ioctl(device, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, &(int[8]){ 4 }));
	GAVE("hot reset info", ioctl(device, VFIO_DEVICE_GET_PCI_HOT_RESET_INFO, &(int[8]){ 12 }));
	GAVE("feature, short", ioctl(device, VFIO_DEVICE_FEATURE, &(int[4]){ 4 }));
	GAVE("feature migration", ioctl(device, VFIO_DEVICE_FEATURE,
		&(int[4]){ 16, VFIO_DEVICE_FEATURE_GET | VFIO_DEVICE_FEATURE_MIGRATION }));
}

static int set_irqs(unsigned int index, uint32_t flags, uint32_t start, uint32_t count,
		    const void *data, size_t size)
{
	struct {
		struct vfio_irq_set set;
		uint8_t data[64];
	} arg = { .set = { sizeof(arg.set) + size, flags, index, start, count } };

	memcpy(arg.set.data, data, size);
	return ioctl(device, VFIO_DEVICE_SET_IRQS, &arg);
}

#define MSIX	VFIO_PCI_MSIX_IRQ_INDEX
#define TRIGGER	VFIO_IRQ_SET_ACTION_TRIGGER
#define NONE	VFIO_IRQ_SET_DATA_NONE
#define BOOL	VFIO_IRQ_SET_DATA_BOOL
#define EVENT	VFIO_IRQ_SET_DATA_EVENTFD

/* How many events came, waiting for one as long as one may be on its way. */
static long events(int fd, int ms)
{
	struct pollfd pfd = { fd, POLLIN, 0 };
	uint64_t n = 0;

	if (poll(&pfd, 1, ms) <= 0 || read(fd, &n, 8) != 8)
		return 0;
	return n;
}

static void interrupts(void)
{
	int fd[4], file = open("/dev/zero", O_RDONLY), bad[2], none = -1, minus = -7, i;
	uint8_t bools[3] = { 1, 0, 1 };
	uint16_t command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	volatile uint32_t *regs;

	pwrite(device, &command, 2, CONFIG(PCI_COMMAND));
	for (i = 0; i < 4; i++)
		fd[i] = eventfd(0, EFD_NONBLOCK);
	GAVE("irqs, bad pointer", ioctl(device, VFIO_DEVICE_SET_IRQS, bad_pointer));
	GAVE("irqs, short", ioctl(device, VFIO_DEVICE_SET_IRQS, &(int[5]){ 8 }));
	GAVE("irqs, no action", set_irqs(MSIX, EVENT, 0, 1, fd, 4));
	GAVE("irqs, two actions", set_irqs(MSIX, EVENT | TRIGGER | VFIO_IRQ_SET_ACTION_MASK, 0, 1, fd, 4));
	GAVE("irqs, unknown flag", set_irqs(MSIX, EVENT | TRIGGER | 1 << 12, 0, 1, fd, 4));
	GAVE("irqs, two kinds of data", set_irqs(MSIX, EVENT | NONE | TRIGGER, 0, 1, fd, 4));
	GAVE("irqs, no data", set_irqs(MSIX, TRIGGER, 0, 1, fd, 4));
	GAVE("irqs, less data than count", set_irqs(MSIX, EVENT | TRIGGER, 0, 3, fd, 8));
	GAVE("irqs, index out of range", set_irqs(9, EVENT | TRIGGER, 0, 1, fd, 4));
	GAVE("irqs, start out of range", set_irqs(MSIX, EVENT | TRIGGER, 100, 1, fd, 4));
	GAVE("irqs, count out of range", set_irqs(MSIX, EVENT | TRIGGER, 8, 5, fd, 20));
	GAVE("irqs, count overflows", set_irqs(MSIX, EVENT | TRIGGER, 1, ~0u, fd, 4));
	GAVE("MSI-X, disable while off", set_irqs(MSIX, NONE | TRIGGER, 0, 0, fd, 0));
	GAVE("MSI-X, trigger while off", set_irqs(MSIX, NONE | TRIGGER, 0, 1, fd, 0));
	GAVE("MSI-X, nothing while off", set_irqs(MSIX, EVENT | TRIGGER, 0, 0, fd, 0));
	GAVE("MSI-X, no fd", set_irqs(MSIX, EVENT | TRIGGER, 0, 1, &(int){ 9999 }, 4));
	GAVE("MSI-X, no eventfd", set_irqs(MSIX, EVENT | TRIGGER, 0, 1, &file, 4));
	GAVE("MSI-X, still off", set_irqs(MSIX, NONE | TRIGGER, 0, 0, fd, 0));
	GAVE("MSI-X, three vectors", set_irqs(MSIX, EVENT | TRIGGER, 0, 3, fd, 12));
	GAVE("MSI-X, trigger one", set_irqs(MSIX, NONE | TRIGGER, 1, 1, fd, 0));
	printf("events after trigger: %ld %ld %ld\n", events(fd[0], 0), events(fd[1], 100), events(fd[2], 0));
	GAVE("MSI-X, trigger some", set_irqs(MSIX, BOOL | TRIGGER, 0, 3, bools, 3));
	printf("events after some: %ld %ld %ld\n", events(fd[0], 100), events(fd[1], 0), events(fd[2], 100));
	GAVE("MSI-X, nothing while on", set_irqs(MSIX, EVENT | TRIGGER, 0, 0, fd, 0));
	GAVE("MSI-X, a vector more", set_irqs(MSIX, EVENT | TRIGGER, 5, 1, &fd[3], 4));
	GAVE("MSI-X, detach", set_irqs(MSIX, EVENT | TRIGGER, 2, 1, &none, 4));
	GAVE("MSI-X, detach with another negative number", set_irqs(MSIX, EVENT | TRIGGER, 2, 1, &minus, 4));
	GAVE("MSI-X, trigger detached", set_irqs(MSIX, NONE | TRIGGER, 2, 1, fd, 0));
	printf("events detached: %ld\n", events(fd[2], 50));
	GAVE("MSI-X, replace", set_irqs(MSIX, EVENT | TRIGGER, 1, 1, &fd[2], 4));
	GAVE("MSI-X, mask", set_irqs(MSIX, NONE | VFIO_IRQ_SET_ACTION_MASK, 0, 1, fd, 0));
	GAVE("MSI-X, unmask", set_irqs(MSIX, NONE | VFIO_IRQ_SET_ACTION_UNMASK, 0, 1, fd, 0));
	GAVE("MSI-X, mask by eventfd", set_irqs(MSIX, EVENT | VFIO_IRQ_SET_ACTION_MASK, 0, 1, fd, 4));
	GAVE("MSI while MSI-X is on", set_irqs(VFIO_PCI_MSI_IRQ_INDEX, EVENT | TRIGGER, 0, 1, fd, 4));
	GAVE("INTx while MSI-X is on", set_irqs(VFIO_PCI_INTX_IRQ_INDEX, EVENT | TRIGGER, 0, 1, fd, 4));

	/* By the device */
	regs = mmap(NULL, 0x20000, PROT_READ | PROT_WRITE, MAP_SHARED, device, 0);
	GAVE("mmap of registers", regs == MAP_FAILED ? -1 : 0);
	regs[GPIE / 4] = GPIE_MSIX;
	regs[EIMS / 4] = 0x3ff;
	regs[EICS / 4] = 1 << 0 | 1 << 5;
	printf("events of the device: %ld %ld %ld %ld\n", events(fd[0], 1000), events(fd[1], 0),
	       events(fd[2], 0), events(fd[3], 1000));
	regs[EICS / 4] = 1 << 1;
	printf("events of the replaced vector: %ld %ld\n", events(fd[2], 1000), events(fd[1], 0));

	bad[0] = fd[0];
	bad[1] = file;
	GAVE("MSI-X, the second fd is bad", set_irqs(MSIX, EVENT | TRIGGER, 0, 2, bad, 8));
	set_irqs(MSIX, NONE | TRIGGER, 0, 6, fd, 0);
	printf("events after failure: %ld %ld %ld %ld\n", events(fd[0], 50), events(fd[1], 0), events(fd[2], 0),
	       events(fd[3], 100));
	GAVE("MSI-X, disable", set_irqs(MSIX, NONE | TRIGGER, 0, 0, fd, 0));
	GAVE("MSI-X, disable again", set_irqs(MSIX, NONE | TRIGGER, 0, 0, fd, 0));
	regs[EICS / 4] = 0x3f;
	printf("events when off: %ld %ld\n", events(fd[0], 50), events(fd[3], 0));
	GAVE("MSI-X, all ten", set_irqs(MSIX, EVENT | TRIGGER, 0, 10, (int[10]){
		fd[0], fd[1], fd[2], fd[3], fd[0], fd[1], fd[2], fd[3], fd[0], fd[1] }, 40));

	for (i = VFIO_PCI_ERR_IRQ_INDEX; i <= VFIO_PCI_REQ_IRQ_INDEX; i++) {
		printf("interrupt %d follows\n", i);
		GAVE("trigger none", set_irqs(i, NONE | TRIGGER, 0, 1, fd, 0));
		GAVE("start 1", set_irqs(i, EVENT | TRIGGER, 1, 1, fd, 4));
		GAVE("no count", set_irqs(i, EVENT | TRIGGER, 0, 0, fd, 0));
		GAVE("no fd", set_irqs(i, EVENT | TRIGGER, 0, 1, &(int){ 9999 }, 4));
		GAVE("no eventfd", set_irqs(i, EVENT | TRIGGER, 0, 1, &file, 4));
		GAVE("fd -2", set_irqs(i, EVENT | TRIGGER, 0, 1, &(int){ -2 }, 4));
		GAVE("eventfd", set_irqs(i, EVENT | TRIGGER, 0, 1, &fd[1], 4));
		GAVE("trigger", set_irqs(i, NONE | TRIGGER, 0, 1, fd, 0));
		GAVE("trigger by bool", set_irqs(i, BOOL | TRIGGER, 0, 1, bools, 1));
		printf("events: %ld\n", events(fd[1], 100));
		GAVE("mask", set_irqs(i, NONE | VFIO_IRQ_SET_ACTION_MASK, 0, 1, fd, 0));
		GAVE("off", set_irqs(i, EVENT | TRIGGER, 0, 1, &none, 4));
		GAVE("off again", set_irqs(i, NONE | TRIGGER, 0, 0, fd, 0));
	}
	munmap((void *)regs, 0x20000);
	for (i = 0; i < 4; i++)
		close(fd[i]);
	close(file);
}

static long mapped(size_t len, int prot, int flags, off_t off)
{
	void *p = mmap(NULL, len, prot, flags, device, off);

	return p == MAP_FAILED ? -1 : munmap(p, len);
}

static void memory(void)
{
	volatile uint32_t *all, *part;
	uint32_t value = 0, through = 0;
	uint8_t bytes[64], *at;

	printf("config command at first: %04x\n", config(PCI_COMMAND, 2));
	GAVE("mmap BAR0", mapped(0x20000, PROT_READ | PROT_WRITE, MAP_SHARED, 0));
	GAVE("mmap BAR0, odd length", mapped(0x1001, PROT_READ, MAP_SHARED, 0));
	GAVE("mmap BAR0, private", mapped(PAGE, PROT_READ, MAP_PRIVATE, 0));
	GAVE("mmap BAR0, too long", mapped(0x21000, PROT_READ, MAP_SHARED, 0));
	GAVE("mmap BAR0, beyond", mapped(PAGE, PROT_READ, MAP_SHARED, 0x20000));
	GAVE("mmap BAR0, odd offset", mapped(PAGE, PROT_READ, MAP_SHARED, 8));
	GAVE("mmap BAR0, empty", mapped(0, PROT_READ, MAP_SHARED, 0));
	GAVE("mmap BAR1", mapped(PAGE, PROT_READ, MAP_SHARED, REGION(1, 0)));
	GAVE("mmap BAR of ports", mapped(PAGE, PROT_READ, MAP_SHARED, REGION(2, 0)));
	GAVE("mmap BAR with the table", mapped(0x4000, PROT_READ | PROT_WRITE, MAP_SHARED, REGION(MSIX_BAR, 0)));
	GAVE("mmap behind the table", mapped(PAGE, PROT_READ, MAP_SHARED, REGION(MSIX_BAR, 2 * PAGE)));
	GAVE("mmap ROM", mapped(PAGE, PROT_READ, MAP_SHARED, REGION(6, 0)));
	GAVE("mmap config", mapped(PAGE, PROT_READ, MAP_SHARED, CONFIG(0)));
	GAVE("mmap region 9", mapped(PAGE, PROT_READ, MAP_SHARED, REGION(9, 0)));
	GAVE("mmap region 200", mapped(PAGE, PROT_READ, MAP_SHARED, REGION(200, 0)));

	all = mmap(NULL, 0x20000, PROT_READ | PROT_WRITE, MAP_SHARED, device, 0);
	part = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, device, PAGE);
	all[IVAR0 / 4] = 0x82;
	printf("part is where it should: %d\n", part[(IVAR0 - PAGE) / 4] == 0x82);
	at = mmap(NULL, 4 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	printf("mmap at an address: %d\n", mmap(at + PAGE, PAGE, PROT_READ, MAP_SHARED | MAP_FIXED, device, PAGE) == at + PAGE);
	printf("and there: %d\n", *(volatile uint32_t *)(at + IVAR0) == 0x82);
	munmap(at, 4 * PAGE);

	GAVE("pread register", pread(device, &value, 4, STATUS));
	printf("as mapped: %d\n", value == all[STATUS / 4]);
	value = 0x83;
	GAVE("pwrite register", pwrite(device, &value, 4, IVAR0));
	printf("written: %d\n", all[IVAR0 / 4] == 0x83);
	GAVE("pread register, odd", pread(device, bytes, 7, STATUS + 1));
	GAVE("pread BAR0, bad pointer", pread(device, bad_pointer, 4, STATUS));
	GAVE("pread BAR0, at the end", pread(device, bytes, 64, 0x20000 - 16));
	GAVE("pread BAR0, beyond", pread(device, bytes, 4, 0x20000));
	GAVE("pread BAR0, nothing", pread(device, bytes, 0, STATUS));
	GAVE("pread BAR1", pread(device, bytes, 4, REGION(1, 0)));
	GAVE("pread ports", pread(device, bytes, 4, REGION(2, 0)));
	GAVE("pwrite ports", pwrite(device, &(uint32_t){ STATUS }, 4, REGION(2, 0)));
	GAVE("pread ports, data", pread(device, &through, 4, REGION(2, 4)));
	printf("through ports: %d\n", through == all[STATUS / 4]);
	GAVE("pread ports, beyond", pread(device, bytes, 4, REGION(2, 0x1000)));
	memset(bytes, 0, sizeof(bytes));
	GAVE("pread table", pread(device, bytes, 32, REGION(MSIX_BAR, 0)));
	printf("table: %02x %02x\n", bytes[0], bytes[31]);
	GAVE("pwrite table", pwrite(device, bytes, 32, REGION(MSIX_BAR, 0)));
	GAVE("pread behind the table", pread(device, bytes, 4, REGION(MSIX_BAR, 2 * PAGE)));
	GAVE("pread in the page of the table", pread(device, bytes, 4, REGION(MSIX_BAR, 0x800)));
	GAVE("pread ROM", pread(device, bytes, 4, REGION(6, 0)));
	GAVE("pwrite ROM", pwrite(device, bytes, 4, REGION(6, 0)));
	GAVE("pread VGA", pread(device, bytes, 4, REGION(8, 0xa0000)));
	GAVE("pread region 9", pread(device, bytes, 4, REGION(9, 0)));
	munmap((void *)all, 0x20000);
	munmap((void *)part, PAGE);
}

static void configuration(void)
{
	uint8_t all[256];
	uint32_t value;
	unsigned int pos;

	printf("config IDs: %08x\n", config(0, 4));
	GAVE("config, all", pread(device, all, 256, CONFIG(0)));
	GAVE("config, extended", pread(device, all, 4, CONFIG(0x100)));
	GAVE("config, at the end", pread(device, all, 16, CONFIG(4096 - 8)));
	GAVE("config, beyond", pread(device, all, 4, CONFIG(4096)));
	GAVE("config, bad pointer", pread(device, bad_pointer, 4, CONFIG(0)));
	printf("config command: %04x\n", config(PCI_COMMAND, 2));
	printf("config pin: %02x\n", config(PCI_INTERRUPT_PIN, 1));
	value = config(PCI_COMMAND, 2) | PCI_COMMAND_MASTER;
	GAVE("config, bus master", pwrite(device, &value, 2, CONFIG(PCI_COMMAND)));
	printf("config command with bus master: %04x\n", config(PCI_COMMAND, 2));
	value |= PCI_COMMAND_INTX_DISABLE;
	GAVE("config, no INTx", pwrite(device, &value, 2, CONFIG(PCI_COMMAND)));
	printf("config command without INTx: %04x\n", config(PCI_COMMAND, 2));

	value = ~0;
	GAVE("config, IDs written", pwrite(device, &value, 4, CONFIG(0)));
	printf("config IDs then: %08x\n", config(0, 4));
	for (pos = PCI_BASE_ADDRESS_0; pos <= PCI_BASE_ADDRESS_5; pos += 4) {
		GAVE("config, BAR written", pwrite(device, &value, 4, CONFIG(pos)));
		printf("size of BAR at %02x: %08x\n", pos, config(pos, 4));
	}
	value = 0x4711;
	pwrite(device, &value, 4, CONFIG(PCI_BASE_ADDRESS_0));
	printf("BAR0 moved: %08x\n", config(PCI_BASE_ADDRESS_0, 4));
	GAVE("and works", pread(device, all, 4, STATUS));
	GAVE("config, line", pwrite(device, &value, 1, CONFIG(PCI_INTERRUPT_LINE)));
	printf("line: %02x\n", config(PCI_INTERRUPT_LINE, 1));

	for (pos = config(PCI_CAPABILITY_LIST, 1); pos; pos = config(pos + 1, 1)) {
		printf("capability %02x at %02x\n", config(pos, 1), pos);
		if (config(pos, 1) != PCI_CAP_ID_MSIX)
			continue;
		value = config(pos + 2, 2);
		printf("MSI-X control, while on: %04x\n", value);
		value ^= PCI_MSIX_FLAGS_ENABLE | PCI_MSIX_FLAGS_MASKALL;
		GAVE("config, MSI-X written", pwrite(device, &value, 2, CONFIG(pos + 2)));
		printf("MSI-X control then: %04x\n", config(pos + 2, 2));
	}

	value = config(PCI_COMMAND, 2) & ~PCI_COMMAND_MEMORY;
	pwrite(device, &value, 2, CONFIG(PCI_COMMAND));
	GAVE("pread BAR0 that is off", pread(device, all, 4, STATUS));
	value |= PCI_COMMAND_MEMORY;
	pwrite(device, &value, 2, CONFIG(PCI_COMMAND));
	GAVE("pread BAR0 that is on again", pread(device, all, 4, STATUS));
}

/* How the files may be closed, and what is left then. */
static void closing(const char *bdf)
{
	int copy;

	GAVE("reset", ioctl(device, VFIO_DEVICE_RESET));
	copy = dup(device);
	close(device);
	device = copy;
	GAVE("MSI-X, disable by a copy", set_irqs(MSIX, NONE | TRIGGER, 0, 0, "", 0));
	close(group);
	GAVE("open group while its device is open", open(group_path, O_RDWR));
	close(device);
	group = open(group_path, O_RDWR);
	GAVE("open group after that", group < 0 ? -1 : 0);
	GAVE("device of a new group", ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf));
	GAVE("IOMMU is gone", ioctl(container, VFIO_SET_IOMMU, VFIO_NOIOMMU_IOMMU));
	GAVE("container again", ioctl(group, VFIO_GROUP_SET_CONTAINER, &container));
	GAVE("IOMMU again", ioctl(container, VFIO_SET_IOMMU, VFIO_NOIOMMU_IOMMU));
	device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf);
	GAVE("device again", device < 0 ? -1 : 0);
	GAVE("MSI-X is off again", set_irqs(MSIX, NONE | TRIGGER, 0, 0, "", 0));
	printf("config command again: %04x\n", config(PCI_COMMAND, 2));
	close(device);
	GAVE("unset container", ioctl(group, VFIO_GROUP_UNSET_CONTAINER));
	close(container);
	close(group);
}

int main(int argc, char **argv)
{
	if (argc != 2) {
		fprintf(stderr, "usage: %s BDF\n", argv[0]);
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	paths(argv[1]);
	containers();
	groups(argv[1]);
	info();
	memory();
	interrupts();
	configuration();
	closing(argv[1]);
	return 0;
}
