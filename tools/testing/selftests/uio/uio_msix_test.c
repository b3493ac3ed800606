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
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <linux/capability.h>
#include <linux/pci.h>

#include "kselftest_harness.h"
#include "uio_msix_utils.h"

#define TAINT_USER	6
#define ROUNDS		500
#define IORESOURCE_IO	0x100
#define IORESOURCE_MEM	0x200
#define NOBODY		65534
#define UIO_PORT	"/sys/class/uio/%s/portio/port"

static const char *bdf;

static sigjmp_buf sigbus_jmp;

static void sigbus(int sig)
{
	siglongjmp(sigbus_jmp, sig);
}

static bool sigbus_at(uint32_t *p)
{
	signal(SIGBUS, sigbus);
	if (sigsetjmp(sigbus_jmp, 1))
		return true;
	reg_read(p, 0);
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
static bool translated(void)
{
	char type[64];

	get(pci(bdf, "iommu_group/type"), type);
	return type[0] && strcmp(type, "identity");
}

/* And for no other in the same way. */
static bool confined(void)
{
	glob_t devices;
	bool alone;

	alone = !glob(pci(bdf, "iommu_group/devices/*"), 0, NULL, &devices) &&
		devices.gl_pathc == 1;
	globfree(&devices);
	return alone && translated();
}

/* Whether lockdep still looks; false if there is none. */
static bool lockdep(void)
{
	FILE *f = fopen("/proc/lockdep_stats", "re");
	char line[128];
	int on = 0;

	while (f && fgets(line, sizeof(line), f))
		sscanf(line, " debug_locks: %d", &on);
	if (f)
		fclose(f);
	return on;
}

static bool has_taint(void)
{
	return get_u64("/proc/sys/kernel/tainted") >> TAINT_USER & 1;
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
	char line[8192];
	int count = 0;
	ssize_t len;

	/* EPIPE: records were overwritten before they were read. */
	while ((len = read(fd, line, sizeof(line) - 1)) > 0 || errno == EPIPE) {
		line[len < 0 ? 0 : len] = 0;
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

/* First of all: a taint stays. */
TEST(taints_once_without_iommu)
{
	bool before = has_taint(), locks = lockdep(), warn;
	struct uio_msix dev;
	int log;

	if (!bdf || pci_bind(bdf, "uio_msix"))
		SKIP(return, "no device: set UIO_MSIX_DEV");
	EXPECT_EQ(before, has_taint());
	warn = !confined();
	log = log_open();
	ASSERT_EQ(0, uio_msix_find(&dev, bdf));
	ASSERT_EQ(0, uio_msix_open(&dev));
	uio_msix_close(&dev);
	ASSERT_EQ(0, uio_msix_open(&dev));
	uio_msix_close(&dev);
	EXPECT_EQ(before || warn, has_taint());
	EXPECT_EQ(warn, log_count(log, bdf, "no IOMMU confines"));
	EXPECT_EQ(locks, lockdep());
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

TEST_F(uio_msix, bad_ioctls)
{
	static const unsigned int unknown[] = {
		_IO('u', 0x50), _IO('u', 0x5f), _IO('v', 0x50),
		_IOR('u', 0x50, __u32), _IOW('u', 0x51, __u64),
		_IOWR('u', 0x51, struct uio_msix_eventfd),
		_IOW('u', 0x52, char[128]), _IOW('u', 0x52, char[129]),
		_IOWR('u', 0x53, char[8192]),
	};
	static const unsigned int known[] = {
		UIO_MSIX_GET_INFO, UIO_MSIX_SET_EVENTFD, UIO_MSIX_SET_MASK,
	};
	char arg[8192];
	size_t i;

	memset(arg, 'x', sizeof(arg));
	for (i = 0; i < ARRAY_SIZE(unknown); i++) {
		EXPECT_EQ(-1, ioctl(self->dev.fd, unknown[i], arg));
		EXPECT_EQ(ENOTTY, errno);
	}
	for (i = 0; i < sizeof(arg) && arg[i] == 'x';)
		i++;
	EXPECT_EQ(sizeof(arg), i);
	for (i = 0; i < ARRAY_SIZE(known); i++) {
		EXPECT_EQ(-1, ioctl(self->dev.fd, known[i], NULL));
		EXPECT_EQ(EFAULT, errno);
	}
}

TEST_F(uio_msix, other_drivers_have_no_ioctls)
{
	struct uio_msix other;

	if (access(PCI_DRIVERS "uio_pci_generic", F_OK) ||
	    pci_bind(bdf, "uio_pci_generic"))
		SKIP(return, "uio_pci_generic is not there, or has no INTx");
	ASSERT_EQ(0, uio_msix_find(&other, bdf));
	EXPECT_EQ(-ENOTTY, uio_msix_open(&other));
	EXPECT_LE(0, other.fd);
	uio_msix_close(&other);
}

TEST_F(uio_msix, set_eventfd_errors)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	const struct {
		struct uio_msix_eventfd arg;
		int error;
	} bad[] = {
		{ { .vector = self->dev.num_vectors, .fd = self->efd }, EINVAL },
		{ { .vector = self->dev.num_vectors, .fd = -1 }, EINVAL },
		{ { .fd = -2 }, EINVAL },
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
		for (i = 0; i < ARRAY_SIZE(bad); i++) {
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
		{ .masked = 1, .flags = 1 },
		{ .masked = 1, .reserved = 1 },
	};
	size_t i;

	EXPECT_EQ(-EINVAL, set_mask(&self->dev, 0, 1));
	EXPECT_EQ(-EINVAL, set_mask(&self->dev, 0, 0));
	ASSERT_EQ(0, set_eventfd(&self->dev, 0, self->efd));
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		EXPECT_EQ(-1, ioctl(self->dev.fd, UIO_MSIX_SET_MASK, &bad[i]));
		EXPECT_EQ(EINVAL, errno) {
			TH_LOG("case %zu", i);
		}
		ASSERT_EQ(0, uio_msix_fire(&self->dev, 0));
		EXPECT_EQ(1, events(self->efd, EVENT_MS));
	}
}

TEST_F_TIMEOUT(uio_msix, every_vector_signals_its_own_eventfd, 60)
{
	uint32_t n = self->dev.num_vectors, v, other, count;
	struct pollfd pfd = { .fd = self->dev.fd, .events = POLLIN };
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
			EXPECT_EQ(0, events(efd[other], other ? 0 : 5));
	}

	/* All of this is none of the UIO file's business. */
	EXPECT_EQ(0, poll(&pfd, 1, 0));
	fcntl(self->dev.fd, F_SETFL, O_NONBLOCK);
	EXPECT_EQ(-1, read(self->dev.fd, &count, sizeof(count)));
	EXPECT_EQ(EAGAIN, errno);

	/* Close lets go of them. */
	uio_msix_close(&self->dev);
	for (v = 0; v < n; v++)
		EXPECT_EQ(-1, uio_msix_irq(&self->dev, v));
}

struct replacer {
	struct uio_msix *dev;
	int efd;
	unsigned int seen;
	unsigned long count;
	bool stop;
	int error;
};

/* A replaced eventfd is final: what it has is counted, and it is freed. */
static void *replace_loop(void *arg)
{
	struct replacer *r = arg;
	int efd;

	while (!__atomic_load_n(&r->stop, __ATOMIC_ACQUIRE) && !r->error) {
		efd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		r->error = set_eventfd(r->dev, 0, efd);
		__atomic_add_fetch(&r->seen, events(r->efd, 0),
				   __ATOMIC_RELEASE);
		close(r->efd);
		r->efd = efd;
		r->count++;
	}
	return NULL;
}

/* The next interrupt is fired when the last was seen: none can merge. */
TEST_F_TIMEOUT(uio_msix, replace_loses_and_doubles_nothing, 120)
{
	struct replacer r = { .dev = &self->dev, .efd = self->efd };
	unsigned int before, lost = 0;
	pthread_t thread;
	int round, ms;

	ASSERT_EQ(0, set_eventfd(&self->dev, 0, self->efd));
	ASSERT_EQ(0, pthread_create(&thread, NULL, replace_loop, &r));
	for (round = 0; round < ROUNDS && !lost; round++) {
		before = __atomic_load_n(&r.seen, __ATOMIC_ACQUIRE);
		EXPECT_EQ(0, uio_msix_fire(&self->dev, 0));
		for (ms = 0; ms < EVENT_MS * 10; ms++) {
			if (__atomic_load_n(&r.seen, __ATOMIC_ACQUIRE) != before)
				break;
			usleep(100);
		}
		lost += ms == EVENT_MS * 10;
	}
	__atomic_store_n(&r.stop, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	TH_LOG("%d interrupts, %lu replacements", round, r.count);
	EXPECT_EQ(0, r.error);
	EXPECT_LT(2UL, r.count);
	EXPECT_EQ(0U, lost);
	EXPECT_EQ(ROUNDS, (int)r.seen + events(r.efd, QUIET_MS));
	self->efd = r.efd;
}

/* Whether the device holds the interrupts back; -1 if the kernel won't say. */
static int masked_in_device(struct uio_msix *dev, uint32_t vector)
{
	FILE *f = fopen(path("/sys/kernel/debug/irq/irqs/%d",
			     uio_msix_irq(dev, vector)), "re");
	int masked = f ? 0 : -1;
	char line[128];

	while (f && fgets(line, sizeof(line), f))
		masked |= !!strstr(line, "IRQD_IRQ_MASKED");
	if (f)
		fclose(f);
	return masked;
}

TEST_F(uio_msix, mask_holds_back_and_delivers_one)
{
	int other = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), i;

	ASSERT_EQ(0, set_eventfd(&self->dev, 0, self->efd));
	EXPECT_EQ(0, set_mask(&self->dev, 0, 0));
	EXPECT_NE(1, masked_in_device(&self->dev, 0));
	EXPECT_EQ(0, set_mask(&self->dev, 0, 1));
	EXPECT_EQ(0, set_mask(&self->dev, 0, 1));
	/* At once, not at the first interrupt. */
	EXPECT_NE(0, masked_in_device(&self->dev, 0));
	for (i = 0; i < 3; i++)
		ASSERT_EQ(0, uio_msix_fire(&self->dev, 0));
	EXPECT_EQ(0, events(self->efd, QUIET_MS));
	EXPECT_EQ(0, set_mask(&self->dev, 0, 0));
	EXPECT_EQ(1, events(self->efd, EVENT_MS));
	EXPECT_EQ(0, set_mask(&self->dev, 0, 0));
	EXPECT_EQ(0, events(self->efd, QUIET_MS));

	/* Not two now and then: one pending here, one in the device. */
	for (i = 0; i < 150; i++) {
		if (i % 3 == 0)
			EXPECT_EQ(0, set_mask(&self->dev, 0, 1));
		ASSERT_EQ(0, uio_msix_fire(&self->dev, 0));
		if (i % 3 < 2)
			continue;
		EXPECT_EQ(0, set_mask(&self->dev, 0, 0));
		EXPECT_EQ(1, events(self->efd, EVENT_MS));
		EXPECT_EQ(0, events(self->efd, 1));
	}
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
	EXPECT_EQ(0, set_mask(&self->dev, 0, 1));
	ASSERT_EQ(0, uio_msix_fire(&self->dev, 0));
	EXPECT_EQ(0, events(other, QUIET_MS));
	EXPECT_EQ(0, set_mask(&self->dev, 0, 0));
	EXPECT_EQ(1, events(other, EVENT_MS));

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
	uint32_t *p;

	if (!self->dev.num_maps)
		SKIP(return, "no BAR to map");
	p = uio_msix_map(&self->dev, 0);
	ASSERT_TRUE(p != MAP_FAILED);
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
	int status;
	pid_t pid;

	uio_msix_close(&self->dev);
	/* Nor will it do in a user namespace. */
	pid = fork();
	if (!pid)
		_exit(!unshare(CLONE_NEWUSER) &&
		      uio_msix_open(&self->dev) != -EPERM);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);

	ASSERT_EQ(0, syscall(SYS_capget, &hdr, cap));
	cap[0].effective &= ~(1 << CAP_SYS_RAWIO);
	ASSERT_EQ(0, syscall(SYS_capset, &hdr, cap));
	EXPECT_EQ(-EPERM, uio_msix_open(&self->dev));
	cap[0].effective |= 1 << CAP_SYS_RAWIO;
	ASSERT_EQ(0, syscall(SYS_capset, &hdr, cap));
	EXPECT_EQ(0, uio_msix_open(&self->dev));
}

/* And no INTx at all, but for those few devices where that is no MSI-X either. */
TEST_F(uio_msix, bus_master_while_open_only)
{
	EXPECT_TRUE(pci_master(bdf));
	EXPECT_TRUE(is_vf() || !pci_intx(bdf));
	uio_msix_close(&self->dev);
	EXPECT_FALSE(pci_master(bdf));
	EXPECT_TRUE(is_vf() || !pci_intx(bdf));
	EXPECT_EQ(0, uio_msix_open(&self->dev));
	EXPECT_TRUE(pci_master(bdf));
	EXPECT_EQ(0, pci_bind(bdf, ""));
	EXPECT_FALSE(pci_master(bdf));
	EXPECT_EQ(0, pci_bind(bdf, "uio_msix"));
	EXPECT_FALSE(pci_master(bdf));
	EXPECT_TRUE(is_vf() || !pci_intx(bdf));
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* A thread: resets the device, and tells how long it took, from 1 ms on. */
static void *reset_by_sysfs(void *took)
{
	uint64_t start = now_ms();

	put(pci(bdf, "reset"), "1");
	__atomic_store_n((uint64_t *)took, now_ms() - start + 1, __ATOMIC_RELAXED);
	return NULL;
}

TEST_F(uio_msix, sysfs_reset_while_open)
{
	uint64_t took = 0, longest = 0, start;
	struct uio_msix_info info;
	pthread_t thread;

	if (!pci_has(bdf, "reset"))
		SKIP(return, "%s cannot be reset", bdf);
	ASSERT_EQ(0, set_eventfd(&self->dev, 0, self->efd));
	ASSERT_EQ(0, put(pci(bdf, "reset"), "1"));
	EXPECT_TRUE(pci_master(bdf));
	uio_msix_init(&self->dev);
	ASSERT_EQ(0, uio_msix_fire(&self->dev, 0));
	EXPECT_EQ(1, events(self->efd, EVENT_MS));

	/* An ioctl waits for it, because it changes the MSI-X table. */
	ASSERT_EQ(0, pthread_create(&thread, NULL, reset_by_sysfs, &took));
	while (!__atomic_load_n(&took, __ATOMIC_RELAXED)) {
		start = now_ms();
		EXPECT_EQ(0, ioctl(self->dev.fd, UIO_MSIX_GET_INFO, &info));
		if (now_ms() - start > longest)
			longest = now_ms() - start;
	}
	pthread_join(thread, NULL);
	EXPECT_LE(took, 2 * longest + 2);

	uio_msix_close(&self->dev);
	EXPECT_FALSE(pci_master(bdf));
}

static pid_t keep_resetting(struct uio_msix *dev)
{
	pid_t pid = fork();

	if (!pid)
		uio_msix_close(dev);
	while (!pid)
		put(pci(bdf, "reset"), "1");
	return pid;
}

static void stop(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/*
 * The first open resets: it waits for who has the device, but not for long. A
 * reset restores bus mastering, but not what it was before open or close.
 */
TEST_F(uio_msix, open_and_close_during_resets)
{
	int tries, ret;
	pid_t pid;

	if (!pci_has(bdf, "reset"))
		SKIP(return, "%s cannot be reset", bdf);
	uio_msix_close(&self->dev);
	for (tries = 0; tries < 5; tries++) {
		pid = keep_resetting(&self->dev);
		ASSERT_EQ(0, pci_bind(bdf, "uio_msix"));
		ASSERT_EQ(0, uio_msix_find(&self->dev, bdf));
		ret = uio_msix_open(&self->dev);
		EXPECT_TRUE(!ret || ret == -EBUSY);
		stop(pid);
		EXPECT_TRUE(pci_master(bdf) == !ret);

		pid = keep_resetting(&self->dev);
		usleep(30000);
		uio_msix_close(&self->dev);
		stop(pid);
		EXPECT_FALSE(pci_master(bdf));
	}
	EXPECT_EQ(0, uio_msix_open(&self->dev));
}

/* BAR0 by sysfs, which has it while the device is not bound. */
static void *map_resource0(size_t size)
{
	int fd = open(pci(bdf, "resource0"), O_RDWR | O_CLOEXEC);
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	close(fd);
	return p;
}

/* What the device was told is forgotten by close, unbind and the first open. */
TEST_F(uio_msix, resets)
{
	size_t size = self->dev.maps[0].size;
	uint32_t reg, bit, *regs;
	char method[64];

	get(pci(bdf, "reset_method"), method);
	if (!self->dev.kind || !self->dev.kind->bit || strcmp(method, "flr"))
		SKIP(return, "no register known that a reset clears");
	reg = self->dev.kind->cleared;
	bit = self->dev.kind->bit;
	reg_write(self->dev.regs, reg, reg_read(self->dev.regs, reg) | bit);
	EXPECT_NE(0U, reg_read(self->dev.regs, reg) & bit);
	uio_msix_close(&self->dev);

	/* Open without the set-up that would set it. */
	self->dev.fd = open(self->dev.path, O_RDWR | O_CLOEXEC);
	self->dev.bar0 = uio_msix_map(&self->dev, 0);
	self->dev.regs = self->dev.bar0 + self->dev.maps[0].offset;
	EXPECT_EQ(0U, reg_read(self->dev.regs, reg) & bit);

	reg_write(self->dev.regs, reg, reg_read(self->dev.regs, reg) | bit);
	ASSERT_EQ(0, pci_bind(bdf, ""));
	uio_msix_close(&self->dev);
	regs = map_resource0(size);
	ASSERT_TRUE(regs != MAP_FAILED);
	EXPECT_EQ(0U, reg_read(regs, reg) & bit);

	/* Nobody knows what another driver left behind. */
	reg_write(regs, reg, reg_read(regs, reg) | bit);
	EXPECT_NE(0U, reg_read(regs, reg) & bit);
	munmap(regs, size);
	ASSERT_EQ(0, pci_bind(bdf, "uio_msix"));
	ASSERT_EQ(0, uio_msix_find(&self->dev, bdf));
	self->dev.fd = open(self->dev.path, O_RDWR | O_CLOEXEC);
	self->dev.bar0 = uio_msix_map(&self->dev, 0);
	self->dev.regs = self->dev.bar0 + self->dev.maps[0].offset;
	EXPECT_EQ(0U, reg_read(self->dev.regs, reg) & bit);
}

TEST_F(uio_msix, lets_go_of_eventfds)
{
	enum { DETACH, REPLACE, ERROR, CLOSE, UNBIND, HOWS };
	int how, fd, id;

	for (how = 0; how < HOWS; how++) {
		fd = eventfd(0, EFD_CLOEXEC);
		id = eventfd_id(fd);
		ASSERT_LE(0, id);
		if (how == ERROR)
			set_eventfd(&self->dev, ~0u, fd);
		else
			ASSERT_EQ(0, set_eventfd(&self->dev, 0, fd));
		close(fd);
		EXPECT_EQ(how == ERROR, eventfd_is_free(id));
		switch (how) {
		case DETACH:
			EXPECT_EQ(0, set_eventfd(&self->dev, 0, -1));
			break;
		case REPLACE:
			EXPECT_EQ(0, set_eventfd(&self->dev, 0, self->efd));
			break;
		case CLOSE:
			uio_msix_close(&self->dev);
			EXPECT_EQ(0, uio_msix_open(&self->dev));
			break;
		case UNBIND:
			EXPECT_EQ(0, pci_bind(bdf, ""));
		}
		EXPECT_TRUE(eventfd_is_free(id)) {
			TH_LOG("case %d", how);
		}
	}
}

/* The node is pinned while it is open, and no longer. */
TEST_F(uio_msix, lets_go_of_the_inode)
{
	struct statvfs before, after;
	int round;

	ASSERT_EQ(0, statvfs("/dev", &before));
	for (round = 0; round < 4; round++) {
		if (round % 2)
			uio_msix_close(&self->dev);
		ASSERT_EQ(0, pci_bind(bdf, "uio_msix"));
		uio_msix_close(&self->dev);
		ASSERT_EQ(0, uio_msix_find(&self->dev, bdf));
		ASSERT_EQ(0, uio_msix_open(&self->dev));
	}
	ASSERT_EQ(0, statvfs("/dev", &after));
	EXPECT_EQ(before.f_ffree, after.f_ffree);
}

/* Nor is the file system: the next one gets its number, the lowest free one. */
TEST_F(uio_msix, lets_go_of_the_file_system)
{
	char dir[] = "/tmp/uio_msix_XXXXXX";
	struct stat node, first, next;
	int round;

	ASSERT_EQ(0, stat(self->dev.path, &node));
	uio_msix_close(&self->dev);
	ASSERT_TRUE(!!mkdtemp(dir));
	for (round = 0; round < 4; round++) {
		if (mount("none", dir, "tmpfs", 0, NULL))
			SKIP(return, "no tmpfs");
		ASSERT_EQ(0, stat(dir, &next));
		if (!round)
			first = next;
		EXPECT_EQ(first.st_dev, next.st_dev);
		snprintf(self->dev.path, sizeof(self->dev.path), "%s/uio", dir);
		ASSERT_EQ(0, mknod(self->dev.path, S_IFCHR | 0600, node.st_rdev));
		ASSERT_EQ(0, uio_msix_open(&self->dev));
		/* Unmounted before the close, and before the unbind. */
		EXPECT_EQ(0, umount2(dir, MNT_DETACH));
		if (round % 2) {
			EXPECT_EQ(0, pci_bind(bdf, ""));
			EXPECT_EQ(0, pci_bind(bdf, "uio_msix"));
		}
		uio_msix_close(&self->dev);
	}
	rmdir(dir);
}

/* Start and length of BAR @bar by the resource file; 0 if it is not @kind. */
static uint64_t bar_range(int bar, unsigned int kind, uint64_t *start)
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

/* Whether another BAR, of this or another device, is on the pages of this one. */
static bool shares_page(uint64_t start, uint64_t len)
{
	uint64_t page = getpagesize(), from = start & -page;
	uint64_t to = (start + len + page - 1) & -page;
	unsigned long long s, e, flags;
	bool shares = false;
	glob_t files;
	size_t i;
	int bar;
	FILE *f;

	if (glob(pci("*", "resource"), 0, NULL, &files))
		return false;
	for (i = 0; i < files.gl_pathc; i++) {
		f = fopen(files.gl_pathv[i], "re");
		/* Six BARs and the ROM; what follows are windows of bridges. */
		for (bar = 0; f && bar < 7; bar++) {
			if (fscanf(f, "%llx %llx %llx", &s, &e, &flags) != 3)
				break;
			if (flags & IORESOURCE_MEM && s != start &&
			    s < to && e >= from)
				shares = true;
		}
		if (f)
			fclose(f);
	}
	globfree(&files);
	return shares;
}

TEST_F(uio_msix, maps_all_but_the_table)
{
	uint64_t page = getpagesize(), start, len, from, to, mapped;
	int cap = pci_find_cap(bdf, PCI_CAP_ID_MSIX), bar, i;
	uint32_t table = pci_config(bdf, cap + PCI_MSIX_TABLE, 4);
	uint32_t n = (pci_config(bdf, cap + PCI_MSIX_FLAGS, 2) &
		      PCI_MSIX_FLAGS_QSIZE) + 1;

	for (bar = 0; bar < 6; bar++) {
		len = bar_range(bar, IORESOURCE_MEM, &start);
		if (!len)
			continue;

		/* The pages of the table, as [from, to). */
		from = 0;
		to = 0;
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
		/* A BAR below a page is mapped with it, unless it shares it. */
		EXPECT_EQ(shares_page(start, len) ? 0 :
			  ((len + page - 1) & -page) - (to - from), mapped) {
			TH_LOG("BAR%d", bar);
		}
	}
}

/* The first word of each map is what sysfs shows there while it is not bound. */
TEST_F(uio_msix, maps_are_where_they_say)
{
	uint64_t page = getpagesize(), start;
	uint32_t word[ARRAY_SIZE(self->dev.maps)];
	struct uio_map *map;
	int i, fd, bar;
	char name[32];
	void *p;

	/* Without what the set-up changed. */
	uio_msix_close(&self->dev);
	self->dev.fd = open(self->dev.path, O_RDWR | O_CLOEXEC);
	for (i = 0; i < self->dev.num_maps; i++) {
		map = &self->dev.maps[i];
		p = uio_msix_map(&self->dev, i);
		ASSERT_TRUE(p != MAP_FAILED);
		word[i] = reg_read(p, map->offset);
		munmap(p, map->size);
	}
	ASSERT_EQ(0, pci_bind(bdf, ""));
	for (i = 0; i < self->dev.num_maps; i++) {
		map = &self->dev.maps[i];
		ASSERT_TRUE(sscanf(map->name, "BAR%d", &bar) == 1);
		ASSERT_NE(0U, bar_range(bar, IORESOURCE_MEM, &start));
		snprintf(name, sizeof(name), "resource%d", bar);
		fd = open(pci(bdf, name), O_RDWR | O_CLOEXEC);
		p = mmap(NULL, map->size, PROT_READ, MAP_SHARED, fd,
			 map->addr - (start & -page));
		ASSERT_TRUE(p != MAP_FAILED);
		EXPECT_EQ(word[i], reg_read(p, map->offset)) {
			TH_LOG("%s", map->name);
		}
		munmap(p, map->size);
		close(fd);
	}
}

TEST_F(uio_msix, io_bars_are_port_regions)
{
	const char *uio = self->dev.path + strlen("/dev/");
	char name[64], bar_name[8];
	uint64_t start, len;
	int bar, port = 0;

	EXPECT_STREQ("uio_msix", get(path("/sys/class/uio/%s/name", uio), name));
	for (bar = 0; bar < 6; bar++) {
		len = bar_range(bar, IORESOURCE_IO, &start);
		if (!len)
			continue;
		sprintf(bar_name, "BAR%d", bar);
		EXPECT_STREQ(bar_name, get(path(UIO_PORT "%d/name", uio, port),
					   name));
		EXPECT_EQ(start, get_u64(path(UIO_PORT "%d/start", uio, port)));
		EXPECT_EQ(len, get_u64(path(UIO_PORT "%d/size", uio, port)));
		EXPECT_STREQ("port_x86", get(path(UIO_PORT "%d/porttype", uio,
						  port), name));
		port++;
	}
	EXPECT_EQ(-1, access(path(UIO_PORT "%d", uio, port), F_OK));
	if (!port)
		SKIP(return, "no I/O-port BAR");
}

/* mmap(): 0 or -errno. */
static int try_mmap(int fd, uint64_t offset, size_t size, int flags)
{
	void *p = mmap(NULL, size, PROT_READ, flags, fd, offset);

	if (p == MAP_FAILED)
		return -errno;
	munmap(p, size);
	return 0;
}

TEST_F(uio_msix, bad_mmap)
{
	int page = getpagesize(), fd = self->dev.fd, i;

	for (i = 0; i < self->dev.num_maps; i++) {
		size_t size = self->dev.maps[i].size;

		EXPECT_EQ(0, try_mmap(fd, i * page, size, MAP_SHARED));
		EXPECT_EQ(-EINVAL, try_mmap(fd, i * page, size, MAP_PRIVATE));
		EXPECT_EQ(-EINVAL, try_mmap(fd, i * page, size + page,
					    MAP_SHARED));
	}
	for (; i < 64; i++)
		EXPECT_EQ(-EINVAL, try_mmap(fd, i * page, page, MAP_SHARED));
}

/* What is left keeps its place, though the offset of its VMA moved. */
TEST_F(uio_msix, partial_munmap)
{
	size_t page = getpagesize();
	uint32_t scratch;
	void *p;

	if (!self->dev.kind || self->dev.kind->scratch < 2 * page)
		SKIP(return, "no register known on the third page");
	scratch = self->dev.kind->scratch;
	reg_write(self->dev.regs, scratch, 0x12345000);
	EXPECT_EQ(0x12345000U, reg_read(self->dev.regs, scratch));

	/* Take a page away before anything is faulted in. */
	p = uio_msix_map(&self->dev, 0);
	ASSERT_TRUE(p != MAP_FAILED);
	munmap(p + page, page);
	EXPECT_EQ(0x12345000U, reg_read(p, scratch));
	munmap(p, page);
	reg_write(p, scratch, 0x54321000);
	EXPECT_EQ(0x54321000U, reg_read(self->dev.regs, scratch));
	munmap(p + 2 * page, self->dev.maps[0].size - 2 * page);
}

/* Map one page of @file at @offset: 0 or -errno. */
static int try_map(const char *file, uint64_t offset, bool proc)
{
	int fd = open(file, O_RDWR | O_SYNC | O_CLOEXEC), ret = 0;

	if (fd < 0)
		return -errno;
	if (proc && ioctl(fd, PCIIOC_MMAP_IS_MEM))
		ret = -errno;
	if (!ret)
		ret = try_mmap(fd, offset, getpagesize(), MAP_SHARED);
	close(fd);
	return ret;
}

/* Write back what the command register holds: 0 or -errno. */
static int try_config(const char *file)
{
	int fd = open(file, O_RDWR | O_CLOEXEC), ret = 0;
	uint16_t command;

	if (fd < 0)
		return -errno;
	if (pread(fd, &command, 2, PCI_COMMAND) != 2 ||
	    pwrite(fd, &command, 2, PCI_COMMAND) != 2)
		ret = -errno;
	close(fd);
	return ret;
}

/* Not there under this name where domains are numbered in it. */
static const char *proc_bus_pci(void)
{
	return path("/proc/bus/pci/%.2s/%s", bdf + 5, bdf + 8);
}

/* Every other way to a BAR: closed while bound, open to root before and after. */
TEST_F(uio_msix, no_other_way_to_the_bars)
{
	uint64_t page = getpagesize(), start, len;
	int bar, bound, user, error;
	const char *sysfs;
	char proc[32];

	strcpy(proc, proc_bus_pci());
	for (bound = 1; bound >= 0; bound--) {
		for (bar = 0; bar < 6 * 2; bar++) {
			user = bar / 6;
			len = bar_range(bar % 6, IORESOURCE_MEM, &start);
			if (!len || (!bound && len < page))
				continue;
			error = user ? -EACCES : bound ? -EINVAL : 0;
			ASSERT_EQ(0, seteuid(user ? NOBODY : 0));
			sysfs = path(PCI_DEVICES "%s/resource%d", bdf, bar % 6);
			EXPECT_EQ(error, try_map(sysfs, 0, false));
			sysfs = path("%s_wc", sysfs);
			if (!access(sysfs, F_OK))
				EXPECT_EQ(error, try_map(sysfs, 0, false));
			if (!access(proc, F_OK))
				EXPECT_EQ(error, try_map(proc, start & -page,
							 true));
			EXPECT_EQ(error == -EINVAL ? -EPERM : error,
				  try_map("/dev/mem", start & -page, false));
			ASSERT_EQ(0, seteuid(0));
		}
		uio_msix_close(&self->dev);
		if (bound)
			ASSERT_EQ(0, pci_bind(bdf, ""));
	}
}

/* Configuration space is root's, until the kernel is locked down. */
TEST_F(uio_msix, config_is_for_root)
{
	EXPECT_EQ(0, try_config(pci(bdf, "config")));
	ASSERT_EQ(0, seteuid(NOBODY));
	EXPECT_EQ(-EACCES, try_config(pci(bdf, "config")));
	if (!access(proc_bus_pci(), F_OK))
		EXPECT_EQ(-EACCES, try_config(proc_bus_pci()));
	EXPECT_EQ(-1, open(self->dev.path, O_RDWR));
	EXPECT_EQ(EACCES, errno);
	ASSERT_EQ(0, seteuid(0));
}

/* Whether /proc/self/smaps gives the mapping at @p this VmFlag. */
static bool vm_flag(void *p, const char *flag)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	char line[256], start[32];
	bool at_p = false;

	sprintf(start, "%lx-", (unsigned long)p);
	while (f && fgets(line, sizeof(line), f)) {
		if (!strncmp(line, start, strlen(start)))
			at_p = true;
		if (at_p && !strncmp(line, "VmFlags:", 8))
			break;
	}
	if (f)
		fclose(f);
	return at_p && strstr(line, flag);
}

static int peek(pid_t pid, void *p)
{
	errno = 0;
	ptrace(PTRACE_PEEKDATA, pid, p, NULL);
	return -errno;
}

/* Who has a mapping can do no more with it than load and store in its range. */
TEST_F(uio_msix, mapping_leads_no_further)
{
	size_t page = getpagesize(), size = self->dev.maps[0].size;
	int mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC), status;
	uint32_t word = 1, copy;
	struct iovec to = { &copy, 4 }, from = { &word, 4 };
	void *p, *moved;
	pid_t pid;

	if (!self->dev.num_maps)
		SKIP(return, "no BAR to map");
	p = uio_msix_map(&self->dev, 0);
	ASSERT_TRUE(p != MAP_FAILED);

	/* In no core dump, in nobody's page cache: reading has side effects. */
	EXPECT_TRUE(vm_flag(p, " io "));
	EXPECT_TRUE(vm_flag(p, " pf "));
	EXPECT_TRUE(vm_flag(p, " de "));
	EXPECT_TRUE(vm_flag(p, " dd "));

	/* The control, on memory of our own, is that these can work. */
	EXPECT_EQ(4, pread(mem, &copy, 4, (uintptr_t)&word));
	EXPECT_EQ(-1, pread(mem, &copy, 4, (uintptr_t)p));
	EXPECT_EQ(4, process_vm_readv(getpid(), &to, 1, &from, 1, 0));
	from.iov_base = p;
	EXPECT_EQ(-1, process_vm_readv(getpid(), &to, 1, &from, 1, 0));
	pid = fork();
	if (!pid) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		_exit(raise(SIGSTOP));
	}
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, peek(pid, &word));
	EXPECT_EQ(-EIO, peek(pid, p));
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);

	EXPECT_TRUE(mremap(p, size, size + page, MREMAP_MAYMOVE) == MAP_FAILED);
	EXPECT_TRUE(mremap(p, 0, page, MREMAP_MAYMOVE) == MAP_FAILED);
	moved = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	EXPECT_TRUE(mremap(p, size, size, MREMAP_MAYMOVE | MREMAP_FIXED,
			   moved) == moved);
	EXPECT_FALSE(sigbus_at(moved));
	ASSERT_EQ(0, pci_bind(bdf, ""));
	EXPECT_TRUE(sigbus_at(moved));
	munmap(moved, size);
}

/* The physical address of a page that is there, 0 if it cannot be known. */
static uint64_t physical(void *p)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t page = getpagesize(), entry;

	if (pread(fd, &entry, 8, (uintptr_t)p / page * 8) != 8)
		entry = 0;
	close(fd);
	return (entry & ((1ULL << 55) - 1)) * page;
}

/* Interrupts arrive either way; what else the device writes does not. */
TEST_F(uio_msix, dma_reaches_memory_unless_iommu)
{
	const struct uio_msix_kind *kind = self->dev.kind;
	size_t page = getpagesize();
	uint32_t *regs = self->dev.regs;
	int log = log_open(), faults = 0, tries;
	uint64_t addr;
	uint8_t *p;

	if (!kind || !kind->dma)
		SKIP(return, "no way known to have it write memory");
	p = mmap(NULL, page, PROT_READ | PROT_WRITE,
		 MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE | MAP_LOCKED, -1, 0);
	ASSERT_TRUE(p != MAP_FAILED);
	memset(p, 0x5a, page);
	addr = physical(p);
	ASSERT_NE(0U, addr);
	ASSERT_EQ(0, set_eventfd(&self->dev, 2, self->efd));
	reg_write(regs, kind->dma, addr);
	reg_write(regs, kind->dma + 4, addr >> 32);
	reg_write(regs, kind->dma + 8, 64);
	reg_write(regs, kind->dma + 12, 2);	/* fill with 0x96, then vector 2 */
	EXPECT_EQ(1, events(self->efd, EVENT_MS));
	EXPECT_EQ(translated() ? 0x5a : 0x96, p[0]);
	EXPECT_EQ(translated() ? 0x5a : 0x96, p[63]);
	EXPECT_EQ(0x5a, p[64]);
	if (!access("/sys/class/iommu/dmar0", F_OK)) {
		/* It says so in an interrupt of its own, sooner or later. */
		for (tries = 0; tries < 100 && !faults; tries++) {
			usleep(translated() ? 10000 : 1000);
			faults = log_count(dup(log), bdf + 5, "DMA Write");
		}
		EXPECT_EQ(translated(), faults > 0);
	}
	close(log);
	munmap(p, page);
}

TEST_F(uio_msix, vf_needs_opt_in)
{
	if (!is_vf())
		SKIP(return, "not a VF");
	uio_msix_close(&self->dev);
	ASSERT_EQ(0, put(ALLOW_VF, "N"));
	refused(_metadata, bdf, -EPERM, "VF");
	ASSERT_EQ(0, put(ALLOW_VF, "Y"));
	EXPECT_EQ(0, pci_bind(bdf, "uio_msix"));

	/* Looked at when it is bound, and then no more. */
	ASSERT_EQ(0, put(ALLOW_VF, "N"));
	EXPECT_EQ(0, uio_msix_open(&self->dev));
	ASSERT_EQ(0, put(ALLOW_VF, "Y"));
}

TEST_F(uio_msix, pf_with_live_vfs)
{
	uio_msix_close(&self->dev);
	if (!get_u64(pci(bdf, "sriov_totalvfs")))
		SKIP(return, "no SR-IOV");
	if (pci_bind(bdf, taken.driver) ||
	    put(pci(bdf, "sriov_numvfs"), "1"))
		SKIP(return, "driver '%s' enables no VF", taken.driver);
	pci_bind(bdf, "");
	if (!get_u64(pci(bdf, "sriov_numvfs")))
		SKIP(return, "driver '%s' takes its VFs along", taken.driver);
	refused(_metadata, bdf, -EBUSY, "VFs enabled");
	ASSERT_EQ(0, pci_bind(bdf, taken.driver));
	ASSERT_EQ(0, put(pci(bdf, "sriov_numvfs"), "0"));
}

TEST(bridge_and_no_msix)
{
	static const char * const other[][2] = {
		{ "UIO_MSIX_BRIDGE", "bridge" },
		{ "UIO_MSIX_NO_MSIX", "no MSI-X" },
	};
	char driver[64];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(other); i++) {
		const char *dev = getenv(other[i][0]);

		if (!dev)
			SKIP(return, "no device: set %s", other[i][0]);
		pci_driver(dev, driver);
		refused(_metadata, dev, -ENODEV, other[i][1]);
		pci_bind(dev, driver);
	}
}

static void expect_gone(struct __test_metadata *_metadata, struct uio_msix *dev)
{
	static const unsigned int cmds[] = {
		UIO_MSIX_GET_INFO, UIO_MSIX_SET_EVENTFD, UIO_MSIX_SET_MASK,
		_IO('u', 0x5f), _IOWR('u', 0x53, char[8192]),
	};
	struct pollfd pfd = { .fd = dev->fd, .events = POLLIN };
	uint32_t arg[4] = { };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(cmds); i++) {
		EXPECT_EQ(-1, ioctl(dev->fd, cmds[i], i < 3 ? arg : NULL));
		EXPECT_EQ(ENODEV, errno);
	}
	EXPECT_EQ(-1, ioctl(dev->fd, UIO_MSIX_SET_MASK, NULL));
	EXPECT_EQ(ENODEV, errno);
	EXPECT_EQ(1, poll(&pfd, 1, 0));
	EXPECT_TRUE(pfd.revents & POLLERR);
	EXPECT_EQ(-1, read(dev->fd, arg, 4));
	EXPECT_EQ(EIO, errno);
	EXPECT_TRUE(uio_msix_map(dev, 0) == MAP_FAILED);
}

/*
 * Take the device away by @how while threads poll and read the file and a child
 * makes interrupts and touches its own copy of the mapping all the time.
 */
static void *poll_file(void *arg)
{
	struct uio_msix *dev = arg;
	struct pollfd pfd = { .fd = dev->fd, .events = POLLIN };

	return poll(&pfd, 1, 60000) == 1 && pfd.revents & POLLERR ? arg : NULL;
}

static void *read_file(void *arg)
{
	struct uio_msix *dev = arg;
	uint32_t count;

	return read(dev->fd, &count, 4) == -1 && errno == EIO ? arg : NULL;
}

static void take_away(struct __test_metadata *_metadata, struct uio_msix *dev,
		      int efd, int (*how)(void))
{
	uint32_t *p = dev->num_maps ? uio_msix_map(dev, 0) : NULL;
	pthread_t poller, reader;
	void *told;
	int status;
	pid_t pid;

	ASSERT_TRUE(p != MAP_FAILED);
	ASSERT_EQ(0, set_eventfd(dev, 0, efd));
	ASSERT_EQ(0, pthread_create(&poller, NULL, poll_file, dev));
	ASSERT_EQ(0, pthread_create(&reader, NULL, read_file, dev));
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		signal(SIGBUS, sigbus_exit);
		while (p) {
			if (dev->kind)
				uio_msix_fire(dev, 0);
			reg_read(p, 0);
		}
		pause();
	}
	if (dev->kind)
		EXPECT_LT(0, events(efd, EVENT_MS));

	EXPECT_EQ(0, how());

	if (!p)
		kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	if (p) {
		EXPECT_TRUE(WIFEXITED(status));
		EXPECT_EQ(SIGBUS, WEXITSTATUS(status));
		EXPECT_TRUE(sigbus_at(p));
	}
	pthread_join(poller, &told);
	EXPECT_TRUE(!!told);
	pthread_join(reader, &told);
	EXPECT_TRUE(!!told);
	expect_gone(_metadata, dev);
	EXPECT_EQ(-1, uio_msix_irq(dev, 0));
}

static int unbind(void)
{
	return pci_bind(bdf, "");
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
	events(self->efd, 0);
	ASSERT_EQ(0, set_eventfd(&again, 0, self->efd));
	ASSERT_EQ(0, uio_msix_fire(&again, 0));
	EXPECT_EQ(1, events(self->efd, EVENT_MS));
	expect_gone(_metadata, &self->dev);
	uio_msix_close(&self->dev);
	ASSERT_EQ(0, uio_msix_fire(&again, 0));
	EXPECT_EQ(1, events(self->efd, EVENT_MS));
	uio_msix_close(&again);
}

/* Set the number of the bus behind the bridge of @bdf: the number it had. */
static int secondary_bus(int bus)
{
	char link[256], *bridge;
	uint8_t old = bus;
	int fd;

	link[readlink(path(PCI_DEVICES "%s", bdf), link, 255)] = 0;
	bridge = strrchr(link, '/');
	*bridge = 0;
	bridge = strrchr(link, '/') + 1;
	if (strlen(bridge) != strlen("0000:00:00.0"))
		return -1;
	fd = open(pci(bridge, "config"), O_RDWR | O_CLOEXEC);
	if (fd < 0 || pread(fd, &old, 1, PCI_SECONDARY_BUS) != 1 ||
	    pwrite(fd, &bus, 1, PCI_SECONDARY_BUS) != 1)
		return -1;
	close(fd);
	return old;
}

/* A device that does not answer is waited for by nobody. */
TEST_F(uio_msix, absent_device)
{
	int bus;

	if (is_vf())
		SKIP(return, "the PF answers for its VF");
	uio_msix_close(&self->dev);
	ASSERT_EQ(0, uio_msix_open(&self->dev));
	bus = secondary_bus(0xff);
	if (bus < 0)
		SKIP(return, "not behind a bridge");
	EXPECT_EQ(0xffffU, pci_config(bdf, 0, 2));
	uio_msix_close(&self->dev);
	EXPECT_EQ(-ENODEV, uio_msix_open(&self->dev));
	refused(_metadata, bdf, -ENODEV, "MSI-X table is in no BAR");
	secondary_bus(bus);
	EXPECT_NE(0xffffU, pci_config(bdf, 0, 2));
	ASSERT_EQ(0, pci_bind(bdf, "uio_msix"));
	ASSERT_EQ(0, uio_msix_find(&self->dev, bdf));
	EXPECT_EQ(0, uio_msix_open(&self->dev));
	ASSERT_EQ(0, set_eventfd(&self->dev, 0, self->efd));
	ASSERT_EQ(0, uio_msix_fire(&self->dev, 0));
	EXPECT_EQ(1, events(self->efd, EVENT_MS));
}

static int sysfs_remove(void)
{
	return put(pci(bdf, "remove"), "1");
}

TEST_F(uio_msix, remove_while_in_use)
{
	if (is_vf())
		SKIP(return, "a VF does not come back on a rescan");
	take_away(_metadata, &self->dev, self->efd, sysfs_remove);
	EXPECT_FALSE(pci_has(bdf, "vendor"));
	ASSERT_EQ(0, put("/sys/bus/pci/rescan", "1"));
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
	ASSERT_EQ(0, put("/sys/kernel/security/lockdown", "integrity"));

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
	EXPECT_EQ(-EPERM, try_config(pci(bdf, "config")));
	if (!access(proc_bus_pci(), F_OK))
		EXPECT_EQ(-EPERM, try_config(proc_bus_pci()));
}

int main(int argc, char **argv)
{
	bdf = take(&argc, argv);
	return test_harness_run(argc, argv);
}
