// SPDX-License-Identifier: GPL-2.0-only
/*
 * What it costs a process to send and to receive frames of 60 bytes, with
 * uio_vmxnet3 and with what could be used instead:
 *
 *	packets send|receive polled|interrupts|asleep WAY NIC OTHER
 *
 * WAY is one of ways[] below, NIC what it takes: the UIO file of a vmxnet3, or a
 * network interface. OTHER is the address of an 82576 on the same wire, which is
 * driven through uio_msix: that frames arrive there is checked, and what is
 * received comes from there, so many frames at once as one write to it announces.
 *
 * Counts instructions, where the TSC does and there is one CPU (see bench.c). To
 * send, the process never waits: all is counted, with the interrupts of the NIC as
 * they come. To receive, what is counted is from the write that brings a burst
 * until the last frame of it was looked at and the user is done. The user is the
 * process that wrote, or asleep, a thread that sleeps until it is woken. uio_vmxnet3
 * has no interrupts but those that its user wants: none when polled.
 *
 * Prints a line for each batch, "csv,MEASURE,WAY,DEVICE,BATCH,instructions,
 * SAMPLES,MIN,MEDIAN,MAX", a packet.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <linux/bpf.h>
#include <linux/ethtool.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <linux/if_xdp.h>
#include <linux/sockios.h>
#include <linux/uio_msix.h>
#include <linux/uio_vmxnet3.h>
#include <net/if.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <x86intrin.h>

#include "../demo/igb.h"

#define FRAME		60
#define ETHERTYPE	0x88b5		/* for experiments */
#define BUFFER		4096
#define BUFFERS		512		/* each way */
#define XSK_BUFFERS	2048		/* of AF_XDP: never too few to send */
#define MAX_BATCH	32
#define RUNS		5
#define PACKETS		9600		/* to send in a run */
#define BURSTS		100		/* to receive */
#define MODERATION	10		/* microseconds */
#define CHECKED		8		/* that must arrive */
#define TOO_LONG	1000000000

#define ARRAY_SIZE(x)	(sizeof(x) / sizeof(*(x)))
#define READ(x)		__atomic_load_n(&(x), __ATOMIC_ACQUIRE)
#define SET(x, value)	__atomic_store_n(&(x), value, __ATOMIC_RELEASE)

struct frame {
	struct ethhdr eth;
	uint32_t seq;
	uint8_t rest[FRAME - sizeof(struct ethhdr) - sizeof(uint32_t)];
} __attribute__((packed));

static bool receiving, interrupts, asleep;
static uint8_t mac[ETH_ALEN];		/* of the NIC */
static unsigned int ifindex;
static uint32_t sent, received;		/* frames, and their numbers */
static struct igb other;

static void __attribute__((format(printf, 1, 2), noreturn))
fail(const char *fmt, ...)
{
	va_list ap;

	printf("not ok packets: ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf(": %s\n", strerror(errno));
	exit(1);
}

/* 0 or more, or else the end. */
static int must(int ret, const char *what)
{
	if (ret < 0)
		fail("%s", what);
	return ret;
}

static void *map(size_t size, int prot, int flags, int fd, off_t offset)
{
	void *p = mmap(NULL, size, prot, flags, fd, offset);

	if (p == MAP_FAILED)
		fail("mmap");
	return p;
}

static void fill(struct frame *f, const uint8_t *to, const uint8_t *from)
{
	memset(f, 0, sizeof(*f));
	memcpy(f->eth.h_dest, to, ETH_ALEN);
	memcpy(f->eth.h_source, from, ETH_ALEN);
	f->eth.h_proto = htons(ETHERTYPE);
}

/* All that anybody does with what was received. */
static void look(const struct frame *f, unsigned int len)
{
	if (len != FRAME || f->seq != received)
		fail("frame %u: %u bytes, number %u", received, len, f->seq);
	received++;
}

/* uio_vmxnet3 */

static struct {
	struct device dev;		/* for its vectors */
	uint8_t *memory;		/* to receive into, then to send from */
	struct uio_completions {
		const struct uio_vmxnet3_completion *entry;
		uint32_t num, next, gen;
	} completions[2];
	struct uio_vmxnet3_submit submit[2];
	uint32_t submitted, completed;	/* to send */
	int eventfd;
} uio;

static void uio_submit(int queue)
{
	struct uio_vmxnet3_submit *s = &uio.submit[queue];

	if (must(ioctl(uio.dev.fd, UIO_VMXNET3_SUBMIT, s), "SUBMIT") != (int)s->count)
		fail("SUBMIT");
	s->count = 0;
}

static inline void uio_request(int queue, uint32_t offset, uint32_t len)
{
	struct uio_vmxnet3_submit *s = &uio.submit[queue];

	s->request[s->count].offset = offset;
	s->request[s->count].len = len;
	if (++s->count == UIO_VMXNET3_MAX_REQUESTS)
		uio_submit(queue);
}

/* The next completion, or NULL. */
static inline const struct uio_vmxnet3_completion *uio_next(int queue)
{
	struct uio_completions *c = &uio.completions[queue];
	const struct uio_vmxnet3_completion *entry = &c->entry[c->next];

	if ((READ(entry->status) & UIO_VMXNET3_GEN) != c->gen)
		return NULL;
	if (++c->next == c->num) {
		c->next = 0;
		c->gen ^= UIO_VMXNET3_GEN;
	}
	return entry;
}

/* For the vector, which masks itself when it fires. */
static void uio_wait(void)
{
	uint64_t count;

	must(read(uio.eventfd, &count, sizeof(count)), "eventfd");
}

static void uio_send(unsigned int n)
{
	for (; n; n--, sent++) {
		uint32_t offset = (BUFFERS + uio.submitted++ % BUFFERS) * BUFFER;

		((struct frame *)(uio.memory + offset))->seq = sent;
		uio_request(UIO_VMXNET3_TX, offset, FRAME);
	}
	if (uio.submit[UIO_VMXNET3_TX].count)
		uio_submit(UIO_VMXNET3_TX);
	do {
		if (interrupts)
			uio_wait();
		while (uio_next(UIO_VMXNET3_TX))
			uio.completed++;
		if (interrupts)
			device_mask(&uio.dev, UIO_VMXNET3_TX, false);
	} while (uio.submitted - uio.completed > (interrupts ? 0 : BUFFERS - MAX_BATCH));
}

static void uio_receive(void)
{
	const struct uio_vmxnet3_completion *c;

	if (interrupts)
		uio_wait();
	while ((c = uio_next(UIO_VMXNET3_RX))) {
		/* The requests are in this order, of as many buffers. */
		uint32_t offset = received % BUFFERS * BUFFER;

		look((struct frame *)(uio.memory + offset), c->len & UIO_VMXNET3_LEN);
		uio_request(UIO_VMXNET3_RX, offset, BUFFER);
	}
	if (interrupts)
		device_mask(&uio.dev, UIO_VMXNET3_RX, false);
}

static void uio_open(const char *file)
{
	struct uio_vmxnet3_memory memory = { .len = 2 * BUFFERS * BUFFER };
	struct uio_vmxnet3_start start = { .mtu = 1500 };
	struct uio_vmxnet3_info info;
	int i;

	uio.dev.fd = must(open(file, O_RDWR | O_CLOEXEC), file);
	must(ioctl(uio.dev.fd, UIO_VMXNET3_GET_INFO, &info), "GET_INFO");
	memcpy(mac, info.mac, ETH_ALEN);
	for (i = 0; i < 2; i++) {
		uio.submit[i].queue = i;
		uio.completions[i].num = info.completions[i];
		uio.completions[i].gen = UIO_VMXNET3_GEN;
		uio.completions[i].entry =
			map(info.completions[i] * sizeof(*uio.completions[i].entry),
			    PROT_READ, MAP_SHARED | MAP_POPULATE, uio.dev.fd,
			    i * getpagesize());
	}
	memory.fd = must(memfd_create("packets", MFD_CLOEXEC), "memfd_create");
	must(ftruncate(memory.fd, memory.len), "ftruncate");
	uio.memory = map(memory.len, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_POPULATE, memory.fd, 0);
	must(ioctl(uio.dev.fd, UIO_VMXNET3_SET_MEMORY, &memory), "SET_MEMORY");
	must(ioctl(uio.dev.fd, UIO_VMXNET3_START, &start), "START");
	for (i = 0; i < BUFFERS; i++) {
		fill((struct frame *)(uio.memory + (BUFFERS + i) * BUFFER),
		     other.nic.mac, mac);
		uio_request(UIO_VMXNET3_RX, i * BUFFER, BUFFER);
	}
	if (uio.submit[UIO_VMXNET3_RX].count)
		uio_submit(UIO_VMXNET3_RX);
	if (!interrupts)
		return;
	uio.eventfd = must(device_vector(&uio.dev, receiving ? UIO_VMXNET3_RX :
					 UIO_VMXNET3_TX), "eventfd");
	must(fcntl(uio.eventfd, F_SETFL, 0), "eventfd");
}

/* What needs a network interface */

static void interface(const char *name)
{
	struct ifreq ifr = { };
	int fd = must(socket(AF_PACKET, SOCK_RAW, 0), "socket"), i;

	ifindex = if_nametoindex(name);
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	must(ioctl(fd, SIOCGIFHWADDR, &ifr), name);
	memcpy(mac, ifr.ifr_hwaddr.sa_data, ETH_ALEN);
	ifr.ifr_flags = IFF_UP;
	must(ioctl(fd, SIOCSIFFLAGS, &ifr), name);
	for (i = 0; !(ifr.ifr_flags & IFF_RUNNING); i++) {
		if (i == 1000)
			fail("%s: no link", name);
		usleep(10000);
		must(ioctl(fd, SIOCGIFFLAGS, &ifr), name);
	}
	close(fd);
}

/* AF_XDP */

static struct {
	int fd;
	uint8_t *memory;
	struct xsk_ring {
		uint32_t *producer, *consumer, *flags;
		void *entries;
		uint32_t mask, next;	/* what this side has come to */
	} rx, tx, fill, completion;
} xsk;

static int bpf(int cmd, union bpf_attr *attr)
{
	return syscall(SYS_bpf, cmd, attr, sizeof(*attr));
}

/* A program that hands all to the socket, until the process ends. */
static int xsk_redirect(void)
{
	union bpf_attr attr = {
		.map_type = BPF_MAP_TYPE_XSKMAP, .key_size = 4, .value_size = 4,
		.max_entries = 1,
	};
	int redirect = must(bpf(BPF_MAP_CREATE, &attr), "BPF_MAP_CREATE");
	const struct bpf_insn program[] = {
		/* return bpf_redirect_map(redirect, ctx->rx_queue_index, XDP_PASS) */
		{ .code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = BPF_REG_2,
		  .src_reg = BPF_REG_1, .off = offsetof(struct xdp_md, rx_queue_index) },
		{ .code = BPF_LD | BPF_IMM | BPF_DW, .dst_reg = BPF_REG_1,
		  .src_reg = BPF_PSEUDO_MAP_FD, .imm = redirect },
		{ },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_3,
		  .imm = XDP_PASS },
		{ .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_redirect_map },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	int fd;

	memset(&attr, 0, sizeof(attr));
	attr.prog_type = BPF_PROG_TYPE_XDP;
	attr.insns = (uintptr_t)program;
	attr.insn_cnt = ARRAY_SIZE(program);
	attr.license = (uintptr_t)"GPL";
	fd = must(bpf(BPF_PROG_LOAD, &attr), "BPF_PROG_LOAD");

	memset(&attr, 0, sizeof(attr));
	attr.link_create.prog_fd = fd;
	attr.link_create.target_ifindex = ifindex;
	attr.link_create.attach_type = BPF_XDP;
	attr.link_create.flags = XDP_FLAGS_DRV_MODE;
	must(bpf(BPF_LINK_CREATE, &attr), "BPF_LINK_CREATE");
	return redirect;
}

static void xsk_map(struct xsk_ring *r, const struct xdp_ring_offset *at,
		    size_t size, off_t offset)
{
	const unsigned int n = 2 * XSK_BUFFERS;
	uint8_t *p = map(at->desc + n * size, PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_POPULATE, xsk.fd, offset);

	r->producer = (void *)(p + at->producer);
	r->consumer = (void *)(p + at->consumer);
	r->flags = (void *)(p + at->flags);
	r->entries = p + at->desc;
	r->mask = n - 1;
}

static void xsk_open(const char *name, uint16_t mode)
{
	static const int rings[] = {
		XDP_RX_RING, XDP_TX_RING, XDP_UMEM_FILL_RING, XDP_UMEM_COMPLETION_RING,
	};
	struct xdp_umem_reg umem = {
		.len = 2 * XSK_BUFFERS * BUFFER, .chunk_size = BUFFER,
	};
	struct sockaddr_xdp address = {
		.sxdp_family = AF_XDP, .sxdp_flags = mode | XDP_USE_NEED_WAKEUP,
	};
	union bpf_attr attr = { };
	struct xdp_mmap_offsets at;
	socklen_t len = sizeof(at);
	int n = 2 * XSK_BUFFERS, zero = 0, redirect = -1;
	size_t i;

	interface(name);
	if (receiving || mode == XDP_ZEROCOPY) {
		redirect = xsk_redirect();
		/* This takes the link down, which is seen later. */
		sleep(3);
		interface(name);
	}
	xsk.fd = must(socket(AF_XDP, SOCK_RAW, 0), "AF_XDP");
	xsk.memory = map(umem.len, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	umem.addr = (uintptr_t)xsk.memory;
	must(setsockopt(xsk.fd, SOL_XDP, XDP_UMEM_REG, &umem, sizeof(umem)), "umem");
	for (i = 0; i < ARRAY_SIZE(rings); i++)
		must(setsockopt(xsk.fd, SOL_XDP, rings[i], &n, sizeof(n)), "ring");
	must(getsockopt(xsk.fd, SOL_XDP, XDP_MMAP_OFFSETS, &at, &len), "offsets");
	xsk_map(&xsk.rx, &at.rx, sizeof(struct xdp_desc), XDP_PGOFF_RX_RING);
	xsk_map(&xsk.tx, &at.tx, sizeof(struct xdp_desc), XDP_PGOFF_TX_RING);
	xsk_map(&xsk.fill, &at.fr, sizeof(uint64_t), XDP_UMEM_PGOFF_FILL_RING);
	xsk_map(&xsk.completion, &at.cr, sizeof(uint64_t),
		XDP_UMEM_PGOFF_COMPLETION_RING);
	for (i = 0; i < XSK_BUFFERS; i++) {
		fill((struct frame *)(xsk.memory + (XSK_BUFFERS + i) * BUFFER),
		     other.nic.mac, mac);
		((uint64_t *)xsk.fill.entries)[i] = i * BUFFER;
	}
	xsk.fill.next = XSK_BUFFERS;
	SET(*xsk.fill.producer, XSK_BUFFERS);
	address.sxdp_ifindex = ifindex;
	must(bind(xsk.fd, (struct sockaddr *)&address, sizeof(address)), "bind");
	if (redirect < 0)
		return;
	attr.map_fd = redirect;
	attr.key = (uintptr_t)&zero;
	attr.value = (uintptr_t)&xsk.fd;
	must(bpf(BPF_MAP_UPDATE_ELEM, &attr), "BPF_MAP_UPDATE_ELEM");
	sleep(3);
	interface(name);
}

static void xsk_open_copy(const char *name)
{
	xsk_open(name, XDP_COPY);
}

/*
 * As it comes, igb interrupts so seldom that one must wait for room to send, which
 * would count. This often one need not, and it was the cheapest that was tried.
 */
static void moderate(const char *name)
{
	struct ethtool_coalesce coalesce = { .cmd = ETHTOOL_GCOALESCE };
	struct ifreq ifr = { .ifr_data = (void *)&coalesce };
	int fd = must(socket(AF_PACKET, SOCK_RAW, 0), "socket");

	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	must(ioctl(fd, SIOCETHTOOL, &ifr), "ETHTOOL_GCOALESCE");
	coalesce.cmd = ETHTOOL_SCOALESCE;
	coalesce.tx_coalesce_usecs = MODERATION;
	must(ioctl(fd, SIOCETHTOOL, &ifr), "ETHTOOL_SCOALESCE");
	close(fd);
}

static void xsk_open_zerocopy(const char *name)
{
	moderate(name);
	xsk_open(name, XDP_ZEROCOPY);
}

static void xsk_send(unsigned int n)
{
	struct xdp_desc *descs = xsk.tx.entries;

	for (; n; n--, sent++) {
		uint32_t i = xsk.tx.next++;
		uint64_t offset = (XSK_BUFFERS + i % XSK_BUFFERS) * BUFFER;

		((struct frame *)(xsk.memory + offset))->seq = sent;
		descs[i & xsk.tx.mask] = (struct xdp_desc){ .addr = offset, .len = FRAME };
	}
	SET(*xsk.tx.producer, xsk.tx.next);
	do {
		if (READ(*xsk.tx.flags) & XDP_RING_NEED_WAKEUP &&
		    sendto(xsk.fd, NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 &&
		    errno != EAGAIN && errno != EBUSY && errno != ENOBUFS)
			fail("sendto");
		xsk.completion.next = READ(*xsk.completion.producer);
		SET(*xsk.completion.consumer, xsk.completion.next);
	} while (xsk.tx.next - xsk.completion.next > XSK_BUFFERS - MAX_BATCH);
}

static void xsk_receive(void)
{
	const struct xdp_desc *descs = xsk.rx.entries;
	uint64_t *fills = xsk.fill.entries;
	struct pollfd pfd = { xsk.fd, POLLIN, 0 };
	uint32_t end;

	if (asleep)
		poll(&pfd, 1, -1);
	end = READ(*xsk.rx.producer);
	if (end == xsk.rx.next)
		return;
	for (; xsk.rx.next != end; xsk.rx.next++) {
		const struct xdp_desc *d = &descs[xsk.rx.next & xsk.rx.mask];

		look((struct frame *)(xsk.memory + d->addr), d->len);
		fills[xsk.fill.next++ & xsk.fill.mask] = d->addr & -BUFFER;
	}
	SET(*xsk.rx.consumer, end);
	SET(*xsk.fill.producer, xsk.fill.next);
	if (READ(*xsk.fill.flags) & XDP_RING_NEED_WAKEUP)
		recvfrom(xsk.fd, NULL, 0, MSG_DONTWAIT, NULL, NULL);
}

/* AF_PACKET: messages, many a call */

static int packet_fd;
static struct mmsghdr messages[2 * MAX_BATCH];
static struct frame frames[ARRAY_SIZE(messages)];

static void packet_socket(const char *name, bool rings)
{
	struct sockaddr_ll address = {
		.sll_family = AF_PACKET,
		.sll_protocol = htons(receiving ? ETHERTYPE : 0),
	};
	int version = TPACKET_V2, one = 1;
	struct tpacket_req ring = {
		.tp_block_size = getpagesize(), .tp_frame_size = BUFFER,
		.tp_block_nr = BUFFERS * BUFFER / getpagesize(), .tp_frame_nr = BUFFERS,
	};

	interface(name);
	packet_fd = must(socket(AF_PACKET, SOCK_RAW, 0), "AF_PACKET");
	must(setsockopt(packet_fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(one)),
	     "PACKET_QDISC_BYPASS");
	if (rings) {
		must(setsockopt(packet_fd, SOL_PACKET, PACKET_VERSION, &version,
				sizeof(version)), "PACKET_VERSION");
		must(setsockopt(packet_fd, SOL_PACKET,
				receiving ? PACKET_RX_RING : PACKET_TX_RING, &ring,
				sizeof(ring)), "ring");
	}
	address.sll_ifindex = ifindex;
	must(bind(packet_fd, (struct sockaddr *)&address, sizeof(address)), "bind");
}

static void packet_open(const char *name)
{
	static struct iovec iov[ARRAY_SIZE(messages)];
	size_t i;

	packet_socket(name, false);
	for (i = 0; i < ARRAY_SIZE(messages); i++) {
		fill(&frames[i], other.nic.mac, mac);
		iov[i] = (struct iovec){ &frames[i], sizeof(frames[i]) };
		messages[i].msg_hdr.msg_iov = &iov[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
}

static void packet_send(unsigned int n)
{
	unsigned int i;

	for (i = 0; i < n; i++)
		frames[i].seq = sent++;
	if (must(sendmmsg(packet_fd, messages, n, 0), "sendmmsg") != (int)n)
		fail("sendmmsg");
}

static void packet_receive(void)
{
	int n = recvmmsg(packet_fd, messages, ARRAY_SIZE(messages),
			 asleep ? MSG_WAITFORONE : MSG_DONTWAIT, NULL), i;

	for (i = 0; i < n; i++)
		look(&frames[i], messages[i].msg_len);
}

/* AF_PACKET: rings that the kernel and the process share */

static uint8_t *tpacket_ring;
static uint32_t tpacket_next;

static void tpacket_open(const char *name)
{
	int i;

	packet_socket(name, true);
	tpacket_ring = map(BUFFERS * BUFFER, PROT_READ | PROT_WRITE,
			   MAP_SHARED | MAP_POPULATE, packet_fd, 0);
	for (i = 0; !receiving && i < BUFFERS; i++)
		fill((struct frame *)(tpacket_ring + i * BUFFER +
				      TPACKET_ALIGN(sizeof(struct tpacket2_hdr))),
		     other.nic.mac, mac);
}

static struct tpacket2_hdr *tpacket_frame(void)
{
	return (struct tpacket2_hdr *)(tpacket_ring + tpacket_next % BUFFERS * BUFFER);
}

static void tpacket_send(unsigned int n)
{
	struct tpacket2_hdr *h;

	for (; n; n--, sent++, tpacket_next++) {
		h = tpacket_frame();
		while (READ(h->tp_status) != TP_STATUS_AVAILABLE)
			sendto(packet_fd, NULL, 0, MSG_DONTWAIT, NULL, 0);
		((struct frame *)((uint8_t *)h + TPACKET_ALIGN(sizeof(*h))))->seq = sent;
		h->tp_len = FRAME;
		SET(h->tp_status, TP_STATUS_SEND_REQUEST);
	}
	if (sendto(packet_fd, NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 && errno != EAGAIN &&
	    errno != ENOBUFS)
		fail("sendto");
}

static void tpacket_receive(void)
{
	struct pollfd pfd = { packet_fd, POLLIN, 0 };
	struct tpacket2_hdr *h;

	if (asleep)
		poll(&pfd, 1, -1);
	while (READ((h = tpacket_frame())->tp_status) & TP_STATUS_USER) {
		look((struct frame *)((uint8_t *)h + h->tp_mac), h->tp_snaplen);
		SET(h->tp_status, TP_STATUS_KERNEL);
		tpacket_next++;
	}
}

static const struct way {
	const char *name;
	const char *device;
	void (*open)(const char *nic);
	void (*send)(unsigned int n);
	void (*receive)(void);		/* what there is; asleep, at least something */
} ways[] = {
	{ "uio_vmxnet3", "vmxnet3", uio_open, uio_send, uio_receive },
	{ "AF_XDP copy", "vmxnet3", xsk_open_copy, xsk_send, xsk_receive },
	{ "AF_XDP zero-copy", "igb", xsk_open_zerocopy, xsk_send, xsk_receive },
	{ "AF_PACKET", "vmxnet3", packet_open, packet_send, packet_receive },
	{ "TPACKET", "vmxnet3", tpacket_open, tpacket_send, tpacket_receive },
};

static const struct way *way;

/* Another 82576, with its link up and nothing received yet. */
static void open_other(const char *bdf)
{
	unsigned int i;

	if (device_bind(&other.dev, bdf) || igb_open(&other))
		fail("%s", bdf);
	for (i = 0; !other.nic.link; i++) {
		if (i == 1000)
			fail("%s: no link", bdf);
		usleep(10000);
		igb_event(&other.nic);
	}
}

static void forget(void)
{
	unsigned int len, q;

	for (q = 0; q < IGB_QUEUES; q++)
		while (igb_rx(&other.nic, q, &len))
			igb_rx_done(&other.nic, q);
}

/* What is sent is on the wire. Then nobody listens there, which costs nothing. */
static void check_sent(void)
{
	unsigned int len, q, n = 0, tries;
	struct frame *f;

	forget();
	way->send(CHECKED);
	for (tries = 0; n < CHECKED && tries < 1000; tries++) {
		for (q = 0; q < IGB_QUEUES; q++)
			while ((f = igb_rx(&other.nic, q, &len))) {
				n += len == FRAME && f->eth.h_proto == htons(ETHERTYPE) &&
				     f->seq == n;
				igb_rx_done(&other.nic, q);
			}
		usleep(1000);
	}
	if (n != CHECKED)
		fail("%u of %u frames arrived", n, CHECKED);
	igb_close(&other);
	device_unbind(&other.dev);
}

static uint64_t send_run(unsigned int batch)
{
	struct rusage before, after;
	uint64_t start;
	unsigned int n;

	getrusage(RUSAGE_SELF, &before);
	start = __rdtsc();
	for (n = 0; n < PACKETS; n += batch)
		way->send(batch);
	start = __rdtsc() - start;
	getrusage(RUSAGE_SELF, &after);
	/* The clock leaps then. */
	if (after.ru_nvcsw != before.ru_nvcsw)
		fail("slept");
	return start / PACKETS;
}

static void *receiver(void *arg)
{
	struct sched_param param = { .sched_priority = 10 };

	errno = pthread_setschedparam(pthread_self(), SCHED_FIFO, &param);
	if (errno)
		fail("SCHED_FIFO");
	for (;;)
		way->receive();
	return arg;
}

static uint64_t receive_run(unsigned int batch)
{
	uint64_t start, sum = 0;
	unsigned int i, burst;
	uint32_t end;
	struct frame f;

	fill(&f, mac, other.nic.mac);
	for (burst = 0; burst < BURSTS; burst++) {
		for (i = 0; i < batch; i++) {
			f.seq = sent++;
			if (!igb_tx_put(&other.nic, 0, &f, FRAME))
				fail("ring");
		}
		end = sent;
		/* For the user to sleep, and the kernel to be done. */
		usleep(1000);
		start = __rdtsc();
		igb_tx_kick(&other.nic, 0);
		while (READ(received) != end) {
			if (!asleep)
				way->receive();
			if (__rdtsc() - start > TOO_LONG)
				fail("%u of %u frames received", batch - (end - received), batch);
		}
		sum += __rdtsc() - start;
	}
	return sum / BURSTS / batch;
}

static int compare(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* 2 n + 1 instructions. */
static void calibrate(void)
{
	uint64_t before, best = -1;
	int i, n;

	for (i = 0; i < 10; i++) {
		n = 100000;
		before = __rdtsc();
		asm volatile("1: dec %0; jnz 1b" : "+r"(n));
		before = __rdtsc() - before;
		if (before < best)
			best = before;
	}
	if (best < 200000 || best > 200100)
		fail("the TSC does not count instructions");
}

int main(int argc, char **argv)
{
	static const unsigned int batches[] = { 1, 8, 15, 32 };
	uint64_t runs[RUNS];
	pthread_t thread;
	size_t i;
	int run;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (i = 0; argc == 6 && i < ARRAY_SIZE(ways); i++)
		if (!strcmp(argv[3], ways[i].name))
			way = &ways[i];
	if (!way) {
		fprintf(stderr, "usage: %s send|receive polled|interrupts|asleep WAY NIC OTHER\n",
			argv[0]);
		return 2;
	}
	receiving = !strcmp(argv[1], "receive");
	asleep = !strcmp(argv[2], "asleep");
	interrupts = strcmp(argv[2], "polled");
	calibrate();
	open_other(argv[5]);
	way->open(argv[4]);
	if (!receiving)
		check_sent();
	else if (asleep && pthread_create(&thread, NULL, receiver, NULL))
		fail("thread");

	for (i = 0; i < ARRAY_SIZE(batches); i++) {
		/* The first is to warm up. */
		for (run = -1; run < RUNS; run++) {
			uint64_t cost = receiving ? receive_run(batches[i]) :
						    send_run(batches[i]);

			if (run >= 0)
				runs[run] = cost;
		}
		qsort(runs, RUNS, sizeof(*runs), compare);
		printf("csv,%s %s,%s,%s,%u,instructions,%d,%lu,%lu,%lu\n", argv[1],
		       argv[2], way->name, way->device, batches[i], RUNS, runs[0],
		       runs[RUNS / 2], runs[RUNS - 1]);
	}
	if (receiving) {
		igb_close(&other);
		device_unbind(&other.dev);
	}
	return 0;
}
