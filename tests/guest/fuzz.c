// SPDX-License-Identifier: GPL-2.0-only
/*
 * A fuzzer of uio_msix on one device, which has a model of what must happen:
 *
 *	fuzz BDF SEED CALLS [FIRST]
 *
 * Calls come in programs, each on a fresh open. A program follows from SEED and
 * its number alone: FIRST starts with that one, to see a failure again soon.
 *
 * Prints a line, and a table of calls; exit code 1 after the first call that
 * did what it must not do, or that hangs.
 *
 * Devices are bus masters: no register is written but to fire an interrupt.
 */
#include <setjmp.h>
#include <signal.h>
#include <time.h>
#include <linux/capability.h>
#include <linux/futex.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "guest.h"

#ifndef MAP_32BIT
#define MAP_32BIT	0	/* x86 only */
#endif

#define PROGRAM		2000	/* calls */
#define HANG_MS		30000
#define PAGES		96	/* of the arena, where mappings are made */
#define FULL		(~0ull - 1)	/* one more: the eventfd overflows */

/* Far apart, the arena last: calls with huge sizes reach beyond it. */
#define PLAY		((char *)(1ul << 36))
#define REFS		((char *)(1ul << 38))
#define ARENA		((char *)(1ul << 40))
#define HUGE_LEN	(1ul << 46)	/* ends before the stack */

/* A set of errnos, with 0 for success. */
#define E(error)	((__uint128_t)1 << (error))
#define OK		E(0)
#define INVAL		E(EINVAL)
#define ANY		(~(__uint128_t)0)

static const struct op {
	const char *name;
	int weight;
	long nr;
	void (*run)(void);
} ops[], *op;

/* For the watchdog. */
static struct shared {
	unsigned long calls;
	int program;
	const char *name;
	long arg[6];
} *sh;

static const char *bdf;
static unsigned long seed, wanted, interrupts, errors, count[64][2];
static bool error_kinds[64][140];
static unsigned long page;

/* The model. */
static struct uio_msix dev;
static int ufd[4];		/* the uio file, ufd[0] all the time */
static bool dead;		/* the file */
static bool gone, rebound;	/* the device */

enum { NONE = -1, CLOSED = -2 };	/* no eventfd, one that nobody has */

static struct vector {
	int efd;
	bool masked;
	int pending;		/* 0 no, 1 yes, 2 perhaps */
} *vec;

/* Eventfds; all are at their base between two calls. */
enum { PLAIN, SEMAPHORE, BLOCKING, NEARLY_FULL, NUM_EFDS = 8 };
static int efd[NUM_EFDS];

static struct page {
	int map;		/* NONE: no mapping */
	unsigned int index;	/* of the page in it */
	int prot;
	unsigned int vma;	/* the same number in a row: one VMA */
} arena[PAGES];

/* What is no eventfd. */
static struct {
	int fd;
	int error;
} bad_fds[12];

static uint64_t state;

static uint64_t rnd64(void)
{
	uint64_t z = state += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

static unsigned int rnd(unsigned int n)
{
	return rnd64() % n;
}

static bool one_in(unsigned int n)
{
	return !rnd(n);
}

#define PICK(array)	((array)[rnd(ARRAY_SIZE(array))])

static unsigned long now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void print_call(void)
{
	int i;

	printf("%s(", sh->name);
	for (i = 0; i < 6; i++)
		printf("%s%#lx", i ? ", " : "", sh->arg[i]);
	printf(") in program %d, call %lu, of seed %lu", sh->program, sh->calls,
	       seed);
}

static __noreturn void __printf(1, 2) fail(const char *fmt, ...)
{
	va_list ap;

	printf("fuzz: FAILED: ");
	print_call();
	printf(": ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\nfuzz: to repeat: fuzz %s %lu %d %d\n", bdf, seed,
	       PROGRAM, sh->program);
	exit(1);
}

static void check(bool ok, const char *what)
{
	if (!ok)
		fail("%s", what);
}

static void expect(__uint128_t set, long ret)
{
	int error = ret < 0 && ret > -140 ? -ret : 0;
	char names[400] = "";

	sh->calls++;
	count[op - ops][!!error]++;
	error_kinds[op - ops][error] = error;
	errors += !!error;
	if (error < 128 && set >> error & 1)
		return;
	for (error = 0; error < 128; error++)
		if (set >> error & 1)
			sprintf(names + strlen(names), " %s",
				error ? strerrorname_np(error) : "success");
	fail("%ld (%s), expected%s", ret,
	     ret < 0 ? strerrorname_np(-ret) : "success", names);
}

static void note(long a, long b, long c, long d, long e, long f, ...)
{
	const long arg[6] = { a, b, c, d, e, f };

	memcpy(sh->arg, arg, sizeof(arg));
}

static long call(long nr, __uint128_t set, long a, long b, long c, long d,
		 long e, long f, ...)
{
	long ret;

	note(a, b, c, d, e, f);
	ret = syscall(nr, a, b, c, d, e, f);
	ret = ret == -1 ? -errno : ret;
	expect(set, ret);
	return ret;
}

/* The rest is 0. */
#define NOTE(...)		note(__VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define CALL_NR(nr, set, ...)	call(nr, set, __VA_ARGS__, 0, 0, 0, 0, 0, 0)
#define CALL(...)		CALL_NR(op->nr, __VA_ARGS__)

/* Eventfds and interrupts */

static void new_efd(int e)
{
	static const int flags[] = {
		[SEMAPHORE] = EFD_SEMAPHORE | EFD_NONBLOCK, [BLOCKING] = 0,
		[NEARLY_FULL] = EFD_NONBLOCK, [PLAIN] = EFD_NONBLOCK,
	};
	uint64_t value = FULL;

	efd[e] = eventfd(0, flags[e % 4] | EFD_CLOEXEC);
	if (e % 4 == NEARLY_FULL && write(efd[e], &value, 8) != 8)
		fail("eventfd");
}

/* Wait for @min to @max events on an eventfd, and put it back to its base. */
static void collect(int e, int min, int max)
{
	struct pollfd pfd = { .fd = efd[e], .events = POLLIN };
	int ms = min ? EVENT_MS : max ? QUIET_MS : 0, ready;
	uint64_t value = 0, sum = 0;
	unsigned long start;

	/* POLLERR says that it overflowed, but wakes nobody. */
	start = now();
	do {
		if (e % 4 == NEARLY_FULL)
			pfd.events = 0;
		ready = poll(&pfd, 1, pfd.events ? ms : 0);
	} while (!ready && !pfd.events && now() < start + ms);
	if (!ready) {
		check(!min, "no event");
		return;
	}
	do {
		check(read(efd[e], &value, 8) == 8, "read of eventfd");
		sum += value;
	} while (e % 4 == SEMAPHORE && poll(&pfd, 1, 0));
	if (e % 4 == NEARLY_FULL) {
		sum -= FULL;
		value = FULL;
		check(write(efd[e], &value, 8) == 8, "write of eventfd");
	}
	interrupts += sum;
	if (sum > (uint64_t)max)
		fail("%llu events on eventfd %d, expected %d to %d",
		     (unsigned long long)sum, e, min, max);
}

static void all_quiet(void)
{
	int e;

	for (e = 0; e < NUM_EFDS; e++)
		collect(e, 0, 0);
}

/* Until what the kernel injects is there: when that is, is up to the host. */
static void settle(struct vector *v)
{
	unsigned long end = now() + EVENT_MS;
	char line[256];
	bool coming;
	FILE *f;

	do {
		usleep(2000);
		coming = false;
		f = fopen(path("/sys/kernel/debug/irq/irqs/%d",
			       uio_msix_irq(&dev, v - vec)), "re");
		while (f && fgets(line, sizeof(line), f))
			coming |= !!strstr(line, "IRQS_REPLAY");
		if (f)
			fclose(f);
	} while (coming && now() < end);
}

/* What was pending goes to the eventfd now. */
static void deliver(struct vector *v)
{
	if (v->pending == 2 || (v->efd == CLOSED && v->pending))
		settle(v);
	if (v->efd >= 0 && v->pending)
		collect(v->efd, v->pending == 1, 1);
	v->pending = 0;
}

/* Whether it can be fired, with what follows known. */
static bool can_fire(struct vector *v)
{
	return !dead && v->efd != CLOSED && (dev.kind || v->efd != NONE);
}

static void fire(struct vector *v)
{
	int ret = uio_msix_fire(&dev, v - vec);

	if (ret)
		fail("not fired: %s", strerror(-ret));
	v->pending = 1;
	if (v->efd != NONE && !v->masked)
		deliver(v);
	else if (!dev.kind)
		/* Detached before a CPU took it, it could not be fired again. */
		settle(v);
}

/* Is it as the model says? Without changing it. */
static void verify(struct vector *v)
{
	if (can_fire(v) && v->efd != NONE)
		fire(v);
	if (!dead && v->efd == NONE)
		check(set_mask(&dev, v - vec, 0) == -EINVAL,
		      "no eventfd, but can be masked");
	all_quiet();
}

static void op_fire(void)
{
	struct vector *v = &vec[one_in(2) ? rnd(dev.num_vectors) :
				rnd(dev.num_vectors < 4 ? 1 : 4)];

	/* By the kernel it takes long. */
	if (!can_fire(v) || (!dev.kind && !one_in(16)))
		return;
	NOTE(v - vec, v->efd, v->masked);
	fire(v);
	expect(OK, 0);
}

static void op_eventfd(void)
{
	int e = rnd(NUM_EFDS);
	uint32_t v;

	for (v = 0; v < dev.num_vectors; v++)
		if (vec[v].efd == e && vec[v].pending)
			return;
	CALL(OK, efd[e]);
	new_efd(e);
	for (v = 0; v < dev.num_vectors; v++)
		if (vec[v].efd == e)
			vec[v].efd = CLOSED;
}

/* Pointers: how many bytes at it can be read and written. */

static char *pointer(size_t *readable, size_t *writable)
{
	size_t len = rnd(64);
	const char * const bad[] = {
		NULL, (char *)8, PLAY + page + rnd(page), PLAY + 3 * page + len,
		(char *)(1ul << 47) - len - 1, (char *)(1ul << 63) + len,
		(char *)0xffff888000000000 + len, (char *)-1ul - len,
		(char *)0x8000000000ul,
	};

	*readable = page;
	*writable = page;
	switch (rnd(16)) {
	case 0:
	case 1:
		*readable = 0;
		*writable = 0;
		return (char *)PICK(bad);
	case 2:
		*writable = 0;
		return PLAY + 2 * page + len * 8;
	case 3:
		*readable = len;
		*writable = len;
		return PLAY + page - len;
	default:
		return PLAY + len * 8;
	}
}

/* Ioctls */

static uint32_t odd_u32(void)
{
	static const uint32_t odd[] = {
		1, 2, 0x80, 0x100, 0xffff, 0x10000, 1u << 31, ~0u, ~0u - 1,
	};

	return one_in(4) ? rnd64() : PICK(odd);
}

static uint32_t index_of_vector(void)
{
	uint32_t n = dev.num_vectors;

	switch (rnd(16)) {
	case 0:
		return n - 1 + rnd(3);
	case 1:
		return odd_u32();
	case 2 ... 5:
		return rnd(n);
	default:
		return rnd(n < 4 ? n : 4);
	}
}

static uint32_t mostly_0(void)
{
	return one_in(20) ? odd_u32() : 0;
}

/* What SET_EVENTFD must return; @e: the eventfd if it is one. */
static __uint128_t check_eventfd(const struct uio_msix_eventfd *arg, int *e)
{
	__uint128_t set = 0;
	size_t i;

	if (arg->vector >= dev.num_vectors || arg->fd < -1 || arg->flags ||
	    arg->reserved)
		set |= INVAL;
	*e = NONE;
	for (i = 0; i < NUM_EFDS; i++)
		if (arg->fd == efd[i])
			*e = i;
	if (arg->fd < 0 || *e != NONE)
		return set ?: OK;
	for (i = 0; i < ARRAY_SIZE(bad_fds); i++)
		if (arg->fd == bad_fds[i].fd)
			return set | E(bad_fds[i].error);
	for (i = 0; i < ARRAY_SIZE(ufd); i++)
		if (arg->fd == ufd[i])
			return set | INVAL;
	return set | (fcntl(arg->fd, F_GETFD) < 0 ? E(EBADF) : INVAL);
}

static int fd_for_vector(void)
{
	static const int none[] = { -2, -3, -100, -4096, 1 << 31, 1000, 1 << 20,
				    0x7fffffff };

	switch (rnd(8)) {
	case 0:
		return PICK(none);
	case 1:
		return PICK(bad_fds).fd;
	case 2:
		return -1;
	case 3:
		return one_in(8) ? (int)odd_u32() : ufd[0];
	default:
		return PICK(efd);
	}
}

/* A register that may be written, in a page of the arena that is mapped. */
static char *pointer_to_bar(void)
{
	uint32_t harmless = dev.kind ? guest_regs(&dev)->scratch ?: 0x10 : 0;
	int i;

	for (i = rnd(PAGES); harmless && i < PAGES; i++)
		if (arena[i].map == 0 && arena[i].index == harmless / page &&
		    (arena[i].prot & (PROT_READ | PROT_WRITE)) == 3)
			return ARENA + i * page + harmless % page;
	return NULL;
}

static void ioctl_on_bar(unsigned int cmd, char *p)
{
	/* Not for what is there to change anything, whatever it is. */
	if (dead || (cmd == UIO_MSIX_SET_MASK && vec[0].masked))
		return;
	CALL(cmd == UIO_MSIX_GET_INFO ? OK : cmd == UIO_MSIX_SET_MASK ?
	     OK | INVAL : INVAL | E(EBADF), ufd[0], cmd, (long)p);
}

static void ioctl_known(unsigned int cmd, uint32_t word[4], uint32_t index)
{
	struct uio_msix_eventfd *eventfd = (void *)word;
	struct uio_msix_mask *mask = (void *)word;
	size_t readable, writable;
	char before[16], *p;
	struct vector *v;
	__uint128_t set;
	int e = NONE;
	long ret;

	p = one_in(64) ? pointer_to_bar() : NULL;
	if (p) {
		ioctl_on_bar(cmd, p);
		return;
	}
	p = pointer(&readable, &writable);
	if (writable >= 16)
		memcpy(p, word, 16);
	else if (readable >= 16)
		memcpy(word, p, 16);
	memcpy(before, word, 16);
	index = word[0];
	v = index < dev.num_vectors ? &vec[index] : NULL;

	set = OK;
	if (cmd == UIO_MSIX_SET_EVENTFD)
		set = check_eventfd(eventfd, &e);
	else if (cmd == UIO_MSIX_SET_MASK &&
		 (!v || mask->masked > 1 || mask->flags || mask->reserved ||
		  v->efd == NONE))
		set = INVAL;
	if (cmd == UIO_MSIX_GET_INFO ? writable < 16 : readable < 16)
		set = E(EFAULT);
	/* A bad pointer is noticed before the driver is asked. */
	if (gone || (dead && (set != E(EFAULT) || cmd == UIO_MSIX_GET_INFO)))
		set = E(ENODEV);
	ret = CALL(set, PICK(ufd), cmd, (long)p, word[0] | (long)word[1] << 32,
		   word[2] | (long)word[3] << 32);

	if (ret && v && one_in(16))
		verify(v);
	if (!ret && cmd == UIO_MSIX_GET_INFO) {
		memset(before, 0, 16);
		memcpy(before, &dev.num_vectors, 4);
	}
	if (writable >= 16)
		check(!memcmp(p, before, 16), "wrong argument afterwards");
	if (ret || cmd == UIO_MSIX_GET_INFO)
		return;

	if (cmd == UIO_MSIX_SET_MASK) {
		v->masked = mask->masked;
		if (!v->masked)
			deliver(v);
	} else if (e == NONE) {
		/* What was held back stays pending in a device. */
		if (v->efd != NONE && v->pending && !dev.kind)
			v->pending = 2;
		v->efd = NONE;
		v->masked = false;
	} else {
		v->efd = e;
		if (!v->masked)
			deliver(v);
	}
}

static void op_get_info(void)
{
	uint32_t word[4] = { odd_u32(), odd_u32(), odd_u32(), odd_u32() };

	ioctl_known(UIO_MSIX_GET_INFO, word, ~0);
}

static void op_set_eventfd(void)
{
	uint32_t word[4] = { index_of_vector(), fd_for_vector(), mostly_0(),
			     mostly_0() };

	ioctl_known(UIO_MSIX_SET_EVENTFD, word, word[0]);
}

static void op_set_mask(void)
{
	uint32_t word[4] = { index_of_vector(), one_in(16) ? odd_u32() : rnd(2),
			     mostly_0(), mostly_0() };

	ioctl_known(UIO_MSIX_SET_MASK, word, word[0]);
}

static void op_ioctl(void)
{
	static const unsigned int sizes[] = { 0, 1, 4, 8, 12, 15, 16, 17, 20,
					      24, 32, 127, 128, 129, 136, 4096,
					      16383 };
	unsigned int size = one_in(4) ? rnd(16384) : PICK(sizes);
	unsigned int cmd = _IOC(rnd(4), one_in(8) ? 0xb0 + rnd(0x30) : 'u',
				one_in(2) ? 0x50 + rnd(16) : rnd(256), size);
	__uint128_t set = E(ENOTTY);
	size_t readable, writable;
	char *p = pointer(&readable, &writable);

	if (cmd == UIO_MSIX_GET_INFO || cmd == UIO_MSIX_SET_EVENTFD ||
	    cmd == UIO_MSIX_SET_MASK)
		cmd ^= 0x80;
	if ((_IOC_DIR(cmd) & _IOC_WRITE) && readable < size)
		set |= E(EFAULT);
	if (gone)
		set = E(ENODEV);
	else if (dead && size <= 128)
		set = E(ENODEV) | (set & E(EFAULT));
	CALL(set, PICK(ufd), cmd, (long)p);
}

/* Mappings */

static size_t map_pages(int map)
{
	return map < dev.num_maps ? (dev.maps[map].size + page - 1) / page : 0;
}

static void set_pages(int first, int n, const struct page *what)
{
	static unsigned int vma;
	int i;

	vma++;
	for (i = 0; i < n && first + i < PAGES; i++) {
		arena[first + i] = *what;
		arena[first + i].index += i;
		arena[first + i].vma = vma;
	}
}

static const struct page hole = { .map = NONE };

static int holes(int first, int n)
{
	int i;

	for (i = 0; i < n; i++)
		if (first + i >= PAGES || arena[first + i].map == NONE)
			return i + 1;
	return 0;
}

static sigjmp_buf jmp;

static void on_fault(int sig)
{
	siglongjmp(jmp, sig);
}

/* Some register that does nothing when read, on any page: 0 or the signal. */
static int peek(char *p, uint32_t *value)
{
	int sig = sigsetjmp(jmp, 1);

	if (!sig)
		*value = reg_read((uint32_t *)p, 8);
	return sig;
}

static void touch(char *p, const struct page *expected)
{
	uint32_t value = 0, reference = 0;
	int sig = peek(p, &value);

	if (expected->map == NONE || !expected->prot) {
		check(sig == SIGSEGV, "can be read, but must not");
	} else if (expected->prot == PROT_EXEC) {
		check(dead || sig != SIGBUS, "SIGBUS");
	} else if (dead) {
		check(sig == SIGBUS, "no SIGBUS, but the file is dead");
	} else {
		check(!sig, "cannot be read");
		peek(REFS + ((long)expected->map << 32) +
		     expected->index * page, &reference);
		check(value == reference, "the wrong page");
	}
}

static void op_touch(void)
{
	int i = rnd(PAGES);

	NOTE((long)ARENA + i * page, arena[i].map, arena[i].index,
	     arena[i].prot);
	touch(ARENA + i * page, &arena[i]);
	expect(OK, 0);
}

static void op_mmap(void)
{
	static const int extra[] = {
		MAP_POPULATE, MAP_NORESERVE, MAP_LOCKED, MAP_HUGETLB,
		MAP_GROWSDOWN, MAP_NONBLOCK, MAP_STACK, MAP_SYNC, MAP_32BIT,
		MAP_FIXED_NOREPLACE, MAP_DENYWRITE, MAP_POPULATE | MAP_LOCKED,
	};
	static const int types[] = { MAP_PRIVATE, MAP_SHARED_VALIDATE, 0, 4 };
	const unsigned long huge[] = { PAGES * page, 1ul << 31, 1ul << 36,
				       1ul << 40, HUGE_LEN, 1ul << 57,
				       1ul << 63, -page, -1ul };
	int map = one_in(8) || !dev.num_maps ? rnd(12) : rnd(dev.num_maps);
	int type = one_in(5) ? PICK(types) : MAP_SHARED, flags = type;
	unsigned long offset = map * page, len, n = map_pages(map);
	struct page what = { .map = map, .prot = rnd(8) };
	int first = rnd(PAGES - 40);
	char *p = ARENA + first * page;
	__uint128_t set = 0;
	long ret;

	if (one_in(4))
		what.prot = 3;
	if (type == MAP_PRIVATE)
		flags |= MAP_NORESERVE;
	if (!one_in(5))
		flags |= MAP_FIXED;
	while (one_in(3))
		flags |= PICK(extra);
	len = n && n <= 40 && !one_in(6) ? (1 + rnd(n)) * page : n * page;
	switch (rnd(20)) {
	case 0:
		len = PICK(huge);
		break;
	case 1:
		len += one_in(2) ? 1 : page;
		break;
	case 2:
		len = one_in(2) ? 0 : len - rnd(page);
		break;
	case 3:
		offset = one_in(3) ? offset + 1 + rnd(page - 1) : one_in(2) ?
			 -page : rnd64() & -page;
		break;
	case 4:
		p += one_in(3);
	}

	n = len / page + !!(len % page);
	if (offset != map * page)
		set |= INVAL | (offset % page ? 0 : E(EOVERFLOW));
	if (!len || n > map_pages(map) || gone || type == MAP_PRIVATE ||
	    !type || type == 4 || (flags & (MAP_HUGETLB | MAP_GROWSDOWN)))
		set |= INVAL;
	if (dead && !gone)
		set |= E(ENODEV);
	if (len >= 1ul << 31)
		set |= INVAL | E(ENOMEM) | E(EOVERFLOW);
	if (type == MAP_SHARED_VALIDATE &&
	    (flags & (MAP_SYNC | MAP_FIXED_NOREPLACE)))
		set |= E(EOPNOTSUPP);
	if (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) {
		if ((long)p % page)
			set |= INVAL;
		if (flags & MAP_FIXED_NOREPLACE &&
		    (holes(first, 1) != 1 || len > page))
			set |= E(EEXIST) | (set ? 0 : OK);
	} else if (flags & MAP_32BIT) {
		set |= len > 1ul << 30 ? E(ENOMEM) : 0;
	}
	ret = CALL(set ?: OK, (long)p, len, what.prot, flags, PICK(ufd),
		   offset);

	if (ret >= 0 && ret != (long)p) {
		touch((char *)ret, &what);
		munmap((void *)ret, len);
	} else if (ret >= 0) {
		check(!(flags & MAP_FIXED_NOREPLACE) || holes(first, 1) == 1,
		      "replaced");
		set_pages(first, n, &what);
	} else if ((flags & MAP_FIXED) && !((long)p % page) && len) {
		/* An error may leave a hole. */
		n = n < PAGES ? n : PAGES;
		munmap(p, n * page);
		set_pages(first, n, &hole);
	}
}

/* A range for the calls below. */
static struct range {
	unsigned long addr, len;
	int first, n;
} r;

/* What it must fail with and change nothing, or an empty set. */
static __uint128_t range(void)
{
	__uint128_t bad = 0;
	static const unsigned long huge[] = { -1ul, -4096ul };

	r.first = rnd(PAGES);
	while (!one_in(8) && arena[r.first].map == NONE && r.first + 1 < PAGES)
		r.first++;
	r.n = 1 + rnd(one_in(8) ? PAGES : 6);
	if (!one_in(4) && holes(r.first, r.n) > 1)
		r.n = holes(r.first, r.n) - 1;
	r.addr = (long)ARENA + r.first * page;
	r.len = r.n * page - (one_in(8) ? rnd(page) : 0);
	switch (rnd(24)) {
	case 0:
		r.addr += 1 + rnd(page - 1);
		bad = INVAL;
		break;
	case 1:
		r.len = PICK(huge);
		bad = INVAL | E(ENOMEM);
		break;
	case 2:
		r.len = HUGE_LEN;
		r.n = PAGES + 1;
		break;
	}
	return bad;
}

static void op_munmap(void)
{
	__uint128_t bad = range();

	CALL(bad ?: OK, r.addr, r.len);
	if (!bad)
		set_pages(r.first, r.n, &hole);
}

static void op_mprotect(void)
{
	static const int odd[] = { PROT_GROWSDOWN, PROT_GROWSUP, 0x100, -1 };
	int prot = one_in(16) ? PICK(odd) : one_in(2) ? 3 : (int)rnd(8), i, n;
	__uint128_t set = range();

	if (prot & ~7)
		set |= INVAL | E(ENOMEM);
	n = holes(r.first, r.n);
	CALL(set ?: n ? E(ENOMEM) : OK, r.addr, r.len, prot);
	if (set)
		return;
	/* It goes as far as it can. */
	for (i = 0; i < (n ? n - 1 : r.n); i++) {
		struct page what = arena[r.first + i];

		what.prot = prot;
		set_pages(r.first + i, 1, &what);
	}
}

/* Each of these VMAs may be split now. */
static void split(void)
{
	int i;

	for (i = r.first; i < r.first + r.n && i < PAGES; i++) {
		struct page what = arena[i];

		set_pages(i, 1, &what);
	}
}

/* Nothing may take a page of the BAR away, or have the kernel use it. */
static void op_madvise(void)
{
	static const int never[] = { MADV_DONTNEED, MADV_FREE, MADV_REMOVE,
		MADV_DOFORK, MADV_DODUMP, MADV_WIPEONFORK, MADV_COLD,
		MADV_PAGEOUT, 22 /* POPULATE_READ */, 23 /* POPULATE_WRITE */,
		24 /* DONTNEED_LOCKED */, 25 /* COLLAPSE */,
		102 /* GUARD_INSTALL */ };
	static const int others[] = { MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL,
		MADV_WILLNEED, MADV_DONTFORK, MADV_MERGEABLE, MADV_UNMERGEABLE,
		MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_DONTDUMP, MADV_KEEPONFORK,
		103 /* GUARD_REMOVE */, 5, 6, 7, 26, 99, 104, -1 };
	int advice = one_in(2) ? PICK(never) : PICK(others);
	bool mapped = !range() && holes(r.first, 1) != 1;
	size_t i;

	for (i = 0; mapped && i < ARRAY_SIZE(never); i++)
		if (never[i] == advice)
			mapped = false;
	CALL(mapped ? ANY : ANY & ~(holes(r.first, 1) == 1 ? 0 : OK), r.addr,
	     r.len, advice);
	split();
}

static void op_mincore(void)
{
	static char out[PAGES + 2];
	__uint128_t set = range();

	if (r.len == HUGE_LEN)
		r.len = (PAGES + 1) * page;
	CALL(set ?: holes(r.first, r.n) ? E(ENOMEM) : OK, r.addr, r.len,
	     (long)out);
}

static void op_msync(void)
{
	__uint128_t set = range() | INVAL | E(ENOMEM) | OK;

	CALL(set, r.addr, r.len, rnd(9));
}

static void op_mlock(void)
{
	__uint128_t set = range() ? INVAL | E(ENOMEM) | OK : 0;
	int flags = rnd(3);

	if (flags > 1)
		set = INVAL;
	CALL(set ?: holes(r.first, r.n) ? E(ENOMEM) : OK, r.addr, r.len, flags);
	syscall(SYS_munlock, r.addr & -page, r.n * page);
	split();
}

static void op_mremap(void)
{
	const int move = MREMAP_MAYMOVE | MREMAP_FIXED;
	int first = rnd(PAGES), n = 1, to;
	struct page what;
	char *old, *new;

	while (arena[first].map == NONE)
		if (++first == PAGES)
			return;
	while (first + n < PAGES && arena[first + n].vma == arena[first].vma &&
	       arena[first + n].map != NONE && !one_in(8))
		n++;
	to = rnd(PAGES - n + 1);
	old = ARENA + first * page;
	new = ARENA + to * page;
	what = arena[first];
	switch (rnd(8)) {
	case 0:
		CALL(OK, (long)old, n * page, page, one_in(2));
		set_pages(first + 1, n - 1, &hole);
		return;
	case 1:
		CALL(E(EFAULT), (long)old, n * page, (n + 1 + rnd(n)) * page,
		     one_in(2));
		return;
	case 2:
		CALL(INVAL | E(EFAULT), (long)old, 0, page, MREMAP_MAYMOVE);
		return;
	case 3:
		CALL(INVAL, (long)old, n * page, n * page,
		     MREMAP_MAYMOVE | 4 /* DONTUNMAP */);
		return;
	case 4:
		CALL(INVAL, (long)old + one_in(2), n * page, n * page,
		     8 << rnd(8), (long)new);
		return;
	}
	if (to < first + n && first < to + n) {
		CALL(INVAL, (long)old, n * page, n * page, move, (long)new);
		return;
	}
	CALL(OK, (long)old, n * page, n * page, move, (long)new);
	set_pages(first, n, &hole);
	set_pages(to, n, &what);
}

/* No access but by load and store. */
static void op_gup(void)
{
	static int mem, pipes[2];
	int i = rnd(PAGES);
	char *p = ARENA + i * page;
	char buf[8];
	struct iovec to = { buf, 8 }, from = { p, 8 };

	if (!mem) {
		mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
		check(mem > 0 && !pipe2(pipes, O_NONBLOCK | O_CLOEXEC), "pipe");
	}
	switch (rnd(4)) {
	case 0:
		CALL_NR(SYS_process_vm_readv, E(EFAULT), getpid(), (long)&to, 1,
			(long)&from, 1);
		break;
	case 1:
		CALL_NR(SYS_pread64, E(EIO), mem, (long)buf, 8, (long)p);
		break;
	case 2:
		CALL_NR(SYS_vmsplice, E(EFAULT), pipes[1], (long)&from, 1);
		break;
	case 3:
		CALL_NR(SYS_futex, E(EFAULT), (long)p, FUTEX_WAKE, 1);
	}
}

/* The uio file */

static void op_read(void)
{
	static const int sizes[] = { 0, 1, 3, 5, 8, 4096 };
	size_t size = one_in(2) ? 4 : PICK(sizes), readable, writable;
	char *p = pointer(&readable, &writable);

	CALL((size != 4 ? INVAL : dead ? E(EIO) : E(EAGAIN)) |
	     (writable ? 0 : E(EFAULT)), PICK(ufd), (long)p, size);
}

static void op_write(void)
{
	static const int sizes[] = { 0, 1, 3, 5, 8, 4096 };
	size_t size = one_in(2) ? 4 : PICK(sizes), readable, writable;
	char *p = pointer(&readable, &writable);

	CALL((size != 4 ? INVAL | (readable ? 0 : E(EFAULT)) : readable < 4 ?
	      E(EFAULT) : gone ? INVAL : dead ? E(EIO) : E(ENOSYS)),
	     PICK(ufd), (long)p, size);
}

static void op_poll(void)
{
	struct pollfd pfd = { .fd = PICK(ufd), .events = rnd(0x400) };
	struct timespec now = { 0 };

	CALL(OK, (long)&pfd, 1, (long)&now);
	check(pfd.revents == (dead ? POLLERR : 0), "wrong revents");
}

static void op_epoll(void)
{
	struct epoll_event event = { .events = rnd64() & ~EPOLLEXCLUSIVE };
	int epfd = bad_fds[0].fd, n;

	CALL(OK | E(EEXIST) | E(ENOENT), epfd, 1 + rnd(3), PICK(ufd),
	     (long)&event);
	n = epoll_wait(epfd, &event, 1, 0);
	check(dead || n == 0, "epoll reports something");
}

static void op_fcntl(void)
{
	static const struct {
		int cmd;
		long arg;
		__uint128_t set;
	} calls[] = {
		{ F_SETFL, O_NONBLOCK, OK },
		{ F_SETFL, O_NONBLOCK | O_ASYNC, OK },
		{ F_SETFL, O_NONBLOCK | O_APPEND | O_NOATIME, OK },
		{ F_SETFL, O_NONBLOCK | O_DIRECT, INVAL },
		{ F_SETSIG, 65, INVAL },
		{ F_SETSIG, 0, OK },
		{ F_GETLK, 8, E(EFAULT) },
		{ F_SETPIPE_SZ, 4096, E(EBADF) },
		{ F_ADD_SEALS, 1, INVAL },
		{ 999, 0, INVAL },
	};
	size_t i = rnd(ARRAY_SIZE(calls));

	fcntl(ufd[0], F_SETOWN, getpid());
	CALL(calls[i].set, PICK(ufd), calls[i].cmd, calls[i].arg);
}

/* What a character device does not do. */
static void op_misc(void)
{
	static const struct {
		long nr;
		long arg[3];
		__uint128_t set;
	} calls[] = {
		{ SYS_lseek, { 4096, 0 }, OK },
		{ SYS_fsync, { }, INVAL },
		{ SYS_ftruncate, { 4096 }, INVAL },
		{ SYS_fallocate, { 0, 0, 4096 }, E(ENODEV) },
		{ SYS_getdents64, { 0, 64 }, E(ENOTDIR) },
		{ SYS_readahead, { 0, 4096 }, INVAL },
		{ SYS_finit_module, { (long)"", 0 }, ANY & ~OK },
		{ SYS_flock, { 2 | 4 }, OK },
		{ SYS_fchdir, { }, E(ENOTDIR) },
	};
	size_t i = rnd(ARRAY_SIZE(calls));

	CALL_NR(calls[i].nr, calls[i].set, ufd[0], calls[i].arg[0],
		calls[i].arg[1], calls[i].arg[2]);
}

static void op_dup(void)
{
	int i = 1 + rnd(ARRAY_SIZE(ufd) - 1);

	if (ufd[i] != ufd[0])
		close(ufd[i]);
	ufd[i] = ufd[0];
	if (one_in(2))
		ufd[i] = CALL(OK, ufd[0]);
}

static void op_open(void)
{
	struct __user_cap_header_struct hdr = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct cap[2];
	static const int flags[] = { O_RDONLY, O_WRONLY, O_RDWR, O_NONBLOCK,
				     O_RDWR | O_TRUNC | O_APPEND,
				     O_RDWR | O_SYNC | O_ASYNC };
	const char *file = one_in(2) ? dev.path :
			   path("/proc/self/fd/%d", ufd[0]);
	bool dropped = one_in(4);
	__uint128_t set = E(EBUSY);
	long fd;

	if (gone)
		set = E(ENOENT) | E(ENXIO) | E(ENODEV) | (rebound ? OK : 0);
	if (dropped) {
		syscall(SYS_capget, &hdr, cap);
		cap[0].effective &= ~(1 << CAP_SYS_RAWIO);
		syscall(SYS_capset, &hdr, cap);
		set = E(EPERM) | (gone ? set & ~OK : 0);
	}
	fd = CALL(set, AT_FDCWD, (long)file, PICK(flags) | O_CLOEXEC);
	if (fd >= 0)
		close(fd);
	if (dropped) {
		cap[0].effective |= 1 << CAP_SYS_RAWIO;
		syscall(SYS_capset, &hdr, cap);
	}
}

static void op_fork(void)
{
	struct uio_msix_info info;
	int status = -1;
	pid_t pid = fork();

	if (!pid)
		_exit(ioctl(ufd[0], UIO_MSIX_GET_INFO, &info) ? errno : 0);
	waitpid(pid, &status, 0);
	expect(dead ? E(ENODEV) : OK, -WEXITSTATUS(status));
}

static void begin(void);
static void end(void);

/* A mapping holds it as long as there is one, dead or not. */
static void op_reopen(void)
{
	size_t i;

	if (gone)
		return;
	NOTE(0);
	if (dev.num_maps) {
		for (i = 1; i < ARRAY_SIZE(ufd); i++)
			if (ufd[i] != ufd[0])
				close(ufd[i]);
		close(dev.fd);
		dev.fd = -1;
		check(open(dev.path, O_RDWR) < 0 && errno == EBUSY,
		      "opened twice");
	}
	end();
	begin();
	expect(OK, 0);
}

/* Once its session has ended. */
static void op_revive(void)
{
	if (dead)
		op_reopen();
}

static void op_reset(void)
{
	int ret;

	if (gone || !pci_has(bdf, "reset_method"))
		return;
	NOTE(0);
	put(pci(bdf, "reset_method"), "default");
	ret = put(pci(bdf, "reset"), "1");
	put(pci(bdf, "reset_method"), "\n");
	expect(OK, ret);
	dead = true;
}

static void op_unbind(void)
{
	if (gone)
		return;
	NOTE(0);
	expect(OK, pci_bind(bdf, ""));
	gone = true;
	dead = true;
}

static void op_bind(void)
{
	if (!gone || rebound)
		return;
	NOTE(0);
	expect(OK, pci_bind(bdf, "uio_msix"));
	rebound = true;
}

static const struct op ops[] = {
	{ "GET_INFO", 3000, SYS_ioctl, op_get_info },
	{ "SET_EVENTFD", 7000, SYS_ioctl, op_set_eventfd },
	{ "SET_MASK", 5000, SYS_ioctl, op_set_mask },
	{ "other ioctl", 5000, SYS_ioctl, op_ioctl },
	{ "interrupt", 1500, 0, op_fire },
	{ "close, eventfd", 300, SYS_close, op_eventfd },
	{ "mmap", 1500, SYS_mmap, op_mmap },
	{ "munmap", 700, SYS_munmap, op_munmap },
	{ "mprotect", 700, SYS_mprotect, op_mprotect },
	{ "mremap", 700, SYS_mremap, op_mremap },
	{ "madvise", 1000, SYS_madvise, op_madvise },
	{ "mincore", 300, SYS_mincore, op_mincore },
	{ "msync", 300, SYS_msync, op_msync },
	{ "mlock2", 300, SYS_mlock2, op_mlock },
	{ "load", 1000, 0, op_touch },
	{ "readv, futex...", 500, 0, op_gup },
	{ "read", 500, SYS_read, op_read },
	{ "write", 500, SYS_write, op_write },
	{ "poll", 500, SYS_ppoll, op_poll },
	{ "epoll_ctl", 500, SYS_epoll_ctl, op_epoll },
	{ "fcntl", 500, SYS_fcntl, op_fcntl },
	{ "fsync, lseek...", 300, 0, op_misc },
	{ "dup", 200, SYS_dup, op_dup },
	{ "open", 100, SYS_openat, op_open },
	{ "fork", 10, 0, op_fork },
	{ "close, open", 3, 0, op_reopen },
	{ "close, open anew", 100, 0, op_revive },
	{ "reset", 3, 0, op_reset },
	{ "unbind", 1, 0, op_unbind },
	{ "bind", 200, 0, op_bind },
};

static void begin(void)
{
	uint32_t v, value = 0, first = 0;
	int i, ret;

	if (!rebound && gone)
		pci_bind(bdf, "uio_msix");
	dead = false;
	gone = false;
	rebound = false;
	if (uio_msix_find(&dev, bdf))
		fail("not bound");
	ret = uio_msix_open(&dev);
	if (ret)
		fail("open: %s", strerror(-ret));
	fcntl(dev.fd, F_SETFL, O_NONBLOCK);
	for (i = 0; i < (int)ARRAY_SIZE(ufd); i++)
		ufd[i] = dev.fd;
	for (i = 0; i < dev.num_maps; i++) {
		check(mmap(REFS + ((long)i << 32), dev.maps[i].size, PROT_READ,
			   MAP_SHARED | MAP_FIXED, dev.fd, i * page) !=
		      MAP_FAILED, "mmap");
		peek(REFS + ((long)i << 32), i ? &value : &first);
		check(!i || !first || value != first, "two maps of one BAR");
	}
	set_pages(0, PAGES, &hole);

	/* Nothing may be pending that the model does not know of. */
	vec = realloc(vec, dev.num_vectors * sizeof(*vec));
	for (v = 0; v < dev.num_vectors; v++) {
		vec[v] = (struct vector){ .efd = NONE };
		check(!set_eventfd(&dev, v, efd[0]), "attach");
	}
	usleep(2000);
	for (v = 0; v < dev.num_vectors; v++)
		check(!set_eventfd(&dev, v, -1), "detach");
	collect(0, 0, dev.num_vectors);
}

/* Close, so that nobody else has it. */
static void end(void)
{
	size_t i;

	munmap(ARENA, PAGES * page);
	for (i = 0; (int)i < dev.num_maps; i++)
		munmap(REFS + (i << 32), dev.maps[i].size);
	for (i = 1; i < ARRAY_SIZE(ufd) && dev.fd >= 0; i++)
		if (ufd[i] != ufd[0])
			close(ufd[i]);
	uio_msix_close(&dev);
	all_quiet();
}

/* Each vector is as the model says: one event for each, on its eventfd. */
static void verify_all(void)
{
	uint32_t v;
	int i;

	sh->name = "the end";
	for (i = 0; i < PAGES; i++)
		if (arena[i].map != NONE || i % 16 == 0)
			touch(ARENA + i * page, &arena[i]);
	for (v = 0; v < dev.num_vectors && !dead; v++) {
		NOTE(v, vec[v].efd, vec[v].masked, vec[v].pending);
		if (vec[v].efd == NONE && (!dev.kind || (v > 9 && !vec[v].pending)))
			continue;
		if (vec[v].efd == CLOSED) {
			check(!set_eventfd(&dev, v, efd[0]), "replace");
			vec[v].efd = 0;
		}
		fire(&vec[v]);
		all_quiet();
		if (vec[v].efd == NONE) {
			check(!set_eventfd(&dev, v, efd[0]), "attach");
			vec[v].efd = 0;
			deliver(&vec[v]);
		}
		if (vec[v].masked) {
			usleep(500);
			all_quiet();
			check(!set_mask(&dev, v, 0), "unmask");
			deliver(&vec[v]);
		}
	}
	usleep(1000);
	all_quiet();
}

static void program(int number)
{
	unsigned long last = sh->calls + PROGRAM;
	int total = 0, w;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(ops); i++)
		total += ops[i].weight;
	sh->program = number;
	sh->name = "begin";
	state = seed * 0x100000001b3 + number;
	begin();
	while (sh->calls < last) {
		w = rnd(total);
		for (op = ops; w >= op->weight; op++)
			w -= op->weight;
		sh->name = op->name;
		op->run();
	}
	verify_all();
	end();
}

static int worker(int first)
{
	unsigned long start = now();
	int s[2], p[2], i, k, kinds = 0, n = first;
	sigset_t set;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGSEGV, on_fault);
	signal(SIGBUS, on_fault);
	signal(SIGIO, SIG_IGN);
	sigemptyset(&set);
	mmap(PLAY, page, 3, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	mmap(PLAY + 2 * page, page, PROT_READ,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	mmap(PLAY + 3 * page, page, PROT_NONE,
	     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	check(!pipe(p) && !socketpair(AF_UNIX, SOCK_STREAM, 0, s), "pipe");
	i = 0;
	bad_fds[i++].fd = epoll_create1(0);
	bad_fds[i++].fd = p[0];
	bad_fds[i++].fd = p[1];
	bad_fds[i++].fd = s[0];
	bad_fds[i++].fd = open("/dev/null", O_RDWR);
	bad_fds[i++].fd = open("/proc/self/mem", O_RDWR);
	bad_fds[i++].fd = open("/", O_RDONLY | O_DIRECTORY);
	bad_fds[i++].fd = syscall(SYS_signalfd4, -1, &set, 8, 0);
	bad_fds[i++].fd = syscall(SYS_timerfd_create, CLOCK_MONOTONIC, 0);
	bad_fds[i++].fd = syscall(SYS_memfd_create, "fuzz", 0);
	for (k = 0; k < i; k++) {
		check(bad_fds[k].fd > 0, "fd");
		bad_fds[k].error = EINVAL;
	}
	bad_fds[i].fd = open("/dev/null", O_PATH);
	bad_fds[i++].error = EBADF;
	bad_fds[i].fd = 500;
	bad_fds[i++].error = EBADF;
	for (i = 0; i < NUM_EFDS; i++)
		new_efd(i);

	while (sh->calls < wanted)
		program(n++);

	for (i = 0; i < (int)ARRAY_SIZE(ops); i++)
		for (k = 0; k < 140; k++)
			kinds += error_kinds[i][k];
	printf("fuzz: seed %lu: %lu calls in %d programs, %lu errors of %d kinds, ",
	       seed, sh->calls, n - first, errors, kinds);
	printf("%lu interrupts, %lu s\n", interrupts, (now() - start) / 1000);
	for (i = 0; i < (int)ARRAY_SIZE(ops); i++)
		printf("#   %-16s %7lu ok %7lu failed\n", ops[i].name,
		       count[i][0], count[i][1]);
	return 0;
}

int main(int argc, char **argv)
{
	unsigned long last = 0, calls, since;
	char driver[64];
	int status, ret;
	pid_t pid;

	if (argc < 4) {
		fprintf(stderr, "usage: %s BDF SEED CALLS [FIRST]\n", argv[0]);
		return 2;
	}
	bdf = argv[1];
	seed = strtoul(argv[2], NULL, 0);
	wanted = strtoul(argv[3], NULL, 0);
	page = getpagesize();
	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE,
		  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	setvbuf(stdout, NULL, _IOLBF, 0);
	pci_driver(bdf, driver);
	ret = pci_bind(bdf, "uio_msix");
	if (ret) {
		printf("fuzz: bind: %s\n", strerror(-ret));
		return 1;
	}
	/* A reset takes 100 ms, at each close. */
	if (pci_has(bdf, "reset_method"))
		put(pci(bdf, "reset_method"), "\n");

	pid = fork();
	if (!pid)
		exit(worker(argc > 4 ? atoi(argv[4]) : 0));
	since = now();
	while (!waitpid(pid, &status, WNOHANG)) {
		usleep(50000);
		calls = sh->calls;
		if (calls != last)
			since = now();
		if (calls / 100000 != last / 100000)
			printf("# %lu calls\n", calls);
		last = calls;
		if (now() > since + HANG_MS) {
			printf("fuzz: hangs in ");
			print_call();
			printf("\n");
			kill(pid, SIGKILL);
			return 1;
		}
	}
	if (WIFSIGNALED(status)) {
		printf("fuzz: killed by signal %d in ", WTERMSIG(status));
		print_call();
		printf("\n");
	}
	if (pci_has(bdf, "reset_method"))
		put(pci(bdf, "reset_method"), "default");
	ret = pci_bind(bdf, driver);
	if (ret)
		printf("fuzz: not given back to '%s': %s\n", driver,
		       strerror(-ret));
	return status || ret;
}
