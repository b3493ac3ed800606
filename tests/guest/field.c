// SPDX-License-Identifier: GPL-2.0-only
/*
 * What users met with drivers of this kind, out in the field. A fixture for each
 * sort of machine; init.sh knows which device suits:
 *
 *	UIO_MSIX_DEV	device under test, whose driver it does not get back
 *	FIELD_PULL, FIELD_PLUG	commands for the monitor of QEMU, or of an error,
 *	FIELD_CORRECTED	and of one that does no harm: "monitor" passes them on
 *	FIELD_OTHER	another device: a second one, or the one beside it
 */
#include <elf.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <linux/capability.h>
#include <linux/io_uring.h>
#include <linux/netlink.h>

#include "kselftest_harness.h"
#include "guest.h"

#define TIMEOUT		900
#define WAIT_MS		120000	/* pciehp blinks for 5 s; hosts are slow */
#define CHILD_S		600
#define NOBODY		65534
#define CONFIG_ID	0
#define CPU1_ONLINE	"/sys/devices/system/cpu/cpu1/online"

static const char *bdf, *other;

/* In a child, which has no assertions of the harness. */
#define CHECK(cond) do {						\
	if (!(cond)) {							\
		printf("# %s:%d: %s, errno %d\n", __func__, __LINE__,	\
		       #cond, errno);					\
		fflush(stdout);						\
		_exit(1);						\
	}								\
} while (0)

static int exit_code(pid_t pid)
{
	int status;

	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static pid_t child(void)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		alarm(CHILD_S);
	}
	return pid;
}

static int new_eventfd(void)
{
	return eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
}

static bool wait_for(const char *dev, const char *attr, bool present)
{
	int ms;

	for (ms = 0; ms < WAIT_MS; ms += 10) {
		if (pci_has(dev, attr) == present)
			return true;
		usleep(10000);
	}
	return false;
}

static int monitor(const char *command)
{
	return system(path("monitor '%s'", getenv(command)));
}

/* QEMU refuses until the slot has no power: asked again. */
static bool plug(void)
{
	int s;

	for (s = 0; s < WAIT_MS / 1000 && !pci_has(bdf, "vendor"); s++) {
		if (monitor("FIELD_PLUG"))
			return false;
		usleep(1000000);
	}
	return pci_has(bdf, "vendor");
}

static int bind_and_open(struct uio_msix *dev, const char *which)
{
	int ret = pci_bind(which, "uio_msix");

	if (!ret)
		ret = uio_msix_find(dev, which);
	return ret ?: uio_msix_open(dev);
}

static bool fires(struct uio_msix *dev, int vector, int efd)
{
	return !uio_msix_fire(dev, vector) && events(efd, EVENT_MS) == 1;
}

/* Closed, and opened again. */
static bool works_again(struct uio_msix *dev, int efd)
{
	uio_msix_close(dev);
	return !uio_msix_open(dev) && !set_eventfd(dev, 0, efd) && fires(dev, 0, efd);
}

static bool is_dead(struct uio_msix *dev)
{
	struct pollfd pfd = { .fd = dev->fd, .events = POLLIN };
	struct uio_msix_info info;

	return ioctl(dev->fd, UIO_MSIX_GET_INFO, &info) == -1 &&
		errno == ENODEV && poll(&pfd, 1, 0) == 1 &&
		pfd.revents & POLLERR;
}

/* How often the kernel told udev of @action on a uio device since last asked. */
static int uevents(int nl, const char *action, const char *node)
{
	char buf[8192], devname[64], *p;
	bool uio, that, named;
	int count = 0;
	ssize_t len;

	snprintf(devname, sizeof(devname), "DEVNAME=%s", strrchr(node, '/') + 1);
	while ((len = recv(nl, buf, sizeof(buf) - 1, MSG_DONTWAIT)) > 0) {
		buf[len] = 0;
		uio = false;
		that = false;
		named = false;
		for (p = buf; p < buf + len; p += strlen(p) + 1) {
			uio |= !strcmp(p, "SUBSYSTEM=uio");
			that |= !strncmp(p, "ACTION=", 7) &&
				!strcmp(p + 7, action);
			named |= !strcmp(p, devname);
		}
		count += uio && that && named;
	}
	return count;
}

static int uevents_open(void)
{
	struct sockaddr_nl addr = { .nl_family = AF_NETLINK, .nl_groups = 1 };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC,
			NETLINK_KOBJECT_UEVENT);
	int size = 1 << 20;

	setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	return bind(fd, (void *)&addr, sizeof(addr)) ? -1 : fd;
}

/* A device that fires by its own registers, and has SR-IOV. */
FIXTURE(field) {
	struct uio_msix dev;
	int efd;
};

FIXTURE_SETUP(field)
{
	ASSERT_NE(NULL, bdf);
	ASSERT_EQ(0, bind_and_open(&self->dev, bdf));
	ASSERT_NE(NULL, self->dev.kind);
	self->efd = new_eventfd();
	ASSERT_EQ(0, set_eventfd(&self->dev, 0, self->efd));
}

FIXTURE_TEARDOWN(field)
{
	uio_msix_close(&self->dev);
	close(self->efd);
}

/*
 * Monitoring agents read sriov_numvfs all the time, for which the kernel takes
 * the device lock. A device is removed nevertheless, and can be opened.
 */
TEST_F_TIMEOUT(field, readers_of_sriov_numvfs, TIMEOUT)
{
	unsigned long *reads = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
				    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int round, i, ms, tries, ret, refused = 0;
	pid_t pids[2];
	char word[64];

	for (i = 0; i < 2; i++) {
		pids[i] = child();
		if (pids[i])
			continue;
		uio_msix_close(&self->dev);
		for (;;)
			if (*get(pci(bdf, "sriov_numvfs"), word))
				__atomic_fetch_add(reads + i, 1,
						   __ATOMIC_RELAXED);
	}
	for (round = 0; round < 10; round++) {
		/* Both are at it, and have closed what they inherited. */
		for (i = 0; i < 2; i++) {
			__atomic_store_n(reads + i, 0, __ATOMIC_RELAXED);
			for (ms = 0; !__atomic_load_n(reads + i,
						      __ATOMIC_RELAXED); ms++) {
				ASSERT_GT(WAIT_MS, ms);
				usleep(1000);
			}
		}
		for (i = 0; i < 10; i++) {
			uio_msix_close(&self->dev);
			/* Who is unlucky with the lock may ask again. */
			for (tries = 0; tries < 50; tries++) {
				ret = uio_msix_open(&self->dev);
				if (ret != -EAGAIN)
					break;
				refused++;
			}
			ASSERT_EQ(0, ret);
		}
		ASSERT_EQ(0, set_eventfd(&self->dev, 0, self->efd));
		ASSERT_TRUE(fires(&self->dev, 0, self->efd));

		ASSERT_EQ(0, put(pci(bdf, "remove"), "1"));
		ASSERT_FALSE(pci_has(bdf, "vendor"));
		ASSERT_TRUE(is_dead(&self->dev));
		uio_msix_close(&self->dev);
		ASSERT_EQ(0, put("/sys/bus/pci/rescan", "1"));
		ASSERT_TRUE(wait_for(bdf, "sriov_numvfs", true));
		ASSERT_EQ(0, bind_and_open(&self->dev, bdf));
	}
	for (i = 0; i < 2; i++) {
		kill(pids[i], SIGKILL);
		exit_code(pids[i]);
	}
	TH_LOG("%d of 100 opens had to ask again", refused);
}

/* What udev needs for its rules; once each, whether it is open or not. */
TEST_F_TIMEOUT(field, uevents, TIMEOUT)
{
	int nl = uevents_open(), round;
	struct uio_msix dev;

	ASSERT_LE(0, nl);
	for (round = 0; round < 4; round++) {
		dev = self->dev;
		ASSERT_EQ(0, pci_bind(bdf, ""));
		ASSERT_EQ(1, uevents(nl, "remove", dev.path));
		uio_msix_close(&self->dev);
		ASSERT_EQ(0, uevents(nl, "remove", dev.path));
		ASSERT_EQ(0, pci_bind(bdf, "uio_msix"));
		ASSERT_EQ(0, uio_msix_find(&self->dev, bdf));
		ASSERT_EQ(1, uevents(nl, "add", self->dev.path));
		if (round % 2)
			ASSERT_EQ(0, uio_msix_open(&self->dev));
		ASSERT_EQ(0, uevents(nl, "add", self->dev.path));
	}
}

/* Rules of udev and units of systemd open it when they hear of it. */
TEST_F_TIMEOUT(field, opened_on_its_uevent, TIMEOUT)
{
	int nl, round, ms;
	pid_t pid;

	for (round = 0; round < 20; round++) {
		uio_msix_close(&self->dev);
		ASSERT_EQ(0, pci_bind(bdf, ""));
		nl = uevents_open();
		pid = child();
		if (!pid) {
			for (ms = 0; !uevents(nl, "add", self->dev.path); ms++) {
				CHECK(ms < WAIT_MS);
				usleep(1000);
			}
			/* It is locked until the bind is done. */
			while (uio_msix_open(&self->dev))
				CHECK(errno == EAGAIN);
			CHECK(!set_eventfd(&self->dev, 0, self->efd));
			CHECK(fires(&self->dev, 0, self->efd));
			_exit(0);
		}
		ASSERT_EQ(0, pci_bind(bdf, "uio_msix"));
		ASSERT_EQ(0, exit_code(pid));
		close(nl);
	}
}

/* An event loop that waits for input, by level or by edge, hears of the end. */
TEST_F_TIMEOUT(field, event_loop, TIMEOUT)
{
	static const uint32_t kinds[] = { 0, EPOLLET, EPOLLEXCLUSIVE };
	struct epoll_event event;
	int gone, epoll, i;
	pid_t pids[2];
	size_t kind;

	for (kind = 0; kind < ARRAY_SIZE(kinds); kind++) {
		for (gone = 0; gone < 2; gone++) {
			for (i = 0; i < 2; i++) {
				pids[i] = child();
				if (pids[i])
					continue;
				epoll = epoll_create1(EPOLL_CLOEXEC);
				event.events = EPOLLIN | kinds[kind];
				CHECK(!epoll_ctl(epoll, EPOLL_CTL_ADD, self->dev.fd, &event));
				CHECK(epoll_wait(epoll, &event, 1, 0) == 0);
				CHECK(epoll_wait(epoll, &event, 1, EVENT_MS) == 1);
				_exit(event.events != EPOLLERR);
			}
			for (i = 0; i < 2; i++)
				while (!sleeps(pids[i]))
					usleep(1000);
			ASSERT_EQ(0, gone ? pci_bind(bdf, "") : put(pci(bdf, "reset"), "1"));
			for (i = 0; i < 2; i++)
				EXPECT_EQ(0, exit_code(pids[i])) {
					TH_LOG("kind %zu, gone %d, program %d", kind, gone, i);
				}
			uio_msix_close(&self->dev);
			ASSERT_EQ(0, bind_and_open(&self->dev, bdf));
		}
	}
}

/* Have io_uring do one thing; its user_data is what to do. */
static void uring_submit(struct __test_metadata *_metadata, int ring, char *rings,
			 struct io_uring_sqe *sqes, const struct io_uring_params *p,
			 const struct io_uring_sqe *sqe)
{
	unsigned int *tail = (void *)(rings + p->sq_off.tail);

	sqes[*tail] = *sqe;
	((unsigned int *)(rings + p->sq_off.array))[*tail] = *tail;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	ASSERT_EQ(1, syscall(SYS_io_uring_enter, ring, 1, 0, 0, NULL, 0));
}

/* It is told of the end as others are, and keeps what it was given. */
TEST_F_TIMEOUT(field, io_uring, TIMEOUT)
{
	struct io_uring_params p = { };
	int ring = syscall(SYS_io_uring_setup, 4, &p), i, ms;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqe;
	struct pollfd pfd = { .fd = ring, .events = POLLIN };
	uint32_t count;
	char *rings;
	size_t size;

	ASSERT_LE(0, ring);
	/* The completions are before the array. */
	size = p.sq_off.array + p.sq_entries * sizeof(unsigned int);
	rings = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_SQ_RING);
	sqes = mmap(NULL, 4 * sizeof(*sqes), PROT_READ | PROT_WRITE, MAP_SHARED, ring,
		    IORING_OFF_SQES);
	ASSERT_TRUE(rings != MAP_FAILED && sqes != MAP_FAILED);
	ASSERT_EQ(0, syscall(SYS_io_uring_register, ring, IORING_REGISTER_FILES,
			     &self->dev.fd, 1));
	uring_submit(_metadata, ring, rings, sqes, &p, &(struct io_uring_sqe) {
		.opcode = IORING_OP_POLL_ADD, .fd = self->dev.fd,
		.poll32_events = POLLIN, .user_data = POLLERR });
	uring_submit(_metadata, ring, rings, sqes, &p, &(struct io_uring_sqe) {
		.opcode = IORING_OP_READ, .fd = self->dev.fd,
		.addr = (uintptr_t)&count, .len = 4, .user_data = -EIO });
	EXPECT_EQ(0, poll(&pfd, 1, QUIET_MS));
	ASSERT_TRUE(fires(&self->dev, 0, self->efd));

	ASSERT_EQ(0, put(pci(bdf, "reset"), "1"));
	for (i = 0; i < 2; i++) {
		for (ms = 0; ms < EVENT_MS; ms++) {
			if (__atomic_load_n((unsigned int *)(rings + p.cq_off.tail),
					    __ATOMIC_ACQUIRE) > (unsigned int)i)
				break;
			usleep(1000);
			syscall(SYS_io_uring_enter, ring, 0, 0, IORING_ENTER_GETEVENTS, NULL, 0);
		}
		ASSERT_GT(EVENT_MS, ms);
		cqe = (struct io_uring_cqe *)(rings + p.cq_off.cqes) + i;
		EXPECT_EQ((int)cqe->user_data, cqe->res);
	}

	/* The registered file is one more reference, until the ring has gone. */
	uio_msix_close(&self->dev);
	EXPECT_EQ(-EBUSY, try_open(&self->dev));
	munmap(rings, size);
	munmap(sqes, 4 * sizeof(*sqes));
	close(ring);
	for (ms = 0; ms < EVENT_MS && try_open(&self->dev); ms++)
		usleep(1000);
	EXPECT_GT(EVENT_MS, ms);
	EXPECT_TRUE(works_again(&self->dev, self->efd));
}

/* By sosreport, lspci -vvv or an agent: the session goes on. */
TEST_F_TIMEOUT(field, all_of_sysfs_is_read, TIMEOUT)
{
	int round, rounds = 0, status;
	pid_t pid = 0;

	put(pci(bdf, "rom"), "1");
	for (round = 0; rounds < 5; round++) {
		if (!pid) {
			pid = child();
			if (!pid)
				_exit(system("find /sys/bus/pci/devices/$UIO_MSIX_DEV/ /proc/bus/pci /proc/irq /sys/kernel/debug/irq -type f -exec cat {} + >/dev/null 2>&1") == -1);
		}
		ASSERT_TRUE(fires(&self->dev, 0, self->efd)) {
			TH_LOG("interrupt %d", round);
		}
		if (waitpid(pid, &status, WNOHANG) == pid) {
			ASSERT_EQ(0, status);
			rounds++;
			pid = 0;
		}
	}
	TH_LOG("%d interrupts meanwhile", round);
	EXPECT_EQ(0, events(self->efd, QUIET_MS));
	EXPECT_TRUE(pci_master(bdf));
	EXPECT_TRUE(works_again(&self->dev, self->efd));
}

/* The numbers of the interrupt in /proc/interrupts, for CPU 0 and 1. */
static bool counts(int irq, unsigned long count[2])
{
	FILE *f = fopen("/proc/interrupts", "re");
	char line[4096];
	int number;
	bool found = false;

	while (f && !found && fgets(line, sizeof(line), f))
		found = sscanf(line, " %d: %lu %lu", &number, count,
			       count + 1) == 3 && number == irq;
	if (f)
		fclose(f);
	return found;
}

/* What irqbalance or the administrator said holds as long as it is open. */
TEST_F_TIMEOUT(field, affinity_is_kept, TIMEOUT)
{
	int irq = uio_msix_irq(&self->dev, 0), round, i;
	unsigned long before[2], after[2];
	const int cpus[] = { 1, 0, 1 };
	int second = new_eventfd();
	char word[64], mask[64];

	ASSERT_LT(0, irq);
	for (round = 0; round < 3; round++) {
		snprintf(mask, sizeof(mask), "%x", 1 << cpus[round]);
		ASSERT_EQ(0, put(path("/proc/irq/%d/smp_affinity", irq), mask));
		/* The next interrupt is what moves it. */
		ASSERT_TRUE(fires(&self->dev, 0, self->efd));

		for (i = 0; i < 3; i++) {
			/* Replaced; detached and attached again; masked. */
			if (i == 1)
				ASSERT_EQ(0, set_eventfd(&self->dev, 0, -1));
			ASSERT_EQ(0, set_eventfd(&self->dev, 0,
						 i == 1 ? self->efd : second));
			if (i == 2) {
				ASSERT_EQ(0, set_mask(&self->dev, 0, 1));
				ASSERT_EQ(0, set_mask(&self->dev, 0, 0));
			}
			ASSERT_EQ(irq, uio_msix_irq(&self->dev, 0));
			get(path("/proc/irq/%d/smp_affinity", irq), word);
			ASSERT_EQ(1ul << cpus[round], strtoul(word, NULL, 16));
			ASSERT_TRUE(counts(irq, before));
			ASSERT_TRUE(fires(&self->dev, 0,
					  i == 1 ? self->efd : second));
			ASSERT_TRUE(counts(irq, after));
			EXPECT_EQ(before[cpus[round]] + 1, after[cpus[round]]);
			EXPECT_EQ(before[!cpus[round]], after[!cpus[round]]);
		}
		ASSERT_EQ(0, set_eventfd(&self->dev, 0, self->efd));
	}
}

/* With an interrupt for it on its way, or held back in the device. */
TEST_F_TIMEOUT(field, cpu_goes_offline, TIMEOUT)
{
	int irq = uio_msix_irq(&self->dev, 0), round;

	if (access(CPU1_ONLINE, F_OK))
		SKIP(return, "CPU 1 stays");
	for (round = 0; round < 10; round++) {
		ASSERT_EQ(0, put(path("/proc/irq/%d/smp_affinity", irq), "2"));
		/* The next interrupt is what moves it. */
		ASSERT_TRUE(fires(&self->dev, 0, self->efd));
		ASSERT_EQ(0, set_mask(&self->dev, 0, round % 2));
		ASSERT_EQ(0, uio_msix_fire(&self->dev, 0));
		ASSERT_EQ(0, put(CPU1_ONLINE, "0"));
		if (round % 2) {
			EXPECT_EQ(0, events(self->efd, QUIET_MS));
			EXPECT_EQ(0, set_mask(&self->dev, 0, 0));
		}
		EXPECT_EQ(1, events(self->efd, EVENT_MS));
		EXPECT_TRUE(fires(&self->dev, 0, self->efd));
		ASSERT_EQ(0, put(CPU1_ONLINE, "1"));
		EXPECT_TRUE(fires(&self->dev, 0, self->efd));
		EXPECT_EQ(0, events(self->efd, QUIET_MS));
	}
}

/* Nobody reads it: that holds up neither its own interrupts nor others. */
TEST_F_TIMEOUT(field, full_eventfd, TIMEOUT)
{
	struct pollfd full = { .fd = self->efd };
	uint64_t nearly = UINT64_MAX - 1;
	int second = new_eventfd();

	ASSERT_EQ(0, set_eventfd(&self->dev, 1, second));
	ASSERT_EQ(8, write(self->efd, &nearly, sizeof(nearly)));
	ASSERT_EQ(0, uio_msix_fire(&self->dev, 0));
	ASSERT_EQ(1, poll(&full, 1, EVENT_MS));
	EXPECT_EQ(POLLERR, full.revents);
	ASSERT_EQ(0, uio_msix_fire(&self->dev, 0));
	EXPECT_TRUE(fires(&self->dev, 1, second));
	EXPECT_EQ((int)UINT64_MAX, events(self->efd, EVENT_MS));
	events(self->efd, QUIET_MS);
	EXPECT_TRUE(fires(&self->dev, 0, self->efd));
}

/* Who has asked for one, instead of a poll() on the file. */
TEST_F_TIMEOUT(field, signal_at_the_end, TIMEOUT)
{
	struct timespec at_once = { }, soon = { .tv_sec = EVENT_MS / 1000 };
	siginfo_t info = { };
	sigset_t set;
	int chosen;

	sigemptyset(&set);
	sigaddset(&set, SIGIO);
	sigaddset(&set, SIGRTMIN);
	sigprocmask(SIG_BLOCK, &set, NULL);
	for (chosen = 0; chosen < 2; chosen++) {
		ASSERT_EQ(0, fcntl(self->dev.fd, F_SETOWN, getpid()));
		ASSERT_EQ(0, fcntl(self->dev.fd, F_SETSIG, chosen ? SIGRTMIN : 0));
		ASSERT_EQ(0, fcntl(self->dev.fd, F_SETFL, O_ASYNC));
		ASSERT_EQ(0, set_eventfd(&self->dev, 0, self->efd));
		ASSERT_TRUE(fires(&self->dev, 0, self->efd));
		EXPECT_EQ(-1, sigtimedwait(&set, NULL, &at_once));
		ASSERT_EQ(0, put(pci(bdf, "reset"), "1"));
		EXPECT_EQ(chosen ? SIGRTMIN : SIGIO, sigtimedwait(&set, &info, &soon));
		if (chosen) {
			EXPECT_EQ(POLL_HUP, info.si_code);
			EXPECT_EQ(self->dev.fd, info.si_fd);
		}
		EXPECT_TRUE(is_dead(&self->dev));
		uio_msix_close(&self->dev);
		ASSERT_EQ(0, uio_msix_open(&self->dev));
	}
}

/* A worker that comes and goes takes nothing along. */
TEST_F_TIMEOUT(field, child_maps_attaches_exits, TIMEOUT)
{
	int round, ret, efd = new_eventfd();
	void *bar;

	for (round = 0; round < 50; round++) {
		if (!child()) {
			CHECK(!set_eventfd(&self->dev, 1, new_eventfd()));
			if (round % 2)
				CHECK(!set_mask(&self->dev, 1, 1));
			bar = uio_msix_map(&self->dev, 0);
			CHECK(bar != MAP_FAILED);
			self->dev.regs = bar + self->dev.maps[0].offset;
			CHECK(!uio_msix_fire(&self->dev, 1));
			CHECK(fires(&self->dev, 0, self->efd));
			if (round % 4 == 3)
				raise(SIGKILL);
			_exit(0);
		}
		ret = exit_code(-1);
		ASSERT_EQ(round % 4 == 3 ? -SIGKILL : 0, ret);
		ASSERT_TRUE(fires(&self->dev, 0, self->efd));
		/* Nobody reads the child's eventfd any more. */
		ASSERT_EQ(0, uio_msix_fire(&self->dev, 1));
		ASSERT_EQ(0, set_mask(&self->dev, 1, 0));
		ASSERT_EQ(0, set_eventfd(&self->dev, 1, efd));
		events(efd, QUIET_MS);
		ASSERT_TRUE(fires(&self->dev, 1, efd));
		ASSERT_EQ(0, set_eventfd(&self->dev, 1, -1));
		ASSERT_EQ(-EBUSY, open(self->dev.path, O_RDWR) < 0 ? -errno : 0);
	}
}

/* Bind and unbind @which @rounds times: how often it failed, and why at last. */
static int bind_often(const char *which, int rounds, int *error)
{
	int failed = 0, ret;

	while (rounds--) {
		ret = pci_bind(which, "uio_msix") ?: pci_bind(which, "");
		if (ret)
			*error = ret;
		failed += !!ret;
	}
	return failed;
}

/* As at boot, or when many VFs come: none gets the number of one that goes. */
TEST_F_TIMEOUT(field, many_bound_at_once, TIMEOUT)
{
	const char *devices[] = { bdf, other };
	int i, error = 0;

	ASSERT_NE(NULL, other);
	uio_msix_close(&self->dev);
	for (i = 0; i < 2; i++) {
		put(pci(devices[i], "reset_method"), "\n");
		if (child())
			continue;
		if (bind_often(devices[i], 300, &error))
			printf("# %s: %s\n", devices[i], strerror(-error));
		fflush(stdout);
		_exit(error != 0);
	}
	for (i = 0; i < 2; i++)
		EXPECT_EQ(0, exit_code(-1));
	for (i = 0; i < 2; i++)
		put(pci(devices[i], "reset_method"), "default");
}

/* As powertop sets it for all devices. */
TEST_F_TIMEOUT(field, power_is_automatic, TIMEOUT)
{
	const char *const files[] = { "power/control", "../power/control" };
	char word[64];
	int i, round;

	for (round = 0; round < 2; round++) {
		for (i = 0; i < 2; i++)
			ASSERT_EQ(0, put(pci(bdf, files[i]), "auto"));
		usleep(1500000);
		EXPECT_STREQ("active", get(pci(bdf, "power/runtime_status"), word));
		EXPECT_TRUE(fires(&self->dev, 0, self->efd));
		uio_msix_close(&self->dev);
		usleep(1500000);
		EXPECT_STREQ("active", get(pci(bdf, "power/runtime_status"), word));
		ASSERT_EQ(0, uio_msix_open(&self->dev));
		ASSERT_EQ(0, set_eventfd(&self->dev, 0, self->efd));
		EXPECT_TRUE(fires(&self->dev, 0, self->efd));
		uio_msix_close(&self->dev);
		/* Unbound it may sleep, and its port. */
		ASSERT_EQ(0, pci_bind(bdf, ""));
		usleep(1500000);
		ASSERT_EQ(0, bind_and_open(&self->dev, bdf));
		ASSERT_EQ(0, set_eventfd(&self->dev, 0, self->efd));
		EXPECT_TRUE(fires(&self->dev, 0, self->efd));
	}
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, put(pci(bdf, files[i]), "on"));
}

/* All of it but the sleep: the PCI core saves, sends to D3hot, and restores. */
TEST_F_TIMEOUT(field, suspend_as_far_as_the_platform, TIMEOUT)
{
	uint64_t slept;
	int round;

	if (access("/sys/power/pm_test", F_OK))
		SKIP(return, "no CONFIG_PM_DEBUG");
	put(MEDDLE "d3hot_delay", path("%s 10", bdf));
	for (round = 0; round < 4; round++) {
		/* Open; a dead file that stays open; closed. */
		if (round == 2)
			uio_msix_close(&self->dev);
		slept = get_u64(MEDDLE "slept");
		ASSERT_EQ(0, put("/sys/power/pm_test", "platform"));
		EXPECT_EQ(0, put("/sys/power/state", "freeze"));
		ASSERT_EQ(0, put("/sys/power/pm_test", "none"));
		EXPECT_FALSE(pci_master(bdf));
		EXPECT_FALSE(pci_intx(bdf));
		/* The PCI core puts it to sleep, for the driver does not. */
		if (!access(MEDDLE "slept", F_OK))
			EXPECT_EQ(slept + 1, get_u64(MEDDLE "slept"));
		if (round < 2)
			EXPECT_TRUE(is_dead(&self->dev));
	}
	ASSERT_EQ(0, uio_msix_open(&self->dev));
	ASSERT_EQ(0, set_eventfd(&self->dev, 0, self->efd));
	EXPECT_TRUE(fires(&self->dev, 0, self->efd));
}

/* A container's node stays when the device goes, and is right when it is back. */
TEST_F_TIMEOUT(field, node_of_a_container, TIMEOUT)
{
	struct uio_msix dev;
	struct stat st;

	ASSERT_EQ(0, stat(self->dev.path, &st));
	unlink("/tmp/node");
	ASSERT_EQ(0, mknod("/tmp/node", S_IFCHR | 0600, st.st_rdev));
	ASSERT_EQ(0, put(pci(bdf, "remove"), "1"));
	EXPECT_TRUE(is_dead(&self->dev));
	EXPECT_EQ(-1, open("/tmp/node", O_RDWR));
	EXPECT_EQ(ENODEV, errno);
	ASSERT_EQ(0, put("/sys/bus/pci/rescan", "1"));
	ASSERT_TRUE(wait_for(bdf, "vendor", true));
	ASSERT_EQ(0, pci_bind(bdf, "uio_msix"));
	ASSERT_EQ(0, uio_msix_find(&dev, bdf));
	ASSERT_STREQ(self->dev.path, dev.path);

	strcpy(dev.path, "/tmp/node");
	ASSERT_EQ(0, uio_msix_open(&dev));
	ASSERT_EQ(0, set_eventfd(&dev, 0, self->efd));
	EXPECT_TRUE(fires(&dev, 0, self->efd));
	/* What is left of the old session does nothing to the new one. */
	EXPECT_TRUE(is_dead(&self->dev));
	EXPECT_TRUE(sigbus_at(REG(self->dev.regs, self->dev.kind->fire)));
	uio_msix_close(&self->dev);
	EXPECT_TRUE(fires(&dev, 0, self->efd));
	uio_msix_close(&dev);
}

/* An FPGA is loaded anew: its port is removed first, and all below it. */
TEST_F_TIMEOUT(field, removed_with_its_port, TIMEOUT)
{
	char link[256], *port;

	ASSERT_NE(NULL, realpath(path(PCI_DEVICES "%s/..", bdf), link));
	port = strrchr(link, '/') + 1;
	ASSERT_EQ(0, put(pci(port, "remove"), "1"));
	EXPECT_FALSE(pci_has(bdf, "vendor"));
	EXPECT_TRUE(is_dead(&self->dev));
	EXPECT_TRUE(sigbus_at(REG(self->dev.regs, self->dev.kind->fire)));
	ASSERT_EQ(0, put("/sys/bus/pci/rescan", "1"));
	ASSERT_TRUE(wait_for(bdf, "vendor", true));
	uio_msix_close(&self->dev);
	ASSERT_EQ(0, bind_and_open(&self->dev, bdf));
	ASSERT_EQ(0, set_eventfd(&self->dev, 0, self->efd));
	EXPECT_TRUE(fires(&self->dev, 0, self->efd));
}

/* What nobody is told of: the session lives, without its interrupts. */
TEST_F_TIMEOUT(field, bus_reset_by_hand, TIMEOUT)
{
	int fd = open(pci(bdf, "../config"), O_RDWR | O_CLOEXEC);
	uint16_t control, reset;

	ASSERT_LE(0, fd);
	ASSERT_EQ(2, pread(fd, &control, 2, PCI_BRIDGE_CONTROL));
	reset = control | PCI_BRIDGE_CTL_BUS_RESET;
	ASSERT_EQ(2, pwrite(fd, &reset, 2, PCI_BRIDGE_CONTROL));
	usleep(2000);
	ASSERT_EQ(2, pwrite(fd, &control, 2, PCI_BRIDGE_CONTROL));
	close(fd);
	usleep(1000000);
	EXPECT_FALSE(pci_master(bdf));
	EXPECT_FALSE(is_dead(&self->dev));
	EXPECT_FALSE(sigbus_at(self->dev.regs));
	EXPECT_EQ(0, set_mask(&self->dev, 0, 1));
	EXPECT_EQ(0, set_mask(&self->dev, 0, 0));
	EXPECT_EQ(0, set_eventfd(&self->dev, 0, new_eventfd()));
	EXPECT_EQ(0, set_eventfd(&self->dev, 0, -1));
	EXPECT_EQ(0, events(self->efd, QUIET_MS));

	EXPECT_TRUE(works_again(&self->dev, self->efd));
}

/* That is announced; a rescan is nothing. */
TEST_F_TIMEOUT(field, bus_reset_by_sysfs, TIMEOUT)
{
	ASSERT_EQ(0, put("/sys/bus/pci/rescan", "1"));
	ASSERT_TRUE(fires(&self->dev, 0, self->efd));
	if (!pci_has(bdf, "../reset_subordinate"))
		SKIP(return, "no reset_subordinate");
	ASSERT_EQ(0, put(pci(bdf, "../reset_subordinate"), "1"));
	EXPECT_TRUE(is_dead(&self->dev));
	EXPECT_FALSE(pci_master(bdf));
	EXPECT_TRUE(works_again(&self->dev, self->efd));
}

/* A program that was started meanwhile, and knows nothing of it, has it too. */
TEST_F_TIMEOUT(field, held_by_another_program, TIMEOUT)
{
	char word[64];
	pid_t pid;
	int ms;

	ASSERT_EQ(0, fcntl(self->dev.fd, F_SETFD, 0));
	pid = child();
	if (!pid) {
		execl("/bin/sleep", "sleep", "1000", NULL);
		_exit(1);
	}
	for (ms = 0; strcmp(get(path("/proc/%d/comm", pid), word), "sleep"); ms++) {
		ASSERT_GT(WAIT_MS, ms);
		usleep(1000);
	}
	uio_msix_close(&self->dev);
	EXPECT_EQ(-EBUSY, try_open(&self->dev));
	EXPECT_TRUE(pci_master(bdf));
	kill(pid, SIGKILL);
	exit_code(pid);
	EXPECT_EQ(0, try_open(&self->dev));
	EXPECT_FALSE(pci_master(bdf));
}

static void nothing(int sig)
{
}

/* Who sleeps in read() on the file itself: until a signal, or the end. */
TEST_F_TIMEOUT(field, read_and_signals, TIMEOUT)
{
	struct sigaction act = { .sa_handler = nothing };
	int restarts, status, ms;
	uint32_t count;
	pid_t pid;

	for (restarts = 0; restarts < 2; restarts++) {
		act.sa_flags = restarts ? SA_RESTART : 0;
		sigaction(SIGUSR1, &act, NULL);
		pid = child();
		if (!pid) {
			CHECK(read(self->dev.fd, &count, sizeof(count)) == -1);
			_exit(errno);
		}
		for (ms = 0; !waitpid(pid, &status, WNOHANG); ms++) {
			ASSERT_GT(WAIT_MS, ms);
			if (restarts && ms == 100)
				ASSERT_EQ(0, put(pci(bdf, "reset"), "1"));
			kill(pid, SIGUSR1);
			usleep(1000);
		}
		EXPECT_EQ(restarts ? EIO : EINTR, WEXITSTATUS(status));
	}
}

/* By a debugger, or the freezer: nobody waits for it, and it finds out later. */
TEST_F_TIMEOUT(field, user_is_stopped, TIMEOUT)
{
	struct uio_msix old = self->dev;
	int status;
	pid_t pid;

	pid = child();
	if (!pid) {
		raise(SIGSTOP);
		CHECK(sigbus_at(REG(old.regs, old.kind->fire)));
		CHECK(set_eventfd(&old, 0, -1) == -ENODEV);
		CHECK(is_dead(&old));
		_exit(0);
	}
	ASSERT_EQ(pid, waitpid(pid, &status, WUNTRACED));
	ASSERT_TRUE(WIFSTOPPED(status));
	uio_msix_close(&self->dev);
	ASSERT_EQ(0, pci_bind(bdf, ""));
	ASSERT_EQ(0, bind_and_open(&self->dev, bdf));
	ASSERT_EQ(0, set_eventfd(&self->dev, 0, self->efd));
	kill(pid, SIGCONT);
	EXPECT_EQ(0, exit_code(pid));
	EXPECT_TRUE(fires(&self->dev, 0, self->efd));
}

/* How much of the memory at @addr is in the core dump @file; -1 if unknown. */
static int64_t dumped(const char *file, const void *addr)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC), i;
	int64_t size = -1;
	Elf64_Phdr phdr;
	Elf64_Ehdr ehdr;

	if (read(fd, &ehdr, sizeof(ehdr)) == sizeof(ehdr))
		for (i = 0; i < ehdr.e_phnum; i++)
			if (pread(fd, &phdr, sizeof(phdr), ehdr.e_phoff +
				  i * sizeof(phdr)) == sizeof(phdr) &&
			    phdr.p_vaddr == (uintptr_t)addr)
				size = phdr.p_filesz;
	close(fd);
	return size;
}

/* Reading a register can change it: none is in a core dump. */
TEST_F_TIMEOUT(field, core_dump, TIMEOUT)
{
	struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
	const char *pattern = "/proc/sys/kernel/core_pattern";
	char before[64], *memory;

	if (access("/proc/self/coredump_filter", F_OK))
		SKIP(return, "no core dumps");
	get(pattern, before);
	ASSERT_EQ(0, put(pattern, "/tmp/core"));
	memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memory[0] = 1;
	if (!child()) {
		CHECK(!setrlimit(RLIMIT_CORE, &unlimited));
		CHECK(!put("/proc/self/coredump_filter", "0x7f"));
		CHECK(fires(&self->dev, 0, self->efd));
		abort();
	}
	EXPECT_EQ(-SIGABRT, exit_code(-1));
	EXPECT_EQ(4096, dumped("/tmp/core", memory));
	EXPECT_EQ(0, dumped("/tmp/core", self->dev.bar0));
	unlink("/tmp/core");
	put(pattern, before);
	EXPECT_TRUE(fires(&self->dev, 0, self->efd));
}

/* This process: @keep, or none with -1, and none to be had by execve(). */
static void capabilities(int keep)
{
	struct __user_cap_header_struct hdr = {
		.version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { };
	int cap;

	for (cap = 0; cap <= CAP_LAST_CAP; cap++)
		if (cap != keep)
			prctl(PR_CAPBSET_DROP, cap);
	if (keep >= 0)
		data[CAP_TO_INDEX(keep)].effective =
			data[CAP_TO_INDEX(keep)].permitted = CAP_TO_MASK(keep);
	CHECK(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	CHECK(!syscall(SYS_capset, &hdr, data));
}

static void become(int uid)
{
	if (!uid)
		return;
	CHECK(!prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0));
	CHECK(!setresgid(uid, uid, uid) && !setresuid(uid, uid, uid));
}

/* What all containers have: little in /dev, and /sys to look at only. */
static void contain(const char *node, int uid)
{
	struct stat st;

	CHECK(!stat(node, &st));
	CHECK(!unshare(CLONE_NEWNS));
	CHECK(!mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
	mkdir("/tmp/box", 0755);
	CHECK(!mount("none", "/tmp/box", "tmpfs", 0, NULL));
	CHECK(!mkdir("/tmp/box/sys", 0755) && !mkdir("/tmp/box/dev", 0755));
	CHECK(!mount("/sys", "/tmp/box/sys", NULL, MS_BIND, NULL));
	CHECK(!mount(NULL, "/tmp/box/sys", NULL,
		     MS_BIND | MS_REMOUNT | MS_RDONLY, NULL));
	CHECK(!mknod(path("/tmp/box%s", node), S_IFCHR | 0600, st.st_rdev));
	CHECK(!chown(path("/tmp/box%s", node), uid, uid));
	CHECK(!chdir("/tmp/box") && !chroot("."));
}

static int send_fd(int sock, int fd)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { };
	struct iovec iov = { .iov_base = "", .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1,
			      .msg_control = control.buf,
			      .msg_controllen = sizeof(control.buf) };
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &fd, sizeof(int));
	return sendmsg(sock, &msg, 0) == 1 ? 0 : -errno;
}

static int receive_fd(int sock)
{
	union {
		char buf[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	char byte;
	struct iovec iov = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1,
			      .msg_control = control.buf,
			      .msg_controllen = sizeof(control.buf) };
	int fd = -1;

	if (recvmsg(sock, &msg, 0) == 1 && CMSG_FIRSTHDR(&msg))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(int));
	return fd;
}

/*
 * A broker opens the device for a process that may not: all there is to it is
 * the file, and the file is all that it needs.
 */
TEST_F_TIMEOUT(field, fd_passed_to_nobody, TIMEOUT)
{
	struct uio_msix dev = self->dev;
	int socks[2], efd;
	char byte;

	ASSERT_EQ(0, chmod(dev.path, 0666));
	ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM, 0, socks));
	if (!child()) {
		close(socks[0]);
		uio_msix_close(&self->dev);
		become(NOBODY);
		capabilities(-1);
		dev.fd = receive_fd(socks[1]);
		CHECK(dev.fd >= 0);
		/* The broker has no more than the socket now. */
		CHECK(read(socks[1], &byte, 1) == 1);

		efd = new_eventfd();
		CHECK(!set_eventfd(&dev, 0, efd));
		dev.bar0 = uio_msix_map(&dev, 0);
		CHECK(dev.bar0 != MAP_FAILED);
		dev.regs = dev.bar0 + dev.maps[0].offset;
		CHECK(fires(&dev, 0, efd));
		CHECK(!set_mask(&dev, 0, 1));
		CHECK(!uio_msix_fire(&dev, 0));
		CHECK(!events(efd, QUIET_MS));
		CHECK(!set_mask(&dev, 0, 0));
		CHECK(events(efd, EVENT_MS) == 1);
		/* Not even now. */
		close(dev.fd);
		munmap(dev.bar0, dev.maps[0].size);
		CHECK(open(dev.path, O_RDWR) < 0 && errno == EPERM);
		_exit(0);
	}
	close(socks[1]);
	ASSERT_EQ(0, send_fd(socks[0], self->dev.fd));
	uio_msix_close(&self->dev);
	ASSERT_EQ(1, write(socks[0], "", 1));
	EXPECT_EQ(0, exit_code(-1));
	ASSERT_EQ(0, uio_msix_open(&self->dev));
}

FIXTURE(container) { };
FIXTURE_VARIANT(container) {
	int uid;
	int cap;
	bool user_ns;
	int error;
};

FIXTURE_VARIANT_ADD(container, root) {
	.uid = 0, .cap = CAP_SYS_RAWIO, .error = 0,
};

FIXTURE_VARIANT_ADD(container, nobody) {
	.uid = NOBODY, .cap = CAP_SYS_RAWIO, .error = 0,
};

/* As strong as it gets without it */
FIXTURE_VARIANT_ADD(container, other_capability) {
	.uid = 0, .cap = CAP_SYS_ADMIN, .error = -EPERM,
};

/* Who is root in a user namespace has all, but for no device. */
FIXTURE_VARIANT_ADD(container, user_namespace) {
	.uid = 0, .cap = CAP_SYS_RAWIO, .user_ns = true, .error = -EPERM,
};

FIXTURE_SETUP(container)
{
	ASSERT_NE(NULL, bdf);
	ASSERT_EQ(0, pci_bind(bdf, "uio_msix"));
}

FIXTURE_TEARDOWN(container)
{
}

TEST_F_TIMEOUT(container, one_device_one_capability, TIMEOUT)
{
	struct uio_msix dev;
	int efd;

	ASSERT_EQ(0, uio_msix_find(&dev, bdf));
	if (!child()) {
		if (variant->user_ns) {
			/* Not after chroot(); it still owns the node. */
			CHECK(!unshare(CLONE_NEWUSER));
		} else {
			contain(dev.path, variant->uid);
			become(variant->uid);
			capabilities(variant->cap);
			CHECK(!uio_msix_find(&dev, bdf));
			CHECK(put(pci(bdf, "driver_override"), "x") < 0);
		}
		CHECK(uio_msix_open(&dev) == variant->error);
		if (variant->error)
			_exit(0);
		efd = new_eventfd();
		CHECK(!set_eventfd(&dev, 0, efd));
		CHECK(fires(&dev, 0, efd));
		uio_msix_close(&dev);
		CHECK(!uio_msix_open(&dev));
		_exit(0);
	}
	EXPECT_EQ(0, exit_code(-1));
	/* Its exit has closed it. */
	ASSERT_EQ(0, uio_msix_open(&dev));
	uio_msix_close(&dev);
}

/* A VF of UIO_MSIX_DEV, which has its own driver. */
FIXTURE(vf) {
	struct uio_msix dev;
	char bdf[64];
	int efd;
};

FIXTURE_SETUP(vf)
{
	char link[256];
	ssize_t len;

	ASSERT_NE(NULL, bdf);
	ASSERT_EQ(0, put(pci(bdf, "sriov_numvfs"), "1"));
	len = readlink(pci(bdf, "virtfn0"), link, sizeof(link) - 1);
	ASSERT_LT(0, len);
	link[len] = 0;
	strcpy(self->bdf, strrchr(link, '/') + 1);
	ASSERT_EQ(0, put(ALLOW_VF, "Y"));
	ASSERT_EQ(0, bind_and_open(&self->dev, self->bdf));
	self->efd = new_eventfd();
	ASSERT_EQ(0, set_eventfd(&self->dev, 0, self->efd));
	ASSERT_TRUE(fires(&self->dev, 0, self->efd));
}

FIXTURE_TEARDOWN(vf)
{
	uio_msix_close(&self->dev);
	put(pci(bdf, "sriov_numvfs"), "0");
	put(ALLOW_VF, "N");
}

/* That of the VF is told of nothing: its session lives, and is of no use. */
TEST_F_TIMEOUT(vf, its_pf_is_reset, TIMEOUT)
{
	glob_t flags;

	ASSERT_EQ(0, put(pci(bdf, "reset"), "1"));
	EXPECT_FALSE(is_dead(&self->dev));
	EXPECT_FALSE(pci_master(self->bdf));
	EXPECT_EQ(0, set_mask(&self->dev, 0, 1));
	EXPECT_EQ(0, set_eventfd(&self->dev, 0, -1));

	/* igb does not expect it either: down, and up again. */
	ASSERT_EQ(0, glob(pci(bdf, "net/*/flags"), 0, NULL, &flags));
	ASSERT_EQ(0, put(flags.gl_pathv[0], "0x1002"));
	ASSERT_EQ(0, put(flags.gl_pathv[0], "0x1003"));
	globfree(&flags);
	EXPECT_TRUE(works_again(&self->dev, self->efd));
}

/* What a reset of the PF's bus by hand does too. The PF answers, the VF does not. */
TEST_F_TIMEOUT(vf, switched_off_in_its_pf, TIMEOUT)
{
	uint32_t header = 0, cap;
	uint16_t on, off;
	int fd, live;

	for (cap = PCI_CFG_SPACE_SIZE; cap; cap = PCI_EXT_CAP_NEXT(header)) {
		header = pci_config(bdf, cap, 4);
		if (PCI_EXT_CAP_ID(header) == PCI_EXT_CAP_ID_SRIOV)
			break;
	}
	ASSERT_NE(0U, cap);
	on = pci_config(bdf, cap + PCI_SRIOV_CTRL, 2);
	off = on & ~(PCI_SRIOV_CTRL_VFE | PCI_SRIOV_CTRL_MSE);
	fd = open(pci(bdf, "config"), O_RDWR | O_CLOEXEC);
	for (live = 0; live < 2; live++) {
		if (!live)
			uio_msix_close(&self->dev);
		ASSERT_EQ(2, pwrite(fd, &off, 2, cap + PCI_SRIOV_CTRL));
		uio_msix_close(&self->dev);
		EXPECT_EQ(-ENODEV, try_open(&self->dev));
		ASSERT_EQ(2, pwrite(fd, &on, 2, cap + PCI_SRIOV_CTRL));
		usleep(100000);
		EXPECT_EQ(0, uio_msix_open(&self->dev));
	}
	close(fd);
}

/* Which takes its VFs along. */
TEST_F_TIMEOUT(vf, its_pf_loses_its_driver, TIMEOUT)
{
	char driver[64];

	pci_driver(bdf, driver);
	ASSERT_EQ(0, pci_bind(bdf, ""));
	EXPECT_FALSE(pci_has(self->bdf, "vendor"));
	EXPECT_TRUE(is_dead(&self->dev));
	EXPECT_TRUE(sigbus_at(REG(self->dev.regs, self->dev.kind->fire)));
	EXPECT_EQ(0, pci_bind(bdf, driver));
}

/* The first of two functions, neither of which has a reset of its own. */
FIXTURE(two) { };

FIXTURE_SETUP(two)
{
	ASSERT_NE(NULL, bdf);
}

FIXTURE_TEARDOWN(two)
{
}

/* The reset of its bus that the PCI core lists would be one of the other, too. */
TEST_F_TIMEOUT(two, opened_without_a_reset, TIMEOUT)
{
	int efd = new_eventfd(), round, fd;
	struct uio_msix dev;
	char word[64];
	uint8_t bus;

	ASSERT_STREQ("bus", get(pci(bdf, "reset_method"), word));
	ASSERT_EQ(-ENOTTY, put(pci(bdf, "reset"), "1"));
	for (round = 0; round < 2; round++) {
		ASSERT_EQ(0, bind_and_open(&dev, bdf));
		ASSERT_EQ(0, set_eventfd(&dev, 0, efd));
		EXPECT_TRUE(fires(&dev, 0, efd));
		uio_msix_close(&dev);
	}

	/* But not if it is not there any more. */
	fd = open(pci(bdf, "../config"), O_RDWR | O_CLOEXEC);
	ASSERT_EQ(1, pread(fd, &bus, 1, PCI_SECONDARY_BUS));
	ASSERT_EQ(0, put(MEDDLE "vanish", "1"));
	EXPECT_EQ(-EIO, try_open(&dev));
	ASSERT_EQ(1, pwrite(fd, &bus, 1, PCI_SECONDARY_BUS));
	ASSERT_EQ(0, put(MEDDLE "vanish", "0"));
	close(fd);
	EXPECT_EQ(0, try_open(&dev));
}

/* A device that no other driver wants, in a slot of its own. */
FIXTURE(plug) { };

FIXTURE_SETUP(plug)
{
	ASSERT_NE(NULL, bdf);
	ASSERT_NE(NULL, getenv("FIELD_PULL"));
}

FIXTURE_TEARDOWN(plug)
{
}

/* driver_override is of the device, and goes with it; new_id stays. */
TEST_F_TIMEOUT(plug, new_id_and_plugged_again, TIMEOUT)
{
	uint32_t id = pci_config(bdf, CONFIG_ID, 4);
	int nl = uevents_open(), round, efd;
	struct uio_msix dev;
	char ids[32];

	ASSERT_LE(0, nl);
	snprintf(ids, sizeof(ids), "%x %x", id & 0xffff, id >> 16);
	ASSERT_EQ(0, put(PCI_DRIVERS "uio_msix/new_id", ids));
	for (round = 0; round < 3; round++) {
		ASSERT_TRUE(wait_for(bdf, "uio", true));
		ASSERT_EQ(0, uio_msix_find(&dev, bdf));
		ASSERT_EQ(1, uevents(nl, "add", dev.path));
		efd = new_eventfd();
		/* By its slot, if it may, for which see tests/known.reports. */
		put(pci(bdf, "reset_method"), "\n");
		ASSERT_EQ(0, uio_msix_open(&dev));
		ASSERT_EQ(0, set_eventfd(&dev, 0, efd));
		ASSERT_TRUE(fires(&dev, 0, efd));

		ASSERT_EQ(0, monitor("FIELD_PULL"));
		ASSERT_TRUE(wait_for(bdf, "vendor", false));
		ASSERT_TRUE(is_dead(&dev));
		ASSERT_EQ(1, uevents(nl, "remove", dev.path));
		/* The last time it is not ours any more. */
		if (round == 2)
			ASSERT_EQ(0, put(PCI_DRIVERS "uio_msix/remove_id", ids));
		/* It comes back though the old file is still open. */
		ASSERT_TRUE(plug());
		if (round == 2)
			break;
		ASSERT_TRUE(wait_for(bdf, "uio", true));
		ASSERT_TRUE(is_dead(&dev));
		uio_msix_close(&dev);
		close(efd);
	}
	usleep(1000000);
	EXPECT_FALSE(pci_has(bdf, "driver"));
	uio_msix_close(&dev);
}

static void sigbus_exit(int sig)
{
	_exit(sig);
}

/* A device with memory on it, in a slot of its own: the CMB of an NVMe drive. */
FIXTURE(memory) {
	struct uio_msix dev;
	uint64_t *cmb;
	size_t size;
};

FIXTURE_SETUP(memory)
{
	int i;

	ASSERT_NE(NULL, bdf);
	ASSERT_NE(NULL, getenv("FIELD_PULL"));
	ASSERT_EQ(0, bind_and_open(&self->dev, bdf));
	for (i = 0; i < self->dev.num_maps; i++) {
		if (strcmp(self->dev.maps[i].name, "BAR2"))
			continue;
		self->size = self->dev.maps[i].size;
		self->cmb = uio_msix_map(&self->dev, i);
	}
	ASSERT_NE(NULL, self->cmb);
	ASSERT_NE(MAP_FAILED, self->cmb);
}

FIXTURE_TEARDOWN(memory)
{
	uio_msix_close(&self->dev);
}

/* By the process, and by the kernel for it. */
TEST_F_TIMEOUT(memory, pulled_while_it_is_copied, TIMEOUT)
{
	unsigned long *copies = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	char *buffer = malloc(self->size);
	int i, ms, fds[2];
	pid_t pids[2];

	pids[0] = child();
	if (!pids[0]) {
		signal(SIGBUS, sigbus_exit);
		for (;; copies[0]++) {
			memset(self->cmb, copies[0], self->size);
			memcpy(buffer, self->cmb, self->size);
			CHECK(buffer[self->size - 1] == (char)copies[0]);
		}
	}
	pids[1] = child();
	if (!pids[1]) {
		CHECK(!pipe(fds));
		for (;; copies[1]++) {
			/* A pipe takes a copy. */
			if (write(fds[1], self->cmb, 4096) < 0)
				break;
			CHECK(read(fds[0], buffer, 4096) == 4096);
		}
		CHECK(errno == EFAULT);
		_exit(0);
	}
	for (i = 0; i < 2; i++) {
		for (ms = 0; __atomic_load_n(copies + i,
					     __ATOMIC_RELAXED) < 2; ms++) {
			ASSERT_GT(WAIT_MS, ms);
			usleep(1000);
		}
	}
	ASSERT_EQ(0, monitor("FIELD_PULL"));
	EXPECT_EQ(SIGBUS, exit_code(pids[0]));
	EXPECT_EQ(0, exit_code(pids[1]));
	ASSERT_TRUE(wait_for(bdf, "vendor", false));
	EXPECT_TRUE(is_dead(&self->dev));
}

/* A machine with few vectors: one CPU. FIELD_OTHER fires by itself. */
FIXTURE(crowd) {
	struct uio_msix dev;
	struct uio_msix other;
	int efds[300];
};

FIXTURE_SETUP(crowd)
{
	ASSERT_NE(NULL, bdf);
	ASSERT_NE(NULL, other);
	ASSERT_EQ(0, bind_and_open(&self->dev, bdf));
	ASSERT_EQ(0, bind_and_open(&self->other, other));
	ASSERT_EQ(ARRAY_SIZE(self->efds), self->dev.num_vectors);
}

FIXTURE_TEARDOWN(crowd)
{
	uio_msix_close(&self->dev);
	uio_msix_close(&self->other);
}

/*
 * The device gets all that it has at open; the CPU has room for fewer than 256
 * of all devices, and a vector takes its place when it is attached.
 */
TEST_F_TIMEOUT(crowd, vectors_run_out, TIMEOUT)
{
	int efd = new_eventfd();
	uint32_t n, i;

	for (i = 0; i < self->dev.num_vectors; i++)
		self->efds[i] = new_eventfd();
	for (n = 0; n < self->dev.num_vectors; n++)
		if (set_eventfd(&self->dev, n, self->efds[n]))
			break;
	TH_LOG("%u of %u vectors attached", n, self->dev.num_vectors);
	ASSERT_LT(100U, n);
	ASSERT_GT(256U, n);
	for (i = 0; i < 3; i++)
		ASSERT_EQ(-ENOSPC, set_eventfd(&self->dev, n, self->efds[n]));
	ASSERT_EQ(-ENOSPC, set_eventfd(&self->other, 0, efd));

	/* One goes, one comes; and what has its place keeps it. */
	ASSERT_EQ(0, set_eventfd(&self->dev, 5, -1));
	ASSERT_EQ(0, set_eventfd(&self->dev, n, self->efds[n]));
	ASSERT_EQ(-ENOSPC, set_eventfd(&self->dev, 5, self->efds[5]));
	ASSERT_EQ(0, set_eventfd(&self->dev, 6, efd));
	ASSERT_EQ(0, set_eventfd(&self->dev, 6, self->efds[6]));
	for (i = 0; i <= n; i++)
		ASSERT_EQ(i != 5, fires(&self->dev, i, self->efds[i]));

	/* The same place for another device. */
	ASSERT_EQ(0, set_eventfd(&self->dev, 7, -1));
	ASSERT_EQ(0, set_eventfd(&self->other, 0, efd));
	ASSERT_TRUE(fires(&self->other, 0, efd));
	ASSERT_EQ(-ENOSPC, set_eventfd(&self->dev, 7, self->efds[7]));

	/* Closing gives back all, but for that one. */
	uio_msix_close(&self->dev);
	ASSERT_EQ(0, uio_msix_open(&self->dev));
	for (i = 0; i < n - 1; i++)
		ASSERT_EQ(0, set_eventfd(&self->dev, i, self->efds[i]));
	ASSERT_EQ(-ENOSPC, set_eventfd(&self->dev, i, self->efds[i]));
}

/* Below one port: ours, and FIELD_OTHER, which has a driver of the kernel. */
FIXTURE(port) {
	struct uio_msix dev;
	int efd;
};

FIXTURE_SETUP(port)
{
	ASSERT_NE(NULL, bdf);
	ASSERT_NE(NULL, other);
	ASSERT_EQ(0, bind_and_open(&self->dev, bdf));
	self->efd = new_eventfd();
	ASSERT_EQ(0, set_eventfd(&self->dev, 0, self->efd));
}

FIXTURE_TEARDOWN(port)
{
	uio_msix_close(&self->dev);
}

/* Read the drive beside ours: what its first sector begins with, or -errno. */
static int64_t read_drive(void)
{
	static _Alignas(4096) char buf[4096];
	int64_t ret = -ENODEV;
	glob_t found;
	int fd;

	if (glob(pci(other, "nvme/nvme*/nvme*n1"), 0, NULL, &found))
		return ret;
	fd = open(path("/dev/%s", strrchr(found.gl_pathv[0], '/') + 1),
		  O_RDONLY | O_DIRECT | O_CLOEXEC);
	globfree(&found);
	ret = pread(fd, buf, sizeof(buf), 512) < 0 ? -errno : *(int64_t *)buf;
	close(fd);
	return ret;
}

/* How often the kernel's log said @what since @fd was last read. */
static int logged(int fd, const char *what)
{
	char line[8192];
	int count = 0;
	ssize_t len;

	while ((len = read(fd, line, sizeof(line) - 1)) > 0 || errno == EPIPE) {
		line[len < 0 ? 0 : len] = 0;
		count += !!strstr(line, what);
	}
	return count;
}

TEST_F_TIMEOUT(port, recovers_with_ours_below, TIMEOUT)
{
	int log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	int round, ms;

	lseek(log, 0, SEEK_END);
	for (round = 0; round < 3; round++) {
		ASSERT_EQ(1, read_drive());
		ASSERT_TRUE(fires(&self->dev, 0, self->efd));
		logged(log, "");
		ASSERT_EQ(0, monitor("FIELD_PULL"));
		for (ms = 0; !logged(log, "device recovery successful"); ms += 10) {
			ASSERT_GT(WAIT_MS, ms);
			usleep(10000);
		}
		/* Dead, though the device is well again; until the next open. */
		ASSERT_TRUE(is_dead(&self->dev));
		EXPECT_EQ(-ENODEV, set_eventfd(&self->dev, 0, self->efd));
		ASSERT_TRUE(works_again(&self->dev, self->efd));
		ASSERT_EQ(1, read_drive());
	}
}

/* They are counted, and that is all. */
TEST_F_TIMEOUT(port, errors_that_were_corrected, TIMEOUT)
{
	int log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	int i, ms;

	lseek(log, 0, SEEK_END);
	for (i = 0; i < 10; i++) {
		ASSERT_EQ(0, monitor("FIELD_CORRECTED"));
		for (ms = 0; !logged(log, "orrectable"); ms += 10) {
			ASSERT_GT(WAIT_MS, ms);
			usleep(10000);
		}
		EXPECT_FALSE(is_dead(&self->dev));
		EXPECT_TRUE(fires(&self->dev, 0, self->efd));
	}
}

int main(int argc, char **argv)
{
	bdf = getenv("UIO_MSIX_DEV");
	other = getenv("FIELD_OTHER");
	return test_harness_run(argc, argv);
}
