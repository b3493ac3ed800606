// SPDX-License-Identifier: GPL-2.0-only
/*
 * uio_msix: the rules of Documentation/driver-api/uio-msix.rst, on a device that
 * the environment names:
 *
 *	UIO_MSIX_DEV=0000:01:00.0	device under test, taken from its driver
 *	UIO_MSIX_AER='command'		its port reports a fatal error, and recovers
 *	UIO_MSIX_UNPLUG='command'	pulls it, for good, and waits until it is gone
 */
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "kselftest_harness.h"
#include "uio_msix_utils.h"

/* How busy the machine is must not matter. */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	300

/* TAINT_USER */
#define tainted()	(!!(get_u64("/proc/sys/kernel/tainted") & 1 << 6))
#define ROUNDS		100

static const char *bdf;

FIXTURE(uio_msix) {
	struct uio_msix dev;
	int efd;
};

FIXTURE_SETUP(uio_msix)
{
	bool before = tainted();

	if (access(PCI_DRIVERS "uio_msix", F_OK))
		SKIP(return, "uio_msix is not loaded");
	if (!bdf || !pci_has(bdf, "vendor"))
		SKIP(return, "no device: set UIO_MSIX_DEV");
	ASSERT_EQ(0, pci_bind(bdf, "uio_msix"));
	EXPECT_EQ(before, tainted());
	EXPECT_FALSE(pci_master(bdf) || pci_intx(bdf));
	ASSERT_EQ(0, uio_msix_find(&self->dev, bdf));
	ASSERT_EQ(0, uio_msix_open(&self->dev));
	self->efd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
}

FIXTURE_TEARDOWN(uio_msix)
{
	uio_msix_close(&self->dev);
	close(self->efd);
}

/* An interrupt of vector 0 makes one event. */
static void fires(struct __test_metadata *_metadata, struct uio_msix *dev,
		  int efd)
{
	ASSERT_EQ(0, uio_msix_fire(dev, 0));
	ASSERT_EQ(1, events(efd, EVENT_MS));
}

static void attach_and_fire(struct __test_metadata *_metadata,
			    struct uio_msix *dev, int efd)
{
	ASSERT_EQ(0, set_eventfd(dev, 0, efd));
	fires(_metadata, dev, efd);
}

/* After any of them a vector without an eventfd is without, one with it has it. */
TEST_F(uio_msix, ioctl_errors)
{
	const __u32 null = open("/dev/null", O_RDWR | O_CLOEXEC);
	const __u32 n = self->dev.num_vectors, efd = self->efd;
	const struct {
		unsigned int cmd;
		__u32 arg[4];
		int error;
	} bad[] = {
		{ UIO_MSIX_SET_EVENTFD, { n, efd, 0, 0 }, EINVAL },
		{ UIO_MSIX_SET_EVENTFD, { n, -1, 0, 0 }, EINVAL },
		{ UIO_MSIX_SET_EVENTFD, { 0, -2, 0, 0 }, EINVAL },
		{ UIO_MSIX_SET_EVENTFD, { 0, efd, 1, 0 }, EINVAL },
		{ UIO_MSIX_SET_EVENTFD, { 0, efd, 0, 1u << 31 }, EINVAL },
		{ UIO_MSIX_SET_EVENTFD, { 0, -1, 1u << 31, 0 }, EINVAL },
		{ UIO_MSIX_SET_EVENTFD, { 0, -1, 0, 1 }, EINVAL },
		{ UIO_MSIX_SET_EVENTFD, { 0, null, 0, 0 }, EINVAL },
		{ UIO_MSIX_SET_EVENTFD, { 0, self->dev.fd, 0, 0 }, EINVAL },
		{ UIO_MSIX_SET_EVENTFD, { 0, 1000, 0, 0 }, EBADF },
		{ UIO_MSIX_SET_MASK, { n, 1, 0, 0 }, EINVAL },
		{ UIO_MSIX_SET_MASK, { -1, 1, 0, 0 }, EINVAL },
		{ UIO_MSIX_SET_MASK, { 0, 2, 0, 0 }, EINVAL },
		{ UIO_MSIX_SET_MASK, { 0, 1, 1, 0 }, EINVAL },
		{ UIO_MSIX_SET_MASK, { 0, 1, 0, 1 }, EINVAL },
		{ _IO('u', 0x50), { }, ENOTTY },
		{ _IO('v', 0x50), { }, ENOTTY },
		{ _IOR('u', 0x50, __u32), { }, ENOTTY },
		{ _IOWR('u', 0x51, struct uio_msix_eventfd), { }, ENOTTY },
		{ _IOW('u', 0x52, char[128]), { }, ENOTTY },
		{ _IOW('u', 0x52, char[129]), { }, ENOTTY },
		{ _IOWR('u', 0x53, char[8192]), { }, ENOTTY },
	};
	const struct uio_msix_info info = { .num_vectors = n };
	char arg[8192] = "", before[8192] = "";
	int attached;
	size_t i;

	EXPECT_EQ(-EINVAL, set_mask(&self->dev, 0, 1));
	EXPECT_EQ(-EINVAL, set_mask(&self->dev, 0, 0));
	for (attached = 0; attached < 2; attached++) {
		for (i = 0; i < ARRAY_SIZE(bad); i++) {
			memcpy(arg, bad[i].arg, sizeof(bad[i].arg));
			memcpy(before, bad[i].arg, sizeof(bad[i].arg));
			EXPECT_EQ(-1, ioctl(self->dev.fd, bad[i].cmd, arg));
			EXPECT_EQ(bad[i].error, errno) {
				TH_LOG("case %zu", i);
			}
			EXPECT_EQ(0, memcmp(before, arg, sizeof(arg)));
			if (attached)
				fires(_metadata, &self->dev, self->efd);
			else
				EXPECT_EQ(-1, uio_msix_irq(&self->dev, 0));
		}
		ASSERT_EQ(0, set_eventfd(&self->dev, 0, self->efd));
	}
	EXPECT_EQ(-1, ioctl(self->dev.fd, UIO_MSIX_SET_EVENTFD, NULL));
	EXPECT_EQ(EFAULT, errno);

	memset(arg, 0xff, sizeof(arg));
	EXPECT_EQ(0, ioctl(self->dev.fd, UIO_MSIX_GET_INFO, arg));
	EXPECT_EQ(0, memcmp(arg, &info, sizeof(info)));
	EXPECT_EQ(-1, ioctl(self->dev.fd, UIO_MSIX_GET_INFO, NULL));
	EXPECT_EQ(EFAULT, errno);
}

TEST_F(uio_msix, every_vector_signals_its_own_eventfd)
{
	int cap = pci_find_cap(bdf, PCI_CAP_ID_MSIX);
	uint32_t n = self->dev.num_vectors, v, count;
	struct pollfd pfd[n + 1];

	EXPECT_LE(1U, n);
	EXPECT_GE(pci_config(bdf, cap + PCI_MSIX_FLAGS, 2) &
		  PCI_MSIX_FLAGS_QSIZE, n - 1);

	/* None of this is the business of the UIO file. */
	pfd[n] = (struct pollfd){ .fd = self->dev.fd, .events = POLLIN };
	for (v = 0; v < n; v++) {
		pfd[v].fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		pfd[v].events = POLLIN;
		ASSERT_EQ(0, set_eventfd(&self->dev, v, pfd[v].fd));
	}
	for (v = 0; v < n; v++) {
		ASSERT_EQ(0, uio_msix_fire(&self->dev, v));
		ASSERT_EQ(1, events(pfd[v].fd, EVENT_MS));
		EXPECT_EQ(0, poll(pfd, n + 1, 1));
	}
	EXPECT_EQ(0, poll(pfd, n + 1, QUIET_MS));
	fcntl(self->dev.fd, F_SETFL, O_NONBLOCK);
	EXPECT_EQ(-1, read(self->dev.fd, &count, sizeof(count)));
	EXPECT_EQ(EAGAIN, errno);

	/* Close lets go of them. */
	uio_msix_close(&self->dev);
	for (v = 0; v < n; v++)
		EXPECT_EQ(-1, uio_msix_irq(&self->dev, v));
}

TEST_F(uio_msix, replace_loses_and_doubles_nothing)
{
	int old = self->efd, new, round;

	ASSERT_EQ(0, set_eventfd(&self->dev, 0, old));
	for (round = 0; round < ROUNDS; round++) {
		new = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		ASSERT_EQ(0, uio_msix_fire(&self->dev, 0));
		ASSERT_EQ(0, set_eventfd(&self->dev, 0, new));
		if (!events(old, 0))
			ASSERT_EQ(1, events(new, EVENT_MS));
		EXPECT_EQ(0, events(old, 0) + events(new, 1));
		close(old);
		old = new;
	}
	EXPECT_EQ(0, events(old, QUIET_MS));
	self->efd = old;
}

TEST_F(uio_msix, mask_holds_back_and_delivers_one)
{
	int i;

	ASSERT_EQ(0, set_eventfd(&self->dev, 0, self->efd));
	EXPECT_EQ(0, set_mask(&self->dev, 0, 1));
	EXPECT_EQ(0, set_mask(&self->dev, 0, 1));
	for (i = 0; i < 3; i++)
		ASSERT_EQ(0, uio_msix_fire(&self->dev, 0));
	EXPECT_EQ(0, events(self->efd, QUIET_MS));
	EXPECT_EQ(0, set_mask(&self->dev, 0, 0));
	EXPECT_EQ(1, events(self->efd, EVENT_MS));
	EXPECT_EQ(0, set_mask(&self->dev, 0, 0));
	EXPECT_EQ(0, events(self->efd, QUIET_MS));
}

TEST_F(uio_msix, detach_is_final_and_forgets_the_mask)
{
	EXPECT_EQ(0, set_eventfd(&self->dev, 0, -1));
	ASSERT_EQ(0, set_eventfd(&self->dev, 0, self->efd));
	EXPECT_EQ(0, set_mask(&self->dev, 0, 1));
	EXPECT_EQ(0, set_eventfd(&self->dev, 0, -1));
	EXPECT_EQ(0, set_eventfd(&self->dev, 0, -1));
	EXPECT_EQ(-1, uio_msix_irq(&self->dev, 0));
	EXPECT_EQ(-EINVAL, set_mask(&self->dev, 0, 0));
	attach_and_fire(_metadata, &self->dev, self->efd);

	/* Only the device can fire a detached vector; it is pending there. */
	EXPECT_EQ(0, set_eventfd(&self->dev, 0, -1));
	if (self->dev.kind)
		uio_msix_fire(&self->dev, 0);
	EXPECT_EQ(0, events(self->efd, QUIET_MS));
	ASSERT_EQ(0, set_eventfd(&self->dev, 0, self->efd));
	if (self->dev.kind)
		EXPECT_EQ(1, events(self->efd, EVENT_MS));
}

TEST_F(uio_msix, one_open_until_the_last_fd_and_mapping_go)
{
	uint32_t *p = self->dev.bar0;
	pid_t pid;

	/* A child has copies of both; then there is the mapping alone. */
	pid = fork();
	if (!pid)
		_exit(pause());
	close(self->dev.fd);
	EXPECT_EQ(-EBUSY, try_open(&self->dev));
	EXPECT_TRUE(pci_master(bdf));
	kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, NULL, 0));
	if (p) {
		EXPECT_EQ(-EBUSY, try_open(&self->dev));
		EXPECT_TRUE(pci_master(bdf));
		EXPECT_FALSE(sigbus_at(p));
		munmap(p, self->dev.maps[0].size);
		self->dev.regs = NULL;
	}
	EXPECT_FALSE(pci_master(bdf));
	EXPECT_EQ(0, uio_msix_open(&self->dev));
}

/* Permission to open the file will not do. */
TEST_F(uio_msix, open_needs_cap_sys_rawio)
{
	uio_msix_close(&self->dev);
	ASSERT_EQ(0, chmod(self->dev.path, 0666));
	ASSERT_EQ(0, seteuid(65534));
	EXPECT_EQ(-EPERM, try_open(&self->dev));
	ASSERT_EQ(0, seteuid(0));
	EXPECT_EQ(0, try_open(&self->dev));
}

/* With an IOMMU and without; and at every open. */
TEST_F(uio_msix, open_taints_and_says_why_once_a_bind)
{
	int log = log_open(), other = log_open(), tries;
	char type[64];
	bool iommu;

	get(pci(bdf, "iommu_group/type"), type);
	iommu = *type && strcmp(type, "identity");
	uio_msix_close(&self->dev);
	ASSERT_EQ(0, pci_bind(bdf, "uio_msix"));
	ASSERT_EQ(0, uio_msix_find(&self->dev, bdf));
	for (tries = 0; tries < 3; tries++) {
		uio_msix_close(&self->dev);
		ASSERT_EQ(0, uio_msix_open(&self->dev));
		EXPECT_TRUE(tainted());
	}
	EXPECT_EQ(!iommu, log_count(log, bdf, "can reach all memory"));
	EXPECT_EQ(iommu, log_count(other, bdf, "use vfio-pci"));
}

TEST_F(uio_msix, bus_master_while_open_and_intx_never)
{
	EXPECT_TRUE(pci_master(bdf));
	EXPECT_FALSE(pci_intx(bdf));
	uio_msix_close(&self->dev);
	EXPECT_FALSE(pci_master(bdf) || pci_intx(bdf));
	EXPECT_EQ(0, uio_msix_open(&self->dev));
	EXPECT_EQ(0, pci_bind(bdf, ""));
	EXPECT_FALSE(pci_master(bdf));
}

/* What one user does to the configuration space does not reach the next. */
TEST_F(uio_msix, next_open_repairs_the_config)
{
	static const struct {
		int cap, offset, size, value;
	} damage[] = {
		{ 0, PCI_COMMAND, 2, 0 },
		{ 0, PCI_BASE_ADDRESS_0, 4, 0 },
		{ 0, PCI_CACHE_LINE_SIZE, 1, 0x55 },
		{ PCI_CAP_ID_EXP, PCI_EXP_DEVCTL, 2, PCI_EXP_DEVCTL_CERE },
		{ PCI_CAP_ID_PM, PCI_PM_CTRL, 2, 3 /* D3hot */ },
	};
	int cap, fd = open(pci(bdf, "config"), O_RDWR | O_CLOEXEC);
	uint32_t old = 0, new = 0;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(damage); i++) {
		cap = damage[i].cap ? pci_find_cap(bdf, damage[i].cap) : 0;
		if (damage[i].cap && !cap)
			continue;
		cap += damage[i].offset;
		pread(fd, &old, damage[i].size, cap);
		pwrite(fd, &damage[i].value, damage[i].size, cap);
		uio_msix_close(&self->dev);
		ASSERT_EQ(0, uio_msix_open(&self->dev));
		pread(fd, &new, damage[i].size, cap);
		EXPECT_EQ(old, new) {
			TH_LOG("case %zu", i);
		}
		attach_and_fire(_metadata, &self->dev, self->efd);
	}
}

TEST_F(uio_msix, maps_have_none_of_the_table)
{
	int cap = pci_find_cap(bdf, PCI_CAP_ID_MSIX);
	int page = getpagesize(), fd = self->dev.fd, i;
	uint32_t table = pci_config(bdf, cap + PCI_MSIX_TABLE, 4);
	uint64_t from = table & PCI_MSIX_TABLE_OFFSET, offset, to = from +
		((pci_config(bdf, cap + PCI_MSIX_FLAGS, 2) &
		  PCI_MSIX_FLAGS_QSIZE) + 1) * PCI_MSIX_ENTRY_SIZE;

	for (i = 0; i < self->dev.num_maps; i++) {
		struct uio_map *map = &self->dev.maps[i];

		/* BAR0 or BAR0+0x3000 */
		offset = strtoull(map->name + 4, NULL, 0) - map->offset;
		EXPECT_TRUE(map->name[3] != '0' + (int)(table & PCI_MSIX_TABLE_BIR) ||
			    offset > ((to - 1) | (page - 1)) ||
			    offset + map->size <= (from & -page));
		EXPECT_EQ(0, try_mmap(fd, i * page, map->size, MAP_SHARED));
		EXPECT_EQ(-EINVAL, try_mmap(fd, i * page, map->size, MAP_PRIVATE));
		EXPECT_EQ(-EINVAL, try_mmap(fd, i * page, map->size + page, MAP_SHARED));
	}
	for (; i < 64; i++)
		EXPECT_EQ(-EINVAL, try_mmap(fd, i * page, page, MAP_SHARED));
}

/* Of all BARs in sysfs, of the first map in procfs and /dev/mem. */
TEST_F(uio_msix, no_other_way_to_the_bars)
{
	uint64_t addr = self->dev.maps[0].addr;
	char bar0[64], proc[64];
	int bar;

	for (bar = 0; bar < 6; bar++) {
		snprintf(bar0, 64, PCI_DEVICES "%s/resource%d", bdf, bar);
		EXPECT_NE(0, try_map(bar0, 0));
		EXPECT_NE(0, try_map(path("%s_wc", bar0), 0));
	}
	if (!self->dev.num_maps)
		return;
	/* With a domain in its name, where there are several. */
	snprintf(proc, 64, "/proc/bus/pci/%.2s/%s", bdf + 5, bdf + 8);
	EXPECT_NE(0, try_map(proc, addr));
	EXPECT_NE(0, try_map("/dev/mem", addr));

	/* Open to root where nobody has claimed them. */
	ASSERT_EQ(0, pci_bind(bdf, ""));
	bar0[strlen(bar0) - 1] = self->dev.maps[0].name[3];
	EXPECT_EQ(0, try_map(bar0, 0));
	EXPECT_EQ(access(proc, F_OK), try_map(proc, addr) ? -1 : 0);
	EXPECT_EQ(0, try_map("/dev/mem", addr));
}

TEST_F(uio_msix, vf_needs_opt_in)
{
	int log = log_open();

	if (!pci_is_vf(bdf))
		SKIP(return, "not a VF");
	ASSERT_EQ(0, put(ALLOW_VF, "N"));
	EXPECT_EQ(-EPERM, pci_bind(bdf, "uio_msix"));
	EXPECT_EQ(1, log_count(log, bdf, "VF"));
	ASSERT_EQ(0, put(ALLOW_VF, "Y"));
	EXPECT_EQ(0, pci_bind(bdf, "uio_msix"));
}

/* All that a file answers after its session: still bound, or device gone. */
static void expect_dead(struct __test_metadata *_metadata, struct uio_msix *dev,
			bool gone)
{
	static char arg[8192];
	static const struct {
		unsigned int cmd;
		char *arg;
		int error[2];
	} ioctls[] = {
		{ UIO_MSIX_GET_INFO, arg, { ENODEV, ENODEV } },
		{ UIO_MSIX_SET_EVENTFD, arg, { ENODEV, ENODEV } },
		{ UIO_MSIX_SET_MASK, arg, { ENODEV, ENODEV } },
		{ _IO('u', 0x5f), NULL, { ENODEV, ENODEV } },
		{ _IOR('u', 0x5f, char[128]), NULL, { ENODEV, ENODEV } },
		{ _IOWR('u', 0x5f, char[128]), arg, { ENODEV, ENODEV } },
		{ _IOR('u', 0x5f, char[129]), arg, { ENOTTY, ENODEV } },
		{ _IOWR('u', 0x5f, char[8192]), NULL, { ENOTTY, ENODEV } },
		{ UIO_MSIX_SET_MASK, NULL, { EFAULT, ENODEV } },
		{ _IOWR('u', 0x5f, char[128]), NULL, { EFAULT, ENODEV } },
	};
	struct pollfd pfd = { .fd = dev->fd, .events = POLLIN };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(ioctls); i++) {
		EXPECT_EQ(-1, ioctl(dev->fd, ioctls[i].cmd, ioctls[i].arg));
		EXPECT_EQ(ioctls[i].error[gone], errno) {
			TH_LOG("case %zu", i);
		}
	}
	EXPECT_EQ(1, poll(&pfd, 1, 0));
	EXPECT_EQ(POLLERR, pfd.revents);
	EXPECT_EQ(-1, read(dev->fd, arg, 4));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(-1, write(dev->fd, arg, 4));
	EXPECT_EQ(gone ? EINVAL : EIO, errno);
	for (i = 0; i < (size_t)dev->num_maps; i++)
		EXPECT_EQ(gone ? -EINVAL : -ENODEV,
			  try_mmap(dev->fd, i * getpagesize(),
				   dev->maps[i].size, MAP_SHARED));
	if (!gone)
		EXPECT_EQ(-EBUSY, try_open(dev));
}

/* A child that exits with 0 once it is told in this way that it is over. */
static pid_t user(struct uio_msix *dev, char way, uint32_t *p)
{
	struct pollfd pfd = { .fd = dev->fd, .events = POLLIN };
	pid_t pid = fork();
	uint32_t count;

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (way == 'p')
		_exit(poll(&pfd, 1, -1) != 1 || !(pfd.revents & POLLERR));
	if (way == 'r')
		_exit(read(dev->fd, &count, 4) != -1 || errno != EIO);
	while (!sigbus_at(p))
		usleep(100);
	_exit(0);
}

/* End the session by this command while others poll, read and access the registers. */
static void end_session(struct __test_metadata *_metadata, struct uio_msix *dev,
			int efd, const char *how, bool gone)
{
	uint32_t *p = dev->num_maps ? uio_msix_map(dev, 0) : MAP_FAILED;
	const char *way = p == MAP_FAILED ? "pr" : "prm";
	struct uio_msix again = *dev;
	int status, i;
	pid_t pid[3];

	for (i = 0; way[i]; i++)
		pid[i] = user(dev, way[i], p);
	attach_and_fire(_metadata, dev, efd);
	EXPECT_EQ(0, system(how));

	for (i = 0; way[i]; i++) {
		ASSERT_EQ(pid[i], waitpid(pid[i], &status, 0));
		EXPECT_EQ(0, status);
	}
	EXPECT_TRUE(p == MAP_FAILED || sigbus_at(p));
	EXPECT_EQ(-1, uio_msix_irq(dev, 0));
	expect_dead(_metadata, dev, gone);
	if (!pci_has(bdf, "vendor"))
		return;
	EXPECT_FALSE(pci_master(bdf));

	/* Whoever opens it next has a new session. */
	if (gone) {
		ASSERT_EQ(0, pci_bind(bdf, "uio_msix"));
		ASSERT_EQ(0, uio_msix_find(&again, bdf));
	} else {
		EXPECT_FALSE(pci_intx(bdf));
		uio_msix_close(dev);
		EXPECT_EQ(p == MAP_FAILED ? 0 : -EBUSY, try_open(dev));
	}
	if (p != MAP_FAILED)
		munmap(p, dev->maps[0].size);
	ASSERT_EQ(0, uio_msix_open(&again));
	attach_and_fire(_metadata, &again, efd);

	/* And in the old one, if it is open still, nobody. */
	if (gone) {
		expect_dead(_metadata, dev, gone);
		uio_msix_close(dev);
	}
	fires(_metadata, &again, efd);
	uio_msix_close(&again);
}

TEST_F(uio_msix, unbind_while_in_use)
{
	end_session(_metadata, &self->dev, self->efd,
		    "echo $UIO_MSIX_DEV >" PCI_DRIVERS "uio_msix/unbind", true);
}

TEST_F(uio_msix, remove_while_in_use)
{
	if (pci_is_vf(bdf))
		SKIP(return, "a VF does not come back on a rescan");
	end_session(_metadata, &self->dev, self->efd,
		    "cd /sys/bus/pci && echo 0 >drivers_autoprobe && echo 1 >devices/$UIO_MSIX_DEV/remove && echo 1 >rescan;"
		    "echo 1 >drivers_autoprobe", true);
}

TEST_F(uio_msix, reset_while_in_use)
{
	if (!pci_has(bdf, "reset"))
		SKIP(return, "%s cannot be reset", bdf);
	end_session(_metadata, &self->dev, self->efd,
		    "echo 1 >" PCI_DEVICES "$UIO_MSIX_DEV/reset", false);
}

/* All devices are suspended and resumed, but the machine does not sleep. */
TEST_F(uio_msix, suspend_while_in_use_and_while_closed)
{
	static const char suspend[] =
		"cd /sys/power && echo devices>pm_test && echo freeze>state && echo none>pm_test";

	if (access("/sys/power/pm_test", F_OK))
		SKIP(return, "no CONFIG_PM_DEBUG");
	end_session(_metadata, &self->dev, self->efd, suspend, false);

	EXPECT_EQ(0, system(suspend));
	EXPECT_FALSE(pci_master(bdf) || pci_intx(bdf));
	ASSERT_EQ(0, uio_msix_open(&self->dev));
	attach_and_fire(_metadata, &self->dev, self->efd);
}

TEST_F(uio_msix, error_while_in_use)
{
	if (!getenv("UIO_MSIX_AER"))
		SKIP(return, "no way to inject an error: set UIO_MSIX_AER");
	end_session(_metadata, &self->dev, self->efd,
		    getenv("UIO_MSIX_AER"), false);
}

TEST_F(uio_msix, unplug_while_in_use)
{
	if (!getenv("UIO_MSIX_UNPLUG"))
		SKIP(return, "no way to pull it: set UIO_MSIX_UNPLUG");
	end_session(_metadata, &self->dev, self->efd,
		    getenv("UIO_MSIX_UNPLUG"), true);
}

int main(int argc, char **argv)
{
	bdf = take();
	return test_harness_run(argc, argv);
}
