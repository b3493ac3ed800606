// SPDX-License-Identifier: GPL-2.0-only
/*
 * Interrupts by the million: every vector of a device fires as fast as its last
 * event was seen, while one thread replaces eventfds and another masks and
 * unmasks. None may be lost or doubled, and memory stays as it is.
 *
 * Usage: soak ADDRESS INTERRUPTS
 */
#include <pthread.h>
#include <sys/epoll.h>
#include <time.h>

#include "uio_msix_utils.h"

#define MAX_VECTORS	256
#define LOST_MS		10000
#define FLAT_KB		1024	/* what others may take meanwhile */

static struct uio_msix dev;

/* Two eventfds a vector, which replace each other. */
static struct vector {
	int fds[2];
	unsigned long fired;
	unsigned long seen;
} vectors[MAX_VECTORS];

static unsigned long replaced, masked;
static bool stop;

static bool running(void)
{
	return !__atomic_load_n(&stop, __ATOMIC_ACQUIRE);
}

static void check(int ret, const char *what)
{
	if (!ret)
		return;
	printf("soak: %s: %s\n", what, strerror(-ret));
	exit(1);
}

static void *replace(void *arg)
{
	unsigned int i;

	for (i = 0; running(); i++) {
		uint32_t v = i % dev.num_vectors;

		check(set_eventfd(&dev, v,
				  vectors[v].fds[i / dev.num_vectors % 2]),
		      "replace");
		replaced++;
	}
	return arg;
}

static void *mask(void *arg)
{
	unsigned int i;

	for (i = 0; running(); i++) {
		uint32_t v = i * 7 % dev.num_vectors;

		check(set_mask(&dev, v, 1), "mask");
		check(set_mask(&dev, v, 0), "unmask");
		masked++;
	}
	return arg;
}

/* What the kernel could give to others, in KB. */
static unsigned long available(void)
{
	unsigned long kb = 0;
	char line[128];
	FILE *f = fopen("/proc/meminfo", "re");

	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "MemAvailable: %lu", &kb);
	if (f)
		fclose(f);
	return kb;
}

static void fire(uint32_t v)
{
	vectors[v].fired++;
	check(uio_msix_fire(&dev, v), "fire");
}

int main(int argc, char **argv)
{
	unsigned long want, total = 0, lost = 0, doubled = 0, before = 0, after;
	struct epoll_event event[64];
	pthread_t threads[2];
	int epoll, n, i;
	uint32_t v;
	time_t start = time(NULL);

	if (argc != 3) {
		fprintf(stderr, "usage: soak ADDRESS INTERRUPTS\n");
		return 2;
	}
	want = strtoul(argv[2], NULL, 0);
	check(pci_bind(argv[1], "uio_msix"), "bind");
	check(uio_msix_find(&dev, argv[1]), "find");
	check(uio_msix_open(&dev), "open");
	if (!dev.kind || dev.num_vectors > MAX_VECTORS)
		check(-ENODEV, "no register known that fires it");

	epoll = epoll_create1(EPOLL_CLOEXEC);
	for (v = 0; v < dev.num_vectors; v++) {
		for (i = 0; i < 2; i++) {
			vectors[v].fds[i] = eventfd(0, EFD_NONBLOCK);
			event[0].events = EPOLLIN;
			event[0].data.u64 = v * 2 + i;
			if (epoll_ctl(epoll, EPOLL_CTL_ADD, vectors[v].fds[i],
				      event))
				check(-errno, "epoll");
		}
		check(set_eventfd(&dev, v, vectors[v].fds[0]), "attach");
	}
	pthread_create(&threads[0], NULL, replace, NULL);
	pthread_create(&threads[1], NULL, mask, NULL);

	for (v = 0; v < dev.num_vectors; v++)
		fire(v);
	/* A vector that lost one stands still: that shows in the end. */
	while (total < want) {
		n = epoll_wait(epoll, event, 64, LOST_MS);
		if (n <= 0)
			break;
		for (i = 0; i < n; i++) {
			uint64_t count = 0;

			v = event[i].data.u64 / 2;
			if (read(vectors[v].fds[event[i].data.u64 % 2], &count,
				 sizeof(count)) != sizeof(count))
				continue;
			vectors[v].seen += count;
			total += count;
			if (vectors[v].seen > vectors[v].fired) {
				doubled += vectors[v].seen - vectors[v].fired;
				vectors[v].fired = vectors[v].seen;
			}
			if (vectors[v].seen == vectors[v].fired)
				fire(v);
		}
		if (!before && total > want / 10)
			before = available();
	}
	after = available();
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);

	/* What is on its way. */
	usleep(LOST_MS * 10);
	for (v = 0; v < dev.num_vectors; v++) {
		for (i = 0; i < 2; i++)
			vectors[v].seen += events(vectors[v].fds[i], 0);
		if (vectors[v].seen < vectors[v].fired)
			lost += vectors[v].fired - vectors[v].seen;
		else
			doubled += vectors[v].seen - vectors[v].fired;
	}
	uio_msix_close(&dev);
	printf("soak: %lu interrupts on %u vectors, %lu replaced, %lu masked, %lu lost, %lu doubled, memory %+ld KB, %ld s\n",
	       total, dev.num_vectors, replaced, masked, lost, doubled,
	       (long)(before - after), (long)(time(NULL) - start));
	return lost || doubled || total < want || !replaced || !masked ||
	       after + FLAT_KB < before;
}
