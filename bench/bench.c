// SPDX-License-Identifier: GPL-2.0-only
/*
 * What an interrupt, and each change of a vector, costs with uio_msix and with
 * what could be used instead:
 *
 *	bench speed IGB ROCKER NVME...
 *	bench fire IGB
 *
 * "speed" counts instructions where the TSC does (UIO_BENCH_CLOCK=tsc, for QEMU
 * with -icount and one CPU), else nanoseconds. "fire" counts what is lost or
 * comes twice while a vector is changed; it wants two CPUs.
 *
 * Prints a line for each figure, "csv,measure,peer,device,vectors,unit,samples,
 * min,median,p99"; one without figures says why in place of these. Exit code 1
 * if something could not be measured that should.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <time.h>
#include <linux/io_uring.h>
#include <linux/iommufd.h>
#include <linux/vfio.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <x86intrin.h>

#include "../tests/guest/guest.h"

#define WARM_UP		50
#define SAMPLES		1000
#define PACED		4000
#define SEARCHES	3
#define MAX_READERS	64
#define FIRED		2000	/* under fire */
#define LOST_MS		2000	/* what takes longer is lost */
#define UNBIND_MS	5000	/* what takes longer waits for the user */

/* The 82576 without MSI-X: the cause register, and how to set and enable it. */
#define IGB_ICR		0xc0
#define IGB_ICS		0xc8
#define IGB_IMS		0xd0
#define IGB_LSC		4

#define READ(x)		__atomic_load_n(&(x), __ATOMIC_ACQUIRE)
#define SET(x, value)	__atomic_store_n(&(x), value, __ATOMIC_RELEASE)
#define ADD(x, value)	__atomic_add_fetch(&(x), value, __ATOMIC_ACQ_REL)

static bool tsc;
static const char *unit, *device;

/* What is measured now. */
static struct uio_msix dev;
static int container = -1, group = -1, config = -1;

static void __printf(1, 2) fail(const char *fmt, ...)
{
	va_list ap;

	printf("not ok: %s: ", device);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf(": %s\n", strerror(errno));
	fflush(NULL);
	_exit(1);
}

/* 0 or more, or else the end. */
static int must(int ret, const char *what)
{
	if (ret < 0)
		fail("%s", what);
	return ret;
}

static uint64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

static inline uint64_t now(void)
{
	return tsc ? __rdtsc() : clock_ns(CLOCK_MONOTONIC);
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static void print(const char *measure, const char *peer, unsigned int vectors,
		  const char *in, uint64_t *samples, int n)
{
	qsort(samples, n, sizeof(*samples), compare);
	printf("csv,%s,%s,%s,%u,%s,%d,%lu,%lu,%lu\n", measure, peer, device,
	       vectors, in, n, samples[0], samples[n / 2],
	       samples[(n * 99 - 1) / 100]);
}

static void print_one(const char *measure, const char *peer,
		      unsigned int vectors, const char *in, uint64_t value)
{
	print(measure, peer, vectors, in, &value, 1);
}

/*
 * The peers. Each opens the device, has all @vectors allocated, maps the
 * registers, and attaches an eventfd (-1: none) to a vector of it.
 */
struct peer {
	const char *name;
	const char *driver;
	void (*open)(unsigned int vectors);
	void *(*map)(void);
	int (*attach)(unsigned int vector, int fd);
	int (*mask)(unsigned int vector, int masked);
	void (*rearm)(void);
	bool needs_intx;
};

static void open_uio(unsigned int vectors)
{
	dev.fd = must(open(dev.path, O_RDWR | O_CLOEXEC), dev.path);
}

static void *map_uio_msix(void)
{
	return uio_msix_map(&dev, 0) + dev.maps[0].offset;
}

static int attach_uio_msix(unsigned int vector, int fd)
{
	return set_eventfd(&dev, vector, fd);
}

static int mask_uio_msix(unsigned int vector, int masked)
{
	return set_mask(&dev, vector, masked);
}

static int vfio_set_irqs(uint32_t flags, unsigned int vector,
			 unsigned int count, int fd)
{
	static struct {
		struct vfio_irq_set set;
		int fds[2048];
	} arg;
	unsigned int i;
	bool fds = flags & VFIO_IRQ_SET_DATA_EVENTFD;

	arg.set.argsz = sizeof(arg.set) + (fds ? count * sizeof(int) : 0);
	arg.set.flags = flags;
	arg.set.index = VFIO_PCI_MSIX_IRQ_INDEX;
	arg.set.start = vector;
	arg.set.count = count;
	for (i = 0; i < count; i++)
		arg.fds[i] = fd;
	return ioctl(dev.fd, VFIO_DEVICE_SET_IRQS, &arg) ? -errno : 0;
}

static int attach_vfio(unsigned int vector, int fd)
{
	return vfio_set_irqs(VFIO_IRQ_SET_DATA_EVENTFD |
			     VFIO_IRQ_SET_ACTION_TRIGGER, vector, 1, fd);
}

static int mask_vfio(unsigned int vector, int masked)
{
	return vfio_set_irqs(VFIO_IRQ_SET_DATA_NONE |
			     (masked ? VFIO_IRQ_SET_ACTION_MASK :
			      VFIO_IRQ_SET_ACTION_UNMASK), vector, 1, -1);
}

static void vfio_alloc(unsigned int vectors)
{
	errno = -vfio_set_irqs(VFIO_IRQ_SET_DATA_EVENTFD |
			       VFIO_IRQ_SET_ACTION_TRIGGER, 0, vectors, -1);
	if (errno)
		fail("VFIO_DEVICE_SET_IRQS");
}

static void open_vfio_group(unsigned int vectors)
{
	char link[256] = "";

	must(readlink(pci(dev.bdf, "iommu_group"), link, sizeof(link) - 1),
	     "iommu_group");
	container = must(open("/dev/vfio/vfio", O_RDWR | O_CLOEXEC),
			 "/dev/vfio/vfio");
	group = must(open(path("/dev/vfio/noiommu-%s", strrchr(link, '/') + 1),
			  O_RDWR | O_CLOEXEC), "group");
	must(ioctl(group, VFIO_GROUP_SET_CONTAINER, &container),
	     "VFIO_GROUP_SET_CONTAINER");
	must(ioctl(container, VFIO_SET_IOMMU, VFIO_NOIOMMU_IOMMU),
	     "VFIO_SET_IOMMU");
	dev.fd = must(ioctl(group, VFIO_GROUP_GET_DEVICE_FD, dev.bdf),
		      "VFIO_GROUP_GET_DEVICE_FD");
	vfio_alloc(vectors);
}

static void open_vfio_cdev(unsigned int vectors)
{
	struct vfio_device_bind_iommufd bind = { .argsz = sizeof(bind) };

	dev.fd = must(open(dev.path, O_RDWR | O_CLOEXEC), dev.path);
	container = must(open("/dev/iommu", O_RDWR | O_CLOEXEC), "/dev/iommu");
	bind.iommufd = container;
	must(ioctl(dev.fd, VFIO_DEVICE_BIND_IOMMUFD, &bind),
	     "VFIO_DEVICE_BIND_IOMMUFD");
	vfio_alloc(vectors);
}

static void *map_vfio(void)
{
	struct vfio_region_info info = {
		.argsz = sizeof(info), .index = VFIO_PCI_CONFIG_REGION_INDEX,
	};
	uint16_t command;

	/* VFIO leaves it to its user. */
	must(ioctl(dev.fd, VFIO_DEVICE_GET_REGION_INFO, &info), "region");
	must(pread(dev.fd, &command, 2, info.offset + PCI_COMMAND), "config");
	command |= PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;
	must(pwrite(dev.fd, &command, 2, info.offset + PCI_COMMAND), "config");

	info.index = VFIO_PCI_BAR0_REGION_INDEX;
	must(ioctl(dev.fd, VFIO_DEVICE_GET_REGION_INFO, &info), "region");
	return mmap(NULL, info.size, PROT_READ | PROT_WRITE, MAP_SHARED, dev.fd,
		    info.offset);
}

static void open_floor(unsigned int vectors)
{
	dev.fd = must(open("/dev/floor", O_RDWR | O_CLOEXEC), "/dev/floor");
}

static int attach_floor(unsigned int vector, int fd)
{
	struct { uint32_t vector; int32_t fd; } arg = { vector, fd };

	return write(dev.fd, &arg, sizeof(arg)) < 0 ? -errno : 0;
}

static void *map_sysfs(void)
{
	int fd = must(open(pci(dev.bdf, "resource0"), O_RDWR | O_CLOEXEC),
		      "resource0");

	return mmap(NULL, 0x2000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

/* INTx is level-triggered, and off after each interrupt. */
static void rearm_intx(void)
{
	uint16_t command = PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER;

	reg_read(dev.regs, IGB_ICR);
	must(pwrite(config, &command, 2, PCI_COMMAND), "config");
}

static void rearm_nothing(void)
{
}

static const struct peer uio_msix = {
	.name = "uio_msix",
	.driver = "uio_msix",
	.open = open_uio,
	.map = map_uio_msix,
	.attach = attach_uio_msix,
	.mask = mask_uio_msix,
};

static const struct peer vfio_group = {
	.name = "vfio group",
	.driver = "vfio-pci",
	.open = open_vfio_group,
	.map = map_vfio,
	.attach = attach_vfio,
	.mask = mask_vfio,
};

static const struct peer vfio_cdev = {
	.name = "vfio cdev",
	.driver = "vfio-pci",
	.open = open_vfio_cdev,
	.map = map_vfio,
	.attach = attach_vfio,
	.mask = mask_vfio,
};

static const struct peer in_kernel = {
	.name = "floor",
	.driver = "floor",
	.open = open_floor,
	.map = map_sysfs,
	.attach = attach_floor,
};

static const struct peer pci_generic = {
	.name = "uio_pci_generic",
	.driver = "uio_pci_generic",
	.open = open_uio,
	.map = map_sysfs,
	.rearm = rearm_intx,
	.needs_intx = true,
};

static const struct peer igb_uio = {
	.name = "igb_uio",
	.driver = "igb_uio",
	.open = open_uio,
	.map = map_sysfs,
	.rearm = rearm_nothing,
};

/* No device: a process writes to the eventfd. */
static const struct peer eventfd_only = {
	.name = "eventfd_write",
};

static const struct peer *const peers[] = {
	&uio_msix, &vfio_group, &vfio_cdev, &in_kernel, &eventfd_only,
	&pci_generic, &igb_uio,
};

static const struct peer *peer;

/* Have the driver of the peer bound, and nothing open. */
static void bind_device(const char *bdf)
{
	char driver[64];
	glob_t found;

	if (!peer->driver)
		return;
	if (strcmp(pci_driver(bdf, driver), peer->driver)) {
		errno = -pci_bind(bdf, "");
		if (errno)
			fail("unbind");
		put(pci(bdf, "driver_override"), peer->driver);
		errno = -put(path(PCI_DRIVERS "%s/bind", peer->driver), bdf);
		if (errno)
			fail("bind");
		put(pci(bdf, "driver_override"), "\n");
	}
	uio_msix_find(&dev, bdf);
	dev.bdf = bdf;
	if (peer == &vfio_cdev) {
		must(glob(pci(bdf, "vfio-dev/*"), 0, NULL, &found) ? -1 : 0,
		     "vfio-dev");
		snprintf(dev.path, sizeof(dev.path), "/dev/vfio/devices/%s",
			 strrchr(found.gl_pathv[0], '/') + 1);
	}
}

static void close_device(void)
{
	close(dev.fd);
	close(group);
	close(container);
	dev.fd = group = container = -1;
}

/* Bound, open, and ready to interrupt. */
static void start(const char *bdf, unsigned int vectors)
{
	uint32_t id;
	size_t i;

	bind_device(bdf);
	if (!peer->driver)
		return;
	peer->open(vectors);
	dev.regs = peer->map();
	if (dev.regs == MAP_FAILED)
		fail("mmap");
	id = get_u64(pci(bdf, "vendor")) | get_u64(pci(bdf, "device")) << 16;
	for (i = 0; i < ARRAY_SIZE(uio_msix_kinds); i++)
		if (uio_msix_kinds[i].id == id)
			dev.kind = &uio_msix_kinds[i];
	config = open(pci(bdf, "config"), O_RDWR | O_CLOEXEC);
	if (!peer->needs_intx) {
		uio_msix_init(&dev);
		return;
	}
	put(pci(bdf, "reset"), "1");
	rearm_intx();
	reg_write(dev.regs, IGB_IMS, IGB_LSC);
}

static int attach(unsigned int vector, int fd)
{
	int ret = peer->attach(vector, fd);

	errno = -ret;
	if (ret)
		fail("attach");
	return 0;
}

/* What its vector 0 signals: an eventfd, or its UIO file. */
static int source(unsigned int vector, int flags)
{
	int fd;

	if (peer->rearm)
		return dev.fd;
	fd = must(eventfd(0, EFD_CLOEXEC | flags), "eventfd");
	if (peer->attach)
		attach(vector, fd);
	return fd;
}

static size_t event_size(void)
{
	return peer->rearm ? sizeof(uint32_t) : sizeof(uint64_t);
}

static int trigger = -1;	/* of the peer without a device */

static inline void fire(unsigned int vector)
{
	if (trigger >= 0)
		eventfd_write(trigger, 1);
	else if (peer->needs_intx)
		reg_write(dev.regs, IGB_ICS, IGB_LSC);
	else
		reg_write(dev.regs, dev.kind->fire,
			  dev.kind->as_bit ? 1u << vector : vector);
}

/* Readers, one a vector, each blocked until its event comes. */
enum wait { BY_READ, BY_EPOLL, BY_IO_URING };
static const char *const wait_names[] = { "read", "epoll", "io_uring" };

static struct reader {
	pthread_t thread;
	enum wait wait;
	int fd;
	uint64_t seen;		/* when read() returned */
	uint64_t count;		/* of events */
	uint32_t reads;
} *readers;

struct ring {
	int fd;
	uint32_t *sq_tail, *sq_array, *cq_head;
	struct io_uring_sqe *sqes;
};

static void ring_open(struct ring *ring)
{
	struct io_uring_params p = { };
	void *rings;

	ring->fd = must(syscall(SYS_io_uring_setup, 4, &p), "io_uring_setup");
	rings = mmap(NULL, p.cq_off.cqes + p.cq_entries *
		     sizeof(struct io_uring_cqe), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_POPULATE, ring->fd, IORING_OFF_SQ_RING);
	ring->sqes = mmap(NULL, p.sq_entries * sizeof(struct io_uring_sqe),
			  PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
			  ring->fd, IORING_OFF_SQES);
	if (rings == MAP_FAILED || ring->sqes == MAP_FAILED)
		fail("io_uring");
	ring->sq_tail = rings + p.sq_off.tail;
	ring->sq_array = rings + p.sq_off.array;
	ring->cq_head = rings + p.cq_off.head;
}

static void ring_poll(struct ring *ring, int fd)
{
	ring->sqes[0] = (struct io_uring_sqe){
		.opcode = IORING_OP_POLL_ADD, .fd = fd, .poll32_events = POLLIN,
	};
	ring->sq_array[*ring->sq_tail & 3] = 0;
	SET(*ring->sq_tail, *ring->sq_tail + 1);
	must(syscall(SYS_io_uring_enter, ring->fd, 1, 1, IORING_ENTER_GETEVENTS,
		     NULL, 0), "io_uring_enter");
	SET(*ring->cq_head, *ring->cq_head + 1);
}

static void first(int priority)
{
	struct sched_param param = { .sched_priority = priority };

	errno = pthread_setschedparam(pthread_self(), SCHED_FIFO, &param);
	if (errno)
		fail("SCHED_FIFO");
}

static void *reader(void *arg)
{
	struct reader *r = arg;
	struct epoll_event event = { .events = EPOLLIN };
	size_t size = event_size();
	struct ring ring = { };
	int epoll = -1;

	first(10);
	if (r->wait == BY_EPOLL) {
		epoll = must(epoll_create1(EPOLL_CLOEXEC), "epoll");
		must(epoll_ctl(epoll, EPOLL_CTL_ADD, r->fd, &event), "epoll");
	} else if (r->wait == BY_IO_URING) {
		ring_open(&ring);
	}
	for (;;) {
		uint64_t count = 0;

		if (r->wait == BY_EPOLL)
			epoll_wait(epoll, &event, 1, -1);
		else if (r->wait == BY_IO_URING)
			ring_poll(&ring, r->fd);
		if (read(r->fd, &count, size) != (ssize_t)size)
			fail("read");
		r->seen = now();
		r->count += count;
		if (peer->rearm)
			peer->rearm();
		ADD(r->reads, 1);
	}
	return NULL;
}

static void start_readers(unsigned int n, enum wait wait)
{
	pthread_attr_t attr;
	unsigned int i;

	readers = mmap(NULL, MAX_READERS * sizeof(*readers),
		       PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, 1 << 16);
	for (i = 0; i < n; i++) {
		readers[i].wait = wait;
		readers[i].fd = source(i, 0);
		errno = pthread_create(&readers[i].thread, &attr, reader,
				       &readers[i]);
		if (errno)
			fail("pthread_create");
	}
	usleep(100000);
}

static uint64_t samples[SAMPLES];

/* From the doorbell to read() returning, on each vector in turn. */
static void latency(const char *measure, unsigned int vectors)
{
	uint64_t before;
	uint32_t reads;
	int i;

	for (i = -WARM_UP; i < SAMPLES; i++) {
		struct reader *r = &readers[(i + WARM_UP) % vectors];

		/* For the reader to sleep, and the kernel to be done. */
		usleep(1000);
		reads = READ(r->reads);
		before = now();
		fire(r - readers);
		while (READ(r->reads) == reads)
			;
		if (i >= 0)
			samples[i] = r->seen - before;
	}
	print(measure, peer->name, vectors, unit, samples, SAMPLES);
	fflush(NULL);
}

static void measure_latency(const char *bdf, int wait)
{
	char measure[64];
	pid_t pid;

	snprintf(measure, sizeof(measure), "doorbell to read by %s",
		 wait_names[wait]);
	start(bdf, 1);
	start_readers(1, wait);
	if (peer->driver) {
		latency(measure, 1);
		return;
	}
	trigger = readers[0].fd;
	pid = fork();
	if (!pid) {
		latency(measure, 1);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
}

/* The whole interrupt, where nobody waits for it: the doorbell without is off. */
static void measure_handler(const char *bdf, int unused)
{
	uint64_t before, idle[SAMPLES], count;
	int i, fd;

	start(bdf, 2);
	fd = source(0, EFD_NONBLOCK);
	for (i = 0; i < SAMPLES; i++) {
		usleep(1000);
		before = now();
		if (peer->needs_intx || dev.kind->as_bit)
			reg_write(dev.regs, peer->needs_intx ? IGB_ICS :
				  dev.kind->fire, 0);
		else
			fire(1);
		idle[i] = now() - before;
	}
	qsort(idle, SAMPLES, sizeof(*idle), compare);
	for (i = 0; i < SAMPLES; i++) {
		usleep(1000);
		before = now();
		fire(0);
		samples[i] = now() - before - idle[SAMPLES / 2];
		if (read(fd, &count, event_size()) < 0)
			fail("interrupt");
		if (peer->rearm)
			peer->rearm();
	}
	print("in hard-irq context", peer->name, 1, unit, samples, SAMPLES);
}

static void measure_scaling(const char *bdf, int vectors)
{
	start(bdf, MAX_READERS);
	start_readers(vectors, BY_READ);
	latency("doorbell to read with a reader each", vectors);
}

/*
 * Whether no event waits for its reader when the next one is fired; but for one
 * in a hundred, for the kernel has other things to do.
 */
static bool keeps_up(unsigned int vectors, uint64_t period)
{
	struct timespec next;
	uint64_t at = clock_ns(CLOCK_MONOTONIC) + 1000000, done, before = 0;
	unsigned int i, v, late = 0;

	for (v = 0; v < vectors; v++)
		before += READ(readers[v].count);
	for (i = 0; i < PACED && late <= PACED / 100; i++, at += period) {
		next.tv_sec = at / 1000000000;
		next.tv_nsec = at % 1000000000;
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
		for (v = 0, done = 0; v < vectors; v++)
			done += READ(readers[v].count);
		late += done - before != i;
		fire(i % vectors);
	}
	usleep(100000);
	return late <= PACED / 100;
}

static void measure_rate(const char *bdf, int vectors)
{
	uint64_t low, high, middle, found[SEARCHES];
	int i;

	start(bdf, MAX_READERS);
	start_readers(vectors, BY_READ);
	first(20);
	for (i = 0; i < SEARCHES; i++) {
		low = 1000;
		high = 1000000;
		while (high - low > high / 1000) {
			middle = (low + high) / 2;
			*(keeps_up(vectors, middle) ? &high : &low) = middle;
		}
		found[i] = 1000000000 / high;
	}
	print("rate until the reader falls behind", peer->name, vectors,
	      "1/s", found, SEARCHES);
}

static void measure_changes(const char *bdf, int vectors)
{
	static const char *const names[] = {
		"replace", "detach", "attach", "mask", "unmask",
	};
	static uint64_t took[5][SAMPLES];
	int fds[2] = { eventfd(0, EFD_CLOEXEC), eventfd(0, EFD_CLOEXEC) };
	uint64_t before;
	int i, j, ret = 0;

	start(bdf, vectors);
	attach(0, fds[0]);
	for (i = -WARM_UP; i < SAMPLES; i++) {
		for (j = 0; j < 5; j++) {
			before = now();
			if (j < 3)
				ret = peer->attach(0, j == 1 ? -1 : fds[(i + j) & 1]);
			else if (ret != -ENOTTY)
				ret = peer->mask(0, j == 3);
			before = now() - before;
			errno = -ret;
			if (ret && (j < 3 || ret != -ENOTTY))
				fail("%s", names[j]);
			if (i >= 0)
				took[j][i] = before;
		}
		ret = 0;
	}
	for (j = 0; j < 5; j++) {
		if (j < 3 || peer->mask(0, 0) != -ENOTTY)
			print(names[j], peer->name, vectors, unit, took[j],
			      SAMPLES);
		else
			printf("csv,%s,%s,%s,%d,%s\n", names[j], peer->name,
			       device, vectors, "ENOTTY");
	}
}

static int vectors_of(const char *bdf)
{
	return (pci_config(bdf, pci_find_cap(bdf, PCI_CAP_ID_MSIX) +
			   PCI_MSIX_FLAGS, 2) & PCI_MSIX_FLAGS_QSIZE) + 1;
}

/* Attach, with so many vectors beside it. */
static void measure_attach(const char *bdf, int last)
{
	int fd = eventfd(0, EFD_CLOEXEC), vectors = vectors_of(bdf), i;
	uint64_t before;

	bind_device(bdf);
	peer->open(vectors);
	for (i = -WARM_UP; i < SAMPLES; i++) {
		before = now();
		attach(last ? vectors - 1 : 0, fd);
		if (i >= 0)
			samples[i] = now() - before;
		attach(last ? vectors - 1 : 0, -1);
	}
	print(last ? "attach the last vector" : "attach the first vector",
	      peer->name, vectors, unit, samples, SAMPLES);
}

/* Without the resets, which are the same: the CPU time. With them: the time. */
static void open_close(const char *bdf, bool resets)
{
	clockid_t clock = resets ? CLOCK_MONOTONIC : CLOCK_THREAD_CPUTIME_ID;
	int n = resets ? 10 : 100, i, vectors = vectors_of(bdf);
	uint64_t opens[100], closes[100], times[3];

	if (pci_has(bdf, "reset_method"))
		put(pci(bdf, "reset_method"), resets ? "default" : "\n");
	for (i = -2; i < n; i++) {
		times[0] = clock_ns(clock);
		peer->open(vectors);
		times[1] = clock_ns(clock);
		close_device();
		times[2] = clock_ns(clock);
		if (i >= 0) {
			opens[i] = times[1] - times[0];
			closes[i] = times[2] - times[1];
		}
		usleep(100000);
	}
	print(resets ? "open with reset" : "open", peer->name, vectors,
	      resets ? "ns" : unit, opens, n);
	print(resets ? "close with reset" : "close", peer->name, vectors,
	      resets ? "ns" : unit, closes, n);
}

static void measure_open_close(const char *bdf, int unused)
{
	bind_device(bdf);
	open_close(bdf, false);
	open_close(bdf, true);
}

/* What the kernel has allocated, without free objects of slab caches. */
static uint64_t used_memory(void)
{
	static const char *const kinds[] = {
		"Slab: %lu", "VmallocUsed: %lu", "Percpu: %lu",
	};
	uint64_t kb, sum = 0;
	char line[128];
	glob_t caches;
	const char *c;
	size_t i;
	FILE *f;

	sleep(1);
	must(glob("/sys/kernel/slab/*", 0, NULL, &caches) ? -1 : 0,
	     "/sys/kernel/slab");
	for (i = 0; i < caches.gl_pathc; i++)
		put(path("%s/shrink", caches.gl_pathv[i]), "1");
	for (i = 0; i < caches.gl_pathc; i++) {
		c = caches.gl_pathv[i];
		sum -= (get_u64(path("%s/total_objects", c)) -
			get_u64(path("%s/objects", c))) *
		       get_u64(path("%s/slab_size", c));
	}
	globfree(&caches);
	/* Else each CPU keeps some pages to itself. */
	put("/proc/sys/vm/stat_refresh", "1");
	f = fopen("/proc/meminfo", "re");
	while (f && fgets(line, sizeof(line), f))
		for (i = 0; i < ARRAY_SIZE(kinds); i++)
			if (sscanf(line, kinds[i], &kb) == 1)
				sum += kb * 1024;
	fclose(f);
	return sum;
}

static void measure_memory(const char *bdf, int attached)
{
	int i, v, fd = eventfd(0, EFD_CLOEXEC), vectors = vectors_of(bdf);
	uint64_t before, after, taken[10];

	bind_device(bdf);
	for (i = -2; i < 10; i++) {
		before = used_memory();
		peer->open(vectors);
		for (v = 0; attached && v < vectors; v++)
			attach(v, fd);
		after = used_memory();
		if (i >= 0)
			taken[i] = (after - before) / vectors;
		close_device();
	}
	print(attached ? "memory per attached vector" : "memory per vector",
	      peer->name, vectors, "bytes", taken, 10);
}

static void measure_unbind(const char *bdf, int unused)
{
	uint64_t begin, took;
	pid_t user, other;
	int ready[2], fd;

	bind_device(bdf);
	must(pipe2(ready, O_CLOEXEC), "pipe");
	user = fork();
	if (!user) {
		struct pollfd pfd[2] = { { .events = POLLIN } };

		peer->open(1);
		fd = source(0, 0);
		pfd[0].fd = fd;
		pfd[1].fd = dev.fd;
		must(write(ready[1], "", 1), "pipe");
		poll(pfd, 1 + (peer == &uio_msix), -1);
		pause();
	}
	must(read(ready[0], &fd, 1), "pipe");
	usleep(100000);
	begin = clock_ns(CLOCK_MONOTONIC);
	other = fork();
	if (!other)
		_exit(put(path(PCI_DRIVERS "%s/unbind", peer->driver), bdf) != 0);
	do {
		usleep(100);
		took = clock_ns(CLOCK_MONOTONIC) - begin;
		fd = waitpid(other, NULL, WNOHANG);
	} while (!fd && took < UNBIND_MS * 1000000ull);
	if (fd)
		print_one("unbind while the user polls", peer->name, 1, "ns",
			  took);
	else
		printf("csv,unbind while the user polls,%s,%s,1,not within %d ms\n",
		       peer->name, device, UNBIND_MS);
	kill(user, SIGKILL);
	waitpid(user, NULL, 0);
	if (!fd)
		waitpid(other, NULL, 0);
}

static int fds[2];
static bool stop;
static uint64_t changes;

static void *changer(void *arg)
{
	uintptr_t how = (uintptr_t)arg;
	unsigned int i;

	for (i = 0; !READ(stop); i++) {
		if (how == 0)
			attach(0, fds[i & 1]);
		else if (how == 1)
			attach(0, i & 1 ? fds[0] : -1);
		else if (peer->mask(0, !(i & 1)))
			fail("mask");
		changes = i;
	}
	return NULL;
}

/* Fire the next only after the last was seen; a time-out is a loss. */
static void measure_fire(const char *bdf, int how)
{
	static const char *const names[] = {
		"replace", "detach and attach", "mask and unmask",
	};
	uint64_t begin, lost = 0, doubled = 0;
	char measure[64];
	pthread_t thread;
	int i, got;

	start(bdf, 1);
	if (how == 2 && (!peer->mask || peer->mask(0, 0) == -ENOTTY)) {
		printf("csv,%s under fire,%s,%s,1,ENOTTY\n", names[how],
		       peer->name, device);
		return;
	}
	fds[0] = source(0, EFD_NONBLOCK);
	fds[1] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pthread_create(&thread, NULL, changer, (void *)(uintptr_t)how);
	begin = clock_ns(CLOCK_MONOTONIC);
	for (i = 0; i < FIRED; i++) {
		struct pollfd pfd[2] = {
			{ fds[0], POLLIN, 0 }, { fds[1], POLLIN, 0 },
		};

		fire(0);
		poll(pfd, 2, LOST_MS);
		got = events(fds[0], 0) + events(fds[1], 0);
		/* For a second one to come, if there is one. */
		usleep(200);
		got += events(fds[0], 0) + events(fds[1], 0);
		lost += !got;
		doubled += got > 1 ? got - 1 : 0;
	}
	begin = clock_ns(CLOCK_MONOTONIC) - begin;
	SET(stop, true);
	pthread_join(thread, NULL);
	snprintf(measure, sizeof(measure), "%s under fire: lost", names[how]);
	printf("csv,%s,%s,%s,1,events,%d,%lu,%lu,%lu\n", measure, peer->name,
	       device, FIRED, lost, lost, lost);
	snprintf(measure, sizeof(measure), "%s under fire: doubled", names[how]);
	printf("csv,%s,%s,%s,1,events,%d,%lu,%lu,%lu\n", measure, peer->name,
	       device, FIRED, doubled, doubled, doubled);
	printf("# %s: %s: %lu changes while %d interrupts took %lu ms\n",
	       peer->name, names[how], changes, FIRED, begin / 1000000);
}

static bool ok = true;

/* A process of its own, which must end. */
static void run(const struct peer *who, void (*measure)(const char *, int),
		const char *bdf, int arg)
{
	int status;
	pid_t pid;

	if (!bdf || (who->driver &&
		     access(path(PCI_DRIVERS "%s", who->driver), F_OK)))
		return;
	fflush(NULL);
	pid = fork();
	if (!pid) {
		alarm(tsc ? 100 : 600);
		peer = who;
		measure(bdf, arg);
		fflush(NULL);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	if (!status)
		return;
	ok = false;
	printf("not ok: %s: %s: ended with status 0x%x\n", device, who->name,
	       status);
}

/* 2 n + 1 instructions. */
static void calibrate(void)
{
	uint64_t before, best = -1;
	int i, n;

	for (i = 0; i < 10; i++) {
		n = 100000;
		before = now();
		asm volatile("1: dec %0; jnz 1b" : "+r"(n));
		before = now() - before;
		if (before < best)
			best = before;
	}
	printf("# 200,000 instructions are %lu %s\n", best, unit);
	if (tsc && (best < 200000 || best > 200100))
		fail("the TSC does not count instructions");
}

static void speed(int argc, char **argv)
{
	const char *igb = argv[2], *rocker = argv[3];
	static const struct peer *const full[] = {
		&uio_msix, &vfio_group, &vfio_cdev,
	};
	size_t i;
	int n;

	device = "igb";
	calibrate();
	for (n = BY_READ; n <= BY_IO_URING; n++)
		for (i = 0; i < ARRAY_SIZE(peers); i++)
			run(peers[i], measure_latency, igb, n);
	for (i = 0; tsc && i < ARRAY_SIZE(peers); i++)
		if (peers[i]->driver)
			run(peers[i], measure_handler, igb, 0);
	for (i = 0; i < ARRAY_SIZE(full); i++)
		run(full[i], measure_changes, igb, 1);
	for (i = 0; i < ARRAY_SIZE(peers); i++)
		if (peers[i]->driver && peers[i] != &in_kernel)
			run(peers[i], measure_unbind, igb, 0);

	device = "rocker";
	for (i = 0; i < 4; i++) {
		for (n = 1; n <= MAX_READERS; n *= 2)
			run(peers[i], measure_scaling, rocker, n);
		for (n = 1; tsc && n <= MAX_READERS; n *= 8)
			run(peers[i], measure_rate, rocker, n);
	}
	device = "nvme";
	for (n = 4; n < argc; n++)
		for (i = 0; i < ARRAY_SIZE(full); i++) {
			run(full[i], measure_attach, argv[n], 0);
			run(full[i], measure_attach, argv[n], 1);
			run(full[i], measure_open_close, argv[n], 0);
			/* By pages; and one CPU takes 200 interrupts or so. */
			if (vectors_of(argv[n]) > 1)
				run(full[i], measure_memory, argv[n],
				    vectors_of(argv[n]) < 200);
		}
}

static void under_fire(const char *igb)
{
	size_t i;
	int how;

	device = "igb";
	for (how = 0; how < 3; how++)
		for (i = 0; i < 3; i++)
			run(peers[i], measure_fire, igb, how);
}

int main(int argc, char **argv)
{
	const char *clock = getenv("UIO_BENCH_CLOCK");

	setvbuf(stdout, NULL, _IOLBF, 0);
	tsc = clock && !strcmp(clock, "tsc");
	unit = tsc ? "instructions" : "ns";
	if (argc >= 5 && !strcmp(argv[1], "speed")) {
		speed(argc, argv);
	} else if (argc == 3 && !strcmp(argv[1], "fire")) {
		under_fire(argv[2]);
	} else {
		fprintf(stderr, "usage: %s speed IGB ROCKER NVME... | fire IGB\n",
			argv[0]);
		return 2;
	}
	return !ok;
}
