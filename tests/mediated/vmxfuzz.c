// SPDX-License-Identifier: GPL-2.0-only
/*
 * Random SUBMITs to uio_vmxnet3, as a user who may nothing else, each answer
 * compared with what a model of the contract says:
 *
 *	vmxfuzz BDF [CALLS [SEED]]
 *
 * In every fourth session another thread rewrites the argument meanwhile: then
 * all that is known is how many were accepted, by the answer itself, and that
 * nothing but the memory was touched. That is what the guards around it are for,
 * and an IOMMU, of which no fault may be in the kernel log.
 *
 * Prints the counts; exit code 1 if an answer was wrong or a byte changed.
 */
#include "vmxguest.h"

#define CALLS	5000	/* in a session */
#define SLOTS	4096
#define GUARD	0x5a
#define MEMORY	0x02	/* as an address no broadcast, and nobody's */

/* A session, and what the model knows of it. */
static struct vmx vmx;
static size_t guard;		/* bytes in the file before the memory, and after */
static uint8_t *file;		/* all of it */
static uint32_t pages;
static uint8_t joint[1 << 16];	/* are pages n - 1 and n one piece? */
enum { UNKNOWN, APART, TOGETHER };
static uint32_t accepted[2];
static uint32_t posted[2][SLOTS];	/* where */

static unsigned long calls, wrong, sent, received, cut, rewritten;
static bool racing, over;

static void complain(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (wrong++ < 10) {
		printf("# wrong: ");
		vprintf(fmt, ap);
		printf("\n");
	}
	va_end(ap);
}

static uint32_t some_len(int queue)
{
	const uint32_t min = vmx.info.min_len[queue], max = vmx.info.max_len[queue];
	const uint32_t edges[] = {
		min - 1, min, min + 1, max - 1, max, max + 1, 0, 1, 60, 16383, 16384,
		16385, 16384 + 60, 32768, 65536, 1u << 31, -1, -60, vmx.len, vmx.len + 1,
	};

	switch (rnd(16)) {
	case 0:
		return edges[rnd(ARRAY_SIZE(edges))];
	case 1:
		return rnd(~0u);
	case 2:
		return min + rnd(max - min + 1);
	default:
		return min + rnd(64);
	}
}

static uint32_t some_offset(uint32_t len)
{
	const uint32_t end = vmx.len, page = getpagesize();
	const uint32_t edges[] = {
		0, 1, end, end - 1, end + 1, end - len, end - len - 1, end - len + 1,
		-len, -len + 1, -len - 1, -1, 1u << 31, (1u << 31) - len, end + page,
	};

	switch (rnd(8)) {
	case 0:
		return edges[rnd(ARRAY_SIZE(edges))];
	case 1:
		return rnd(end / page + 2) * page - len + rnd(3) - 1;
	case 2:
		return rnd(16) ? rnd(end) : rnd(~0u);
	default:
		/* Inside a page, where that is possible. */
		return rnd(end / page) * page + (len < page ? rnd(page - len + 1) : 0);
	}
}

/* Of a request inside the memory: how its pages hang together. */
static int pieces(uint32_t offset, uint32_t len)
{
	uint32_t page = getpagesize(), n;
	int ret = TOGETHER;

	for (n = offset / page + 1; n <= (offset + len - 1) / page; n++) {
		if (joint[n] == APART)
			return APART;
		if (joint[n] == UNKNOWN)
			ret = UNKNOWN;
	}
	return ret;
}

/* It is one piece, or is not: then only if one joint alone can be the reason. */
static void learn(uint32_t offset, uint32_t len, int what)
{
	uint32_t page = getpagesize(), n, unknown = 0, which = 0;

	for (n = offset / page + 1; n <= (offset + len - 1) / page; n++) {
		if (joint[n] != UNKNOWN)
			continue;
		unknown++;
		which = n;
		if (what == TOGETHER)
			joint[n] = TOGETHER;
	}
	if (what == APART && unknown == 1)
		joint[which] = APART;
}

/* Look at all completions that are there; how many can be outstanding then. */
static uint32_t room(int queue)
{
	uint32_t size = vmx.info.ring_size[queue], want;
	int slot;

	for (;;) {
		want = vmx.seen[queue] % size;
		slot = vmx_done(&vmx, queue, 0, NULL);
		if (slot < 0)
			break;
		if (vmx.seen[queue] > accepted[queue])
			complain("queue %d: a completion of nothing", queue);
		else if (slot != (int)want)
			complain("queue %d: slot %d, not %u", queue, slot, want);
	}
	return size - 1 - (accepted[queue] - vmx.seen[queue]);
}

static void check(const struct uio_vmxnet3_submit *arg, int ret, uint32_t before)
{
	uint32_t queue = arg->queue, after, i, n, offset, len;
	int what = TOGETHER;

	if (queue > 1 || !arg->count || arg->count > 15) {
		if (ret != -EINVAL)
			complain("queue %u, count %u: %d", queue, arg->count, ret);
		return;
	}
	for (i = 0; i < arg->count; i++) {
		offset = arg->request[i].offset;
		len = arg->request[i].len;
		if (len < vmx.info.min_len[queue] || len > vmx.info.max_len[queue] ||
		    (uint64_t)offset + len > vmx.len)
			break;
		what = pieces(offset, len);
		if (what == APART || (what == UNKNOWN && ret <= (int)i))
			break;
		learn(offset, len, TOGETHER);
	}
	for (n = 0; (int)n < ret && n < 15; n++, accepted[queue]++)
		posted[queue][accepted[queue] % vmx.info.ring_size[queue]] =
			arg->request[n].offset;
	after = room(queue) + (ret > 0 ? ret : 0);

	/* i requests are good; there was room for before to after of them. */
	if (ret == -ENOSPC ? before == 0 :
	    ret == -EINVAL ? i == 0 :
	    ret > 0 && ret <= (int)i && ret <= (int)after &&
	    (ret == (int)i || ret >= (int)before)) {
		if (what == UNKNOWN && before >= arg->count)
			learn(offset, len, APART);
		return;
	}
	complain("queue %u, count %u: %d, not %u; request %u is { %#x, %#x } of %#zx, room %u to %u",
		 queue, arg->count, ret, i, i % 15, arg->request[i % 15].offset,
		 arg->request[i % 15].len, vmx.len, before, after);
}

/* The other thread makes words good or bad, as fast as it can. */
static struct uio_vmxnet3_submit shared;

static void *rewrite(void *unused)
{
	uint32_t *words = (uint32_t *)&shared, i, n;

	seed = 4711;
	while (!__atomic_load_n(&over, __ATOMIC_RELAXED)) {
		for (n = 0; n < 64; n++) {
			i = 2 + rnd(30);
			__atomic_store_n(&words[i], i & 1 ? some_len(n & 1) :
					 some_offset(60), __ATOMIC_RELAXED);
		}
		__atomic_store_n(&shared.count, 1 + rnd(15), __ATOMIC_RELAXED);
		rewritten += n;
	}
	return unused;
}

/* A frame from the peer, to the next buffer, which may be too short for it. */
static void receive(uint32_t n)
{
	uint32_t size = vmx.info.ring_size[RX], slot = vmx.seen[RX] % size;
	const struct uio_vmxnet3_completion *entry;
	uint8_t payload[1514];
	int len, got;

	if (wire.fd < 0 || room(RX) == size - 1)
		return;
	entry = &vmx.done[RX][vmx.seen[RX] % vmx.info.completions[RX]];
	n = n % 2 ? 60 + n % 60 : 60 + n % 1455;
	len = wire_payload(payload, n, n);
	if (send(wire.fd, payload, len, 0) != len || vmx_done(&vmx, RX, 100, &got) < 0 ||
	    racing)
		return;
	if (le32toh(entry->len) & UIO_VMXNET3_ERROR)
		cut++;
	else if (wire_is(&wire, vmx.mem + posted[RX][slot], got, n, n))
		received++;
}

static void session(unsigned long number)
{
	const uint32_t page = getpagesize();
	struct uio_vmxnet3_submit arg, *p = racing ? &shared : &arg;
	bool huge = number % 2;
	uint32_t before, i, n, mtu = rnd(2) ? 9000 : 60 + rnd(8941);
	size_t len = huge ? page * (200 + rnd(600)) : page * (1 + rnd(100));
	size_t total;
	pthread_t thread;
	int ret;

	guard = page * (1 + rnd(20));
	total = huge ? 2 * HUGE_PAGE : len + 2 * guard;
	vmx.memfd = vmx_memfd(total, huge ? MFD_HUGETLB : 0);
	if (vmx.memfd < 0 && huge) {
		huge = false;
		total = len + 2 * guard;
		vmx.memfd = vmx_memfd(total, 0);
	}
	file = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_SHARED, vmx.memfd, 0);
	if (file == MAP_FAILED)
		err(1, "memory");
	memset(file, GUARD, total);
	vmx.len = len;
	vmx.mem = file + guard;
	memset(vmx.mem, MEMORY, len);
	pages = len / page;
	memset(joint, UNKNOWN, sizeof(joint));
	for (n = 1; huge && n < pages; n++)
		if ((guard + n * page) % HUGE_PAGE)
			joint[n] = TOGETHER;

	ret = vmx_set_memory(&vmx, vmx.memfd, guard, len);
	if (!ret)
		ret = vmx_start(&vmx, mtu, rnd(4));
	if (ret)
		errx(1, "SET_MEMORY or START: %s", strerror(-ret));
	vmx_state(&vmx);
	accepted[TX] = 0;
	accepted[RX] = 0;
	over = false;
	if (racing)
		pthread_create(&thread, NULL, rewrite, NULL);

	for (i = 0; i < CALLS; i++, calls++) {
		p->queue = rnd(64) ? rnd(2) : rnd(4) ? 2 : rnd(~0u);
		p->count = rnd(64) ? 1 + rnd(15) : rnd(2) ? rnd(2) * 16 : rnd(~0u);
		for (n = 0; n < 15 && !racing; n++) {
			p->request[n].len = some_len(p->queue & 1);
			p->request[n].offset = some_offset(p->request[n].len);
		}
		if (racing) {
			/* The other thread leaves it alone. */
			uint32_t queue = p->queue;

			ret = vmx_submit(&vmx, p);
			if (ret > 0 && ret <= 15 && queue < 2)
				accepted[queue] += ret;
			else if (ret != -EINVAL && ret != -ENOSPC)
				complain("queue %u: %d", queue, ret);
			room(queue & 1);
		} else {
			before = p->queue < 2 ? room(p->queue) : 0;
			ret = vmx_submit(&vmx, p);
			check(p, ret, before);
		}
		if (i % 16 == 0)
			receive(i / 16);
	}

	over = true;
	if (racing)
		pthread_join(thread, NULL);
	/* All that was accepted was sent, for all we know. */
	for (i = 0; i < 1000 && vmx.seen[TX] != accepted[TX]; i++) {
		room(TX);
		usleep(1000);
	}
	if (vmx.seen[TX] != accepted[TX])
		complain("%u frames accepted, %u sent", accepted[TX], vmx.seen[TX]);
	sent += vmx.seen[TX];
	if (vmx_state(&vmx) != 1)
		complain("state %u", vmx.info.state);
	if (vmx_stop(&vmx) || vmx_set_memory(&vmx, -1, 0, 0))
		complain("STOP, or SET_MEMORY to drop it: %m");
	for (i = 0; i < total; i++)
		if ((i < guard || i >= guard + len) && file[i] != GUARD) {
			complain("byte %#x of the file, memory is %#zx at %#zx", i, len, guard);
			break;
		}
	munmap(file, total);
	vmx.mem = NULL;
	close(vmx.memfd);
	vmx.memfd = 0;
}

int main(int argc, char **argv)
{
	unsigned long limit = argc > 2 ? strtoul(argv[2], NULL, 0) : 1000000, n, faults, start = now_ms();
	int log = log_open(), ret;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc < 2)
		errx(2, "usage: vmxfuzz BDF [CALLS [SEED]]");
	bdf = argv[1];
	if (argc > 3)
		seed = strtoul(argv[3], NULL, 0) ?: 1;
	vmx_prepare(&vmx);
	if (drop_privileges())
		err(1, "privileges");
	ret = vmx_open(&vmx);
	if (ret)
		errx(1, "open: %s", strerror(-ret));

	for (n = 0; calls < limit; n++) {
		racing = n % 4 == 3;
		session(n);
		if (n % 20 == 0)
			printf("# %lu calls, %lu ms\n", calls, now_ms() - start);
	}
	vmx_close(&vmx);
	/* The one thing that root is needed for was opened before. */
	usleep(100000);
	faults = log_count(log, "DMAR", "fault addr");
	printf("# %lu calls, %lu wrong, %lu IOMMU faults\n", calls, wrong, faults);
	printf("# %lu frames sent, %lu received, %lu cut off, %lu words rewritten\n",
	       sent, received, cut, rewritten);
	return wrong || faults || !sent || (wire.fd >= 0 && !received);
}
