// SPDX-License-Identifier: GPL-2.0-only
/*
 * Races against uio_msix on one device, in a bounded number of rounds:
 *
 *	races BDF ROUNDS [RACE...]
 *
 *	UIO_MSIX_PF=BDF		of a VF, bound to its own driver: for "remove"
 *	UIO_MSIX_MODULE=FILE	uio_msix.ko: for "unload"
 *	UIO_MSIX_SECONDS=N	each race ends after so long, if not all rounds
 *
 * Prints a line for each race; exit code 1 if one failed.
 *
 * Each race is a process of its own, and what it forks is in its process group.
 * The parent touches no device: it is the watchdog.
 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <time.h>
#include <linux/userfaultfd.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "guest.h"

#define BIND		PCI_DRIVERS "uio_msix/bind"
#define UNBIND		PCI_DRIVERS "uio_msix/unbind"
#define AUTOPROBE	"/sys/bus/pci/drivers_autoprobe"
#define RESCAN		"/sys/bus/pci/rescan"
#define HANG_MS		30000	/* without a new round */
#define UNBIND_MS	20000	/* unbind waits for nobody; guests may crawl */
#define OPEN_MS		2000	/* as long may an open last, for sure */

#define READ(x)		__atomic_load_n(&(x), __ATOMIC_ACQUIRE)
#define SET(x, value)	__atomic_store_n(&(x), value, __ATOMIC_RELEASE)
#define ADD(x, value)	__atomic_add_fetch(&(x), value, __ATOMIC_ACQ_REL)

static const char *bdf, *pf;

/* path() is for one thread at a time: these are for all. */
static char *driver_override, *reset_method, *reset_now, *remove_now, *numvfs;

/* What the processes of one race share. */
static struct shared {
	int rounds;
	int round;
	unsigned long beat;	/* ms, when the round began */
	unsigned long end;	/* ms, no round after that */
	unsigned long interrupts;
	unsigned long unbind_ms;	/* the slowest */
	unsigned long open_us;	/* the last */
	bool going;		/* the device is being taken away */
	bool gone;		/* it was */
	int ready;		/* what a child says to its parent */
	bool failed;
	char reason[160];
	char note[160];
} *sh;

/* This race, in this process. */
static struct uio_msix dev = { .fd = -1 };
static int efd = -1;		/* what its vector 0 signals */
static bool stop;		/* for threads */
static bool resets;		/* needs the reset all the time */

static unsigned long now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* rand() has a lock, which may be held at a fork. */
static unsigned int rnd(unsigned int n)
{
	static __thread unsigned int seed;

	if (!seed)
		seed = syscall(SYS_gettid) + now();
	return rand_r(&seed) % n;
}

static void nap(unsigned int us)
{
	usleep(rnd(us + 1));
}

/* The first that fails is the reason, and ends the race. */
static bool __printf(2, 3) expect(bool ok, const char *fmt, ...)
{
	va_list ap;

	if (ok || __atomic_exchange_n(&sh->failed, true, __ATOMIC_ACQ_REL))
		return ok;
	va_start(ap, fmt);
	vsnprintf(sh->reason, sizeof(sh->reason), fmt, ap);
	va_end(ap);
	return false;
}

/* What returned 0 or -errno. */
static bool zero(int ret, const char *what)
{
	return expect(!ret, "%s: %s", what, strerror(-ret));
}

static void __printf(1, 2) note(const char *fmt, ...)
{
	size_t len = strlen(sh->note);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(sh->note + len, sizeof(sh->note) - len, fmt, ap);
	va_end(ap);
}

/* A reset takes 100 ms, at each close: most rounds do without. */
static bool without_reset(void)
{
	return !resets && sh->round > (sh->rounds + 19) / 20;
}

static void skip_resets(void)
{
	if (without_reset() && pci_has(bdf, "reset_method"))
		put(reset_method, "\n");
}

static bool next_round(void)
{
	bool before = without_reset();

	if (READ(sh->failed) || sh->round == sh->rounds)
		return false;
	SET(sh->beat, now());
	if (sh->end && sh->beat > sh->end)
		return false;
	ADD(sh->round, 1);
	if (without_reset() != before)
		skip_resets();
	return true;
}

static int got(int fd, int ms)
{
	unsigned long count = 0;

	/* At once, for those that come late to be seen as such. */
	if (ms)
		count = events(fd, ms);
	else if (read(fd, &count, sizeof(count)) != sizeof(count))
		count = 0;
	ADD(sh->interrupts, count);
	return count;
}

static int new_eventfd(void)
{
	return eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
}

static pthread_t threads[8];
static int num_threads;

static void spawn(void *(*work)(void *), uintptr_t arg)
{
	if (expect(!pthread_create(&threads[num_threads], NULL, work,
				   (void *)arg), "pthread_create"))
		num_threads++;
}

static void join(void)
{
	SET(stop, true);
	while (num_threads)
		pthread_join(threads[--num_threads], NULL);
	SET(stop, false);
}

/* The watchdog ends this if need be. */
static void wait_ready(void)
{
	while (!READ(sh->ready) && !READ(sh->failed))
		usleep(100);
}

static pid_t new_child(void)
{
	pid_t pid;

	SET(sh->ready, 0);
	pid = fork();
	if (!pid)
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	expect(pid >= 0, "fork");
	return pid;
}

static void reap(pid_t pid)
{
	int status = 0;

	waitpid(pid, &status, 0);
	expect(!status, "child ended with status 0x%x", status);
}

/* Accesses to the device, which may raise SIGBUS in this thread. */
static __thread sigjmp_buf *bus_jmp;

static void on_sigbus(int sig)
{
	if (bus_jmp)
		siglongjmp(*bus_jmp, 1);
	expect(false, "SIGBUS where none is expected");
	_exit(sig);
}

/* From the beginning of unbind the device may be gone, after its end it is. */
static bool in_time(bool there, bool late, const char *what)
{
	if (there)
		return expect(!late, "%s works after unbind", what);
	return expect(READ(sh->going), "%s: gone before unbind", what);
}

/* Read @p, or else fire @vector: whether there was no SIGBUS. */
static bool try(void *p, volatile uint32_t vector)
{
	volatile bool late = p && READ(sh->gone), there = false;
	sigjmp_buf jmp;

	if (!sigsetjmp(jmp, 0)) {
		bus_jmp = &jmp;
		if (p)
			reg_read(p, 0);
		else
			uio_msix_fire(&dev, vector);
		there = true;
	}
	bus_jmp = NULL;
	in_time(there, late, "mapping");
	return there;
}

static bool touch(void *p)
{
	return try(p, 0);
}

static bool fire(uint32_t vector)
{
	return try(NULL, vector);
}

/* Who holds this has no interrupt fired but his own. */
static pthread_mutex_t calm = PTHREAD_MUTEX_INITIALIZER;

/* A thread: interrupts all the time, until told to stop or out of device. */
static void *storm(void *vector)
{
	bool there = true;
	int burst;

	while (there && !READ(stop)) {
		pthread_mutex_lock(&calm);
		for (burst = rnd(8); there && burst >= 0; burst--)
			there = fire((uintptr_t)vector);
		pthread_mutex_unlock(&calm);
		nap(500);
		/* The kernel has none for a vector that nobody is at. */
		there &= !READ(sh->gone);
	}
	return NULL;
}

static int bind_driver(void)
{
	char driver[64];

	if (!strcmp(pci_driver(bdf, driver), "uio_msix"))
		return 0;
	put(driver_override, "uio_msix");
	return put(BIND, bdf);
}

static bool take_away(const char *file, const char *text)
{
	unsigned long start = now(), ms;
	int ret;

	SET(sh->going, true);
	ret = put(file, text);
	SET(sh->gone, true);
	ms = now() - start;
	if (ms > sh->unbind_ms)
		sh->unbind_ms = ms;
	return zero(ret, "unbind") &&
	       expect(ms <= UNBIND_MS, "unbind took %d ms", (int)ms);
}

static bool unbind(void)
{
	return take_away(UNBIND, bdf);
}

static void *unbind_soon(void *us)
{
	nap((uintptr_t)us);
	unbind();
	return NULL;
}

/* Have the device bound, open, and its vector 0 attached. */
static bool begin(void)
{
	unsigned long start;
	int ret;

	ret = bind_driver();
	if (!zero(ret, "bind"))
		return false;
	/* What is open from before is in nobody's way, until here. */
	SET(sh->going, false);
	SET(sh->gone, false);
	uio_msix_close(&dev);
	/* To look for it takes long; it mostly is where it was. */
	if (access(path(PCI_DEVICES "%s/uio/%s", bdf, dev.path + 5), F_OK) &&
	    !expect(!uio_msix_find(&dev, bdf), "no UIO device"))
		return false;
	start = now();
	ret = uio_msix_open(&dev);
	if (!zero(ret, "open"))
		return false;
	if (efd < 0)
		efd = new_eventfd();
	got(efd, 0);
	ret = set_eventfd(&dev, 0, efd);
	SET(sh->open_us, (now() - start) * 1000);
	return zero(ret, "attach");
}

/* Open, bus master, one interrupt, and closed again. */
static void alive(void)
{
	int count;

	if (!begin())
		return;
	expect(pci_master(bdf), "open, but no bus master");
	/* Without a reset, one may still be pending. */
	got(efd, 5);
	fire(0);
	count = got(efd, EVENT_MS);
	expect(count == 1, "%d events for one interrupt", count);
	uio_msix_close(&dev);
	expect(!pci_master(bdf), "bus master after close");
}

static unsigned long seen, changes;

/* A thread. A replaced eventfd is final: what it has is counted. */
static void *replacer(void *arg)
{
	int other = new_eventfd(), old;

	while (!READ(stop) &&
	       zero(set_eventfd(&dev, 0, other), "replacing")) {
		old = efd;
		efd = other;
		other = old;
		ADD(seen, got(old, 0));
		if (changes++ % 4 == 0) {
			close(old);
			other = new_eventfd();
		}
	}
	close(other);
	return arg;
}

/* The next is fired when the last was seen: none can merge. */
static void replace(void)
{
	unsigned long fired = 0, deadline;
	int i;

	if (!begin())
		return;
	got(efd, 5);
	spawn(replacer, 0);
	while (next_round()) {
		for (i = 0; i < 10 && !READ(sh->failed); i++) {
			fire(0);
			fired++;
			deadline = now() + EVENT_MS;
			while (READ(seen) < fired && now() < deadline)
				usleep(10);
			expect(READ(seen) >= fired, "interrupt lost");
			expect(READ(seen) <= fired, "interrupt doubled");
		}
	}
	join();
	seen += got(efd, QUIET_MS);
	expect(seen == fired, "%d interrupts, %d events", (int)fired,
	       (int)seen);
	note(", %lu replacements", changes);
}

static void detach(void)
{
	int old, count;

	if (!begin())
		return;
	spawn(storm, 0);
	while (next_round()) {
		if (!expect(got(efd, EVENT_MS), "no event after the attach"))
			break;
		nap(300);
		/* Detaching forgets this too. */
		if (rnd(4) == 0)
			set_mask(&dev, 0, 1);
		/* Nobody but the driver has it any more. */
		if (rnd(2)) {
			close(efd);
			efd = -1;
		}
		zero(set_eventfd(&dev, 0, -1), "detach");
		got(efd, 0);
		count = got(efd, rnd(3));
		expect(!count, "%d events after detaching", count);
		old = efd;
		efd = new_eventfd();
		zero(set_eventfd(&dev, 0, efd), "attach");
		count = got(old, 0);
		expect(!count, "%d events after the next attach", count);
		close(old);
	}
	join();
}

static void mask(void)
{
	int count, i;

	if (!begin())
		return;
	spawn(storm, 0);
	while (next_round()) {
		if (!expect(got(efd, EVENT_MS), "no event while unmasked"))
			break;
		zero(set_mask(&dev, 0, 1), "mask");
		got(efd, 0);
		count = got(efd, rnd(3));
		expect(!count, "%d events while masked", count);

		/* One on its way as it was masked may be pending twice. */
		pthread_mutex_lock(&calm);
		fire(0);
		zero(set_mask(&dev, 0, 0), "unmask");
		count = got(efd, EVENT_MS);
		expect(count, "no event after unmask");
		count += got(efd, 1);
		expect(count <= 2, "%d events for what was held back", count);

		/* And with none on its way, it is one. */
		set_mask(&dev, 0, 1);
		for (i = rnd(3); i >= 0; i--)
			fire(0);
		set_mask(&dev, 0, 0);
		count = got(efd, EVENT_MS);
		count += got(efd, 1);
		expect(count == 1, "%d events, not 1, after unmask", count);
		pthread_mutex_unlock(&calm);
	}
	join();
}

static unsigned long opened;		/* odd while open, for sure */
static unsigned long busy, nobody;

/* Open, use and close: 0 or -errno, that of open() in @error. */
static int use(struct uio_msix *d, int fd, int *error)
{
	unsigned long start = now();
	volatile int ret = -ENODEV, shots;
	sigjmp_buf jmp;

	*error = 0;
	if (!sigsetjmp(jmp, 0)) {
		bus_jmp = &jmp;
		ret = uio_msix_open(d);
		if (d->fd < 0)
			*error = ret;
		else
			ADD(opened, 1);
		if (!ret)
			ret = set_eventfd(d, 0, fd);
		if (!ret) {
			SET(sh->open_us, (now() - start) * 1000);
			for (shots = rnd(64); shots >= 0; shots--)
				uio_msix_fire(d, 0);
			got(fd, 1);
		}
	}
	bus_jmp = NULL;
	if (d->fd >= 0)
		ADD(opened, 1);
	uio_msix_close(d);
	return ret;
}

/* A thread, the only one of them that uses path(). */
static void *opener(void *arg)
{
	struct uio_msix d = dev;
	int fd = new_eventfd(), ret, error;

	while (!READ(stop) && !READ(sh->failed)) {
		ret = use(&d, fd, &error);
		switch (-error) {
		case 0:
			/* EINVAL of mmap() */
			expect(!ret || ret == -ENODEV || ret == -EINVAL,
			       "use: %s", strerror(-ret));
			break;
		case EBUSY:
			ADD(busy, 1);
			break;
		case ENOENT:
		case ENXIO:
		case ENODEV:
		case EINVAL:	/* of the UIO core, if unbound meanwhile */
			ADD(nobody, 1);
			break;
		default:
			expect(false, "open: %s", strerror(-error));
		}
		nap(1000);
	}
	close(fd);
	return arg;
}

/* One turn of unbind and bind; not @alone: another thread does it too. */
static void rebind(bool alone)
{
	unsigned long before;
	int ret;

	ret = put(UNBIND, bdf);
	expect(!ret || (!alone && ret == -ENODEV), "unbind: %s",
	       strerror(-ret));
	if (!alone) {
		ret = put(driver_override, rnd(4) ? "uio_msix" : "\n");
		zero(ret, "driver_override");
	}
	nap(1000);
	ret = put(BIND, bdf);
	expect(!ret || (!alone && (ret == -ENODEV || ret == -EBUSY)),
	       "bind: %s", strerror(-ret));
	/* Every other time in the middle of the open, else after it. */
	if (alone && rnd(2))
		for (before = opened; now() < READ(sh->beat) + OPEN_MS &&
		     READ(opened) == before;)
			usleep(1000);
	nap(READ(sh->open_us));
}

static void *binder(void *arg)
{
	while (!READ(stop))
		rebind(false);
	return arg;
}

static void open_close_note(void)
{
	expect(opened, "never open");
	note(", %lu opens, %lu busy, %lu without device", opened / 2, busy,
	     nobody);
}

static void open_close(void)
{
	spawn(opener, 0);
	while (next_round())
		rebind(true);
	join();
	open_close_note();
}

static void two_binders(void)
{
	spawn(opener, 0);
	spawn(binder, 0);
	while (next_round())
		rebind(false);
	join();
	open_close_note();
}

static void unload(void)
{
	int module = open(getenv("UIO_MSIX_MODULE"), O_RDONLY | O_CLOEXEC);
	int refused = 0, ret;
	unsigned long before;

	spawn(opener, 0);
	while (next_round()) {
		do {
			nap(2 * READ(sh->open_us) + 1000);
			before = READ(opened);
			ret = syscall(SYS_delete_module, "uio_msix",
				      O_NONBLOCK) ? errno : 0;
			refused += !!ret;
		} while (ret == EWOULDBLOCK && !READ(sh->failed));
		zero(-ret, "unloading");
		expect(before % 2 == 0 || before != READ(opened),
		       "unloaded while open");
		ret = syscall(SYS_finit_module, module, "allow_unsafe_vf=Y", 0);
		expect(!ret, "load: %s", strerror(errno));
		zero(put(BIND, bdf), "bind");
	}
	join();
	close(module);
	expect(refused, "never refused");
	note(", %d times refused", refused);
	open_close_note();
}

/* A thread. The mapping it has from its parent, and new ones. */
static void *mapper(void *shared)
{
	size_t page = getpagesize(), offset, size;
	bool late = false;
	void *p;
	int i;

	while (!late && !READ(sh->failed)) {
		late = READ(sh->gone);
		/* First, for a page that comes after the zap to be seen later. */
		for (i = 0; i < 4; i++)
			touch(shared);
		i = rnd(dev.num_maps);
		size = dev.maps[i].size;
		p = uio_msix_map(&dev, i);
		if (p == MAP_FAILED) {
			expect(errno == EINVAL || errno == ENODEV, "mmap: %s",
			       strerror(errno));
			in_time(false, late, "mmap");
		} else {
			in_time(true, late, "mmap");
			for (offset = 0; offset < size; offset += page)
				if (offset >= 4 * page || !touch(p + offset))
					break;
			munmap(p, size);
		}
		ADD(changes, 1);
		nap(3000);
	}
	return NULL;
}

/* A thread: all ioctls, to vectors from @first on, until there is no device. */
static void *ioctls(void *first)
{
	uint32_t from = (uintptr_t)first;
	uint32_t n = (dev.num_vectors < 4 ? dev.num_vectors : 4) - from, vector;
	int fd = new_eventfd(), ret = 0;
	struct uio_msix_info info;
	bool late;

	while (ret != -ENODEV && !READ(stop) && !READ(sh->failed)) {
		late = READ(sh->gone);
		vector = from + rnd(n);
		switch (rnd(4)) {
		case 0:
			ret = ioctl(dev.fd, UIO_MSIX_GET_INFO, &info) ?
			      -errno : 0;
			break;
		case 1:
			ret = set_eventfd(&dev, vector, fd);
			break;
		case 2:
			ret = set_eventfd(&dev, vector, -1);
			break;
		case 3:
			ret = set_mask(&dev, vector, rnd(2));
			/* Others detach. */
			if (ret == -EINVAL)
				ret = 0;
			break;
		}
		in_time(ret != -ENODEV, late, "ioctl");
		expect(!ret || ret == -ENODEV, "ioctl: %s", strerror(-ret));
		ADD(changes, 1);
		nap(1000);
	}
	got(fd, 0);
	close(fd);
	return NULL;
}

static void reset(void)
{
	int count;

	if (!begin())
		return;
	if (dev.num_vectors > 1) {
		spawn(storm, 1);
		spawn(ioctls, 1);
	}
	while (next_round()) {
		zero(put(reset_now, "1"), "reset");
		uio_msix_init(&dev);
		got(efd, 0);
		fire(0);
		count = got(efd, EVENT_MS);
		expect(count == 1, "%d events after reset", count);
		expect(pci_master(bdf), "no bus master after reset");
	}
	join();
	note(", %lu ioctls", changes);
}

static const char * const phases[] = {
	"open", "mmap", "attach", "mask", "replace", "fire",
};

/* The child: a bit of everything, most of @phase, for ever. */
static void victim(int phase)
{
	int fd = new_eventfd();
	void *p;

	for (;;) {
		if (phase == 0)
			SET(sh->ready, 1);
		if (!begin())
			_exit(1);
		SET(sh->ready, 1);
		do {
			fire(0);
			switch (phase) {
			case 0:
				uio_msix_close(&dev);
				break;
			case 1:
				if (!dev.num_maps)
					break;
				p = uio_msix_map(&dev, 0);
				touch(p);
				munmap(p, dev.maps[0].size);
				break;
			case 2:
				set_eventfd(&dev, 0, -1);
				set_eventfd(&dev, 0, efd);
				break;
			case 3:
				set_mask(&dev, 0, 1);
				fire(0);
				set_mask(&dev, 0, 0);
				break;
			case 4:
				set_eventfd(&dev, 0, fd);
				fire(0);
				set_eventfd(&dev, 0, efd);
				break;
			}
			got(efd, 0);
			got(fd, 0);
		} while (phase);
	}
}

static void sigkill(void)
{
	const char *phase;
	int status;
	pid_t pid;

	while (next_round()) {
		phase = phases[sh->round % ARRAY_SIZE(phases)];
		pid = new_child();
		if (!pid)
			victim(sh->round % ARRAY_SIZE(phases));
		wait_ready();
		nap(sh->round % ARRAY_SIZE(phases) ? 5000 : 2 * sh->open_us);
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		expect(WIFSIGNALED(status), "killed in %s, had exited", phase);
		expect(!pci_master(bdf), "killed in %s, bus master", phase);
		alive();
	}
}

/* @d goes along, but for its mapping. */
static void send_device(int sock, struct uio_msix *d)
{
	char control[CMSG_SPACE(sizeof(int))] = { };
	struct iovec iov = { d, sizeof(*d) };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};
	struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

	cmsg->cmsg_level = SOL_SOCKET;
	cmsg->cmsg_type = SCM_RIGHTS;
	cmsg->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cmsg), &d->fd, sizeof(int));
	expect(sendmsg(sock, &msg, 0) == sizeof(*d), "sendmsg");
}

static bool recv_device(int sock, struct uio_msix *d)
{
	char control[CMSG_SPACE(sizeof(int))] = { };
	struct iovec iov = { d, sizeof(*d) };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1,
		.msg_control = control, .msg_controllen = sizeof(control),
	};

	if (!expect(recvmsg(sock, &msg, 0) == sizeof(*d) && CMSG_FIRSTHDR(&msg),
		    "recvmsg"))
		return false;
	memcpy(&d->fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(int));
	if (!d->kind)
		return true;
	d->bar0 = uio_msix_map(d, 0);
	d->regs = d->bar0 + d->maps[0].offset;
	return expect(d->bar0 != MAP_FAILED, "mmap of a passed fd");
}

/* The child that gets the fd. */
static void receiver(int sock)
{
	int fd = new_eventfd(), ret;
	bool late;

	if (!recv_device(sock, &dev))
		return;
	do {
		late = READ(sh->gone);
		ret = set_eventfd(&dev, 0, fd);
		in_time(ret != -ENODEV, late, "ioctl");
		if (!ret && fire(0) && got(fd, late ? 0 : 100))
			SET(sh->ready, 1);
	} while (!ret && !READ(sh->failed));
	expect(ret == -ENODEV, "attach: %s", strerror(-ret));
}

static void fd_passed(void)
{
	int sock[2], fd;
	pid_t pid;

	while (next_round()) {
		socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sock);
		SET(sh->going, false);
		SET(sh->gone, false);
		pid = new_child();
		if (!pid) {
			receiver(sock[1]);
			_exit(0);
		}
		close(sock[1]);
		if (begin())
			send_device(sock[0], &dev);
		uio_msix_close(&dev);
		close(sock[0]);
		wait_ready();
		fd = open(dev.path, O_RDWR | O_CLOEXEC);
		expect(fd < 0 && errno == EBUSY, "open twice");
		expect(pci_master(bdf), "no bus master after fd was passed");
		nap(3000);
		unbind();
		reap(pid);
		expect(!pci_master(bdf), "bus master after unbind");
	}
}

/* Touch what the parent has mapped until it is gone, or for a while. */
static void toucher(void *p, bool for_ever)
{
	int i;

	SET(sh->ready, 1);
	for (i = 0; (for_ever || i < 20) && !READ(sh->failed); i++) {
		if (!touch(p) || (dev.kind && !fire(0)))
			return;
		nap(500);
	}
}

static void fork_map(void)
{
	bool taken;
	pid_t pid;
	void *p;
	int fd;

	while (next_round() && begin()) {
		/* Unbound in every other round; closed by the last in others. */
		taken = sh->round % 2;
		p = uio_msix_map(&dev, 0);
		pid = new_child();
		if (!pid) {
			close(dev.fd);
			toucher(p, taken);
			/* Until the parent, who is looking, says so. */
			while (!taken && READ(sh->ready))
				usleep(100);
			_exit(0);
		}
		if (taken) {
			spawn(unbind_soon, 2000);
			toucher(p, true);
			join();
			reap(pid);
			munmap(p, dev.maps[0].size);
		} else {
			wait_ready();
			munmap(p, dev.maps[0].size);
			uio_msix_close(&dev);
			expect(pci_master(bdf), "closed before the last");
			fd = open(dev.path, O_RDWR | O_CLOEXEC);
			expect(fd < 0 && errno == EBUSY, "open twice");
			SET(sh->ready, 0);
			reap(pid);
		}
		expect(!pci_master(bdf), "bus master after the last");
		got(efd, 0);
	}
}

/* A thread: ioctls whose argument is in the BAR at @arg. */
static void *bar_ioctls(void *arg)
{
	static const unsigned int cmds[] = {
		UIO_MSIX_SET_EVENTFD, UIO_MSIX_SET_MASK, UIO_MSIX_GET_INFO,
	};
	/* That writes, where it is known to do no harm. */
	int n = dev.kind ? 3 : 2, error = 0;
	bool late;

	while (error != ENODEV && !READ(sh->failed)) {
		late = READ(sh->gone);
		error = ioctl(dev.fd, cmds[rnd(n)], arg) ? errno : 0;
		in_time(error != ENODEV, late, "ioctl");
		switch (error) {
		case EFAULT:
			in_time(false, late, "argument");
			break;
		case 0:
		case EBADF:
		case EINVAL:
		case ENODEV:
			break;
		default:
			expect(false, "ioctl: %s", strerror(error));
		}
		ADD(changes, 1);
		nap(1000);
	}
	return NULL;
}

static const unsigned int uffd_cmds[] = {
	UIO_MSIX_SET_EVENTFD, UIO_MSIX_SET_MASK, UIO_MSIX_GET_INFO,
};

/* A thread: one ioctl, which will wait for its argument. */
static void *uffd_ioctl(void *arg)
{
	unsigned int i = sh->round % ARRAY_SIZE(uffd_cmds);
	int error = ioctl(dev.fd, uffd_cmds[i], arg) ? errno : 0;

	/* GET_INFO was done when the device went, but for the copy. */
	expect(error == (i == 2 ? 0 : ENODEV), "ioctl: %s", strerror(error));
	return NULL;
}

static void arg_on_uffd(void)
{
	size_t page = getpagesize();
	int uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	struct pollfd pfd = { .fd = uffd, .events = POLLIN };
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register area = { .mode = UFFDIO_REGISTER_MODE_MISSING };
	struct uffdio_copy copy = { .len = page };
	void *p = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct uffd_msg msg;
	unsigned long deadline;

	area.range.start = (uintptr_t)p;
	area.range.len = page;
	if (!expect(uffd >= 0 && !ioctl(uffd, UFFDIO_API, &api) &&
		    !ioctl(uffd, UFFDIO_REGISTER, &area), "userfaultfd: %s",
		    strerror(errno)))
		return;
	/* What is served in the end: valid, to attach or unmask vector 0. */
	copy.dst = (uintptr_t)p;
	copy.src = (uintptr_t)p + page;

	while (next_round() && begin()) {
		if (sh->round % 3 == 0)
			*(struct uio_msix_eventfd *)(p + page) =
				(struct uio_msix_eventfd){ .fd = efd };
		else
			memset(p + page, 0, sizeof(struct uio_msix_mask));
		madvise(p, page, MADV_DONTNEED);
		spawn(storm, 0);
		spawn(uffd_ioctl, (uintptr_t)p);
		expect(poll(&pfd, 1, EVENT_MS) == 1 &&
		       read(uffd, &msg, sizeof(msg)) == sizeof(msg) &&
		       msg.event == UFFD_EVENT_PAGEFAULT, "no page fault");

		spawn(unbind_soon, 1000);
		deadline = now() + UNBIND_MS;
		while (!READ(sh->gone) && now() < deadline)
			usleep(100);
		expect(READ(sh->gone), "unbind waits for an ioctl");
		expect(!ioctl(uffd, UFFDIO_COPY, &copy), "UFFDIO_COPY: %s",
		       strerror(errno));
		join();
		got(efd, 0);
	}
	close(uffd);
}

/* Threads at @work until the device is gone, which nobody tells them. */
static void against(void *(*work)(void *), void *arg, const char *file,
		    const char *text)
{
	int i;

	spawn(storm, 0);
	for (i = 0; i < 3; i++)
		spawn(work, (uintptr_t)arg);
	nap(4000);
	take_away(file, text);
	while (num_threads)
		pthread_join(threads[--num_threads], NULL);
	got(efd, 0);
}

static void mmap_fault(void)
{
	void *p;

	while (next_round() && begin()) {
		p = uio_msix_map(&dev, 0);
		against(mapper, p, UNBIND, bdf);
		munmap(p, dev.maps[0].size);
	}
	note(", %lu mappings", changes);
}

static void arg_in_bar(void)
{
	size_t offset;
	void *p;

	while (next_round() && begin()) {
		p = uio_msix_map(&dev, 0);
		offset = dev.maps[0].offset;
		offset += guest_regs(&dev)->scratch;
		against(bar_ioctls, p + offset, UNBIND, bdf);
		munmap(p, dev.maps[0].size);
	}
	note(", %lu ioctls", changes);
}

static void remove_rescan(void)
{
	char vfs[64];
	int ret;

	if (pf)
		get(numvfs, vfs);
	while (next_round() && begin()) {
		against(ioctls, 0, pf ? numvfs : remove_now, pf ? "0" : "1");
		ret = pf ? put(numvfs, vfs) : put(RESCAN, "1");
		if (!expect(!ret && pci_has(bdf, "vendor"), "not back again"))
			break;
		skip_resets();
	}
	note(", %lu ioctls", changes);
}

/* Why a race makes no sense here, or NULL. */
static const char *no_map(void)
{
	return dev.num_maps ? NULL : "no BAR to map";
}

static const char *no_reset(void)
{
	char methods[64];

	resets = true;
	return *get(reset_method, methods) ? NULL : "no way to reset it";
}

static const char *no_rescan(void)
{
	if (!pci_has(bdf, "physfn"))
		pf = NULL;
	else if (!pf)
		return "a VF does not come back on a rescan: set UIO_MSIX_PF";
	/* Its PF sleeps for half a second. */
	else
		sh->rounds = (sh->rounds + 4) / 5;
	return NULL;
}

static const char *no_module(void)
{
	return getenv("UIO_MSIX_MODULE") ? NULL : "set UIO_MSIX_MODULE";
}

static const struct race {
	const char *name;
	void (*run)(void);
	const char *(*skip)(void);
} races[] = {
	{ "replace", replace, NULL },
	{ "detach", detach, NULL },
	{ "mask", mask, NULL },
	{ "open_close", open_close, NULL },
	{ "mmap", mmap_fault, no_map },
	{ "remove", remove_rescan, no_rescan },
	{ "reset", reset, no_reset },
	{ "two_binders", two_binders, NULL },
	{ "unload", unload, no_module },
	{ "sigkill", sigkill, NULL },
	{ "fd_passed", fd_passed, NULL },
	{ "fork_map", fork_map, no_map },
	{ "arg_in_bar", arg_in_bar, no_map },
	{ "arg_on_uffd", arg_on_uffd, NULL },
};

/* The process of a race: exit code 4 (KSFT_SKIP) with a reason. */
static int child(const struct race *race)
{
	struct sigaction action = {
		.sa_handler = on_sigbus, .sa_flags = SA_NODEFER,
	};
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC), ret;
	const char *why;

	/* One that hangs must not keep the reader of a pipe waiting. */
	dup2(null, STDOUT_FILENO);
	dup2(null, STDERR_FILENO);
	setpgid(0, 0);
	sigaction(SIGBUS, &action, NULL);
	put(driver_override, "uio_msix");
	ret = bind_driver();
	if (!expect(!ret && !uio_msix_find(&dev, bdf), "bind: %s",
		    strerror(-ret)))
		return 1;
	why = race->skip ? race->skip() : NULL;
	if (why) {
		snprintf(sh->reason, sizeof(sh->reason), "%s", why);
		return KSFT_SKIP;
	}
	race->run();
	uio_msix_close(&dev);
	if (!READ(sh->failed)) {
		SET(sh->beat, now());
		alive();
	}
	return READ(sh->failed);
}

/* Print those lines of a file that have one of the words. */
static void lines_of(const char *file, const char *const *words)
{
	const char *const *word;
	char line[256];
	FILE *f = fopen(file, "re");

	while (f && fgets(line, sizeof(line), f))
		for (word = words; *word; word++)
			if (strstr(line, *word))
				printf("# %s: %s", file, line);
	if (f)
		fclose(f);
}

/*
 * Where the processes of a race are in the kernel, and whether each CPU still
 * gets its timer interrupts: an emulator may lose one.
 */
static void dump(pid_t group)
{
	static const char *const timers[] = { "now at", "next_event", NULL };
	static const char *const ticks[] = { "LOC:", NULL };
	char line[256];
	glob_t found;
	size_t i;
	FILE *f;

	glob("/proc/[0-9]*/task/*/stack", 0, NULL, &found);
	for (i = 0; i < found.gl_pathc; i++) {
		if (getpgid(atoi(found.gl_pathv[i] + strlen("/proc/"))) != group)
			continue;
		printf("# %s\n", found.gl_pathv[i]);
		f = fopen(found.gl_pathv[i], "re");
		while (f && fgets(line, sizeof(line), f))
			printf("#   %s", line);
		if (f)
			fclose(f);
	}
	globfree(&found);
	lines_of("/proc/timer_list", timers);
	lines_of("/proc/interrupts", ticks);
	sleep(1);
	lines_of("/proc/interrupts", ticks);
}

/* Whether there is nothing wrong; a race that hangs is the last. */
static bool run(const struct race *race, int rounds)
{
	const char *seconds = getenv("UIO_MSIX_SECONDS");
	unsigned long start = now();
	pid_t pid, done;
	int status;

	memset(sh, 0, sizeof(*sh));
	sh->rounds = rounds;
	sh->beat = start;
	sh->end = seconds ? start + atoi(seconds) * 1000 : 0;
	pid = fork();
	if (!pid)
		_exit(child(race));
	while (!(done = waitpid(pid, &status, WNOHANG))) {
		if (now() < READ(sh->beat) + HANG_MS) {
			usleep(10000);
			continue;
		}
		printf("not ok %s: hangs%s%s (round %d)\n", race->name,
		       *sh->reason ? " after: " : "", sh->reason, sh->round);
		dump(pid);
		kill(-pid, SIGKILL);
		exit(1);
	}
	kill(-pid, SIGKILL);
	put(reset_method, "default");
	if (done == pid && WIFEXITED(status) &&
	    WEXITSTATUS(status) == KSFT_SKIP) {
		printf("ok %s # SKIP %s\n", race->name, sh->reason);
		return true;
	}
	if (!*sh->reason && status)
		expect(false, "died with status 0x%x", status);
	if (sh->failed) {
		printf("not ok %s: %s (round %d)\n", race->name, sh->reason,
		       sh->round);
		return false;
	}
	printf("ok %s: %d rounds, %d interrupts%s", race->name, sh->round,
	       (int)sh->interrupts, sh->note);
	if (sh->unbind_ms)
		printf(", unbind in %d ms", (int)sh->unbind_ms);
	printf(", %.1f s\n", (now() - start) / 1000.0);
	return true;
}

static bool wanted(const char *name, int argc, char **argv)
{
	int i;

	for (i = 3; i < argc; i++)
		if (!strcmp(argv[i], name))
			return true;
	return argc <= 3;
}

int main(int argc, char **argv)
{
	char driver[64], allow_vf[64], autoprobe[64];
	bool ok = true;
	size_t i;
	int ret;

	if (argc < 3 || atoi(argv[2]) < 1) {
		fprintf(stderr, "usage: %s BDF ROUNDS [RACE...]\n", argv[0]);
		return 2;
	}
	bdf = argv[1];
	pf = getenv("UIO_MSIX_PF");
	driver_override = strdup(pci(bdf, "driver_override"));
	reset_method = strdup(pci(bdf, "reset_method"));
	reset_now = strdup(pci(bdf, "reset"));
	remove_now = strdup(pci(bdf, "remove"));
	numvfs = pf ? strdup(pci(pf, "sriov_numvfs")) : NULL;
	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE,
		  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	setvbuf(stdout, NULL, _IOLBF, 0);

	/* It comes back without a driver after "remove". */
	get(AUTOPROBE, autoprobe);
	put(AUTOPROBE, "0");
	get(ALLOW_VF, allow_vf);
	put(ALLOW_VF, "Y");
	if (strcmp(pci_driver(bdf, driver), "uio_msix"))
		pci_bind(bdf, "");

	for (i = 0; i < ARRAY_SIZE(races); i++)
		if (wanted(races[i].name, argc, argv))
			ok &= run(&races[i], atoi(argv[2]));

	put(driver_override, "\n");
	put(AUTOPROBE, autoprobe);
	put(ALLOW_VF, allow_vf);
	ret = pci_bind(bdf, driver);
	if (ret)
		printf("not ok: %s not given back to '%s': %s\n", bdf, driver,
		       strerror(-ret));
	return !ok || ret;
}
