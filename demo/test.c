// SPDX-License-Identifier: GPL-2.0-only
/*
 * Tests of the userspace driver for the 82576 PF, looped back in its MAC:
 *
 *	demo_test BDF [PACKETS]
 *
 *	LINK_DOWN=COMMAND LINK_UP=COMMAND	pull the cable and put it back
 *	FLOOD=COMMAND		keeps sending broadcasts to it, until it is killed
 *
 * Prints TAP; exit code 1 if a test failed.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "igb.h"

#define MIN_FRAME	60
#define SIZES		(9000 - MIN_FRAME + 1)
#define EVENT_MS	60000	/* what takes longer is lost */
#define QUIET_MS	50	/* silence */

static struct igb igb;
static const char *bdf;
static int tests, failures;

#define CHECK(condition) do { \
	if (!(condition)) { \
		printf("# %s:%d: %s\n", __FILE__, __LINE__, #condition); \
		return false; \
	} \
} while (0)

struct frame {
	struct ethhdr eth;
	struct iphdr ip;
	uint32_t seq, size;
	uint8_t data[];
} __attribute__((packed));

static uint8_t pattern(uint32_t seq, unsigned int i)
{
	return (seq * 2654435761u >> 24) + i * 7;
}

/* A frame whose source address decides on its queue. */
static unsigned int fill(void *buf, uint32_t seq, uint32_t size, uint32_t source)
{
	struct frame *f = buf;
	unsigned int i;

	memset(f, 0, sizeof(*f));
	memcpy(f->eth.h_dest, igb.nic.mac, 6);
	memcpy(f->eth.h_source, igb.nic.mac, 6);
	f->eth.h_proto = htons(ETH_P_IP);
	f->ip.version = 4;
	f->ip.ihl = 5;
	f->ip.ttl = 1;
	f->ip.protocol = 253;		/* for experiments */
	f->ip.tot_len = htons(size - sizeof(f->eth));
	f->ip.saddr = htonl(0x0a000000 + source);
	f->ip.daddr = htonl(0x0a0000ff);
	f->seq = seq;
	f->size = size;
	for (i = 0; i < size - sizeof(*f); i++)
		f->data[i] = pattern(seq, i);
	return size;
}

static bool intact(const struct frame *f, unsigned int len, uint32_t seq,
		   uint32_t size)
{
	unsigned int i;

	if (len != size || f->size != size || f->seq != seq)
		return false;
	for (i = 0; i < size - sizeof(*f); i++)
		if (f->data[i] != pattern(seq, i))
			return false;
	return true;
}

/* Send one, and find out in which queue it comes back; -1: nowhere. */
static int queue_of(uint32_t source)
{
	static uint8_t buf[IGB_BUFFER];
	unsigned int len, q, ms;

	igb_tx(&igb.nic, 0, buf, fill(buf, 0, 100, source));
	for (ms = 0; ms < EVENT_MS; ms++) {
		for (q = 0; q < IGB_QUEUES; q++)
			if (igb_rx(&igb.nic, q, &len)) {
				igb_rx_done(&igb.nic, q);
				igb_sleep(&igb.nic, q, QUIET_MS);
				return q;
			}
		usleep(1000);
	}
	return -1;
}

/* A source address for each queue. */
static bool sources(uint32_t source[IGB_QUEUES])
{
	uint32_t s;
	int q;

	memset(source, 0, IGB_QUEUES * sizeof(*source));
	for (s = 1; s < 64; s++) {
		q = queue_of(s);
		CHECK(q >= 0);
		source[q] = s;
	}
	for (q = 0; q < IGB_QUEUES; q++)
		CHECK(source[q]);
	return true;
}

static bool link_is(bool up)
{
	struct pollfd pfd = { igb.nic.other, POLLIN, 0 };
	int tries;

	for (tries = 0; tries < 10 && igb.nic.link != up; tries++) {
		CHECK(poll(&pfd, 1, EVENT_MS) == 1);
		igb_event(&igb.nic);
	}
	CHECK(igb.nic.link == up);
	return true;
}

static bool open_up(bool loopback)
{
	igb.loopback = loopback;
	CHECK(!igb_open(&igb));
	return link_is(true);
}

static bool loopback(unsigned int packets)
{
	static uint8_t buf[IGB_BUFFER];
	uint32_t source[IGB_QUEUES], seq, size;
	unsigned int len, q;
	struct frame *f;

	CHECK(sources(source));
	for (seq = 0; seq < packets; seq++) {
		q = seq % IGB_QUEUES;
		size = MIN_FRAME + seq / IGB_QUEUES % SIZES;
		CHECK(igb_tx(&igb.nic, q, buf, fill(buf, seq, size, source[q])));
		CHECK(igb_sleep(&igb.nic, q, EVENT_MS));
		f = igb_rx(&igb.nic, q, &len);
		CHECK(f && intact(f, len, seq, size));
		igb_rx_done(&igb.nic, q);
	}
	printf("# %u packets, %lu and %lu interrupts\n", packets,
	       igb.nic.queue[0].interrupts, igb.nic.queue[1].interrupts);
	return true;
}

/* What is for one queue is announced by its vector, and by no other. */
static bool own_vector_only(void)
{
	static uint8_t buf[IGB_BUFFER];
	uint32_t source[IGB_QUEUES];
	unsigned int q, i, len;
	struct pollfd pfd[2];

	CHECK(sources(source));
	for (q = 0; q < IGB_QUEUES; q++) {
		for (i = 0; i < 100; i++)
			CHECK(igb_tx(&igb.nic, !q, buf, fill(buf, i, 500, source[q])));
		CHECK(igb_sleep(&igb.nic, q, EVENT_MS));
		usleep(QUIET_MS * 1000);
		for (i = 0; i < 100; i++) {
			CHECK(igb_rx(&igb.nic, q, &len));
			igb_rx_done(&igb.nic, q);
		}
		CHECK(!igb_rx(&igb.nic, !q, &len));
		pfd[0] = (struct pollfd){ igb.nic.queue[!q].eventfd, POLLIN, 0 };
		pfd[1] = (struct pollfd){ igb.nic.other, POLLIN, 0 };
		CHECK(!poll(pfd, 2, QUIET_MS));
		/* Its own may be late, on a busy machine. */
		while (igb_sleep(&igb.nic, q, QUIET_MS))
			;
	}
	return true;
}

static bool link_down_and_up(void)
{
	const char *down = getenv("LINK_DOWN"), *up = getenv("LINK_UP");
	uint64_t q0 = igb.nic.queue[0].interrupts;

	CHECK(down && up);
	CHECK(link_is(true));
	CHECK(!system(down));
	CHECK(link_is(false));
	CHECK(!system(up));
	CHECK(link_is(true));
	CHECK(!igb_sleep(&igb.nic, 0, QUIET_MS) && igb.nic.queue[0].interrupts == q0);
	return true;
}

static bool masked_while_polling(void)
{
	static uint8_t buf[IGB_BUFFER];
	uint32_t source[IGB_QUEUES];
	unsigned int round, i, len;

	CHECK(sources(source));
	for (round = 0; round < 1000; round++) {
		CHECK(!igb_polling(&igb.nic, 0, true));
		for (i = 0; i < 10; i++)
			CHECK(igb_tx(&igb.nic, 0, buf, fill(buf, i, 100, source[0])));
		for (i = 0; i < 10;) {
			if (!igb_rx(&igb.nic, 0, &len))
				continue;
			igb_rx_done(&igb.nic, 0);
			i++;
		}
		CHECK(!igb_sleep(&igb.nic, 0, 0));
		/* One for what was held back, and none is lost after that. */
		CHECK(!igb_polling(&igb.nic, 0, false));
		CHECK(igb_sleep(&igb.nic, 0, EVENT_MS));
		CHECK(igb_tx(&igb.nic, 0, buf, fill(buf, i, 100, source[0])));
		CHECK(igb_sleep(&igb.nic, 0, EVENT_MS));
		CHECK(igb_rx(&igb.nic, 0, &len));
		igb_rx_done(&igb.nic, 0);
	}
	return true;
}

static void gone(int sig)
{
	(void)sig;
	_exit(3);
}

/*
 * A process in traffic, its own or that of the wire. It is killed, or has SIGBUS.
 */
static pid_t traffic(bool loopback)
{
	static uint8_t buf[IGB_BUFFER];
	unsigned int len, q, received = 0;
	int ready[2];
	uint32_t seq;
	pid_t pid;

	if (pipe(ready))
		return -1;
	pid = fork();
	if (!pid) {
		signal(SIGBUS, gone);
		if (!open_up(loopback))
			_exit(1);
		for (seq = 0;; seq++) {
			if (loopback)
				igb_tx(&igb.nic, seq % 2, buf, fill(buf, seq, 9000, seq % 16));
			for (q = 0; q < IGB_QUEUES; q++)
				while (igb_rx(&igb.nic, q, &len)) {
					igb_rx_done(&igb.nic, q);
					if (++received == 100 && write(ready[1], "", 1) != 1)
						_exit(1);
				}
		}
	}
	close(ready[1]);
	if (poll(&(struct pollfd){ ready[0], POLLIN, 0 }, 1, EVENT_MS) != 1 ||
	    read(ready[0], buf, 1) != 1) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		pid = -1;
	}
	close(ready[0]);
	return pid;
}

/* All huge pages there are, filled; the dead one's are among them. */
static bool poison(struct dma *dma)
{
	uint64_t phys;
	void *page;

	while (dma->pages < DMA_MAX_PAGES) {
		page = dma_alloc(dma, DMA_PAGE, &phys);
		if (!page)
			break;
		memset(page, 0xa5, DMA_PAGE);
	}
	return dma->pages;
}

static bool still_poison(struct dma *dma)
{
	unsigned int i;
	size_t j;

	for (i = 0; i < dma->pages; i++)
		for (j = 0; j < DMA_PAGE; j++)
			if (((uint8_t *)dma->page[i])[j] != 0xa5)
				return false;
	return true;
}

static bool killed_in_flood(void)
{
	struct dma dma = { };
	int round, status;
	bool untouched;
	pid_t pid;

	for (round = 0; round < 10; round++) {
		pid = traffic(false);
		CHECK(pid > 0);
		usleep(rand() % 20000);
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		CHECK(WIFSIGNALED(status));
		CHECK(poison(&dma));
		usleep(200000);
		untouched = still_poison(&dma);
		dma_free(&dma);
		CHECK(untouched);
		CHECK(open_up(true));
		igb_close(&igb);
	}
	return true;
}

/* What still comes off the wire has nowhere to go to. */
static bool killed_in_traffic(void)
{
	const char *command = getenv("FLOOD");
	pid_t flood;
	bool ret;

	CHECK(command);
	flood = fork();
	if (!flood) {
		execl("/bin/sh", "sh", "-c", command, NULL);
		_exit(1);
	}
	ret = killed_in_flood();
	kill(flood, SIGKILL);
	waitpid(flood, NULL, 0);
	return ret;
}

static bool unbound_in_traffic(void)
{
	char command[128];
	int round, status;
	time_t start;
	pid_t pid;

	for (round = 0; round < 10; round++) {
		pid = traffic(true);
		CHECK(pid > 0);
		usleep(rand() % 20000);
		start = time(NULL);
		snprintf(command, sizeof(command),
			 "echo %s >/sys/bus/pci/drivers/uio_msix/unbind", bdf);
		CHECK(!system(command));
		CHECK(time(NULL) - start < 10);
		waitpid(pid, &status, 0);
		CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 3);
		CHECK(!device_bind(&igb.dev, bdf));
		CHECK(open_up(true));
		CHECK(queue_of(1) >= 0);
		igb_close(&igb);
	}
	return true;
}

static void result(const char *name, bool ok)
{
	printf("%sok %d %s\n", ok ? "" : "not ", ++tests, name);
	failures += !ok;
}

int main(int argc, char **argv)
{
	char driver[64];

	if (argc < 2) {
		fprintf(stderr, "usage: %s BDF [PACKETS]\n", argv[0]);
		return 2;
	}
	bdf = argv[1];
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (device_bind(&igb.dev, bdf))
		return 1;
	snprintf(driver, sizeof(driver), "%s", igb.dev.old_driver);
	if (!open_up(true))
		return 1;
	result("loopback", loopback(argc > 2 ? atoi(argv[2]) : 100000));
	result("own_vector_only", own_vector_only());
	result("link_down_and_up", link_down_and_up());
	result("masked_while_polling", masked_while_polling());
	igb_close(&igb);
	result("killed_in_traffic", killed_in_traffic());
	result("unbound_in_traffic", unbound_in_traffic());
	printf("1..%d\n", tests);
	snprintf(igb.dev.old_driver, sizeof(driver), "%s", driver);
	device_unbind(&igb.dev);
	return !!failures;
}
