// SPDX-License-Identifier: GPL-2.0-only
/*
 * A host on the network that lives in a process: it answers ARP and ping, and
 * echoes UDP.
 *
 *	demo_host BDF IPV4_ADDRESS	on an 82576, PF or VF, by uio_msix
 *	demo_host /dev/uioN IPV4_ADDRESS	on a vmxnet3, by uio_vmxnet3
 *
 * A thread a queue sleeps until the vector of its queue announces packets. What
 * happens is shown once a second, and summed up at SIGTERM or SIGINT. Exit code
 * 0 after these, 1 if it could not run, 3 if the device was taken away.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/icmp.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>

#include "igb.h"
#include "vmxnet3.h"

#define BUSY	32	/* packets at once that make polling worth two ioctls */

struct arp {
	struct arphdr head;
	uint8_t sender_mac[6], sender_ip[4], target_mac[6], target_ip[4];
} __attribute__((packed));

static struct igb igb;
static struct vmxnet3 vmxnet3;
static struct nic *nic = &igb.nic;
static const struct nic_ops *ops = &igb_nic_ops;
static in_addr_t address;
static volatile bool stop;

static struct counters {
	uint64_t answered, ignored, sleeps, polls;
} counters[NIC_MAX_QUEUES];

static void swap(void *a, void *b, size_t len)
{
	uint8_t tmp[16];

	memcpy(tmp, a, len);
	memcpy(a, b, len);
	memcpy(b, tmp, len);
}

static bool answer_arp(struct ethhdr *eth, unsigned int len)
{
	struct arp *arp = (void *)(eth + 1);

	if (len < sizeof(*eth) + sizeof(*arp) ||
	    arp->head.ar_op != htons(ARPOP_REQUEST) ||
	    memcmp(arp->target_ip, &address, 4))
		return false;
	arp->head.ar_op = htons(ARPOP_REPLY);
	memcpy(arp->target_mac, arp->sender_mac, 6);
	memcpy(arp->target_ip, arp->sender_ip, 4);
	memcpy(arp->sender_mac, nic->mac, 6);
	memcpy(arp->sender_ip, &address, 4);
	return true;
}

static bool answer_ip(struct ethhdr *eth, unsigned int len)
{
	struct iphdr *ip = (void *)(eth + 1);
	struct icmphdr *icmp = (void *)(ip + 1);
	uint32_t sum;

	/* No options: nobody here sends any. */
	if (len < sizeof(*eth) + sizeof(*ip) + sizeof(*icmp) ||
	    ip->version != 4 || ip->ihl != 5 || ip->daddr != address)
		return false;
	if (ip->protocol != IPPROTO_ICMP && ip->protocol != IPPROTO_UDP)
		return false;
	/* The checksums of IP and UDP do not mind the order. */
	swap(&ip->saddr, &ip->daddr, 4);
	/* Fragments but the first go back as they are. */
	if (ip->frag_off & htons(0x1fff))
		return true;
	if (ip->protocol == IPPROTO_UDP) {
		swap(icmp, (uint8_t *)icmp + 2, 2);	/* ports */
		return true;
	}
	if (icmp->type != ICMP_ECHO)
		return false;
	icmp->type = ICMP_ECHOREPLY;
	sum = ntohs(icmp->checksum) + (ICMP_ECHO << 8);
	icmp->checksum = htons(sum + (sum >> 16));
	return true;
}

/* Turn a frame into its answer; false if there is none. */
static bool answer(void *frame, unsigned int len)
{
	struct ethhdr *eth = frame;
	bool ret = false;

	if (len < sizeof(*eth))
		return false;
	if (eth->h_proto == htons(ETH_P_ARP))
		ret = answer_arp(eth, len);
	else if (eth->h_proto == htons(ETH_P_IP))
		ret = answer_ip(eth, len);
	memcpy(eth->h_dest, eth->h_source, 6);
	memcpy(eth->h_source, nic->mac, 6);
	return ret;
}

static unsigned int drain(unsigned int queue)
{
	struct counters *c = &counters[queue];
	unsigned int len, n = 0;
	void *frame;

	while ((frame = ops->rx(nic, queue, &len))) {
		if (!answer(frame, len))
			c->ignored++;
		else if (ops->tx(nic, queue, frame, len))
			c->answered++;
		ops->rx_done(nic, queue);
		n++;
	}
	return n;
}

static void *serve(void *arg)
{
	unsigned int queue = (uintptr_t)arg;

	while (!stop) {
		counters[queue].sleeps++;
		if (!ops->sleep(nic, queue, -1))
			continue;
		if (drain(queue) < BUSY)
			continue;
		/* Busy: no interrupts until there is nothing left. */
		counters[queue].polls++;
		ops->polling(nic, queue, true);
		while (!stop && drain(queue))
			;
		ops->polling(nic, queue, false);
	}
	return NULL;
}

static void gone(int sig)
{
	static const char text[] = "the device is gone\n";

	(void)sig;
	if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0)
		_exit(1);
	_exit(3);
}

static void show(const char *head)
{
	unsigned int i;

	printf("%s: link %s", head, nic->link ? "up" : "down");
	for (i = 0; i < nic->queues; i++)
		printf("; queue %u: %lu in, %lu out, %lu interrupts, %lu sleeps, %lu polls, %lu ignored, %lu dropped",
		       i, nic->queue[i].rx_packets, nic->queue[i].tx_packets,
		       nic->queue[i].interrupts, counters[i].sleeps,
		       counters[i].polls, counters[i].ignored, nic->queue[i].dropped);
	printf("\n");
}

static void summary(void)
{
	uint64_t in = 0, answered = 0, interrupts = 0;
	unsigned int i;

	show("total");
	for (i = 0; i < nic->queues; i++) {
		in += nic->queue[i].rx_packets;
		answered += counters[i].answered;
		interrupts += nic->queue[i].interrupts;
	}
	printf("%lu received, %lu answered, %.3f interrupts per packet, %lu of link and mailbox\n",
	       in, answered, in ? (double)interrupts / in : 0,
	       nic->other_interrupts);
}

int main(int argc, char **argv)
{
	pthread_t threads[NIC_MAX_QUEUES];
	struct pollfd pfd[3];
	sigset_t signals;
	unsigned int i;

	if (argc != 3 || inet_pton(AF_INET, argv[2], &address) != 1) {
		fprintf(stderr, "usage: %s BDF|/dev/uioN IPV4_ADDRESS\n", argv[0]);
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGBUS, gone);
	sigemptyset(&signals);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);

	if (*argv[1] == '/') {
		nic = &vmxnet3.nic;
		ops = &vmxnet3_nic_ops;
	}
	if (ops->open(nic, argv[1]))
		return 1;
	printf("%s %s: %02x:%02x:%02x:%02x:%02x:%02x is %s\n", nic->name,
	       argv[1], nic->mac[0], nic->mac[1], nic->mac[2], nic->mac[3],
	       nic->mac[4], nic->mac[5], argv[2]);
	for (i = 0; i < nic->queues; i++)
		if (pthread_create(&threads[i], NULL, serve, (void *)(uintptr_t)i))
			return 1;

	pfd[0] = (struct pollfd){ signalfd(-1, &signals, SFD_CLOEXEC), POLLIN, 0 };
	pfd[1] = (struct pollfd){ nic->other, POLLIN, 0 };
	pfd[2] = (struct pollfd){ nic->fd, 0, 0 };
	for (;;) {
		if (!poll(pfd, 3, 1000))
			show("live");
		if (pfd[2].revents)
			gone(0);
		if (pfd[1].revents)
			ops->event(nic);
		if (pfd[0].revents)
			break;
	}
	stop = true;
	for (i = 0; i < nic->queues; i++) {
		/* To wake it up; not an interrupt. */
		eventfd_write(nic->queue[i].eventfd, 1);
		pthread_join(threads[i], NULL);
		ops->sleep(nic, i, 0);
		nic->queue[i].interrupts--;
	}
	summary();
	ops->close(nic);
	return 0;
}
