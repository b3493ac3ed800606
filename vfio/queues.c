// SPDX-License-Identifier: MIT
/*
 * A host on the network on DPDK, which sleeps: a thread a queue waits for the
 * interrupt of its queue, and answers ARP and ping. It says what it counted on
 * "stats" on stdin, and does "stop", "start", "detach", "attach" and "quit".
 *
 *	queues EAL_OPTIONS -- BDF QUEUES [poll]
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <arpa/inet.h>
#include <linux/icmp.h>
#include <linux/if_ether.h>
#include <netinet/ip.h>
#include <unistd.h>

#include <rte_config.h>
#undef RTE_USE_LIBBSD		/* whose headers are not needed */
#include <rte_cycles.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_interrupts.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>

#define MAX_QUEUES	4
#define BURST		32

static struct {
	uint64_t packets, answered, sleeps, wakes, empty, late, foreign, ticks;
} count[MAX_QUEUES];

static struct rte_mempool *pool;
static const char *bdf;
static uint16_t port, queues;
static bool polling;
static volatile bool running;
static volatile unsigned int link_up, link_down;

static int on_link(uint16_t id, enum rte_eth_event_type type, void *arg, void *ret)
{
	struct rte_eth_link link;

	(void)type, (void)arg, (void)ret;
	if (rte_eth_link_get_nowait(id, &link) < 0)
		return 0;
	if (link.link_status)
		link_up++;
	else
		link_down++;
	return 0;
}

/* Turn a frame into its answer. */
static bool answer(struct rte_mbuf *m)
{
	struct ethhdr *eth = rte_pktmbuf_mtod(m, struct ethhdr *);
	uint8_t *arp = (uint8_t *)(eth + 1), ip[4];
	struct iphdr *iph = (struct iphdr *)(eth + 1);
	struct icmphdr *icmp = (struct icmphdr *)(iph + 1);
	struct rte_ether_addr mac;
	uint32_t sum;

	rte_eth_macaddr_get(port, &mac);
	memcpy(eth->h_dest, eth->h_source, 6);
	memcpy(eth->h_source, &mac, 6);
	if (eth->h_proto == htons(ETH_P_ARP)) {
		/* A request, for whomever: operation, hardware and IP address twice */
		if (m->data_len < sizeof(*eth) + 28 || arp[7] != 1)
			return false;
		arp[7] = 2;
		memcpy(ip, arp + 24, 4);
		memcpy(arp + 18, arp + 8, 10);
		memcpy(arp + 8, &mac, 6);
		memcpy(arp + 14, ip, 4);
		return true;
	}
	if (eth->h_proto != htons(ETH_P_IP) ||
	    m->data_len < sizeof(*eth) + sizeof(*iph) + sizeof(*icmp) || iph->ihl != 5 ||
	    iph->protocol != IPPROTO_ICMP || icmp->type != ICMP_ECHO)
		return false;
	sum = iph->saddr;
	iph->saddr = iph->daddr;
	iph->daddr = sum;
	icmp->type = ICMP_ECHOREPLY;
	sum = ntohs(icmp->checksum) + (ICMP_ECHO << 8);
	icmp->checksum = htons(sum + (sum >> 16));
	return true;
}

static unsigned int drain(uint16_t q)
{
	struct rte_mbuf *m[BURST];
	unsigned int i, n, all = 0;

	while ((n = rte_eth_rx_burst(port, q, m, BURST))) {
		for (i = 0; i < n; i++) {
			count[q].packets++;
			if (answer(m[i]) && rte_eth_tx_burst(port, q, &m[i], 1) == 1)
				count[q].answered++;
			else
				rte_pktmbuf_free(m[i]);
		}
		all += n;
	}
	return all;
}

static int serve(void *arg)
{
	uint16_t q = (uintptr_t)arg;
	struct rte_epoll_event event;
	uint64_t woken = 0;
	int n;

	if (polling) {
		while (running)
			drain(q);
		return 0;
	}
	if (rte_eth_dev_rx_intr_ctl_q(port, q, RTE_EPOLL_PER_THREAD, RTE_INTR_EVENT_ADD, arg)) {
		printf("queue %u: no interrupt\n", q);
		return -1;
	}
	while (running) {
		rte_eth_dev_rx_intr_enable(port, q);
		/* What came before that raises none. */
		drain(q);
		count[q].sleeps++;
		if (woken)
			count[q].ticks += rte_rdtsc() - woken;
		n = rte_epoll_wait(RTE_EPOLL_PER_THREAD, &event, 1, 1000);
		woken = n < 1 ? 0 : rte_rdtsc();
		rte_eth_dev_rx_intr_disable(port, q);
		if (n < 1) {
			/* What is there now came without an interrupt. */
			count[q].late += drain(q);
			continue;
		}
		count[q].wakes++;
		count[q].foreign += event.epdata.data != arg;
		count[q].empty += !drain(q);
	}
	rte_eth_dev_rx_intr_ctl_q(port, q, RTE_EPOLL_PER_THREAD, RTE_INTR_EVENT_DEL, arg);
	return 0;
}

static void start(void)
{
	unsigned int lcore;
	uint16_t q = 0;
	int ret;

	ret = rte_eth_dev_start(port);
	if (ret) {
		printf("start: %s\n", rte_strerror(-ret));
		return;
	}
	running = true;
	RTE_LCORE_FOREACH_WORKER(lcore)
		if (q < queues)
			rte_eal_remote_launch(serve, (void *)(uintptr_t)q++, lcore);
	printf("started\n");
}

static void stop(void)
{
	running = false;
	rte_eal_mp_wait_lcore();
	rte_eth_dev_stop(port);
	printf("stopped\n");
}

static int setup(void)
{
	struct rte_eth_conf conf = {
		.rxmode.mq_mode = queues > 1 ? RTE_ETH_MQ_RX_RSS : RTE_ETH_MQ_RX_NONE,
		.rx_adv_conf.rss_conf.rss_hf = queues > 1 ? RTE_ETH_RSS_IPV4 : 0,
		.intr_conf = { .lsc = !polling, .rxq = !polling },
	};
	struct rte_eth_dev_info info;
	uint16_t q;
	int ret;

	if (rte_eth_dev_get_port_by_name(bdf, &port)) {
		printf("no port %s\n", bdf);
		return -1;
	}
	if (rte_eth_dev_info_get(port, &info))
		return -1;
	conf.rx_adv_conf.rss_conf.rss_hf &= info.flow_type_rss_offloads;
	if (!(*info.dev_flags & RTE_ETH_DEV_INTR_LSC))
		conf.intr_conf.lsc = 0;
	ret = rte_eth_dev_configure(port, queues, queues, &conf);
	for (q = 0; !ret && q < queues; q++) {
		ret = rte_eth_rx_queue_setup(port, q, 256, SOCKET_ID_ANY, NULL, pool);
		if (!ret)
			ret = rte_eth_tx_queue_setup(port, q, 512, SOCKET_ID_ANY, NULL);
	}
	if (ret)
		printf("configure: %s\n", rte_strerror(-ret));
	rte_eth_dev_callback_register(port, RTE_ETH_EVENT_INTR_LSC, on_link, NULL);
	return ret;
}

static void detach(void)
{
	struct rte_eth_dev_info info;
	struct rte_device *dev;

	stop();
	if (rte_eth_dev_info_get(port, &info))
		return;
	dev = (struct rte_device *)info.device;
	rte_eth_dev_close(port);
	printf("detached: %d\n", rte_dev_remove(dev));
}

static void attach(void)
{
	int ret = rte_eal_hotplug_add("pci", bdf, "");

	if (!ret)
		ret = setup();
	printf("attached: %d\n", ret);
	if (!ret)
		start();
}

static void stats(void)
{
	uint16_t q;

	for (q = 0; q < queues; q++)
		printf("queue %u: %lu packets, %lu answered, %lu sleeps, %lu wakes, %lu empty, %lu late, %lu foreign, %lu ticks\n",
		       q, count[q].packets, count[q].answered, count[q].sleeps, count[q].wakes,
		       count[q].empty, count[q].late, count[q].foreign, count[q].ticks);
	printf("link: %u down, %u up\n", link_down, link_up);
}

int main(int argc, char **argv)
{
	char line[64];
	int n = rte_eal_init(argc, argv);

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (n < 0 || argc - n < 3)
		return 2;
	bdf = argv[n + 1];
	queues = atoi(argv[n + 2]);
	polling = argc - n > 3;
	if (queues > MAX_QUEUES || rte_lcore_count() < queues + 1u)
		return 2;
	pool = rte_pktmbuf_pool_create("pool", 4095, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	if (!pool || setup())
		return 1;
	start();
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = 0;
		if (!strcmp(line, "stats"))
			stats();
		else if (!strcmp(line, "stop"))
			stop();
		else if (!strcmp(line, "start"))
			start();
		else if (!strcmp(line, "detach"))
			detach();
		else if (!strcmp(line, "attach"))
			attach();
		else if (!strcmp(line, "quit"))
			break;
	}
	stop();
	stats();
	rte_eth_dev_close(port);
	rte_eal_cleanup();
	return 0;
}
