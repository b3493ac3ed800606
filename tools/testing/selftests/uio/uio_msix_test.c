// SPDX-License-Identifier: GPL-2.0-only
/*
 * uio_msix: every rule of Documentation/driver-api/uio-msix.rst, on a device
 * that is named on the command line or in the environment:
 *
 *	UIO_MSIX_DEV=0000:01:00.0	device under test, taken from its driver
 *	UIO_MSIX_BRIDGE, UIO_MSIX_NO_MSIX	devices that must be refused
 *	UIO_MSIX_UNPLUG='command'	pulls the device, for good
 *	UIO_MSIX_LOCKDOWN=1		may lock the kernel down, until reboot
 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <time.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <linux/capability.h>

#include "uio_msix_util.h"
#include "kselftest_harness.h"

#define TAINT_USER	6
#define ROUNDS		500

static const char *bdf;

static sigjmp_buf sigbus_jmp;

static void sigbus(int sig)
{
	siglongjmp(sigbus_jmp, sig);
}

static bool sigbus_at(volatile uint32_t *p)
{
	signal(SIGBUS, sigbus);
	if (sigsetjmp(sigbus_jmp, 1))
		return true;
	(void)*p;
	return false;
}

static void sigbus_exit(int sig)
{
	_exit(sig);
}

static bool is_vf(void)
{
	return pci_has(bdf, "physfn");
}

/* Whether an IOMMU translates for the device. */
static bool confined(void)
{
	char type[64];

	get(type, PCI_DEVICES "%s/iommu_group/type", bdf);
	return type[0] && strcmp(type, "identity");
}

static bool tainted(void)
{
	char word[64];

	return strtoull(get(word, "/proc/sys/kernel/tainted"), NULL, 0) >>
	       TAINT_USER & 1;
}

/* The kernel log from now on. */
static int log_open(void)
{
	int fd = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	lseek(fd, 0, SEEK_END);
	return fd;
}

/* How often it said @what of @dev since. */
static int log_count(int fd, const char *dev, const char *what)
{
	char line[1024];
	int count = 0;
	ssize_t len;

	while ((len = read(fd, line, sizeof(line) - 1)) > 0) {
		line[len] = 0;
		count += strstr(line, dev) && strstr(line, what);
	}
	close(fd);
	return count;
}

/* Bind @dev, which must fail with @error and one line that says @why. */
static void refused(struct __test_metadata *_metadata, const char *dev,
		    int error, const char *why)
{
	int log = log_open();

	EXPECT_EQ(error, pci_bind(dev, "uio_msix"));
	EXPECT_EQ(1, log_count(log, dev, why));
}

FIXTURE(uio_msix) {
	struct uio_msix dev;
	int efd;
};

FIXTURE_SETUP(uio_msix)
{
	if (!bdf)
		SKIP(return, "no device: set UIO_MSIX_DEV");
	if (access(PCI_DRIVERS "uio_msix", F_OK))
		SKIP(return, "uio_msix is not loaded");
	if (!pci_has(bdf, "vendor"))
		SKIP(return, "%s is not there", bdf);
	ASSERT_EQ(0, pci_bind(bdf, "uio_msix"));
	ASSERT_EQ(0, uio_msix_find(&self->dev, bdf));
	ASSERT_EQ(0, uio_msix_open(&self->dev));
	self->efd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	ASSERT_LE(0, self->efd);
}

FIXTURE_TEARDOWN(uio_msix)
{
	uio_msix_close(&self->dev);
	close(self->efd);
}

TEST_F(uio_msix, info)
{
	int cap = pci_find_cap(bdf, PCI_CAP_ID_MSIX);
	struct uio_msix_info info;

	memset(&info, 0xff, sizeof(info));
	ASSERT_EQ(0, ioctl(self->dev.fd, UIO_MSIX_GET_INFO, &info));
	EXPECT_LE(1U, info.num_vectors);
	EXPECT_GE((pci_config(bdf, cap + PCI_MSIX_FLAGS, 2) &
		   PCI_MSIX_FLAGS_QSIZE) + 1, info.num_vectors);
	EXPECT_EQ(0U, info.flags);
	EXPECT_EQ(0U, info.reserved[0]);
	EXPECT_EQ(0U, info.reserved[1]);
}

TEST_F(uio_msix, unknown_ioctl)
{
	static const unsigned int cmds[] = {
		_IO('u', 0x50), _IO('u', 0x5f), _IO('v', 0x50),
		_IOR('u', 0x50, __u32), _IOW('u', 0x51, __u64),
		_IOWR('u', 0x51, struct uio_msix_eventfd),
		_IOW('u', 0x52, char[128]), _IOW('u', 0x52, char[129]),
		_IOWR('u', 0x53, char[8192]),
	};
	char arg[8192] = { };
	size_t i;

	for (i = 0; i < sizeof(cmds) / sizeof(*cmds); i++) {
		EXPECT_EQ(-1, ioctl(self->dev.fd, cmds[i], arg));
		EXPECT_EQ(ENOTTY, errno);
	}
}

TEST_F(uio_msix, bad_pointer)
{
	static const unsigned int cmds[] = {
		UIO_MSIX_GET_INFO, UIO_MSIX_SET_EVENTFD, UIO_MSIX_SET_MASK,
	};
	size_t i;

	for (i = 0; i < sizeof(cmds) / sizeof(*cmds); i++) {
		EXPECT_EQ(-1, ioctl(self->dev.fd, cmds[i], NULL));
		EXPECT_EQ(EFAULT, errno);
	}
}

TEST_F(uio_msix, set_eventfd_errors)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	const struct {
		struct uio_msix_eventfd arg;
		int error;
	} bad[] = {
		{ { .vector = self->dev.num_vectors, .fd = self->efd }, EINVAL },
		{ { .vector = ~0u, .fd = self->efd }, EINVAL },
		{ { .vector = self->dev.num_vectors, .fd = -1 }, EINVAL },
		{ { .fd = -2 }, EINVAL },
		{ { .fd = INT32_MIN }, EINVAL },
		{ { .fd = self->efd, .flags = 1 }, EINVAL },
		{ { .fd = self->efd, .reserved = 1 << 31 }, EINVAL },
		{ { .fd = -1, .flags = 1 << 31 }, EINVAL },
		{ { .fd = -1, .reserved = 1 }, EINVAL },
		{ { .fd = null }, EINVAL },
		{ { .fd = self->dev.fd }, EINVAL },
		{ { .fd = 1000 }, EBADF },
	};
	size_t i;
	int attached;

	/* A vector without an eventfd stays so, one with it keeps it. */
	for (attached = 0; attached < 2; attached++) {
		for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
			EXPECT_EQ(-1, ioctl(self->dev.fd, UIO_MSIX_SET_EVENTFD,
					    &bad[i].arg));
			EXPECT_EQ(bad[i].error, errno) {
				TH_LOG("case %zu", i);
			}
			if (attached) {
				ASSERT_EQ(0, uio_msix_fire(&self->dev, 0));
				EXPECT_EQ(1, events(self->efd, EVENT_MS));
			} else {
				EXPECT_EQ(-1, uio_msix_irq(&self->dev, 0));
			}
		}
		ASSERT_EQ(0, set_eventfd(&self->dev, 0, self->efd));
	}
}

TEST_F(uio_msix, set_mask_errors)
{
	const struct uio_msix_mask bad[] = {
		{ .vector = self->dev.num_vectors, .masked = 1 },
		{ .vector = ~0u, .masked = 1 },
		{ .masked = 2 },
		{ .masked = ~0u },
		{ .masked = 1, .flags = 1 },
		{ .masked = 1, .reserved = 1 },
	};
	size_t i;

	EXPECT_EQ(-EINVAL, set_mask(&self->dev, 0, 1));
	EXPECT_EQ(-EINVAL, set_mask(&self->dev, 0, 0));
	ASSERT_EQ(0, set_eventfd(&self->dev, 0, self->efd));
	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		EXPECT_EQ(-1, ioctl(self->dev.fd, UIO_MSIX_SET_MASK, &bad[i]));
		EXPECT_EQ(EINVAL, errno) {
			TH_LOG("case %zu", i);
		}
		ASSERT_EQ(0, uio_msix_fire(&self->dev, 0));
		EXPECT_EQ(1, events(self->efd, EVENT_MS));
	}
}

TEST_F(uio_msix, every_vector_signals_its_own_eventfd)
{
	uint32_t n = self->dev.num_vectors, v, other;
	int efd[n];

	for (v = 0; v < n; v++) {
		efd[v] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		ASSERT_EQ(0, set_eventfd(&self->dev, v, efd[v]));
		EXPECT_LT(0, uio_msix_irq(&self->dev, v));
	}
	for (v = 0; v < n; v++) {
		ASSERT_EQ(0, uio_msix_fire(&self->dev, v));
		EXPECT_EQ(1, events(efd[v], EVENT_MS));
		for (other = 0; other < n; other++)
			EXPECT_EQ(0, events(efd[other], other ? 0 : QUIET_MS));
	}
}

TEST_F(uio_msix, uio_file_stays_quiet)
{
	struct pollfd pfd = { .fd = self->dev.fd, .events = POLLIN };

	ASSERT_EQ(0, set_eventfd(&self->dev, 0, self->efd));
	ASSERT_EQ(0, uio_msix_fire(&self->dev, 0));
	EXPECT_EQ(1, events(self->efd, EVENT_MS));
	EXPECT_EQ(0, poll(&pfd, 1, QUIET_MS));
}

struct replacer {
	struct uio_msix *dev;
	int efd[2];
	volatile bool stop;
	unsigned long count;
	int error;
};

static void *replace_loop(void *arg)
{
	struct replacer *r = arg;

	while (!r->stop && !r->error)
		r->error = set_eventfd(r->dev, 0, r->efd[r->count++ & 1]);
	return NULL;
}

/* The next interrupt is fired when the last was seen: none can merge. */
TEST_F_TIMEOUT(uio_msix, replace_loses_and_doubles_nothing, 120)
{
	struct replacer r = { .dev = &self->dev };
	int count, doubled = 0, lost = 0;
	struct pollfd pfd[2];
	pthread_t thread;
	int i, round;

	for (i = 0; i < 2; i++) {
		r.efd[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		pfd[i] = (struct pollfd){ .fd = r.efd[i], .events = POLLIN };
	}
	ASSERT_EQ(0, set_eventfd(&self->dev, 0, r.efd[1]));
	ASSERT_EQ(0, pthread_create(&thread, NULL, replace_loop, &r));
	for (round = 0; round < ROUNDS; round++) {
		EXPECT_EQ(0, uio_msix_fire(&self->dev, 0));
		poll(pfd, 2, EVENT_MS);
		count = events(r.efd[0], 0) + events(r.efd[1], 0);
		lost += !count;
		doubled += count > 1 ? count - 1 : 0;
	}
	r.stop = true;
	pthread_join(thread, NULL);
	doubled += events(r.efd[0], QUIET_MS) + events(r.efd[1], 0);
	TH_LOG("%d interrupts, %lu replacements", ROUNDS, r.count);
	EXPECT_EQ(0, r.error);
	EXPECT_LT(2UL, r.count);
	EXPECT_EQ(0, lost);
	EXPECT_EQ(0, doubled);
}

TEST_F(uio_msix, mask_holds_back_and_delivers_one)
{
	int other = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), i;

	ASSERT_EQ(0, set_eventfd(&self->dev, 0, self->efd));
	EXPECT_EQ(0, set_mask(&self->dev, 0, 0));
	EXPECT_EQ(0, set_mask(&self->dev, 0, 1));
	EXPECT_EQ(0, set_mask(&self->dev, 0, 1));
	for (i = 0; i < 3; i++)
		ASSERT_EQ(0, uio_msix_fire(&self->dev, 0));
	EXPECT_EQ(0, events(self->efd, QUIET_MS));
	EXPECT_EQ(0, set_mask(&self->dev, 0, 0));
	EXPECT_EQ(1, events(self->efd, EVENT_MS));
	EXPECT_EQ(0, set_mask(&self->dev, 0, 0));
	EXPECT_EQ(0, events(self->efd, QUIET_MS));
	ASSERT_EQ(0, uio_msix_fire(&self->dev, 0));
	EXPECT_EQ(1, events(self->efd, EVENT_MS));

	/* Unmasked with nothing held back: nothing. */
	EXPECT_EQ(0, set_mask(&self->dev, 0, 1));
	EXPECT_EQ(0, set_mask(&self->dev, 0, 0));
	EXPECT_EQ(0, events(self->efd, QUIET_MS));

	/* A new eventfd does not unmask, and gets what was held back. */
	EXPECT_EQ(0, set_mask(&self->dev, 0, 1));
	ASSERT_EQ(0, uio_msix_fire(&self->dev, 0));
	EXPECT_EQ(0, set_eventfd(&self->dev, 0, other));
	EXPECT_EQ(0, events(other, QUIET_MS));
	EXPECT_EQ(0, set_mask(&self->dev, 0, 0));
	EXPECT_EQ(1, events(other, EVENT_MS));
	EXPECT_EQ(0, events(self->efd, QUIET_MS));
}

TEST_F(uio_msix, detach_and_reattach)
{
	int other = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);

	EXPECT_EQ(0, set_eventfd(&self->dev, 0, -1));
	ASSERT_EQ(0, set_eventfd(&self->dev, 0, self->efd));
	EXPECT_EQ(0, set_mask(&self->dev, 0, 1));
	EXPECT_EQ(0, set_eventfd(&self->dev, 0, -1));
	EXPECT_EQ(0, set_eventfd(&self->dev, 0, -1));
	EXPECT_EQ(-1, uio_msix_irq(&self->dev, 0));
	EXPECT_EQ(-EINVAL, set_mask(&self->dev, 0, 0));

	/* The mask is forgotten. */
	ASSERT_EQ(0, set_eventfd(&self->dev, 0, other));
	ASSERT_EQ(0, uio_msix_fire(&self->dev, 0));
	EXPECT_EQ(1, events(other, EVENT_MS));
	EXPECT_EQ(0, events(self->efd, QUIET_MS));

	/* Only the device can fire a detached vector. */
	EXPECT_EQ(0, set_eventfd(&self->dev, 0, -1));
	if (self->dev.kind)
		uio_msix_fire(&self->dev, 0);
	EXPECT_EQ(0, events(other, QUIET_MS));
}

TEST_F(uio_msix, one_open_at_a_time)
{
	struct uio_msix second = self->dev;
	int status;
	pid_t pid;

	EXPECT_EQ(-EBUSY, uio_msix_open(&second));

	/* A child keeps it open, by its copies of the fd and the mapping. */
	pid = fork();
	if (!pid)
		_exit(pause());
	uio_msix_close(&self->dev);
	EXPECT_EQ(-EBUSY, uio_msix_open(&second));
	kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, uio_msix_open(&self->dev));
}

TEST_F(uio_msix, mapping_keeps_it_open)
{
	void *p;

	if (!self->dev.num_maps)
		SKIP(return, "no BAR to map");
	p = uio_msix_map(&self->dev, 0);
	ASSERT_NE(MAP_FAILED, p);
	uio_msix_close(&self->dev);
	EXPECT_FALSE(sigbus_at(p));
	EXPECT_TRUE(pci_master(bdf));
	EXPECT_EQ(-EBUSY, uio_msix_open(&self->dev));
	munmap(p, self->dev.maps[0].size);
	EXPECT_FALSE(pci_master(bdf));
	EXPECT_EQ(0, uio_msix_open(&self->dev));
}

TEST_F(uio_msix, open_needs_cap_sys_rawio)
{
	struct __user_cap_header_struct hdr = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct cap[2];

	uio_msix_close(&self->dev);
	ASSERT_EQ(0, syscall(SYS_capget, &hdr, cap));
	cap[0].effective &= ~(1 << CAP_SYS_RAWIO);
	ASSERT_EQ(0, syscall(SYS_capset, &hdr, cap));
	EXPECT_EQ(-EPERM, uio_msix_open(&self->dev));
	cap[0].effective |= 1 << CAP_SYS_RAWIO;
	ASSERT_EQ(0, syscall(SYS_capset, &hdr, cap));
	EXPECT_EQ(0, uio_msix_open(&self->dev));
}

TEST_F(uio_msix, bus_master_while_open_only)
{
	EXPECT_TRUE(pci_master(bdf));
	uio_msix_close(&self->dev);
	EXPECT_FALSE(pci_master(bdf));
	EXPECT_EQ(0, uio_msix_open(&self->dev));
	EXPECT_TRUE(pci_master(bdf));
	EXPECT_EQ(0, pci_unbind(bdf));
	EXPECT_FALSE(pci_master(bdf));
	EXPECT_EQ(0, pci_bind(bdf, "uio_msix"));
	EXPECT_FALSE(pci_master(bdf));
}

TEST_F(uio_msix, close_resets)
{
	uint32_t reg, bit;
	char method[64];

	get(method, PCI_DEVICES "%s/reset_method", bdf);
	if (!self->dev.kind || !self->dev.kind->bit || strcmp(method, "flr"))
		SKIP(return, "no register known that a reset clears");
	reg = self->dev.kind->cleared / 4;
	bit = self->dev.kind->bit;
	self->dev.regs[reg] |= bit;
	EXPECT_NE(0U, self->dev.regs[reg] & bit);
	uio_msix_close(&self->dev);

	/* Open without the set-up that would set it. */
	self->dev.fd = open(self->dev.path, O_RDWR);
	self->dev.regs = uio_msix_map(&self->dev, 0);
	EXPECT_EQ(0U, self->dev.regs[reg] & bit);
}

TEST_F(uio_msix, taints_once_without_iommu)
{
	bool before, warn = !confined();
	int log;

	uio_msix_close(&self->dev);
	before = tainted();
	ASSERT_EQ(0, pci_bind(bdf, "uio_msix"));
	EXPECT_EQ(before, tainted());
	log = log_open();
	ASSERT_EQ(0, uio_msix_open(&self->dev));
	uio_msix_close(&self->dev);
	ASSERT_EQ(0, uio_msix_open(&self->dev));
	EXPECT_EQ(warn || before, tainted());
	EXPECT_EQ(warn, log_count(log, bdf, "no IOMMU confines"));
}

/* Start and length of BAR @bar by the resource file; 0 if it is not memory. */
static uint64_t bar_range(int bar, uint64_t *start)
{
	unsigned long long from = 0, to = 0, flags = 0;
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), PCI_DEVICES "%s/resource", bdf);
	f = fopen(path, "re");
	for (; f && bar >= 0; bar--)
		if (fscanf(f, "%llx %llx %llx", &from, &to, &flags) != 3)
			flags = 0;
	if (f)
		fclose(f);
	*start = from;
	return flags & 0x200 ? to - from + 1 : 0;
}

TEST_F(uio_msix, maps_all_but_the_table)
{
	uint64_t page = getpagesize(), start, len, from, to, mapped;
	int cap = pci_find_cap(bdf, PCI_CAP_ID_MSIX), bar, i;
	uint32_t table = pci_config(bdf, cap + PCI_MSIX_TABLE, 4);
	uint32_t n = (pci_config(bdf, cap + PCI_MSIX_FLAGS, 2) &
		      PCI_MSIX_FLAGS_QSIZE) + 1;

	for (bar = 0; bar < 6; bar++) {
		len = bar_range(bar, &start);
		if (!len)
			continue;

		/* The pages of the table, as [from, to). */
		from = to = 0;
		if (bar == (int)(table & PCI_MSIX_TABLE_BIR)) {
			from = start + (table & PCI_MSIX_TABLE_OFFSET);
			to = (from + n * PCI_MSIX_ENTRY_SIZE + page - 1) & -page;
			from &= -page;
		}

		mapped = 0;
		for (i = 0; i < self->dev.num_maps; i++) {
			struct uio_map *map = &self->dev.maps[i];
			char name[64];

			if (map->addr < (start & -page) ||
			    map->addr >= start + len)
				continue;
			snprintf(name, sizeof(name), map->addr <= start ?
				 "BAR%d" : "BAR%d+0x%llx", bar,
				 (unsigned long long)(map->addr - start));
			EXPECT_STREQ(name, map->name);
			EXPECT_TRUE(map->addr >= to ||
				    map->addr + map->size <= from);
			mapped += map->size;
		}
		/* A BAR below a page may share it, and is not mapped then. */
		if (len >= page || mapped)
			EXPECT_EQ(((len + page - 1) & -page) - (to - from),
				  mapped);
	}
}

TEST_F(uio_msix, bad_mmap)
{
	int page = getpagesize(), fd = self->dev.fd, i;

	for (i = 0; i < self->dev.num_maps; i++) {
		struct uio_map *map = &self->dev.maps[i];

		EXPECT_EQ(MAP_FAILED, mmap(NULL, map->size + page, PROT_READ,
					   MAP_SHARED, fd, i * page));
		EXPECT_EQ(EINVAL, errno);
		EXPECT_EQ(MAP_FAILED, mmap(NULL, map->size, PROT_READ,
					   MAP_PRIVATE, fd, i * page));
		EXPECT_EQ(EINVAL, errno);
	}
	for (; i < 64; i++) {
		EXPECT_EQ(MAP_FAILED, mmap(NULL, page, PROT_READ, MAP_SHARED,
					   fd, i * page));
		EXPECT_EQ(EINVAL, errno);
	}
}

/* What is left keeps its place, though the offset of its VMA moved. */
TEST_F(uio_msix, partial_munmap)
{
	size_t page = getpagesize();
	uint32_t scratch;
	char *p;

	if (!self->dev.kind || self->dev.kind->scratch < 2 * page)
		SKIP(return, "no register known on the third page");
	scratch = self->dev.kind->scratch;
	self->dev.regs[scratch / 4] = 0x12345000;
	EXPECT_EQ(0x12345000U, self->dev.regs[scratch / 4]);

	/* Take a page away before anything is faulted in. */
	p = uio_msix_map(&self->dev, 0);
	ASSERT_NE(MAP_FAILED, p);
	munmap(p + page, page);
	EXPECT_EQ(0x12345000U, *(volatile uint32_t *)(p + scratch));
	munmap(p, page);
	*(volatile uint32_t *)(p + scratch) = 0x54321000;
	EXPECT_EQ(0x54321000U, self->dev.regs[scratch / 4]);
	munmap(p + 2 * page, self->dev.maps[0].size - 2 * page);
}

/* mmap() one page of @path at @offset: 0 or -errno. */
static int try_map(const char *path, uint64_t offset, int proc)
{
	int fd = open(path, O_RDWR | O_SYNC | O_CLOEXEC), ret = 0;
	void *p;

	if (fd < 0)
		return -errno;
	if (proc && ioctl(fd, PCIIOC_MMAP_IS_MEM))
		ret = -errno;
	p = mmap(NULL, getpagesize(), PROT_READ, MAP_SHARED, fd, offset);
	if (p == MAP_FAILED)
		ret = -errno;
	else
		munmap(p, getpagesize());
	close(fd);
	return ret;
}

/* Every other way to a BAR: closed while bound, open before and after. */
TEST_F(uio_msix, no_other_way_to_the_bars)
{
	char sysfs[256], proc[256];
	uint64_t start;
	int bar, bound;

	snprintf(proc, sizeof(proc), "/proc/bus/pci/%.2s/%s", bdf + 5, bdf + 8);
	for (bound = 1; bound >= 0; bound--) {
		for (bar = 0; bar < 6; bar++) {
			if (bar_range(bar, &start) < (uint64_t)getpagesize())
				continue;
			snprintf(sysfs, sizeof(sysfs), PCI_DEVICES "%s/resource%d",
				 bdf, bar);
			EXPECT_EQ(bound ? -EINVAL : 0, try_map(sysfs, 0, 0));
			EXPECT_EQ(bound ? -EPERM : 0,
				  try_map("/dev/mem", start, 0));
			if (!access(proc, F_OK))
				EXPECT_EQ(bound ? -EINVAL : 0,
					  try_map(proc, start, 1));
			strcat(sysfs, "_wc");
			if (!access(sysfs, F_OK))
				EXPECT_EQ(bound ? -EINVAL : 0,
					  try_map(sysfs, 0, 0));
		}
		uio_msix_close(&self->dev);
		if (bound)
			ASSERT_EQ(0, pci_unbind(bdf));
	}
}

TEST_F(uio_msix, vf_needs_opt_in)
{
	if (!is_vf())
		SKIP(return, "not a VF");
	uio_msix_close(&self->dev);
	ASSERT_EQ(0, put("N", ALLOW_VF));
	refused(_metadata, bdf, -EPERM, "VF");
	ASSERT_EQ(0, put("Y", ALLOW_VF));
	EXPECT_EQ(0, pci_bind(bdf, "uio_msix"));

	/* Looked at when it is bound, and then no more. */
	ASSERT_EQ(0, put("N", ALLOW_VF));
	EXPECT_EQ(0, uio_msix_open(&self->dev));
	ASSERT_EQ(0, put("Y", ALLOW_VF));
}

static char own_driver[64];

TEST_F(uio_msix, pf_with_live_vfs)
{
	uio_msix_close(&self->dev);
	if (!get_u64(bdf, "sriov_totalvfs"))
		SKIP(return, "no SR-IOV");
	if (pci_bind(bdf, own_driver) ||
	    put("1", PCI_DEVICES "%s/sriov_numvfs", bdf))
		SKIP(return, "driver '%s' enables no VF", own_driver);
	pci_unbind(bdf);
	if (!get_u64(bdf, "sriov_numvfs"))
		SKIP(return, "driver '%s' takes its VFs along", own_driver);
	refused(_metadata, bdf, -EBUSY, "VFs enabled");
	ASSERT_EQ(0, pci_bind(bdf, own_driver));
	ASSERT_EQ(0, put("0", PCI_DEVICES "%s/sriov_numvfs", bdf));
}

static void refuse_other(struct __test_metadata *_metadata, const char *env,
			 const char *why)
{
	const char *other = getenv(env);
	char driver[64];

	if (!other)
		SKIP(return, "no device: set %s", env);
	pci_driver(other, driver);
	refused(_metadata, other, -ENODEV, why);
	pci_bind(other, driver);
}

TEST(bridge)
{
	refuse_other(_metadata, "UIO_MSIX_BRIDGE", "bridge");
}

TEST(no_msix)
{
	refuse_other(_metadata, "UIO_MSIX_NO_MSIX", "no MSI-X");
}

static void expect_gone(struct __test_metadata *_metadata, struct uio_msix *dev)
{
	struct pollfd pfd = { .fd = dev->fd, .events = POLLIN };
	struct uio_msix_eventfd eventfd = { .fd = -1 };
	struct uio_msix_mask mask = { };
	struct uio_msix_info info;

	EXPECT_EQ(-1, ioctl(dev->fd, UIO_MSIX_GET_INFO, &info));
	EXPECT_EQ(ENODEV, errno);
	EXPECT_EQ(-1, ioctl(dev->fd, UIO_MSIX_SET_EVENTFD, &eventfd));
	EXPECT_EQ(ENODEV, errno);
	EXPECT_EQ(-1, ioctl(dev->fd, UIO_MSIX_SET_MASK, &mask));
	EXPECT_EQ(ENODEV, errno);
	EXPECT_EQ(-1, ioctl(dev->fd, _IO('u', 0x5f)));
	EXPECT_EQ(ENODEV, errno);
	EXPECT_EQ(1, poll(&pfd, 1, 0));
	EXPECT_TRUE(pfd.revents & POLLERR);
}

/*
 * Take the device away by @how while a thread polls the file and a child makes
 * interrupts and touches its own copy of the mapping all the time.
 */
static void *poll_file(void *arg)
{
	struct uio_msix *dev = arg;
	struct pollfd pfd = { .fd = dev->fd, .events = POLLIN };

	return poll(&pfd, 1, 60000) == 1 && pfd.revents & POLLERR ? arg : NULL;
}

static void take_away(struct __test_metadata *_metadata, struct uio_msix *dev,
		      int efd, int (*how)(void))
{
	struct timespec before, after;
	volatile uint32_t *p = NULL;
	pthread_t poller;
	void *polled;
	int status;
	pid_t pid;

	ASSERT_EQ(0, set_eventfd(dev, 0, efd));
	if (dev->num_maps) {
		p = uio_msix_map(dev, 0);
		ASSERT_NE(MAP_FAILED, p);
	}
	ASSERT_EQ(0, pthread_create(&poller, NULL, poll_file, dev));
	pid = fork();
	if (!pid) {
		signal(SIGBUS, sigbus_exit);
		while (p && getppid() != 1) {
			if (dev->kind)
				uio_msix_fire(dev, 0);
			(void)*p;
		}
		_exit(SIGBUS);
	}
	if (dev->kind)
		EXPECT_LT(0, events(efd, EVENT_MS));

	clock_gettime(CLOCK_MONOTONIC, &before);
	EXPECT_EQ(0, how());
	clock_gettime(CLOCK_MONOTONIC, &after);
	EXPECT_GT(30, after.tv_sec - before.tv_sec);

	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == SIGBUS);
	if (p)
		EXPECT_TRUE(sigbus_at(p));
	pthread_join(poller, &polled);
	EXPECT_NE(NULL, polled);
	expect_gone(_metadata, dev);
	events(efd, 0);
	EXPECT_EQ(0, events(efd, QUIET_MS));
}

static int unbind(void)
{
	return pci_unbind(bdf);
}

TEST_F(uio_msix, unbind_while_in_use)
{
	struct uio_msix again;

	take_away(_metadata, &self->dev, self->efd, unbind);
	EXPECT_FALSE(pci_master(bdf));

	/* Bound again, the old file stays dead and is in nobody's way. */
	ASSERT_EQ(0, pci_bind(bdf, "uio_msix"));
	ASSERT_EQ(0, uio_msix_find(&again, bdf));
	ASSERT_EQ(0, uio_msix_open(&again));
	ASSERT_EQ(0, set_eventfd(&again, 0, self->efd));
	ASSERT_EQ(0, uio_msix_fire(&again, 0));
	EXPECT_EQ(1, events(self->efd, EVENT_MS));
	expect_gone(_metadata, &self->dev);
	uio_msix_close(&self->dev);
	ASSERT_EQ(0, uio_msix_fire(&again, 0));
	EXPECT_EQ(1, events(self->efd, EVENT_MS));
	uio_msix_close(&again);
}

static int sysfs_remove(void)
{
	return put("1", PCI_DEVICES "%s/remove", bdf);
}

TEST_F(uio_msix, remove_while_in_use)
{
	if (is_vf())
		SKIP(return, "a VF does not come back on a rescan");
	take_away(_metadata, &self->dev, self->efd, sysfs_remove);
	EXPECT_FALSE(pci_has(bdf, "vendor"));
	ASSERT_EQ(0, put("1", "/sys/bus/pci/rescan"));
	ASSERT_TRUE(pci_has(bdf, "vendor"));
	expect_gone(_metadata, &self->dev);
}

static int unplug(void)
{
	int tries;

	if (system(getenv("UIO_MSIX_UNPLUG")))
		return -EIO;
	for (tries = 0; pci_has(bdf, "vendor"); tries++) {
		if (tries == 250)
			return -ETIMEDOUT;
		usleep(100000);
	}
	return 0;
}

TEST_F_TIMEOUT(uio_msix, unplug_while_in_use, 60)
{
	if (!getenv("UIO_MSIX_UNPLUG"))
		SKIP(return, "no way to pull it: set UIO_MSIX_UNPLUG");
	take_away(_metadata, &self->dev, self->efd, unplug);
}

TEST_F(uio_msix, lockdown)
{
	int tries;

	if (!getenv("UIO_MSIX_LOCKDOWN"))
		SKIP(return, "lasts until reboot: set UIO_MSIX_LOCKDOWN");
	ASSERT_EQ(0, set_eventfd(&self->dev, 0, self->efd));
	ASSERT_EQ(0, put("integrity", "/sys/kernel/security/lockdown"));

	/* Who has it keeps it. */
	EXPECT_EQ(0, set_eventfd(&self->dev, 0, self->efd));
	if (self->dev.kind) {
		ASSERT_EQ(0, uio_msix_fire(&self->dev, 0));
		EXPECT_EQ(1, events(self->efd, EVENT_MS));
	}
	uio_msix_close(&self->dev);
	for (tries = 0; tries < 2; tries++)
		EXPECT_EQ(-EPERM, uio_msix_open(&self->dev));
	refused(_metadata, bdf, -EPERM, "locked down");
}

static pid_t main_pid;
static char allow_vf[64];

/* The harness exits by itself, and forks. */
static void give_back(void)
{
	if (getpid() != main_pid || !pci_has(bdf, "vendor"))
		return;
	if (pci_bind(bdf, own_driver))
		fprintf(stderr, "%s not given back to '%s'\n", bdf, own_driver);
	put(allow_vf, ALLOW_VF);
}

int main(int argc, char **argv)
{
	bdf = getenv("UIO_MSIX_DEV");
	if (argc > 1 && strlen(argv[argc - 1]) == strlen("0000:00:00.0"))
		bdf = argv[--argc];
	argv[argc] = NULL;

	if (bdf) {
		pci_driver(bdf, own_driver);
		get(allow_vf, ALLOW_VF);
		if (is_vf())
			put("Y", ALLOW_VF);
		main_pid = getpid();
		atexit(give_back);
	}
	return test_harness_run(argc, argv);
}
