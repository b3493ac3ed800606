/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tests of uio_vmxnet3 share: a device that its user drives as an
 * unprivileged process, and the wire between it and a NIC of this kernel.
 */
#ifndef SELFTESTS_UIO_VMXNET3_UTILS_H
#define SELFTESTS_UIO_VMXNET3_UTILS_H

#include <arpa/inet.h>
#include <endian.h>
#include <grp.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <linux/uio_vmxnet3.h>

#include "uio_msix_utils.h"

#define USER_ID		1000
#define HUGE_PAGE	(2 << 20)
#define TX		UIO_VMXNET3_TX
#define RX		UIO_VMXNET3_RX

struct vmx {
	struct uio_msix uio;
	struct uio_vmxnet3_info info;
	int memfd;
	size_t len;
	uint8_t *mem;			/* what the device may reach */
	const struct uio_vmxnet3_completion *done[2];
	unsigned int seen[2];		/* of them, since START */
};

/* A memfd, of huge pages or not: its file, or -errno. */
static inline int vmx_memfd(size_t len, unsigned int flags)
{
	int fd = memfd_create("uio_vmxnet3", MFD_CLOEXEC | MFD_ALLOW_SEALING | flags);

	if (fd < 0)
		return -errno;
	if (!ftruncate(fd, len))
		return fd;
	close(fd);
	return -ENOMEM;
}

static inline int vmx_set_memory(struct vmx *vmx, int fd, uint64_t offset, uint64_t len)
{
	struct uio_vmxnet3_memory arg = { .fd = fd, .offset = offset, .len = len };

	return ioctl(vmx->uio.fd, UIO_VMXNET3_SET_MEMORY, &arg) ? -errno : 0;
}

static inline int vmx_start(struct vmx *vmx, int mtu, int flags)
{
	struct uio_vmxnet3_start arg = { .mtu = mtu, .flags = flags };

	if (ioctl(vmx->uio.fd, UIO_VMXNET3_START, &arg))
		return -errno;
	vmx->seen[TX] = 0;
	vmx->seen[RX] = 0;
	return 0;
}

static inline int vmx_stop(struct vmx *vmx)
{
	return ioctl(vmx->uio.fd, UIO_VMXNET3_STOP) ? -errno : 0;
}

/* What SUBMIT returns, or -errno. */
static inline int vmx_submit(struct vmx *vmx, const struct uio_vmxnet3_submit *arg)
{
	int ret = ioctl(vmx->uio.fd, UIO_VMXNET3_SUBMIT, arg);

	return ret < 0 ? -errno : ret;
}

static inline int vmx_submit_one(struct vmx *vmx, int queue, uint32_t offset, uint32_t len)
{
	struct uio_vmxnet3_submit arg = {
		.queue = queue,
		.count = 1,
		.request[0] = { .offset = offset, .len = len },
	};

	return vmx_submit(vmx, &arg);
}

static inline int vmx_state(struct vmx *vmx)
{
	if (ioctl(vmx->uio.fd, UIO_VMXNET3_GET_INFO, &vmx->info))
		return -errno;
	return vmx->info.state;
}

/* The next completion within @ms: its slot, -1 if there is none. */
static inline int vmx_done(struct vmx *vmx, int queue, int ms, int *len)
{
	unsigned int n = vmx->seen[queue], size = vmx->info.completions[queue];
	const struct uio_vmxnet3_completion *entry = &vmx->done[queue][n % size];

	/* Set in the first pass, clear in the second, ... */
	while (!(le32toh(reg_read(&entry->status, 0)) & UIO_VMXNET3_GEN) == !(n / size & 1)) {
		if (ms-- <= 0)
			return -1;
		usleep(1000);
	}
	vmx->seen[queue]++;
	if (len)
		*len = le32toh(entry->len) & UIO_VMXNET3_LEN;
	return le32toh(entry->slot) & UIO_VMXNET3_SLOT;
}

/* Open, with what GET_INFO says and the completions mapped: 0 or -errno. */
static inline int vmx_open(struct vmx *vmx)
{
	int queue, ret;
	void *p;

	ret = uio_msix_open(&vmx->uio);
	if (ret)
		return ret;
	ret = vmx_state(vmx);
	for (queue = 0; ret >= 0 && queue < 2; queue++) {
		p = mmap(NULL, vmx->uio.maps[queue].size, PROT_READ, MAP_SHARED,
			 vmx->uio.fd, queue * getpagesize());
		if (p == MAP_FAILED)
			ret = -errno;
		vmx->done[queue] = p;
	}
	return ret < 0 ? ret : 0;
}

/* Give it @len bytes of huge pages, or of small ones: 0 or -errno. */
static inline int vmx_memory(struct vmx *vmx, size_t len, unsigned int flags)
{
	int ret;

	vmx->memfd = vmx_memfd(len, flags);
	if (vmx->memfd < 0)
		return vmx->memfd;
	vmx->len = len;
	vmx->mem = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, vmx->memfd, 0);
	if (vmx->mem == MAP_FAILED)
		ret = -errno;
	else
		ret = vmx_set_memory(vmx, vmx->memfd, 0, len);
	return ret;
}

/* Unmap the memory, for which nothing but the device may have it then. */
static inline void vmx_unmap(struct vmx *vmx)
{
	if (vmx->mem)
		munmap(vmx->mem, vmx->len);
	vmx->mem = NULL;
}

static inline void vmx_close(struct vmx *vmx)
{
	int queue;

	for (queue = 0; queue < 2; queue++)
		if (vmx->done[queue])
			munmap((void *)vmx->done[queue], vmx->uio.maps[queue].size);
	uio_msix_close(&vmx->uio);
	vmx_unmap(vmx);
	if (vmx->memfd > 0)
		close(vmx->memfd);
	*vmx = (struct vmx){ .uio = vmx->uio };
}

/* From root to a user who may nothing, for good; but what is in /proc is theirs. */
static inline int drop_privileges(void)
{
	return setgroups(0, NULL) || setresgid(USER_ID, USER_ID, USER_ID) ||
	       setresuid(USER_ID, USER_ID, USER_ID) ||
	       prctl(PR_SET_DUMPABLE, 1) ? -errno : 0;
}

/*
 * The wire: UDP, between an address that our frames have and one of the other
 * NIC, whose kernel checks, strips and adds the headers.
 */
#define WIRE_OURS	"10.77.0.2"
#define WIRE_PEER	"10.77.0.1"
#define WIRE_PORT	7777
#define WIRE_HEADERS	(ETH_HLEN + sizeof(struct iphdr) + sizeof(struct udphdr))

struct wire {
	int fd;		/* the kernel's end */
	uint8_t ours[ETH_ALEN], peer[ETH_ALEN];
};

static inline struct sockaddr_in wire_addr(const char *addr)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_port = htons(WIRE_PORT),
		.sin_addr.s_addr = inet_addr(addr),
	};
}

/* As root: set up interface @name, which knows us without asking. 0 or -errno. */
static inline int wire_open(struct wire *wire, const char *name, const uint8_t *mac)
{
	struct sockaddr_in addr = wire_addr(WIRE_PEER), ours = wire_addr(WIRE_OURS);
	struct timeval timeout = { .tv_sec = EVENT_MS / 1000 };
	struct arpreq arp = { .arp_flags = ATF_PERM | ATF_COM };
	struct ifreq ifr = { };
	int size = 4 << 20;

	wire->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	ifr.ifr_mtu = 9000;
	if (ioctl(wire->fd, SIOCSIFMTU, &ifr))
		return -errno;
	memcpy(&ifr.ifr_addr, &addr, sizeof(addr));
	if (ioctl(wire->fd, SIOCSIFADDR, &ifr))
		return -errno;
	ifr.ifr_flags = IFF_UP | IFF_RUNNING;
	if (ioctl(wire->fd, SIOCSIFFLAGS, &ifr) || ioctl(wire->fd, SIOCGIFHWADDR, &ifr))
		return -errno;
	memcpy(wire->peer, ifr.ifr_hwaddr.sa_data, ETH_ALEN);
	memcpy(wire->ours, mac, ETH_ALEN);

	memcpy(&arp.arp_pa, &ours, sizeof(ours));
	arp.arp_ha.sa_family = ARPHRD_ETHER;
	memcpy(arp.arp_ha.sa_data, mac, ETH_ALEN);
	snprintf(arp.arp_dev, sizeof(arp.arp_dev), "%s", name);
	setsockopt(wire->fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
	setsockopt(wire->fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	if (ioctl(wire->fd, SIOCSARP, &arp) ||
	    bind(wire->fd, (void *)&addr, sizeof(addr)) ||
	    connect(wire->fd, (void *)&ours, sizeof(ours)))
		return -errno;
	return 0;
}

/* The payload of a frame of @size bytes that is number @n. */
static inline int wire_payload(uint8_t *p, int size, uint32_t n)
{
	int len = size - WIRE_HEADERS, i;

	for (i = 0; i < len; i++)
		p[i] = i < 4 ? n >> 8 * i : n * 31 + i * 7 + i / 256;
	return len;
}

/* Write that frame, from us to the peer. */
static inline void wire_frame(const struct wire *wire, uint8_t *frame, int size, uint32_t n)
{
	struct ethhdr *eth = (void *)frame;
	struct iphdr *ip = (void *)(eth + 1);
	struct udphdr *udp = (void *)(ip + 1);
	uint32_t sum = 0;
	int i;

	memcpy(eth->h_dest, wire->peer, ETH_ALEN);
	memcpy(eth->h_source, wire->ours, ETH_ALEN);
	eth->h_proto = htons(ETH_P_IP);
	*ip = (struct iphdr){
		.version = 4, .ihl = 5, .ttl = 64, .protocol = IPPROTO_UDP,
		.tot_len = htons(size - ETH_HLEN),
		.saddr = inet_addr(WIRE_OURS), .daddr = inet_addr(WIRE_PEER),
	};
	for (i = 0; i < 10; i++)
		sum += ((uint16_t *)ip)[i];
	sum = (sum & 0xffff) + (sum >> 16);
	ip->check = ~(sum + (sum >> 16));
	*udp = (struct udphdr){
		.source = htons(WIRE_PORT), .dest = htons(WIRE_PORT),
		.len = htons(size - ETH_HLEN - sizeof(*ip)),
	};
	wire_payload((void *)(udp + 1), size, n);
}

/* Whether what arrived at us is frame @n of @size bytes from the peer. */
static inline bool wire_is(const struct wire *wire, const uint8_t *frame, int len,
			   int size, uint32_t n)
{
	uint8_t want[10000];

	/* Padding counts. */
	return len >= size && !memcmp(frame, wire->ours, ETH_ALEN) &&
	       !memcmp(frame + ETH_ALEN, wire->peer, ETH_ALEN) &&
	       !memcmp(frame + WIRE_HEADERS, want, wire_payload(want, size, n));
}

#endif /* SELFTESTS_UIO_VMXNET3_UTILS_H */
