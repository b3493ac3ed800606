// SPDX-License-Identifier: GPL-2.0-only
/*
 * uio_msix: what is tested beyond the kselftest of the series, for it takes more
 * time, devices that are known, or what is in this guest only. Environment as
 * of uio_msix_test, and:
 *
 *	UIO_MSIX_BRIDGE, UIO_MSIX_NO_MSIX	devices that must be refused
 *	UIO_MSIX_AER_NONFATAL='command'	as UIO_MSIX_AER
 *	UIO_MSIX_LOCKDOWN=1		may lock the kernel down, until reboot
 */
#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <linux/capability.h>

#include "kselftest_harness.h"
#include "guest.h"

#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	600

#define ROUNDS		300
#define NOBODY		65534
#define UIO_PORT	"/sys/class/uio/%s/portio/port"
#define PTE		"/sys/kernel/debug/pte"
#define IRQ		"/sys/kernel/debug/irq/irqs/%d"
/* Of tests/modules/plain. */
#define PLAIN_INTERRUPT	_IO('u', 0xf0)
#define PLAIN_NEXT	_IOWR('u', 0xf1, int)

static const char *bdf;

FIXTURE(extra) {
	struct uio_msix dev;
	int efd;
};

FIXTURE_SETUP(extra)
{
	if (!bdf || !pci_has(bdf, "vendor"))
		SKIP(return, "no device: set UIO_MSIX_DEV");
	ASSERT_EQ(0, pci_bind(bdf, "uio_msix"));
	ASSERT_EQ(0, uio_msix_find(&self->dev, bdf));
	ASSERT_EQ(0, uio_msix_open(&self->dev));
	self->efd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	ASSERT_LE(0, self->efd);
}

FIXTURE_TEARDOWN(extra)
{
	uio_msix_close(&self->dev);
	close(self->efd);
}

static void attach_and_fire(struct __test_metadata *_metadata,
			    struct uio_msix *dev, int efd)
{
	ASSERT_EQ(0, set_eventfd(dev, 0, efd));
	ASSERT_EQ(0, uio_msix_fire(dev, 0));
	ASSERT_EQ(1, events(efd, EVENT_MS));
}

static void rebind(struct __test_metadata *_metadata, struct uio_msix *dev)
{
	uio_msix_close(dev);
	ASSERT_EQ(0, pci_bind(bdf, "uio_msix"));
	ASSERT_EQ(0, uio_msix_find(dev, bdf));
}

static void reopen(struct __test_metadata *_metadata, struct uio_msix *dev)
{
	uio_msix_close(dev);
	ASSERT_EQ(0, uio_msix_open(dev));
}

/* Write to a parameter of tests/modules/meddle. */
static int meddle(const char *parameter, const char *value)
{
	return put(path(MEDDLE "%s", parameter), value);
}

/* Write to a register of the configuration space. */
static void config_write(int offset, int size, uint32_t value)
{
	int fd = open(pci(bdf, "config"), O_RDWR | O_CLOEXEC);

	if (pwrite(fd, &value, size, offset) != size)
		perror("config");
	close(fd);
}

static void read_header(uint32_t header[64 / 4])
{
	int i;

	for (i = 0; i < 64 / 4; i++)
		header[i] = pci_config(bdf, i * 4, 4);
}

static bool header_is(const uint32_t header[64 / 4])
{
	uint32_t now[64 / 4];
	int i;

	read_header(now);
	for (i = 0; i < 64 / 4; i++)
		if (now[i] != header[i])
			printf("# at 0x%x: 0x%x\n", i * 4, now[i]);
	return !memcmp(now, header, sizeof(now));
}

/* Bind @dev, which must fail with @error and one line that says @why, and @way out. */
static void refused(struct __test_metadata *_metadata, const char *dev,
		    int error, const char *why, const char *way)
{
	int log = log_open(), again = log_open();

	EXPECT_EQ(error, pci_bind(dev, "uio_msix"));
	EXPECT_EQ(1, log_count(log, dev, why));
	EXPECT_EQ(1, log_count(again, dev, way));
	close(log);
	close(again);
}

static long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* Wait until what meddle() draws out begins. */
static void begins(struct __test_metadata *_metadata, uint64_t before)
{
	long deadline = now_ms() + EVENT_MS;

	while (get_u64(MEDDLE "begun") == before)
		ASSERT_GT(deadline, now_ms());
}

static void stop(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void interrupted(int signal)
{
}

/* A signal each 10 ms, or none: what sleeps in the kernel sleeps on. */
static void signals(bool on)
{
	struct sigaction action = { .sa_handler = interrupted, .sa_flags = SA_RESTART };
	struct itimerval timer = { .it_interval.tv_usec = on * 10000, .it_value.tv_usec = on * 10000 };

	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &timer, NULL);
}

/* Run this program on one CPU. */
static int run_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set);
}

/* And their users hear of the end, more than one by EPOLLEXCLUSIVE too. */
TEST_F(extra, other_drivers_have_no_ioctls)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLEXCLUSIVE };
	struct pollfd pfd = { .events = POLLIN };
	int epoll, status, waits, i;
	struct uio_msix other;
	pid_t pids[2];

	if (access(PCI_DRIVERS "uio_pci_generic", F_OK) ||
	    pci_bind(bdf, "uio_pci_generic"))
		SKIP(return, "uio_pci_generic is not there, or has no INTx");
	ASSERT_EQ(0, uio_msix_find(&other, bdf));
	EXPECT_EQ(-ENOTTY, uio_msix_open(&other));
	EXPECT_LE(0, other.fd);
	/* Whatever the argument is. */
	EXPECT_EQ(-1, ioctl(other.fd, UIO_MSIX_SET_MASK, NULL));
	EXPECT_EQ(ENOTTY, errno);
	/* Without INTx there is nothing to wait for. */
	pfd.fd = other.fd;
	waits = poll(&pfd, 1, 0) ? 0 : 2;
	for (i = 0; i < waits; i++) {
		pids[i] = fork();
		if (pids[i])
			continue;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		epoll = epoll_create1(EPOLL_CLOEXEC);
		_exit(epoll_ctl(epoll, EPOLL_CTL_ADD, other.fd, &event) ||
		      epoll_wait(epoll, &event, 1, EVENT_MS) != 1 ||
		      event.events != EPOLLERR);
	}
	for (i = 0; i < waits; i++)
		while (!sleeps(pids[i]))
			usleep(1000);
	EXPECT_EQ(0, pci_bind(bdf, ""));
	for (i = 0; i < waits; i++) {
		EXPECT_EQ(pids[i], waitpid(pids[i], &status, 0));
		EXPECT_EQ(0, status);
	}
	EXPECT_EQ(-1, ioctl(other.fd, UIO_MSIX_SET_MASK, NULL));
	EXPECT_EQ(ENODEV, errno);
	uio_msix_close(&other);
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
TEST_F(extra, replace_loses_and_doubles_nothing)
{
	struct replacer r = { .dev = &self->dev, .efd = self->efd };
	unsigned int before, lost = 0;
	pthread_t thread;
	long deadline;
	int round;

	ASSERT_EQ(0, set_eventfd(&self->dev, 0, self->efd));
	ASSERT_EQ(0, pthread_create(&thread, NULL, replace_loop, &r));
	for (round = 0; round < ROUNDS && !lost; round++) {
		before = __atomic_load_n(&r.seen, __ATOMIC_ACQUIRE);
		EXPECT_EQ(0, uio_msix_fire(&self->dev, 0));
		deadline = now_ms() + EVENT_MS;
		while (__atomic_load_n(&r.seen, __ATOMIC_ACQUIRE) == before && !lost) {
			lost = now_ms() > deadline;
			usleep(100);
		}
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

/* Else the kernel takes the vector for one that nobody cares about, one day. */
TEST_F(extra, interrupts_are_handled)
{
	unsigned int unhandled = 1;
	FILE *f;
	int i;

	for (i = 0; i < 10; i++)
		attach_and_fire(_metadata, &self->dev, self->efd);
	f = fopen(path("/proc/irq/%d/spurious", uio_msix_irq(&self->dev, 0)), "re");
	ASSERT_TRUE(f && fscanf(f, " count %*u unhandled %u", &unhandled) == 1);
	fclose(f);
	EXPECT_EQ(0U, unhandled);
}

/* By a reset, or if it has none by unbinding it: 0 or -errno. */
static int end_session(void)
{
	return pci_has(bdf, "reset") ? put(pci(bdf, "reset"), "1") : pci_bind(bdf, "");
}

/* With "threadirqs", and with PREEMPT_RT, which has no other way. */
TEST_F(extra, handlers_are_threads_if_asked)
{
	char cmdline[1024] = "", name[32], comm[64];
	bool found = false;
	glob_t files;
	FILE *f;
	size_t i;

	f = fopen("/proc/cmdline", "re");
	if (!f || !fgets(cmdline, sizeof(cmdline), f) || !strstr(cmdline, "threadirqs"))
		SKIP(return, "no threadirqs");
	fclose(f);
	attach_and_fire(_metadata, &self->dev, self->efd);
	sprintf(name, "irq/%d-", uio_msix_irq(&self->dev, 0));
	ASSERT_EQ(0, glob("/proc/[0-9]*/comm", 0, NULL, &files));
	for (i = 0; i < files.gl_pathc; i++)
		found |= !strncmp(get(files.gl_pathv[i], comm), name, strlen(name));
	globfree(&files);
	EXPECT_TRUE(found);
}

/*
 * A handler that has begun when its eventfd is replaced, detached or masked signals
 * it before that returns, and later no more; nobody lets go of it meanwhile.
 */
TEST_F(extra, handler_in_progress)
{
	enum { REPLACE, DETACH, MASK, HOWS };
	int round, how, vector, irq, other, tries;
	uint64_t begun, puts;
	char word[64];

	if (!self->dev.kind || access(MEDDLE "slow_signal", F_OK) || run_on(1))
		SKIP(return, "no interrupts, no tests/modules/meddle, or one CPU");
	other = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	for (round = 0; round < 2 * HOWS; round++) {
		how = round % HOWS;
		vector = round / HOWS;
		if (vector >= (int)self->dev.num_vectors)
			break;
		ASSERT_EQ(0, set_eventfd(&self->dev, vector, self->efd));
		irq = uio_msix_irq(&self->dev, vector);
		/* The first one that arrives moves it. */
		ASSERT_EQ(0, put(path("/proc/irq/%d/smp_affinity", irq), "1"));
		for (tries = 0; tries < 10; tries++) {
			ASSERT_EQ(0, uio_msix_fire(&self->dev, vector));
			ASSERT_EQ(1, events(self->efd, EVENT_MS));
			get(path("/proc/irq/%d/effective_affinity", irq), word);
			if (strtoul(word, NULL, 16) == 1)
				break;
		}
		begun = get_u64(MEDDLE "begun");
		puts = get_u64(MEDDLE "early_puts");
		ASSERT_EQ(0, meddle("slow_signal", "500"));
		ASSERT_EQ(0, uio_msix_fire(&self->dev, vector));
		begins(_metadata, begun);
		EXPECT_EQ(0, how == MASK ? set_mask(&self->dev, vector, 1) :
			     set_eventfd(&self->dev, vector, how == DETACH ? -1 : other));
		EXPECT_EQ(1, events(self->efd, 0)) {
			TH_LOG("case %d of vector %d", how, vector);
		}
		EXPECT_EQ(puts, get_u64(MEDDLE "early_puts")) {
			TH_LOG("case %d of vector %d", how, vector);
		}
		usleep(600000);
		EXPECT_EQ(0, events(self->efd, 0));
	}
	close(other);
}

/* What the session's end zaps has the page of a fault that has begun. */
TEST_F(extra, fault_in_progress)
{
	int status = 0, tries;
	uint64_t begun;
	pid_t pid;
	void *p;

	if (!self->dev.num_maps || access(MEDDLE "slow_fault", F_OK) || run_on(1))
		SKIP(return, "no map, no tests/modules/meddle, or one CPU");
	p = uio_msix_map(&self->dev, 0);
	ASSERT_TRUE(p != MAP_FAILED);
	begun = get_u64(MEDDLE "begun");
	ASSERT_EQ(0, meddle("slow_fault", "500"));
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		signal(SIGBUS, _exit);
		run_on(0);
		for (;; usleep(1000))
			reg_read(p, 0);
	}
	begins(_metadata, begun);
	EXPECT_EQ(0, end_session());
	for (tries = 0; tries < EVENT_MS / 10; tries++) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			break;
		usleep(10000);
	}
	EXPECT_EQ(SIGBUS, WEXITSTATUS(status));
	stop(pid);
	munmap(p, self->dev.maps[0].size);
}

/* Who interrupts until its mapping goes leaves no vector pending for the next session. */
TEST_F(extra, nothing_is_pending_after_the_end)
{
	uint64_t begun;
	int status;
	pid_t pid, looks;

	if (!self->dev.kind || access(MEDDLE "slow_zap", F_OK) || run_on(1))
		SKIP(return, "no interrupts, no tests/modules/meddle, or one CPU");
	ASSERT_EQ(0, set_eventfd(&self->dev, 0, self->efd));
	/* Nor does it reach memory meanwhile. */
	begun = get_u64(MEDDLE "begun");
	looks = fork();
	if (!looks) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		alarm(EVENT_MS / 1000);
		run_on(0);
		while (get_u64(MEDDLE "begun") == begun)
			;
		_exit(pci_master(bdf));
	}
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		alarm(EVENT_MS / 1000);
		signal(SIGBUS, _exit);
		run_on(0);
		for (;;)
			uio_msix_fire(&self->dev, 0);
	}
	ASSERT_LT(0, events(self->efd, EVENT_MS));
	ASSERT_EQ(0, meddle("slow_zap", path("%d", getpid())));
	EXPECT_EQ(0, pci_bind(bdf, ""));
	EXPECT_EQ(0U, get_u64(MEDDLE "slow_zap"));
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(SIGBUS, WEXITSTATUS(status));
	EXPECT_EQ(looks, waitpid(looks, &status, 0));
	EXPECT_EQ(0, status);
	events(self->efd, QUIET_MS);
	rebind(_metadata, &self->dev);
	ASSERT_EQ(0, uio_msix_open(&self->dev));
	ASSERT_EQ(0, set_eventfd(&self->dev, 0, self->efd));
	EXPECT_EQ(0, events(self->efd, QUIET_MS));
}

/* Who ended the session is about to free the vectors: close does not. */
TEST_F(extra, close_while_a_reset_ends_the_session)
{
	uint64_t begun, early;
	int status;
	pid_t pid;

	if (!pci_has(bdf, "reset") || access(MEDDLE "slow_free", F_OK) || run_on(1))
		SKIP(return, "no reset, no tests/modules/meddle, or one CPU");
	begun = get_u64(MEDDLE "begun");
	early = get_u64(MEDDLE "early_frees");
	ASSERT_EQ(0, meddle("slow_free", "500"));
	pid = fork();
	if (!pid) {
		uio_msix_close(&self->dev);
		run_on(0);
		_exit(put(pci(bdf, "reset"), "1") != 0);
	}
	begins(_metadata, begun);
	uio_msix_close(&self->dev);
	EXPECT_EQ(early, get_u64(MEDDLE "early_frees"));
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_EQ(0, status);
	EXPECT_EQ(0, uio_msix_open(&self->dev));
	attach_and_fire(_metadata, &self->dev, self->efd);
}

/* A reset wakes all, also who waits for nothing but the end. */
TEST_F(extra, end_wakes_all)
{
	struct epoll_event event = { .events = EPOLLEXCLUSIVE };
	int epoll, status, i;
	pid_t pids[3];

	if (access(MEDDLE "reset", F_OK))
		SKIP(return, "no tests/modules/meddle");
	for (i = 0; i < 3; i++) {
		pids[i] = fork();
		if (pids[i])
			continue;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		epoll = epoll_create1(EPOLL_CLOEXEC);
		_exit(epoll_ctl(epoll, EPOLL_CTL_ADD, self->dev.fd, &event) ||
		      epoll_wait(epoll, &event, 1, EVENT_MS) != 1 || event.events != EPOLLERR);
	}
	for (i = 0; i < 3; i++)
		while (!sleeps(pids[i]))
			usleep(1000);
	ASSERT_EQ(0, meddle("reset", path("%s 1", bdf)));
	for (i = 0; i < 3; i++) {
		EXPECT_EQ(pids[i], waitpid(pids[i], &status, 0));
		EXPECT_EQ(0, status);
	}
	ASSERT_EQ(0, meddle("reset", path("%s 0", bdf)));
}

/* The session ends when poll() or read() has looked, and does not wait yet. */
TEST_F(extra, end_on_the_way_to_sleep)
{
	struct pollfd pfd = { .fd = self->dev.fd, .events = POLLIN };
	int way, status, tries;
	uint32_t count;
	uint64_t begun;
	pid_t pid;

	if (access(MEDDLE "slow_wait", F_OK) || run_on(1))
		SKIP(return, "no tests/modules/meddle, or one CPU");
	for (way = 0; way < 3; way++) {
		begun = get_u64(MEDDLE "begun");
		pid = fork();
		if (!pid) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			run_on(0);
			meddle(way == 2 ? "slow_queue" : "slow_wait", path("%d", getpid()));
			if (way)
				_exit(read(pfd.fd, &count, 4) != -1 || errno != EIO);
			_exit(poll(&pfd, 1, -1) != 1 || pfd.revents != POLLERR);
		}
		begins(_metadata, begun);
		ASSERT_EQ(0, end_session());
		status = -1;
		for (tries = 0; tries < EVENT_MS / 10; tries++) {
			if (waitpid(pid, &status, WNOHANG) == pid)
				break;
			usleep(10000);
		}
		EXPECT_EQ(0, status) {
			TH_LOG("%s, way %d", way ? "read()" : "poll()", way);
		}
		stop(pid);
		rebind(_metadata, &self->dev);
		ASSERT_EQ(0, uio_msix_open(&self->dev));
		pfd.fd = self->dev.fd;
	}
}

/* A process that is about to hold the module of @dev, to open it; it exits with errno. */
static pid_t open_slowly(struct __test_metadata *_metadata, struct uio_msix *dev)
{
	uint64_t begun = get_u64(MEDDLE "begun");
	pid_t pid = fork();

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		run_on(0);
		meddle("slow_open", path("%d", getpid()));
		_exit(open(dev->path, O_RDWR) < 0 ? errno : 0);
	}
	begins(_metadata, begun);
	return pid;
}

/* Open has found the device, and is about to hold the module of its driver. */
TEST_F(extra, module_does_not_go_during_an_open)
{
	int status;
	pid_t pid;

	if (access(MEDDLE "slow_open", F_OK) || run_on(1))
		SKIP(return, "no tests/modules/meddle, or one CPU");
	uio_msix_close(&self->dev);
	pid = open_slowly(_metadata, &self->dev);
	ASSERT_EQ(0, pci_bind(bdf, ""));
	EXPECT_TRUE(!get_u64(MEDDLE "slow_open"));
	EXPECT_EQ(pid, waitpid(pid, &status, 0));
	EXPECT_TRUE(!status || WEXITSTATUS(status) == ENODEV);
}

/* It is about to hold the module, which goes: the open fails, and others can be opened. */
TEST_F(extra, module_goes_during_an_open)
{
	const char *file = getenv("UIO_MSIX_MODULE");
	int module, status, tries;
	pid_t pid;

	if (!file || access(file, R_OK) || access(MEDDLE "slow_open", F_OK) || run_on(1) ||
	    pci_is_vf(bdf))
		SKIP(return, "no module, no tests/modules/meddle, one CPU, or a VF");
	uio_msix_close(&self->dev);
	for (tries = 0; tries < 5; tries++) {
		pid = open_slowly(_metadata, &self->dev);
		/* In a process that may hang. */
		if (!fork()) {
			close_range(0, ~0U, 0);
			syscall(SYS_delete_module, "uio_msix", O_NONBLOCK);
			_exit(0);
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		/* On a busy host it may come too late. */
		if (status)
			break;
		wait(NULL);
	}
	EXPECT_EQ(ENODEV, WEXITSTATUS(status));
	for (tries = 0; !access("/sys/module/uio_msix", F_OK); tries++) {
		ASSERT_GT(EVENT_MS / 10, tries);
		usleep(10000);
	}
	wait(NULL);
	module = open(file, O_RDONLY | O_CLOEXEC);
	ASSERT_EQ(0, syscall(SYS_finit_module, module, "", 0));
	close(module);
	ASSERT_EQ(0, pci_bind(bdf, "uio_msix"));
	ASSERT_EQ(0, uio_msix_find(&self->dev, bdf));
	EXPECT_EQ(0, uio_msix_open(&self->dev));
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

TEST_F(extra, mask_holds_back_and_delivers_one)
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

/* What fails while a vector is masked neither unmasks it nor forgets anything. */
TEST_F(extra, errors_leave_a_mask)
{
	static const struct uio_msix_eventfd bad_fd[] = {
		{ 0, -2, 0, 0 }, { 0, 1000, 0, 0 }, { 0, 2, 0, 0 },
		{ 0, -1, 1, 0 }, { 0, -1, 0, 1 },
	};
	static const struct uio_msix_mask bad_mask[] = {
		{ 0, 2, 0, 0 }, { 0, 0, 1, 0 }, { 0, 0, 0, 1 },
	};
	size_t i;

	attach_and_fire(_metadata, &self->dev, self->efd);
	ASSERT_EQ(0, set_mask(&self->dev, 0, 1));
	ASSERT_EQ(0, uio_msix_fire(&self->dev, 0));
	for (i = 0; i < ARRAY_SIZE(bad_fd); i++)
		EXPECT_EQ(-1, ioctl(self->dev.fd, UIO_MSIX_SET_EVENTFD, &bad_fd[i]));
	for (i = 0; i < ARRAY_SIZE(bad_mask); i++)
		EXPECT_EQ(-1, ioctl(self->dev.fd, UIO_MSIX_SET_MASK, &bad_mask[i]));
	EXPECT_EQ(-1, ioctl(self->dev.fd, UIO_MSIX_SET_MASK, NULL));
	EXPECT_EQ(0, events(self->efd, QUIET_MS));
	EXPECT_NE(0, masked_in_device(&self->dev, 0));
	ASSERT_EQ(0, set_mask(&self->dev, 0, 0));
	EXPECT_EQ(1, events(self->efd, EVENT_MS));
	EXPECT_EQ(0, events(self->efd, QUIET_MS));
}

/* Each vector has a mask of its own, and 0 is a number like any other. */
TEST_F(extra, mask_of_another_vector)
{
	int other = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC), input = dup(0);

	if (self->dev.num_vectors < 2)
		SKIP(return, "one vector");
	ASSERT_EQ(0, dup2(self->efd, 0));
	ASSERT_EQ(0, set_eventfd(&self->dev, 0, 0));
	dup2(input, 0);
	ASSERT_EQ(0, set_eventfd(&self->dev, 1, other));
	ASSERT_EQ(0, set_mask(&self->dev, 1, 1));
	EXPECT_NE(0, masked_in_device(&self->dev, 1));
	EXPECT_EQ(0, uio_msix_fire(&self->dev, 1));
	EXPECT_EQ(0, uio_msix_fire(&self->dev, 0));
	EXPECT_EQ(1, events(self->efd, EVENT_MS));
	EXPECT_EQ(0, events(other, QUIET_MS));
	ASSERT_EQ(0, set_mask(&self->dev, 1, 0));
	EXPECT_EQ(1, events(other, EVENT_MS));
	EXPECT_EQ(0, events(self->efd, 0));
	close(other);
	close(input);
}

TEST_F(extra, detach_and_reattach)
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
	EXPECT_NE(0, masked_in_device(&self->dev, 0));
	ASSERT_EQ(0, uio_msix_fire(&self->dev, 0));
	EXPECT_EQ(0, events(other, QUIET_MS));
	EXPECT_EQ(0, set_mask(&self->dev, 0, 0));
	EXPECT_EQ(1, events(other, EVENT_MS));

	/* Only the device can fire a detached vector. */
	EXPECT_EQ(0, set_eventfd(&self->dev, 0, -1));
	if (self->dev.kind)
		uio_msix_fire(&self->dev, 0);
	EXPECT_EQ(0, events(other, QUIET_MS));
	/* Where it is pending. */
	ASSERT_EQ(0, set_eventfd(&self->dev, 0, other));
	events(other, QUIET_MS);
}

/* There is one session, whatever node it is opened by. */
TEST_F(extra, other_node_of_the_device)
{
	struct stat st;

	ASSERT_EQ(0, fstat(self->dev.fd, &st));
	ASSERT_EQ(0, mknod("/tmp/node", S_IFCHR | 0600, st.st_rdev));
	EXPECT_EQ(-1, open("/tmp/node", O_RDWR | O_CLOEXEC));
	EXPECT_EQ(EBUSY, errno);
	unlink("/tmp/node");
	attach_and_fire(_metadata, &self->dev, self->efd);
}

TEST_F(extra, mapping_keeps_it_open)
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

TEST_F(extra, open_needs_cap_sys_rawio)
{
	struct __user_cap_header_struct hdr = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct cap[2];
	int status;
	pid_t pid;

	/* Who must not open it is not told whether it is open. */
	ASSERT_EQ(0, syscall(SYS_capget, &hdr, cap));
	EXPECT_EQ(-EBUSY, try_open(&self->dev));
	cap[0].effective &= ~(1 << CAP_SYS_RAWIO);
	ASSERT_EQ(0, syscall(SYS_capset, &hdr, cap));
	EXPECT_EQ(-EPERM, try_open(&self->dev));
	cap[0].effective |= 1 << CAP_SYS_RAWIO;
	ASSERT_EQ(0, syscall(SYS_capset, &hdr, cap));

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

static pid_t keep_resetting(struct uio_msix *dev)
{
	pid_t pid = fork();

	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		uio_msix_close(dev);
	}
	while (!pid) {
		put(pci(bdf, "reset"), "1");
		usleep(1000);
	}
	return pid;
}

/* Whatever it runs into, open says so, and bus mastering is as open and close want. */
TEST_F(extra, open_and_close_during_resets)
{
	int round;
	pid_t pid;

	if (!pci_has(bdf, "reset"))
		SKIP(return, "%s cannot be reset", bdf);
	uio_msix_close(&self->dev);
	for (round = 0; round < 4; round++) {
		rebind(_metadata, &self->dev);
		pid = keep_resetting(&self->dev);
		/* A reset just after it ends the session: do not touch it. */
		self->dev.fd = open(self->dev.path, O_RDWR | O_CLOEXEC);
		EXPECT_TRUE(self->dev.fd >= 0 || errno == EAGAIN);
		usleep(30000);
		uio_msix_close(&self->dev);
		stop(pid);
		EXPECT_FALSE(pci_master(bdf));
	}
	EXPECT_EQ(0, uio_msix_open(&self->dev));
	attach_and_fire(_metadata, &self->dev, self->efd);
}

/* For an instant it waits, longer it does not. */
TEST_F(extra, open_of_a_locked_device_is_eagain)
{
	uint64_t resets;
	char word[256];
	long ms;
	int tries;

	if (access(MEDDLE "hold", F_OK))
		SKIP(return, "no tests/modules/meddle");
	uio_msix_close(&self->dev);
	ASSERT_EQ(0, meddle("hold", path("%s 3000", bdf)));
	ms = now_ms();
	signals(true);
	EXPECT_EQ(-EAGAIN, try_open(&self->dev));
	signals(false);
	EXPECT_LE(95, now_ms() - ms);
	/* This waits for the lock. */
	ASSERT_EQ(0, meddle("hold", path("%s 0", bdf)));
	EXPECT_EQ(0, try_open(&self->dev));
	/* On a busy host it may come to look, or the lock be let go of, too late. */
	for (tries = 0; tries < 5; tries++) {
		ASSERT_EQ(0, meddle("hold", path("%s 600", bdf)));
		if (try_open(&self->dev) == -EAGAIN)
			break;
	}
	EXPECT_GT(5, tries);
	for (tries = 0; tries < 5; tries++) {
		ASSERT_EQ(0, meddle("hold", path("%s 60", bdf)));
		if (!try_open(&self->dev))
			break;
	}
	EXPECT_GT(5, tries);
	ASSERT_EQ(0, meddle("hold", path("%s 0", bdf)));
	ASSERT_EQ(0, uio_msix_open(&self->dev));

	/* Close cannot reset it then, and does not wait, but the next open does. */
	ASSERT_EQ(0, meddle("hold", path("%s 4000", bdf)));
	ms = now_ms();
	uio_msix_close(&self->dev);
	EXPECT_GT(3500, now_ms() - ms);
	EXPECT_FALSE(pci_master(bdf));
	ASSERT_EQ(0, meddle("hold", path("%s 0", bdf)));
	resets = get_u64(MEDDLE "resets");
	ASSERT_EQ(0, uio_msix_open(&self->dev));
	EXPECT_EQ(!!*get(pci(bdf, "reset_method"), word), get_u64(MEDDLE "resets") > resets);
	attach_and_fire(_metadata, &self->dev, self->efd);
}

/* And a reset that failed is none. */
TEST_F(extra, open_is_eio_if_the_reset_fails)
{
	uint32_t header[64 / 4];

	if (access(MEDDLE "fail_reset", F_OK))
		SKIP(return, "no tests/modules/meddle");
	if (!pci_has(bdf, "reset"))
		SKIP(return, "%s cannot be reset", bdf);
	uio_msix_close(&self->dev);
	read_header(header);
	ASSERT_EQ(0, uio_msix_open(&self->dev));
	ASSERT_EQ(0, meddle("fail_reset", path("%d", ETIMEDOUT)));
	uio_msix_close(&self->dev);
	EXPECT_TRUE(header_is(header));
	EXPECT_EQ(-EIO, try_open(&self->dev));
	EXPECT_TRUE(header_is(header));
	EXPECT_EQ(-EIO, try_open(&self->dev));
	EXPECT_EQ(0, pci_bind(bdf, ""));
	EXPECT_EQ(header[PCI_BASE_ADDRESS_0 / 4], pci_config(bdf, PCI_BASE_ADDRESS_0, 4));
	ASSERT_EQ(0, meddle("fail_reset", "0"));
	rebind(_metadata, &self->dev);
	ASSERT_EQ(0, uio_msix_open(&self->dev));
	attach_and_fire(_metadata, &self->dev, self->efd);
}

/* Whoever ended the session. */
TEST_F(extra, close_of_a_dead_file_resets)
{
	uint32_t header[64 / 4];
	uint64_t before;

	if (access(MEDDLE "resets", F_OK) || !pci_has(bdf, "reset"))
		SKIP(return, "no tests/modules/meddle, or no reset");
	uio_msix_close(&self->dev);
	read_header(header);
	ASSERT_EQ(0, uio_msix_open(&self->dev));
	ASSERT_EQ(0, put(pci(bdf, "reset"), "1"));
	config_write(PCI_BASE_ADDRESS_0, 4, 0);
	before = get_u64(MEDDLE "resets");
	uio_msix_close(&self->dev);
	EXPECT_LT(before, get_u64(MEDDLE "resets"));
	EXPECT_TRUE(header_is(header));
}

/* It is no use of the device. */
TEST_F(extra, open_that_fails_is_not_reset_after)
{
	uint64_t before;

	if (access(MEDDLE "resets", F_OK) || !pci_has(bdf, "reset") || pci_is_vf(bdf))
		SKIP(return, "no tests/modules/meddle, no reset, or a VF");
	rebind(_metadata, &self->dev);
	ASSERT_EQ(0, put(pci(bdf, "msi_bus"), "0"));
	EXPECT_GT(0, try_open(&self->dev));
	before = get_u64(MEDDLE "resets");
	EXPECT_GT(0, try_open(&self->dev));
	EXPECT_EQ(before, get_u64(MEDDLE "resets"));
	ASSERT_EQ(0, put(pci(bdf, "msi_bus"), "1"));
	EXPECT_EQ(0, uio_msix_open(&self->dev));
}

/* Set a bit that only a reset clears; whether it is set. */
static bool set_bit(struct uio_msix *dev)
{
	const struct guest_regs *r = guest_regs(dev);

	reg_write(dev->regs, r->cleared, reg_read(dev->regs, r->cleared) | r->bit);
	return reg_read(dev->regs, r->cleared) & r->bit;
}

/* Open without the set-up that would set it, and look. */
static bool open_and_look(struct uio_msix *dev)
{
	const struct guest_regs *r = guest_regs(dev);

	dev->fd = open(dev->path, O_RDWR | O_CLOEXEC);
	dev->bar0 = uio_msix_map(dev, 0);
	dev->regs = dev->bar0 + dev->maps[0].offset;
	return reg_read(dev->regs, r->cleared) & r->bit;
}

/* Resets were switched off for one close: the next open makes up for it. */
TEST_F(extra, reset_method_empty_for_a_close)
{
	char method[64];

	get(pci(bdf, "reset_method"), method);
	if (!guest_regs(&self->dev)->bit || strcmp(method, "flr"))
		SKIP(return, "no register known that a reset clears");
	ASSERT_TRUE(set_bit(&self->dev));
	ASSERT_EQ(0, put(pci(bdf, "reset_method"), "\n"));
	uio_msix_close(&self->dev);

	/* No reset at all: that is no failure. */
	EXPECT_TRUE(open_and_look(&self->dev));
	uio_msix_close(&self->dev);
	ASSERT_EQ(0, put(pci(bdf, "reset_method"), "default"));
	EXPECT_FALSE(open_and_look(&self->dev));
}

/*
 * A pull takes the lock of the slot before that of the rescan, under which
 * sysfs removes devices.
 */
TEST_F(extra, unbind_does_not_reset_the_slot)
{
	uint64_t before, resets;

	if (access(MEDDLE "slot_resets", F_OK))
		SKIP(return, "no tests/modules/meddle");
	uio_msix_close(&self->dev);
	/* Never opened: nothing else resets it. */
	rebind(_metadata, &self->dev);
	if (put(pci(bdf, "reset_method"), "bus"))
		SKIP(return, "no reset of its bus");
	before = get_u64(MEDDLE "slot_resets");
	resets = get_u64(MEDDLE "resets");
	EXPECT_EQ(0, pci_bind(bdf, ""));
	EXPECT_EQ(before, get_u64(MEDDLE "slot_resets"));
	/* The PCI core knows of which device FLR must not be asked. */
	EXPECT_EQ(resets + 1, get_u64(MEDDLE "resets"));
	put(pci(bdf, "reset_method"), "default");
}

/* Then there is no lock to come too late: all that is listed is tried. */
/* When it is reset its user can do nothing to it any more, and it is awake. */
TEST_F(extra, unbind_ends_the_session_first)
{
	int pm = pci_find_cap(bdf, PCI_CAP_ID_PM);

	if (access(MEDDLE "msix", F_OK))
		SKIP(return, "no tests/modules/meddle");
	if (pm)
		config_write(pm + PCI_PM_CTRL, 2, 3);
	meddle("power_state", "0");
	meddle("msix", "0");
	EXPECT_EQ(0, pci_bind(bdf, ""));
	EXPECT_EQ(0U, get_u64(MEDDLE "msix"));
	EXPECT_EQ(0U, get_u64(MEDDLE "power_state"));
}

TEST_F(extra, unbind_resets_in_a_slot_of_no_pciehp)
{
	uint64_t before;

	uio_msix_close(&self->dev);
	rebind(_metadata, &self->dev);
	if (!pci_has(bdf, "reset") || meddle("no_pciehp", path("%s 1", bdf)))
		SKIP(return, "no tests/modules/meddle, no hot-plug, or no reset");
	before = get_u64(MEDDLE "full_resets");
	EXPECT_EQ(0, pci_bind(bdf, ""));
	EXPECT_EQ(before + 1, get_u64(MEDDLE "full_resets"));
	EXPECT_EQ(0, meddle("no_pciehp", path("%s 0", bdf)));
}

/*
 * What frees an interrupt waits for those who read its files in /proc/irq, here
 * into a page of the device, whose fault waits for what ends the session.
 */
TEST_F(extra, end_while_proc_irq_is_read_into_a_mapping)
{
	int round, status;
	pid_t pid;
	void *p;
	int fd;

	if (!pci_has(bdf, "reset") || !self->dev.num_maps)
		SKIP(return, "no reset, or no BAR to map");
	for (round = 0; round < 6; round++) {
		p = uio_msix_map(&self->dev, 0);
		ASSERT_TRUE(p != MAP_FAILED);
		ASSERT_EQ(0, set_eventfd(&self->dev, 0, self->efd));
		fd = open(path("/proc/irq/%d/smp_affinity",
			       uio_msix_irq(&self->dev, 0)), O_RDONLY | O_CLOEXEC);
		ASSERT_LE(0, fd);
		pid = fork();
		if (!pid) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			while (pread(fd, p, 1, 0) != -1 || errno == EFAULT)
				;
			_exit(0);
		}
		close(fd);
		usleep(20000);
		EXPECT_EQ(0, round % 2 ? pci_bind(bdf, "") :
					 put(pci(bdf, "reset"), "1"));
		kill(pid, SIGKILL);
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		munmap(p, self->dev.maps[0].size);
		uio_msix_close(&self->dev);
		rebind(_metadata, &self->dev);
		ASSERT_EQ(0, uio_msix_open(&self->dev));
	}
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
TEST_F(extra, resets)
{
	size_t size = self->dev.maps[0].size;
	uint32_t reg, bit, *regs;
	char method[64];

	get(pci(bdf, "reset_method"), method);
	if (!self->dev.kind || !guest_regs(&self->dev)->bit || strcmp(method, "flr"))
		SKIP(return, "no register known that a reset clears");
	reg = guest_regs(&self->dev)->cleared;
	bit = guest_regs(&self->dev)->bit;
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

TEST_F(extra, lets_go_of_eventfds)
{
	enum { DETACH, REPLACE, ERROR, CLOSE, RESET, UNBIND, HOWS };
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
		case RESET:
			if (put(pci(bdf, "reset"), "1"))
				uio_msix_close(&self->dev);
			break;
		case UNBIND:
			EXPECT_EQ(0, pci_bind(bdf, ""));
		}
		EXPECT_TRUE(eventfd_is_free(id)) {
			TH_LOG("case %d", how);
		}
		if (how == RESET)
			reopen(_metadata, &self->dev);
	}
}

/* The node is pinned while it is open, and no longer. */
TEST_F(extra, lets_go_of_the_inode)
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
TEST_F(extra, lets_go_of_the_file_system)
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

/* And the log names what is left out: all of a BAR, or the pages of the table. */
TEST_F(extra, maps_all_but_the_table)
{
	uint64_t page = getpagesize(), start, len, from, to, mapped;
	int cap = pci_find_cap(bdf, PCI_CAP_ID_MSIX), bar, i, log;
	char bar_name[16];
	uint32_t table = pci_config(bdf, cap + PCI_MSIX_TABLE, 4);
	uint32_t n = (pci_config(bdf, cap + PCI_MSIX_FLAGS, 2) &
		      PCI_MSIX_FLAGS_QSIZE) + 1;

	/* The ROM is none of them. */
	for (i = 0; i < self->dev.num_maps; i++)
		EXPECT_GT('6', self->dev.maps[i].name[strlen("BAR")]);
	for (bar = 0; bar < 6; bar++) {
		len = pci_bar(bdf, bar, IORESOURCE_MEM, &start);
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
		log = log_open();
		ASSERT_EQ(0, pci_bind(bdf, "uio_msix"));
		snprintf(bar_name, sizeof(bar_name), "BAR%d", bar);
		EXPECT_EQ(mapped < len, log_count(log, bdf, bar_name) > 0) {
			TH_LOG("%s", bar_name);
		}
		/* A BAR below a page is mapped with it, unless it shares it. */
		EXPECT_EQ(shares_page(start, len) ? 0 :
			  ((len + page - 1) & -page) - (to - from), mapped) {
			TH_LOG("BAR%d", bar);
		}
	}
}

/* The first word of each map is what sysfs shows there while it is not bound. */
TEST_F(extra, maps_are_where_they_say)
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
		ASSERT_NE(0U, pci_bar(bdf, bar, IORESOURCE_MEM, &start));
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

TEST_F(extra, bind_by_hand)
{
	ASSERT_EQ(0, put(pci(bdf, "driver_override"), "uio_msix"));
	EXPECT_EQ(-EBUSY, put(PCI_DRIVERS "uio_msix/bind", bdf));
	ASSERT_EQ(0, put(pci(bdf, "driver_override"), "\n"));
	uio_msix_close(&self->dev);
	ASSERT_EQ(0, pci_bind(bdf, ""));
	EXPECT_EQ(-ENODEV, put(PCI_DRIVERS "uio_msix/bind", bdf));
}

TEST_F(extra, name_and_version)
{
	const char *uio = self->dev.path + strlen("/dev/");
	char word[64];

	EXPECT_STREQ("uio_msix", get(path("/sys/class/uio/%s/name", uio), word));
	EXPECT_STREQ("1", get(path("/sys/class/uio/%s/version", uio), word));
}

/* Read the first register of an I/O BAR and, if asked to, write it back: 0 or -errno. */
static int try_ports(int bar, bool write)
{
	int fd = open(path(PCI_DEVICES "%s/resource%d", bdf, bar), O_RDWR | O_CLOEXEC), ret = 0;
	uint32_t value;

	if (fd < 0)
		return -errno;
	if (pread(fd, &value, 4, 0) != 4 || (write && pwrite(fd, &value, 4, 0) != 4))
		ret = -errno;
	close(fd);
	return ret;
}

TEST_F(extra, io_bars_are_port_regions)
{
	const char *uio = self->dev.path + strlen("/dev/");
	char name[64], bar_name[16];
	uint64_t start, len;
	int bar, port = 0;

	for (bar = 0; bar < 6; bar++) {
		len = pci_bar(bdf, bar, IORESOURCE_IO, &start);
		if (!len)
			continue;
		sprintf(bar_name, "BAR%d", bar);
		EXPECT_STREQ(bar_name, get(path(UIO_PORT "%d/name", uio, port),
					   name));
		EXPECT_EQ(start, get_u64(path(UIO_PORT "%d/start", uio, port)));
		EXPECT_EQ(len, get_u64(path(UIO_PORT "%d/size", uio, port)));
		EXPECT_STREQ("port_x86", get(path(UIO_PORT "%d/porttype", uio,
						  port), name));
		/* The other way to it, as the documentation has it. */
		EXPECT_EQ(0, try_ports(bar, false));
		ASSERT_EQ(0, seteuid(NOBODY));
		EXPECT_EQ(-EACCES, try_ports(bar, false));
		ASSERT_EQ(0, seteuid(0));
		port++;
	}
	EXPECT_EQ(-1, access(path(UIO_PORT "%d", uio, port), F_OK));
	if (!port && __test_passed(_metadata))
		SKIP(return, "no I/O-port BAR");

	/* One more. */
	uio_msix_close(&self->dev);
	ASSERT_EQ(0, pci_bind(bdf, ""));
	if (meddle("more_bars", path("%s 2", bdf)))
		return;
	EXPECT_EQ(0, pci_bind(bdf, "uio_msix"));
	EXPECT_EQ(0, uio_msix_find(&self->dev, bdf));
	uio = self->dev.path + strlen("/dev/");
	for (bar = 0, port = 0; bar < 6; bar++) {
		if (!pci_bar(bdf, bar, IORESOURCE_IO, &start))
			continue;
		EXPECT_EQ(start, get_u64(path(UIO_PORT "%d/start", uio, port)));
		port++;
	}
	EXPECT_EQ(-1, access(path(UIO_PORT "%d", uio, port), F_OK));
	EXPECT_EQ(0, pci_bind(bdf, ""));
	ASSERT_EQ(0, meddle("more_bars", path("%s 0", bdf)));
}

/* What is left keeps its place, though the offset of its VMA moved. */
TEST_F(extra, partial_munmap)
{
	size_t page = getpagesize();
	uint32_t scratch;
	void *p;

	if (!self->dev.kind || guest_regs(&self->dev)->scratch < 2 * page)
		SKIP(return, "no register known on the third page");
	scratch = guest_regs(&self->dev)->scratch;
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

static int try_map_to_read(const char *file, uint64_t offset)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC), ret = 0;
	void *p;

	if (fd < 0)
		return -errno;
	ioctl(fd, PCIIOC_MMAP_IS_MEM);
	p = mmap(NULL, getpagesize(), PROT_READ, MAP_SHARED, fd, offset);
	if (p == MAP_FAILED)
		ret = -errno;
	else
		munmap(p, getpagesize());
	close(fd);
	return ret;
}

/* Every other way to a BAR: closed while bound, open to root before and after. */
TEST_F(extra, no_other_way_to_the_bars)
{
	uint64_t page = getpagesize(), start, len;
	int bar, bound, user, error;
	const char *sysfs;
	char proc[32];

	snprintf(proc, sizeof(proc), "/proc/bus/pci/%.2s/%s", bdf + 5, bdf + 8);
	for (bound = 1; bound >= 0; bound--) {
		for (bar = 0; bar < 6 * 2; bar++) {
			user = bar / 6;
			len = pci_bar(bdf, bar % 6, IORESOURCE_MEM, &start);
			if (!len || (!bound && len < page))
				continue;
			error = user ? -EACCES : bound ? -EINVAL : 0;
			ASSERT_EQ(0, seteuid(user ? NOBODY : 0));
			sysfs = path(PCI_DEVICES "%s/resource%d", bdf, bar % 6);
			EXPECT_EQ(error, try_map(sysfs, 0));
			sysfs = path("%s_wc", sysfs);
			if (!access(sysfs, F_OK))
				EXPECT_EQ(error, try_map(sysfs, 0));
			if (!access(proc, F_OK)) {
				EXPECT_EQ(error, try_map(proc, start & -page));
				/* Which anybody may open. */
				EXPECT_EQ(user ? -EPERM : error,
					  try_map_to_read(proc, start & -page));
			}
			EXPECT_EQ(error == -EINVAL ? -EPERM : error,
				  try_map("/dev/mem", start & -page));
			ASSERT_EQ(0, seteuid(0));
		}
		uio_msix_close(&self->dev);
		if (bound)
			ASSERT_EQ(0, pci_bind(bdf, ""));
	}
}

/* Configuration space is root's, until the kernel is locked down. */
TEST_F(extra, config_is_for_root)
{
	EXPECT_EQ(0, try_config(pci(bdf, "config")));
	ASSERT_EQ(0, seteuid(NOBODY));
	EXPECT_EQ(-EACCES, try_config(pci(bdf, "config")));
	if (!access(path("/proc/bus/pci/%.2s/%s", bdf + 5, bdf + 8), F_OK))
		EXPECT_EQ(-EACCES, try_config(path("/proc/bus/pci/%.2s/%s", bdf + 5, bdf + 8)));
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
TEST_F(extra, mapping_leads_no_further)
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
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(4, process_vm_readv(getpid(), &to, 1, &from, 1, 0));
	from.iov_base = p;
	EXPECT_EQ(-1, process_vm_readv(getpid(), &to, 1, &from, 1, 0));
	EXPECT_EQ(EFAULT, errno);
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
	EXPECT_EQ(EFAULT, errno);
	EXPECT_TRUE(mremap(p, 0, page, MREMAP_MAYMOVE) == MAP_FAILED);
	EXPECT_EQ(EFAULT, errno);
	EXPECT_TRUE(mremap(p, size, size, MREMAP_MAYMOVE | MREMAP_DONTUNMAP) == MAP_FAILED);
	EXPECT_EQ(EINVAL, errno);
	moved = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	EXPECT_TRUE(mremap(p, size, size, MREMAP_MAYMOVE | MREMAP_FIXED,
			   moved) == moved);
	EXPECT_FALSE(sigbus_at(moved));
	ASSERT_EQ(0, pci_bind(bdf, ""));
	EXPECT_TRUE(sigbus_at(moved));
	munmap(moved, size);
}

/* On x86 that is so without being asked for, too. */
TEST_F(extra, maps_are_uncached)
{
	char kind[64];
	void *p;

	if (access(PTE, F_OK))
		SKIP(return, "no tests/modules/pte");
	if (!self->dev.num_maps)
		SKIP(return, "no BAR to map");
	p = uio_msix_map(&self->dev, 0);
	ASSERT_TRUE(p != MAP_FAILED);
	reg_read(p, 0);
	EXPECT_EQ(0, put(PTE, path("0x%lx", (unsigned long)p)));
	EXPECT_STREQ("uc", get(PTE, kind));
	munmap(p, self->dev.maps[0].size);
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
TEST_F(extra, dma_reaches_memory_unless_iommu)
{
	const struct guest_regs *kind = guest_regs(&self->dev);
	size_t page = getpagesize();
	uint32_t *regs = self->dev.regs;
	int log = log_open(), faults = 0, tries;
	uint64_t addr;
	uint8_t *p;

	if (!kind->dma)
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
	EXPECT_EQ(pci_translated(bdf) ? 0x5a : 0x96, p[0]);
	EXPECT_EQ(pci_translated(bdf) ? 0x5a : 0x96, p[63]);
	EXPECT_EQ(0x5a, p[64]);
	if (!access("/sys/class/iommu/dmar0", F_OK)) {
		/* It says so in an interrupt of its own, sooner or later. */
		for (tries = 0; tries < 100 && !faults; tries++) {
			usleep(pci_translated(bdf) ? 10000 : 1000);
			faults = log_count(log, bdf + 5, "DMA Write");
		}
		EXPECT_EQ(pci_translated(bdf), faults > 0);
	}
	close(log);
	munmap(p, page);
}

/* Nor can that be changed meanwhile. */
TEST_F(extra, its_iommu_group_is_in_use)
{
	if (!pci_has(bdf, "iommu_group/type"))
		SKIP(return, "no IOMMU");
	EXPECT_EQ(-EPERM, put(pci(bdf, "iommu_group/type"), "identity"));
}

TEST(opt_in_can_be_written_and_read)
{
	struct stat st;

	ASSERT_EQ(0, stat(ALLOW_VF, &st));
	EXPECT_EQ(0644U, st.st_mode & 07777);
}

TEST_F(extra, vf_needs_opt_in)
{
	char name[64];
	int log;

	if (!pci_is_vf(bdf))
		SKIP(return, "not a VF");
	uio_msix_close(&self->dev);
	ASSERT_EQ(0, put(ALLOW_VF, "N"));
	refused(_metadata, bdf, -EPERM, "VF", "allow_unsafe_vf");

	/* This tells in the log only. */
	log = log_open();
	ASSERT_EQ(0, put(pci(bdf, "driver_override"), "uio_msix"));
	EXPECT_EQ(0, put("/sys/bus/pci/drivers_probe", bdf));
	EXPECT_STREQ("", pci_driver(bdf, name));
	EXPECT_EQ(1, log_count(log, bdf, "allow_unsafe_vf"));
	close(log);
	ASSERT_EQ(0, put(ALLOW_VF, "Y"));
	EXPECT_EQ(0, pci_bind(bdf, "uio_msix"));

	/* Looked at when it is bound, and then no more. */
	ASSERT_EQ(0, put(ALLOW_VF, "N"));
	EXPECT_EQ(0, uio_msix_open(&self->dev));
	ASSERT_EQ(0, put(ALLOW_VF, "Y"));
}

/* What root might try on a device meanwhile: it stays in use, and as it is. */
TEST_F(extra, not_switched_off_or_resized)
{
	int bar;

	EXPECT_EQ(-EBUSY, put(pci(bdf, "enable"), "0"));
	if (pci_has(bdf, "sriov_numvfs"))
		EXPECT_EQ(-ENOENT, put(pci(bdf, "sriov_numvfs"), "1"));
	for (bar = 0; bar < 6; bar++)
		if (pci_has(bdf, path("resource%d_resize", bar)))
			EXPECT_EQ(-EBUSY, put(pci(bdf, path("resource%d_resize", bar)), "1"));
	attach_and_fire(_metadata, &self->dev, self->efd);
}

/* Who may read the node may do all, but map to write. */
TEST_F(extra, open_for_reading_only)
{
	size_t size = self->dev.maps[0].size;
	void *p;

	uio_msix_close(&self->dev);
	self->dev.fd = open(self->dev.path, O_WRONLY | O_CLOEXEC);
	ASSERT_LE(0, self->dev.fd);
	if (self->dev.num_maps)
		EXPECT_EQ(-EACCES, try_mmap(self->dev.fd, 0, size, MAP_SHARED));
	uio_msix_close(&self->dev);

	self->dev.fd = open(self->dev.path, O_RDONLY | O_CLOEXEC);
	ASSERT_LE(0, self->dev.fd);
	self->dev.kind = NULL;
	attach_and_fire(_metadata, &self->dev, self->efd);
	EXPECT_EQ(0, set_mask(&self->dev, 0, 1));
	EXPECT_EQ(-1, write(self->dev.fd, &size, 4));
	EXPECT_EQ(EBADF, errno);
	if (!self->dev.num_maps)
		return;
	EXPECT_TRUE(uio_msix_map(&self->dev, 0) == MAP_FAILED);
	EXPECT_EQ(EACCES, errno);
	p = mmap(NULL, size, PROT_READ, MAP_SHARED, self->dev.fd, 0);
	ASSERT_TRUE(p != MAP_FAILED);
	EXPECT_FALSE(sigbus_at(p));
	EXPECT_EQ(-1, mprotect(p, size, PROT_READ | PROT_WRITE));
	EXPECT_EQ(EACCES, errno);
	munmap(p, size);
}

TEST_F(extra, pf_with_live_vfs)
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
	refused(_metadata, bdf, -EBUSY, "VFs enabled", "write 0 to sriov_numvfs");
	ASSERT_EQ(0, pci_bind(bdf, taken.driver));
	ASSERT_EQ(0, put(pci(bdf, "sriov_numvfs"), "0"));
}

TEST(bridge_and_no_msix)
{
	static const char * const other[][3] = {
		{ "UIO_MSIX_BRIDGE", "bridge", "bind the devices behind it" },
		{ "UIO_MSIX_NO_MSIX", "no MSI-X", "uio_pci_generic" },
	};
	char driver[64];
	size_t i;

	for (i = 0; i < ARRAY_SIZE(other); i++) {
		const char *dev = getenv(other[i][0]);

		if (!dev || !*dev)
			SKIP(return, "no device: set %s", other[i][0]);
		pci_driver(dev, driver);
		refused(_metadata, dev, -ENODEV, other[i][1], other[i][2]);
		pci_bind(dev, driver);
	}
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
TEST_F(extra, absent_device)
{
	time_t closed;
	int bus, log;

	if (pci_is_vf(bdf))
		SKIP(return, "the PF answers for its VF");
	uio_msix_close(&self->dev);
	ASSERT_EQ(0, uio_msix_open(&self->dev));
	bus = secondary_bus(0xff);
	if (bus < 0)
		SKIP(return, "not behind a bridge");
	EXPECT_EQ(0xffffU, pci_config(bdf, 0, 2));
	/* A reset would wait for it a minute. */
	closed = time(NULL);
	uio_msix_close(&self->dev);
	EXPECT_GT(closed + 30, time(NULL));
	EXPECT_EQ(-ENODEV, uio_msix_open(&self->dev));
	/* Nor does unbind try to reset it. */
	log = log_open();
	EXPECT_EQ(0, pci_bind(bdf, ""));
	EXPECT_EQ(0, log_count(log, bdf, "inaccessible"));
	close(log);
	refused(_metadata, bdf, -ENODEV, "MSI-X table is in no BAR",
		"is it there at all");
	secondary_bus(bus);
	EXPECT_NE(0xffffU, pci_config(bdf, 0, 2));
	ASSERT_EQ(0, pci_bind(bdf, "uio_msix"));
	ASSERT_EQ(0, uio_msix_find(&self->dev, bdf));
	EXPECT_EQ(0, uio_msix_open(&self->dev));
	ASSERT_EQ(0, set_eventfd(&self->dev, 0, self->efd));
	ASSERT_EQ(0, uio_msix_fire(&self->dev, 0));
	EXPECT_EQ(1, events(self->efd, EVENT_MS));
}

/* What the firmware or another driver left on is off, but for what its BARs need. */
TEST_F(extra, bind_sets_the_command_register)
{
	uint16_t on = PCI_COMMAND_MEMORY | PCI_COMMAND_INTX_DISABLE, bits;
	uint64_t start;
	int bar, tries;

	if (pci_is_vf(bdf))
		SKIP(return, "a VF has none of these bits");
	bits = on | PCI_COMMAND_IO | PCI_COMMAND_MASTER;
	for (bar = 0; bar < 6; bar++)
		if (pci_bar(bdf, bar, IORESOURCE_IO, &start))
			on |= PCI_COMMAND_IO;
	uio_msix_close(&self->dev);
	ASSERT_EQ(0, pci_bind(bdf, ""));
	config_write(PCI_COMMAND, 2, PCI_COMMAND_MASTER);
	EXPECT_TRUE(pci_master(bdf));
	ASSERT_EQ(0, pci_bind(bdf, "uio_msix"));
	ASSERT_EQ(0, uio_msix_find(&self->dev, bdf));
	/* Nor is it part of what is restored. */
	for (tries = 0; tries < 3; tries++) {
		EXPECT_EQ(on, pci_config(bdf, PCI_COMMAND, 2) & bits);
		ASSERT_EQ(0, uio_msix_open(&self->dev));
		EXPECT_EQ(on | PCI_COMMAND_MASTER, (int)pci_config(bdf, PCI_COMMAND, 2) & bits);
		uio_msix_close(&self->dev);
	}
}

/* Whether /proc/iomem or /proc/ioports has a range of that name. */
static bool claimed_by(const char *name)
{
	static const char * const files[] = { "/proc/iomem", "/proc/ioports" };
	bool found = false;
	char line[256];
	size_t i;
	FILE *f;

	for (i = 0; i < ARRAY_SIZE(files); i++) {
		f = fopen(files[i], "re");
		while (f && fgets(line, sizeof(line), f))
			found |= !!strstr(line, name);
		if (f)
			fclose(f);
	}
	return found;
}

/* The last BAR is another's: those before it are given back, it is not. */
TEST_F(extra, bar_that_is_claimed)
{
	uint64_t start;
	int bar;

	if (access(MEDDLE "claim", F_OK))
		SKIP(return, "no tests/modules/meddle");
	uio_msix_close(&self->dev);
	ASSERT_EQ(0, pci_bind(bdf, ""));
	for (bar = 0; bar < 6; bar++) {
		if (!pci_bar(bdf, bar, IORESOURCE_MEM | IORESOURCE_IO, &start))
			continue;
		ASSERT_EQ(0, meddle("claim", path("%s %d", bdf, bar)));
		refused(_metadata, bdf, -EBUSY, "BARs are in use", "/proc/iomem");
		EXPECT_EQ(0U, get_u64(pci(bdf, "enable")));
		EXPECT_FALSE(claimed_by("uio_msix"));
		EXPECT_TRUE(claimed_by("meddle"));
		ASSERT_EQ(0, meddle("claim", path("%s 6", bdf)));
	}
	ASSERT_EQ(0, pci_bind(bdf, "uio_msix"));
	ASSERT_EQ(0, uio_msix_find(&self->dev, bdf));
	EXPECT_EQ(0, uio_msix_open(&self->dev));
}

TEST_F(extra, device_that_cannot_be_enabled)
{
	uint64_t start;
	int bar = 0;

	if (access(MEDDLE "unset", F_OK) || pci_is_vf(bdf))
		SKIP(return, "no tests/modules/meddle, or a VF");
	while (!pci_bar(bdf, bar, IORESOURCE_MEM, &start))
		bar++;
	uio_msix_close(&self->dev);
	ASSERT_EQ(0, pci_bind(bdf, ""));
	ASSERT_EQ(0, meddle("unset", path("%s %d", bdf, bar)));
	EXPECT_EQ(-EINVAL, pci_bind(bdf, "uio_msix"));
	ASSERT_EQ(0, meddle("unset", path("%s 6", bdf)));
	EXPECT_EQ(0U, get_u64(pci(bdf, "enable")));
	EXPECT_FALSE(claimed_by("uio_msix"));
	ASSERT_EQ(0, pci_bind(bdf, "uio_msix"));
}

TEST_F(extra, no_memory_for_the_state_of_the_bind)
{
	if (access(MEDDLE "fail_store", F_OK))
		SKIP(return, "no tests/modules/meddle");
	uio_msix_close(&self->dev);
	ASSERT_EQ(0, pci_bind(bdf, ""));
	ASSERT_EQ(0, meddle("fail_store", "1"));
	EXPECT_EQ(-ENOMEM, pci_bind(bdf, "uio_msix"));
	ASSERT_EQ(0, meddle("fail_store", "0"));
	EXPECT_EQ(0U, get_u64(pci(bdf, "enable")));
	EXPECT_FALSE(claimed_by("uio_msix"));
	ASSERT_EQ(0, pci_bind(bdf, "uio_msix"));
}

/* A table that says to be beyond its BAR. */
TEST_F(extra, table_outside_of_its_bar)
{
	int cap = pci_find_cap(bdf, PCI_CAP_ID_MSIX);
	uint32_t table = pci_config(bdf, cap + PCI_MSIX_TABLE, 4);

	if (access(MEDDLE "short_bar", F_OK) || pci_is_vf(bdf))
		SKIP(return, "no tests/modules/meddle, or a VF");
	uio_msix_close(&self->dev);
	ASSERT_EQ(0, pci_bind(bdf, ""));
	ASSERT_EQ(0, meddle("short_bar", path("%s %d", bdf, table & PCI_MSIX_TABLE_BIR)));
	refused(_metadata, bdf, -ENODEV, "MSI-X table is in no BAR", "is it there at all");
	ASSERT_EQ(0, meddle("short_bar", path("%s 6", bdf)));
	EXPECT_FALSE(claimed_by("uio_msix"));
	ASSERT_EQ(0, pci_bind(bdf, "uio_msix"));
	ASSERT_EQ(0, uio_msix_find(&self->dev, bdf));
	EXPECT_EQ(0, uio_msix_open(&self->dev));
}

/* One that says to be in the ROM or in the BARs of the VFs. */
TEST_F(extra, table_in_what_is_no_bar)
{
	int bar;

	if (access(MEDDLE "table_bar", F_OK))
		SKIP(return, "no tests/modules/meddle");
	uio_msix_close(&self->dev);
	ASSERT_EQ(0, pci_bind(bdf, ""));
	for (bar = 6; bar < 8; bar++) {
		ASSERT_EQ(0, meddle("table_bar", path("%s %d", bdf, bar)));
		refused(_metadata, bdf, -ENODEV, "MSI-X table is in no BAR",
			"is it there at all");
	}
	ASSERT_EQ(0, meddle("table_bar", path("%s 8", bdf)));
	rebind(_metadata, &self->dev);
	EXPECT_EQ(0, uio_msix_open(&self->dev));
}

/* Neither its first page nor its last is mapped if it begins and ends within one. */
TEST_F(extra, table_inside_of_its_pages)
{
	int cap = pci_find_cap(bdf, PCI_CAP_ID_MSIX), bar, i;
	uint32_t table = pci_config(bdf, cap + PCI_MSIX_TABLE, 4);
	uint64_t page = getpagesize(), start, len, from, to;

	bar = table & PCI_MSIX_TABLE_BIR;
	len = pci_bar(bdf, bar, IORESOURCE_MEM, &start);
	to = (pci_config(bdf, cap + PCI_MSIX_FLAGS, 2) & PCI_MSIX_FLAGS_QSIZE) + 1;
	to = (table & PCI_MSIX_TABLE_OFFSET) + to * PCI_MSIX_ENTRY_SIZE;
	if (access(MEDDLE "sub_page", F_OK) || len < page || to + 0x800 > len)
		SKIP(return, "no tests/modules/meddle, or no room in the BAR");
	uio_msix_close(&self->dev);
	ASSERT_EQ(0, pci_bind(bdf, ""));
	ASSERT_EQ(0, meddle("sub_page", path("%s %d", bdf, bar)));
	pci_bar(bdf, bar, IORESOURCE_MEM, &start);
	from = (start + (table & PCI_MSIX_TABLE_OFFSET)) & -page;
	to = (start + to + page - 1) & -page;
	EXPECT_EQ(0, pci_bind(bdf, "uio_msix"));
	EXPECT_EQ(0, uio_msix_find(&self->dev, bdf));
	for (i = 0; i < self->dev.num_maps; i++)
		EXPECT_TRUE(self->dev.maps[i].addr >= to ||
			    self->dev.maps[i].addr + self->dev.maps[i].size <= from) {
			TH_LOG("%s", self->dev.maps[i].name);
		}
	EXPECT_EQ(0, pci_bind(bdf, ""));
	ASSERT_EQ(0, meddle("sub_page", path("%s 6", bdf)));
	ASSERT_EQ(0, pci_bind(bdf, "uio_msix"));
}

/* What a quirk says; all is named. */
TEST_F(extra, non_mappable_bars_are_not_mapped)
{
	uint64_t start;
	char name[64];
	int bar, log;

	if (meddle("non_mappable_bars", path("%s 1", bdf)))
		SKIP(return, "no tests/modules/meddle");
	rebind(_metadata, &self->dev);
	meddle("non_mappable_bars", path("%s 0", bdf));
	EXPECT_EQ(0, self->dev.num_maps);
	self->dev.kind = NULL;
	ASSERT_EQ(0, uio_msix_open(&self->dev));
	ASSERT_EQ(0, set_eventfd(&self->dev, 0, self->efd));
	for (bar = 0; bar < 6; bar++) {
		if (!pci_bar(bdf, bar, IORESOURCE_MEM, &start))
			continue;
		log = log_open();
		meddle("non_mappable_bars", path("%s 1", bdf));
		rebind(_metadata, &self->dev);
		meddle("non_mappable_bars", path("%s 0", bdf));
		sprintf(name, "BAR%d: no map, this machine cannot", bar);
		EXPECT_EQ(1, log_count(log, bdf, name));
		close(log);
	}
}

/* Or the BAR that they are in, if it has no map for another reason. */
TEST_F(extra, pages_of_the_table_are_named)
{
	int log = log_open(), cap = pci_find_cap(bdf, PCI_CAP_ID_MSIX);
	uint32_t table = pci_config(bdf, cap + PCI_MSIX_TABLE, 4);
	uint64_t page = getpagesize(), start, len, from, to;
	char line[128];

	len = pci_bar(bdf, table & PCI_MSIX_TABLE_BIR, IORESOURCE_MEM, &start);
	from = start + (table & PCI_MSIX_TABLE_OFFSET);
	to = from + ((pci_config(bdf, cap + PCI_MSIX_FLAGS, 2) & PCI_MSIX_FLAGS_QSIZE) + 1) *
		PCI_MSIX_ENTRY_SIZE;
	sprintf(line, "BAR%d: no map of 0x%0*llx to 0x%0*llx, for the MSI-X table",
		table & PCI_MSIX_TABLE_BIR, 16, (unsigned long long)(from & -page),
		16, (unsigned long long)((to + page - 1) & -page));
	rebind(_metadata, &self->dev);
	EXPECT_EQ(!shares_page(start, len), log_count(log, bdf, line));
	ASSERT_EQ(0, uio_msix_open(&self->dev));
}

/* What is claimed of a page beside a BAR is so because nobody else has any of it. */
TEST_F(extra, no_pad_is_left_behind)
{
	FILE *f = fopen("/proc/iomem", "re");
	uint64_t page = getpagesize(), start, len;
	unsigned long long from, to;
	char line[256];
	int bar;

	while (f && fgets(line, sizeof(line), f)) {
		if (!strstr(line, "uio_msix sub-page"))
			continue;
		ASSERT_EQ(2, sscanf(line, " %llx-%llx", &from, &to));
		for (bar = 0; bar < 6; bar++) {
			len = pci_bar(bdf, bar, IORESOURCE_MEM, &start);
			if (len && to >= (start & -page) &&
			    from < ((start + len + page - 1) & -page))
				EXPECT_FALSE(shares_page(start, len)) {
					TH_LOG("%s", line);
				}
		}
	}
	fclose(f);
	ASSERT_EQ(0, pci_bind(bdf, ""));
	EXPECT_EQ(0U, get_u64(pci(bdf, "enable")));
	f = fopen("/proc/iomem", "re");
	while (f && fgets(line, sizeof(line), f))
		EXPECT_FALSE(!!strstr(line, "uio_msix"));
	fclose(f);
}

/* A BAR of a page or more, but not that of the MSI-X table; 6 if there is none. */
static int other_bar(uint64_t *start, uint64_t *len)
{
	int cap = pci_find_cap(bdf, PCI_CAP_ID_MSIX), bar;
	uint32_t table = pci_config(bdf, cap + PCI_MSIX_TABLE, 4);

	for (bar = 0; bar < 6; bar++) {
		*len = pci_bar(bdf, bar, IORESOURCE_MEM, start);
		if (*len >= (uint64_t)getpagesize() &&
		    bar != (int)(table & PCI_MSIX_TABLE_BIR))
			break;
	}
	return bar;
}

/* How much uio_msix has claimed beside BARs in [@start, @start + @len). */
static uint64_t pads(uint64_t start, uint64_t len)
{
	FILE *f = fopen("/proc/iomem", "re");
	unsigned long long from, to;
	char line[256];
	uint64_t sum = 0;

	while (f && fgets(line, sizeof(line), f))
		if (strstr(line, "uio_msix sub-page") &&
		    sscanf(line, " %llx-%llx", &from, &to) == 2 &&
		    from < start + len && to >= start)
			sum += to - from + 1;
	fclose(f);
	return sum;
}

/*
 * With the rest of the last page another's, what was claimed of the first one is
 * given back; with that of the first one, nothing of the last is claimed.
 */
TEST_F(extra, bar_inside_of_its_pages)
{
	uint64_t start, len, sub_start, sub_len;
	int log = log_open(), bar, i, mapped, taken;
	char line[64];

	bar = other_bar(&start, &len);
	if (access(MEDDLE "sub_page", F_OK) || bar == 6)
		SKIP(return, "no tests/modules/meddle, or no BAR but that of the table");
	uio_msix_close(&self->dev);
	for (taken = 0; taken < 3; taken++) {
		ASSERT_EQ(0, pci_bind(bdf, ""));
		ASSERT_EQ(0, meddle("sub_page", path("%s %d", bdf, bar)));
		if (taken)
			EXPECT_EQ(0, meddle("neighbour", path("%d", taken)));
		EXPECT_EQ(0, pci_bind(bdf, "uio_msix"));
		EXPECT_EQ(0, uio_msix_find(&self->dev, bdf));
		sub_len = pci_bar(bdf, bar, IORESOURCE_MEM, &sub_start);
		sprintf(line, "BAR%d", bar);
		mapped = 0;
		for (i = 0; i < self->dev.num_maps; i++) {
			if (strcmp(self->dev.maps[i].name, line))
				continue;
			mapped++;
			EXPECT_EQ(start, self->dev.maps[i].addr);
			EXPECT_EQ(len, self->dev.maps[i].size);
			EXPECT_EQ(sub_start - start, self->dev.maps[i].offset);
		}
		EXPECT_EQ(!taken, mapped);
		EXPECT_EQ(taken ? 0 : len - sub_len, pads(start, len));
		/* Nor does a driver get what is claimed. */
		if (!taken)
			EXPECT_EQ(-EBUSY, meddle("neighbour", "3"));
		sprintf(line, "BAR%d: no map, it shares a page", bar);
		EXPECT_EQ(!!taken, log_count(log, bdf, line));
		EXPECT_EQ(0, pci_bind(bdf, ""));
		EXPECT_EQ(0U, pads(start, len));
		if (taken)
			EXPECT_EQ(0, meddle("neighbour", "0"));
		ASSERT_EQ(0, meddle("sub_page", path("%s 6", bdf)));
	}
	ASSERT_EQ(0, pci_bind(bdf, "uio_msix"));
	ASSERT_EQ(0, uio_msix_find(&self->dev, bdf));
	EXPECT_EQ(0, uio_msix_open(&self->dev));
}

static void left_out(char *line, int bar, uint64_t from, uint64_t to)
{
	sprintf(line, "BAR%d: no map of 0x%016llx to 0x%016llx, UIO has no more", bar,
		(unsigned long long)from, (unsigned long long)to);
}

/* Those that are left out are named. */
TEST_F(extra, more_maps_than_uio_has)
{
	int log = log_open(), cap = pci_find_cap(bdf, PCI_CAP_ID_MSIX);
	int bar, maps = 0, logs[12], i;
	uint32_t table = pci_config(bdf, cap + PCI_MSIX_TABLE, 4);
	uint64_t page = getpagesize(), start, len, from, to;
	char line[12][128];
	void *p;

	if (access(MEDDLE "more_bars", F_OK) || pci_is_vf(bdf))
		SKIP(return, "no tests/modules/meddle, or a VF");
	uio_msix_close(&self->dev);
	ASSERT_EQ(0, pci_bind(bdf, ""));
	ASSERT_EQ(0, meddle("more_bars", path("%s 1", bdf)));
	for (bar = 0; bar < 6; bar++) {
		len = pci_bar(bdf, bar, IORESOURCE_MEM, &start);
		if (!len || shares_page(start, len))
			continue;
		from = start & -page;
		to = (start + len + page - 1) & -page;
		if (bar != (int)(table & PCI_MSIX_TABLE_BIR)) {
			left_out(line[maps++], bar, from, to);
			continue;
		}
		start += table & PCI_MSIX_TABLE_OFFSET;
		len = ((pci_config(bdf, cap + PCI_MSIX_FLAGS, 2) & PCI_MSIX_FLAGS_QSIZE) + 1) *
			PCI_MSIX_ENTRY_SIZE;
		if ((start & -page) > from)
			left_out(line[maps++], bar, from, start & -page);
		if (((start + len + page - 1) & -page) < to)
			left_out(line[maps++], bar, (start + len + page - 1) & -page, to);
	}
	for (i = 5; i < maps; i++)
		logs[i] = log_open();
	EXPECT_EQ(0, pci_bind(bdf, "uio_msix"));
	EXPECT_EQ(0, uio_msix_find(&self->dev, bdf));
	EXPECT_EQ(maps > 5 ? 5 : maps, self->dev.num_maps);
	EXPECT_EQ(maps > 5 ? maps - 5 : 0, log_count(log, bdf, "UIO has no more"));
	for (i = 5; i < maps; i++)
		EXPECT_EQ(1, log_count(logs[i], bdf, line[i])) {
			TH_LOG("%s", line[i]);
		}
	EXPECT_EQ(0, uio_msix_open(&self->dev));
	for (i = 0; i < self->dev.num_maps; i++) {
		p = uio_msix_map(&self->dev, i);
		ASSERT_TRUE(p != MAP_FAILED);
		reg_read(p, 0);
		if (!put(PTE, path("0x%lx", (unsigned long)p)))
			EXPECT_EQ(self->dev.maps[i].addr, get_u64(PTE "_address")) {
				TH_LOG("map%d", i);
			}
		munmap(p, self->dev.maps[i].size);
	}
	EXPECT_EQ(0, pci_bind(bdf, ""));
	uio_msix_close(&self->dev);
	ASSERT_EQ(0, meddle("more_bars", path("%s 0", bdf)));
	ASSERT_EQ(0, pci_bind(bdf, "uio_msix"));
	ASSERT_EQ(0, uio_msix_find(&self->dev, bdf));
	EXPECT_EQ(0, uio_msix_open(&self->dev));
	if (maps <= 5 && __test_passed(_metadata))
		SKIP(return, "too few BARs");
}

/* Some devices lose MSI-X with INTx: the PCI core knows which. */
TEST_F(extra, intx_stays_where_msix_goes_with_it)
{
	uint16_t off = PCI_COMMAND_INTX_DISABLE;

	if (access(MEDDLE "intx_bug", F_OK) || pci_is_vf(bdf))
		SKIP(return, "no tests/modules/meddle, or a VF");
	uio_msix_close(&self->dev);
	ASSERT_EQ(0, pci_bind(bdf, ""));
	config_write(PCI_COMMAND, 2, pci_config(bdf, PCI_COMMAND, 2) & ~off);
	ASSERT_EQ(0, meddle("intx_bug", path("%s 1", bdf)));
	EXPECT_EQ(0, pci_bind(bdf, "uio_msix"));
	EXPECT_EQ(0U, pci_config(bdf, PCI_COMMAND, 2) & off);
	EXPECT_EQ(0, uio_msix_find(&self->dev, bdf));
	EXPECT_EQ(0, uio_msix_open(&self->dev));
	EXPECT_EQ(0U, pci_config(bdf, PCI_COMMAND, 2) & off);
	uio_msix_close(&self->dev);
	EXPECT_EQ(0U, pci_config(bdf, PCI_COMMAND, 2) & off);
	ASSERT_EQ(0, meddle("intx_bug", path("%s 0", bdf)));
	ASSERT_EQ(0, pci_bind(bdf, "uio_msix"));
	EXPECT_EQ(off, pci_config(bdf, PCI_COMMAND, 2) & off);
}

/* Unbind resets like close, but behind a hot-plug slot, see above. */
TEST_F(extra, unbind_resets)
{
	char link[256], *parent, word[256];
	uint64_t before;

	link[readlink(path(PCI_DEVICES "%s", bdf), link, 255)] = 0;
	*strrchr(link, '/') = 0;
	parent = strrchr(link, '/') + 1;
	if (access(MEDDLE "full_resets", F_OK) || strncmp(parent, "pci", 3) ||
	    !*get(pci(bdf, "reset_method"), word))
		SKIP(return, "no tests/modules/meddle, behind a port, or no reset");
	before = get_u64(MEDDLE "full_resets");
	ASSERT_EQ(0, pci_bind(bdf, ""));
	EXPECT_LT(before, get_u64(MEDDLE "full_resets"));

	/* In a slot below no port: of ACPI, say. */
	ASSERT_EQ(0, meddle("slot", path("%s 1", bdf)));
	EXPECT_EQ(0, pci_bind(bdf, "uio_msix"));
	before = get_u64(MEDDLE "full_resets");
	EXPECT_EQ(0, pci_bind(bdf, ""));
	EXPECT_LT(before, get_u64(MEDDLE "full_resets"));
	ASSERT_EQ(0, meddle("slot", path("%s 0", bdf)));
}

/*
 * What the user wrote to COMMAND and BARs is gone before the reset, for which some
 * devices need a BAR; and bus mastering and decoding are off while that is written.
 */
TEST_F(extra, quiet_and_restored_before_the_reset)
{
	uint16_t bits = PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER |
			PCI_COMMAND_INTX_DISABLE, command;
	uint32_t bar0 = pci_config(bdf, PCI_BASE_ADDRESS_0, 4);
	int how;

	if (access(MEDDLE "restored", F_OK) || !pci_has(bdf, "reset") || pci_is_vf(bdf))
		SKIP(return, "no tests/modules/meddle, no reset, or a VF");
	command = pci_config(bdf, PCI_COMMAND, 2) & bits;
	for (how = 0; how < 2; how++) {
		config_write(PCI_BASE_ADDRESS_0, 4, 0);
		config_write(PCI_COMMAND, 2, PCI_COMMAND_MASTER | PCI_COMMAND_MEMORY);
		if (how) {
			ASSERT_EQ(0, put(pci(bdf, "reset_method"), "\n"));
			uio_msix_close(&self->dev);
			config_write(PCI_BASE_ADDRESS_0, 4, 0);
			ASSERT_EQ(0, put(pci(bdf, "reset_method"), "default"));
			/* By the next open. */
			ASSERT_EQ(0, uio_msix_open(&self->dev));
		} else {
			uio_msix_close(&self->dev);
		}
		EXPECT_EQ(PCI_COMMAND_INTX_DISABLE, (int)get_u64(MEDDLE "restoring") & bits);
		EXPECT_EQ(command & ~PCI_COMMAND_MASTER, (int)get_u64(MEDDLE "restored") & bits);
		EXPECT_EQ(bar0, get_u64(MEDDLE "bar0"));
		reopen(_metadata, &self->dev);
	}
	attach_and_fire(_metadata, &self->dev, self->efd);
}

/* Nobody reads the configuration of a device that we reset. */
TEST_F(extra, config_waits_for_our_resets)
{
	int i, status = 0;
	pid_t pid;

	if (pci_is_vf(bdf) || !pci_has(bdf, "reset"))
		SKIP(return, "a VF, or no reset");
	uio_msix_close(&self->dev);
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		while (pci_config(bdf, PCI_COMMAND, 2) & PCI_COMMAND_MEMORY)
			;
		_exit(1);
	}
	for (i = 0; i < 5; i++) {
		reopen(_metadata, &self->dev);
		rebind(_metadata, &self->dev);
		ASSERT_EQ(0, uio_msix_open(&self->dev));
	}
	EXPECT_EQ(0, waitpid(pid, &status, WNOHANG));
	if (!status)
		stop(pid);
}

/* A device of which an error was not taken back is opened; what it answers decides. */
TEST_F(extra, offline_channel_is_no_reason)
{
	if (access(MEDDLE "channel", F_OK))
		SKIP(return, "no tests/modules/meddle");
	uio_msix_close(&self->dev);
	ASSERT_EQ(0, meddle("channel", path("%s 2", bdf)));
	EXPECT_EQ(0, uio_msix_open(&self->dev));
	ASSERT_EQ(0, meddle("channel", path("%s 1", bdf)));
	attach_and_fire(_metadata, &self->dev, self->efd);
}

/* What the core is told, be it open or closed. */
TEST_F(extra, answers_to_errors)
{
	/* pci_channel_state_t and pci_ers_result_t */
	static const struct {
		const char *what;
		int state;
		uint64_t answer;
	} errors[] = {
		{ "error", 1, 2 }, { "error", 2, 3 }, { "error", 3, 4 }, { "slot_reset", 0, 5 },
	};
	size_t i;

	if (access(MEDDLE "verdict", F_OK))
		SKIP(return, "no tests/modules/meddle");
	for (i = 0; i < 2 * ARRAY_SIZE(errors); i++) {
		if (i == ARRAY_SIZE(errors))
			uio_msix_close(&self->dev);
		ASSERT_EQ(0, meddle(errors[i % 4].what, path("%s %d", bdf, errors[i % 4].state)));
		EXPECT_EQ(errors[i % 4].answer, get_u64(MEDDLE "verdict")) {
			TH_LOG("%s %d", errors[i % 4].what, errors[i % 4].state);
		}
		if (i < ARRAY_SIZE(errors))
			reopen(_metadata, &self->dev);
	}
	ASSERT_EQ(0, uio_msix_open(&self->dev));
	attach_and_fire(_metadata, &self->dev, self->efd);
}

/* Open locks the device, and not what is above it: cards have several functions. */
TEST_F(extra, opened_while_its_port_is_locked)
{
	char link[256], *port;

	link[readlink(path(PCI_DEVICES "%s", bdf), link, 255)] = 0;
	*strrchr(link, '/') = 0;
	port = strrchr(link, '/') + 1;
	if (access(MEDDLE "hold", F_OK) || strlen(port) != strlen("0000:00:00.0"))
		SKIP(return, "no tests/modules/meddle, or not behind a port");
	uio_msix_close(&self->dev);
	ASSERT_EQ(0, meddle("hold", path("%s 2000", port)));
	EXPECT_EQ(0, try_open(&self->dev));
	ASSERT_EQ(0, meddle("hold", path("%s 0", port)));
}

/* A reset by others is none that counts. */
TEST_F(extra, open_resets_what_may_be_dirty_only)
{
	const char *resets = MEDDLE "resets";
	uint64_t before, after;
	char word[256];

	if (access(resets, F_OK) || !*get(pci(bdf, "reset_method"), word))
		SKIP(return, "no tests/modules/meddle, or %s cannot be reset", bdf);
	uio_msix_close(&self->dev);
	/* Never at bind, for hot-plug holds locks then, but at the first open. */
	ASSERT_EQ(0, pci_bind(bdf, ""));
	before = get_u64(resets);
	ASSERT_EQ(0, pci_bind(bdf, "uio_msix"));
	ASSERT_EQ(0, uio_msix_find(&self->dev, bdf));
	EXPECT_EQ(before, get_u64(resets));
	ASSERT_EQ(0, uio_msix_open(&self->dev));
	EXPECT_LT(before, get_u64(resets));
	uio_msix_close(&self->dev);
	before = get_u64(resets);
	ASSERT_EQ(0, uio_msix_open(&self->dev));
	EXPECT_EQ(before, get_u64(resets));
	uio_msix_close(&self->dev);
	after = get_u64(resets);
	EXPECT_LT(before, after);
	ASSERT_EQ(0, meddle("reset", path("%s 1", bdf)));
	ASSERT_EQ(0, meddle("reset", path("%s 0", bdf)));
	ASSERT_EQ(0, uio_msix_open(&self->dev));
	EXPECT_LT(after, get_u64(resets));
	uio_msix_close(&self->dev);
	/* An error that is not fatal. */
	before = get_u64(resets);
	ASSERT_EQ(0, meddle("error", path("%s 1", bdf)));
	ASSERT_EQ(0, uio_msix_open(&self->dev));
	EXPECT_LT(before, get_u64(resets));
	uio_msix_close(&self->dev);
	if (!access("/sys/power/pm_test", F_OK)) {
		ASSERT_EQ(0, put("/sys/power/pm_test", "devices"));
		EXPECT_EQ(0, put("/sys/power/state", "freeze"));
		ASSERT_EQ(0, put("/sys/power/pm_test", "none"));
		before = get_u64(resets);
		ASSERT_EQ(0, uio_msix_open(&self->dev));
		EXPECT_LT(before, get_u64(resets));
	}
}

/* Nobody resets it any more, but the bus may have been. */
TEST_F(extra, error_without_recovery)
{
	struct uio_msix_info info;
	uint32_t header[64 / 4];
	int open;

	if (access(MEDDLE "error", F_OK))
		SKIP(return, "no tests/modules/meddle");
	uio_msix_close(&self->dev);
	read_header(header);
	for (open = 0; open < 2; open++) {
		if (open)
			ASSERT_EQ(0, uio_msix_open(&self->dev));
		config_write(PCI_COMMAND, 2, 0);
		config_write(PCI_BASE_ADDRESS_0, 4, 0);
		config_write(PCI_INTERRUPT_LINE, 1, 0xee);
		ASSERT_EQ(0, meddle("error", path("%s 3", bdf)));
		EXPECT_TRUE(header_is(header));
	}
	EXPECT_EQ(-1, ioctl(self->dev.fd, UIO_MSIX_GET_INFO, &info));
	EXPECT_EQ(ENODEV, errno);
	uio_msix_close(&self->dev);
	EXPECT_EQ(0, uio_msix_open(&self->dev));
}

/* That it has no reset after all is believed if it has no FLR: see field.c. */
TEST_F(extra, no_reset_after_all)
{
	char methods[256] = "";
	uint64_t before;
	bool flr;
	FILE *f;

	if (access(MEDDLE "fail_reset", F_OK) || !pci_has(bdf, "reset"))
		SKIP(return, "no tests/modules/meddle, or %s cannot be reset", bdf);
	f = fopen(pci(bdf, "reset_method"), "re");
	ASSERT_TRUE(f && fgets(methods, sizeof(methods), f));
	fclose(f);
	flr = strstr(methods, "flr");
	ASSERT_EQ(0, meddle("fail_reset", "25"));	/* ENOTTY */
	uio_msix_close(&self->dev);
	/* It is tried each time. */
	before = get_u64(MEDDLE "resets");
	EXPECT_EQ(flr ? -EIO : 0, try_open(&self->dev));
	EXPECT_LT(before, get_u64(MEDDLE "resets"));
	/* By the method that is chosen, and not then by FLR. */
	if (!strncmp(methods, "flr", 3))
		EXPECT_EQ(before + 2, get_u64(MEDDLE "resets"));
	ASSERT_EQ(0, meddle("fail_reset", "0"));
	ASSERT_EQ(0, uio_msix_open(&self->dev));
	attach_and_fire(_metadata, &self->dev, self->efd);
}

/* The administrator's word holds for an unbind, too. */
TEST_F(extra, reset_method_empty_for_an_unbind)
{
	uint64_t before;

	if (access(MEDDLE "resets", F_OK) || !pci_has(bdf, "reset"))
		SKIP(return, "no tests/modules/meddle, or %s cannot be reset", bdf);
	ASSERT_EQ(0, put(pci(bdf, "reset_method"), "\n"));
	before = get_u64(MEDDLE "resets");
	ASSERT_EQ(0, pci_bind(bdf, ""));
	EXPECT_EQ(before, get_u64(MEDDLE "resets"));
	ASSERT_EQ(0, put(pci(bdf, "reset_method"), "default"));
}

/* All of it damaged at once, while it is open and while it is closed. */
TEST_F(extra, open_restores_the_state_of_the_bind)
{
	int exp = pci_find_cap(bdf, PCI_CAP_ID_EXP), pm, bar, open;
	int msix = pci_find_cap(bdf, PCI_CAP_ID_MSIX);
	uint32_t before[64], i;

	pm = pci_find_cap(bdf, PCI_CAP_ID_PM);
	for (open = 1; open >= 0; open--) {
		for (i = 0; i < 16; i++)
			before[i] = pci_config(bdf, i * 4, 4);
		before[16] = exp ? pci_config(bdf, exp + PCI_EXP_DEVCTL, 2) : 0;
		if (!open)
			uio_msix_close(&self->dev);
		config_write(PCI_COMMAND, 2, 0);
		for (bar = 0; bar < 6; bar++)
			config_write(PCI_BASE_ADDRESS_0 + bar * 4, 4, 0);
		config_write(PCI_INTERRUPT_LINE, 1, 0xee);
		config_write(msix + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_MASKALL);
		if (exp)
			config_write(exp + PCI_EXP_DEVCTL, 2, 0);
		if (pm)
			config_write(pm + PCI_PM_CTRL, 2, 3);
		uio_msix_close(&self->dev);
		/* Close does it too, but for bus mastering. */
		for (i = 2; open && i < 16; i++)
			EXPECT_EQ(before[i], pci_config(bdf, i * 4, 4)) {
				TH_LOG("register 0x%x after close", i * 4);
			}
		ASSERT_EQ(0, uio_msix_open(&self->dev));
		for (i = 0; i < 16; i++)
			EXPECT_EQ(before[i], pci_config(bdf, i * 4, 4)) {
				TH_LOG("register 0x%x", i * 4);
			}
		EXPECT_EQ(before[16],
			  exp ? pci_config(bdf, exp + PCI_EXP_DEVCTL, 2) : 0);
		attach_and_fire(_metadata, &self->dev, self->efd);
	}
}

/* Nor what somebody else saved: a reset does so, of what the user left. */
TEST_F(extra, open_restores_nothing_that_a_reset_saved)
{
	uint32_t bar = pci_config(bdf, PCI_BASE_ADDRESS_0, 4);
	uint32_t line = pci_config(bdf, PCI_INTERRUPT_LINE, 1);

	if (!pci_has(bdf, "reset"))
		SKIP(return, "%s cannot be reset", bdf);
	config_write(PCI_COMMAND, 2, 0);
	config_write(PCI_BASE_ADDRESS_0, 4, 0);
	config_write(PCI_INTERRUPT_LINE, 1, 0xee);
	ASSERT_EQ(0, put(pci(bdf, "reset"), "1"));
	reopen(_metadata, &self->dev);
	EXPECT_EQ(bar, pci_config(bdf, PCI_BASE_ADDRESS_0, 4));
	EXPECT_EQ(line, pci_config(bdf, PCI_INTERRUPT_LINE, 1));
	attach_and_fire(_metadata, &self->dev, self->efd);
}

/* Power management is no part of that state, and most resets end D3hot as well. */
TEST_F(extra, open_leaves_d3hot_without_a_reset)
{
	int pm = pci_find_cap(bdf, PCI_CAP_ID_PM);
	long ms;

	if (!pm || !pci_has(bdf, "reset_method"))
		SKIP(return, "no power management, or no reset");
	ASSERT_EQ(0, put(pci(bdf, "reset_method"), "\n"));
	uio_msix_close(&self->dev);
	config_write(pm + PCI_PM_CTRL, 2, 3);
	EXPECT_EQ(3U, pci_config(bdf, pm + PCI_PM_CTRL, 2) & 3);
	meddle("d3hot_delay", path("%s 1000", bdf));
	meddle("power_state", "0");
	ms = now_ms();
	signals(true);
	EXPECT_EQ(0, uio_msix_open(&self->dev));
	signals(false);
	if (!access(MEDDLE "d3hot_delay", F_OK)) {
		EXPECT_LE(1000, now_ms() - ms);
		EXPECT_EQ(1U, get_u64(MEDDLE "awake"));
	}
	/* Which a device may take for a reset. */
	if (!access(MEDDLE "power_state", F_OK))
		EXPECT_EQ(0U, get_u64(MEDDLE "power_state"));
	meddle("d3hot_delay", path("%s 10", bdf));
	EXPECT_EQ(0U, pci_config(bdf, pm + PCI_PM_CTRL, 2) & 3);
	put(pci(bdf, "reset_method"), "default");
}

/* A process that is in a system call with the file and in a register access. */
static void *read_file(void *arg)
{
	struct uio_msix *dev = arg;
	uint32_t count;

	return read(dev->fd, &count, 4) == -1 && errno == EIO ? arg : NULL;
}

static void sigbus_exit(int sig, siginfo_t *info, void *context)
{
	_exit(info->si_code == BUS_ADRERR ? sig : -1);
}

/*
 * End the session by @how while a thread reads the file and a child makes
 * interrupts by its own copy of the mapping, all the time.
 */
static void take_away(struct __test_metadata *_metadata, struct uio_msix *dev,
		      int efd, const char *how)
{
	uint32_t *p = dev->num_maps ? uio_msix_map(dev, 0) : NULL;
	struct sigaction act = { .sa_sigaction = sigbus_exit, .sa_flags = SA_SIGINFO };
	struct pollfd pfd = { .fd = dev->fd, .events = POLLIN };
	pthread_t reader;
	void *told;
	int status;
	pid_t pid;

	ASSERT_TRUE(p != MAP_FAILED);
	ASSERT_EQ(0, set_eventfd(dev, 0, efd));
	ASSERT_EQ(0, pthread_create(&reader, NULL, read_file, dev));
	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		sigaction(SIGBUS, &act, NULL);
		for (; p; usleep(10)) {
			if (dev->kind)
				uio_msix_fire(dev, 0);
			reg_read(p, 0);
		}
		pause();
	}
	if (dev->kind)
		EXPECT_LT(0, events(efd, EVENT_MS));

	EXPECT_EQ(0, system(how));
	/* Else what follows waits for ever. */
	ASSERT_EQ(1, poll(&pfd, 1, EVENT_MS));
	EXPECT_EQ(POLLERR, pfd.revents);

	if (!p)
		kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, &status, 0));
	if (p) {
		EXPECT_TRUE(WIFEXITED(status));
		EXPECT_EQ(SIGBUS, WEXITSTATUS(status));
		EXPECT_TRUE(sigbus_at(p));
		munmap(p, dev->maps[0].size);
	}
	pthread_join(reader, &told);
	EXPECT_TRUE(!!told);
	EXPECT_EQ(-ENODEV, set_eventfd(dev, 0, efd));
	EXPECT_EQ(-1, uio_msix_irq(dev, 0));
	events(efd, QUIET_MS);
}

TEST_F(extra, unbind_while_it_interrupts)
{
	take_away(_metadata, &self->dev, self->efd,
		  "echo $UIO_MSIX_DEV >/sys/bus/pci/drivers/uio_msix/unbind");
	EXPECT_FALSE(pci_master(bdf));
}

TEST_F(extra, reset_while_it_interrupts)
{
	if (!pci_has(bdf, "reset"))
		SKIP(return, "%s cannot be reset", bdf);
	take_away(_metadata, &self->dev, self->efd,
		  "echo 1 >/sys/bus/pci/devices/$UIO_MSIX_DEV/reset");
	EXPECT_FALSE(pci_master(bdf));
	reopen(_metadata, &self->dev);
	attach_and_fire(_metadata, &self->dev, self->efd);
}

/* Frozen for the image and thawed, which is not what suspend does. */
TEST_F(extra, hibernation_while_it_interrupts)
{
	static const char how[] = "cd /sys/power && echo devices >pm_test && echo disk >state && echo none >pm_test";

	if (access("/sys/power/disk", F_OK))
		SKIP(return, "no CONFIG_HIBERNATION");
	take_away(_metadata, &self->dev, self->efd, how);
	EXPECT_FALSE(pci_master(bdf) || pci_intx(bdf));
	reopen(_metadata, &self->dev);
	attach_and_fire(_metadata, &self->dev, self->efd);
	uio_msix_close(&self->dev);
	EXPECT_EQ(0, system(how));
	EXPECT_FALSE(pci_master(bdf) || pci_intx(bdf));
	ASSERT_EQ(0, uio_msix_open(&self->dev));
	attach_and_fire(_metadata, &self->dev, self->efd);
}

/* What a bind after a fatal error takes over is the good configuration. */
TEST_F(extra, error_then_bind)
{
	uint32_t bar = pci_config(bdf, PCI_BASE_ADDRESS_0, 4);
	int tries;

	if (!getenv("UIO_MSIX_AER"))
		SKIP(return, "no way to inject an error: set UIO_MSIX_AER");
	for (tries = 0; tries < 2; tries++) {
		take_away(_metadata, &self->dev, self->efd,
			  getenv("UIO_MSIX_AER"));
		/* For whoever looks, also before the next open. */
		EXPECT_EQ(bar, pci_config(bdf, PCI_BASE_ADDRESS_0, 4));
		if (tries)
			reopen(_metadata, &self->dev);
		rebind(_metadata, &self->dev);
		ASSERT_EQ(0, uio_msix_open(&self->dev));
		attach_and_fire(_metadata, &self->dev, self->efd);
	}
	/* Closed, and never opened. */
	uio_msix_close(&self->dev);
	EXPECT_EQ(0, system(getenv("UIO_MSIX_AER")));
	EXPECT_FALSE(pci_master(bdf) || pci_intx(bdf));
	rebind(_metadata, &self->dev);
	EXPECT_EQ(0, system(getenv("UIO_MSIX_AER")));
	EXPECT_FALSE(pci_master(bdf) || pci_intx(bdf));
	ASSERT_EQ(0, uio_msix_open(&self->dev));
	attach_and_fire(_metadata, &self->dev, self->efd);
}

TEST_F(extra, error_that_is_not_fatal)
{
	if (!getenv("UIO_MSIX_AER_NONFATAL"))
		SKIP(return, "set UIO_MSIX_AER_NONFATAL");
	take_away(_metadata, &self->dev, self->efd,
		  getenv("UIO_MSIX_AER_NONFATAL"));
	EXPECT_FALSE(pci_master(bdf));
	reopen(_metadata, &self->dev);
	attach_and_fire(_metadata, &self->dev, self->efd);
}

/* Opened after the error was announced, before the reset that it leads to. */
TEST_F(extra, opened_before_the_reset_of_an_error)
{
	if (access(MEDDLE "slot_reset", F_OK))
		SKIP(return, "no tests/modules/meddle");
	attach_and_fire(_metadata, &self->dev, self->efd);
	ASSERT_EQ(0, meddle("slot_reset", path("%s 0", bdf)));
	EXPECT_EQ(-ENODEV, set_eventfd(&self->dev, 0, self->efd));
	EXPECT_FALSE(pci_master(bdf) || pci_intx(bdf));
	reopen(_metadata, &self->dev);
	attach_and_fire(_metadata, &self->dev, self->efd);
}

/* The file of tests/modules/plain. */
static int open_plain(void)
{
	char name[16], dev[32];
	int i, n = 0, fd;

	for (i = 0; i < 16; i++) {
		fd = open(path("/sys/class/uio/uio%d/name", i), O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		n = read(fd, name, sizeof(name));
		close(fd);
		if (n == 6 && !memcmp(name, "plain", 5)) {
			snprintf(dev, sizeof(dev), "/dev/uio%d", i);
			return open(dev, O_RDWR | O_CLOEXEC);
		}
	}
	return -1;
}

/* Each of two that wait for an interrupt of the core gets it, once. */
static void two_readers(struct __test_metadata *_metadata, int fd)
{
	struct pollfd pfd = { .events = POLLIN };
	uint32_t count, i;
	pid_t pids[2];
	int status;

	for (i = 0; i < 2; i++) {
		pids[i] = fork();
		if (pids[i])
			continue;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		alarm(EVENT_MS / 1000);
		pfd.fd = open_plain();
		_exit(read(pfd.fd, &count, 4) != 4 || count != 1 || poll(&pfd, 1, 0));
	}
	for (i = 0; i < 2; i++)
		while (!sleeps(pids[i]))
			usleep(1000);
	EXPECT_EQ(0, ioctl(fd, PLAIN_INTERRUPT));
	for (i = 0; i < 2; i++) {
		EXPECT_EQ(pids[i], waitpid(pids[i], &status, 0));
		EXPECT_EQ(0, status);
	}
}

/* tests/modules/plain says what it looks at while it loads. */
TEST(core_keeps_its_promises_to_drivers)
{
	int module = open("/modules/plain.ko", O_RDONLY | O_CLOEXEC);
	int value = 41, fd;

	if (module < 0)
		SKIP(return, "no tests/modules/plain");
	ASSERT_EQ(0, syscall(SYS_finit_module, module, "", 0));
	fd = open_plain();
	ASSERT_LE(0, fd);
	/* Read and written, and success is not 0 only. */
	EXPECT_EQ(1, ioctl(fd, PLAIN_NEXT, &value));
	EXPECT_EQ(42, value);
	two_readers(_metadata, fd);
	close(fd);
	EXPECT_EQ(0, syscall(SYS_delete_module, "plain", O_NONBLOCK));
}

TEST_F(extra, ioctls_beyond_those_of_the_kselftest)
{
	static const unsigned int unknown[] = {
		_IO('u', 0x5f), _IOW('u', 0x51, __u64), _IOR('u', 0x52, char[128]),
	};
	static const struct uio_msix_mask unmask;
	size_t page = getpagesize(), i;
	char arg[128], *last;

	memset(arg, 'x', sizeof(arg));
	for (i = 0; i < ARRAY_SIZE(unknown); i++) {
		EXPECT_EQ(-1, ioctl(self->dev.fd, unknown[i], arg));
		EXPECT_EQ(ENOTTY, errno);
	}
	for (i = 0; i < sizeof(arg); i++)
		EXPECT_EQ('x', arg[i]);
	EXPECT_EQ(-1, ioctl(self->dev.fd, UIO_MSIX_SET_MASK, NULL));
	EXPECT_EQ(EFAULT, errno);
	/* What is read is not written, nor is what is behind it read. */
	ASSERT_EQ(0, set_eventfd(&self->dev, 0, self->efd));
	EXPECT_EQ(0, ioctl(self->dev.fd, UIO_MSIX_SET_MASK, &unmask));
	last = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_TRUE(last != MAP_FAILED);
	ASSERT_EQ(0, mprotect(last + page, page, PROT_NONE));
	last += page - sizeof(unmask);
	memcpy(last, &unmask, sizeof(unmask));
	EXPECT_EQ(0, ioctl(self->dev.fd, UIO_MSIX_SET_MASK, last));
	munmap(last + sizeof(unmask) - page, 2 * page);
	/* Without irqcontrol. */
	EXPECT_EQ(-1, write(self->dev.fd, arg, 4));
	EXPECT_EQ(ENOSYS, errno);
}

TEST_F(extra, lockdown)
{
	int tries, log, irq, bar;
	uint64_t start;

	if (!getenv("UIO_MSIX_LOCKDOWN"))
		SKIP(return, "lasts until reboot: set UIO_MSIX_LOCKDOWN");
	ASSERT_EQ(0, set_eventfd(&self->dev, 0, self->efd));
	/* It cannot be opened later. */
	irq = open(path(IRQ, uio_msix_irq(&self->dev, 0)), O_WRONLY | O_CLOEXEC);
	ASSERT_LE(0, irq);
	ASSERT_EQ(0, put("/sys/kernel/security/lockdown", "integrity"));

	/* Who has it keeps it. */
	EXPECT_EQ(0, set_eventfd(&self->dev, 0, self->efd));
	for (tries = 0; write(irq, "trigger", 7) != 7 && tries < 100; tries++)
		usleep(1000);
	EXPECT_EQ(1, events(self->efd, EVENT_MS));
	close(irq);
	for (bar = 0; bar < 6; bar++)
		if (pci_bar(bdf, bar, IORESOURCE_IO, &start))
			EXPECT_EQ(-EPERM, try_ports(bar, true));
	uio_msix_close(&self->dev);
	log = log_open();
	for (tries = 0; tries < 2; tries++)
		EXPECT_EQ(-EPERM, uio_msix_open(&self->dev));
	EXPECT_LT(0, log_count(log, "Lockdown", "direct PCI access"));
	refused(_metadata, bdf, -EPERM, "locked down", "vfio-pci with an IOMMU");
	EXPECT_LT(0, log_count(log, "Lockdown", "direct PCI access"));
	close(log);
	EXPECT_EQ(-EPERM, try_config(pci(bdf, "config")));
	if (!access(path("/proc/bus/pci/%.2s/%s", bdf + 5, bdf + 8), F_OK))
		EXPECT_EQ(-EPERM, try_config(path("/proc/bus/pci/%.2s/%s",
						  bdf + 5, bdf + 8)));
}

int main(int argc, char **argv)
{
	bdf = take();
	return test_harness_run(argc, argv);
}
