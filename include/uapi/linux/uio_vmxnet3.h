/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * uio_vmxnet3: the queues of a vmxnet3 NIC, mediated by the kernel
 *
 * See Documentation/driver-api/uio-vmxnet3.rst. Its vectors are set up with
 * UIO_MSIX_SET_EVENTFD and UIO_MSIX_SET_MASK of linux/uio_msix.h.
 */
#ifndef _UAPI_LINUX_UIO_VMXNET3_H
#define _UAPI_LINUX_UIO_VMXNET3_H

#include <linux/ioctl.h>
#include <linux/types.h>

/* Queues, and the UIO maps that hold their completions */
#define UIO_VMXNET3_TX		0
#define UIO_VMXNET3_RX		1

/* Vectors; the first two are the queues' */
#define UIO_VMXNET3_EVENT	2

/* &uio_vmxnet3_info.state */
#define UIO_VMXNET3_STOPPED	0
#define UIO_VMXNET3_RUNNING	1
#define UIO_VMXNET3_BROKEN	2

/**
 * struct uio_vmxnet3_info - the device and its queues
 * @mac: its address
 * @state: UIO_VMXNET3_STOPPED, _RUNNING or _BROKEN
 * @reserved0: 0
 * @link_mbit: speed of the link, 0 while it is down
 * @num_vectors: number of vectors: 3
 * @ring_size: of each queue; one less can be outstanding
 * @completions: number of entries in each map of completions
 * @min_len: shortest request of each queue
 * @max_len: longest request of each queue
 * @reserved: 0
 */
struct uio_vmxnet3_info {
	__u8  mac[6];
	__u8  state;
	__u8  reserved0;
	__u32 link_mbit;
	__u32 num_vectors;
	__u32 ring_size[2];
	__u32 completions[2];
	__u32 min_len[2];
	__u32 max_len[2];
	__u32 reserved[4];
};

/**
 * struct uio_vmxnet3_memory - what the device may read and write
 * @fd: a memfd, or another file of tmpfs or hugetlbfs, open for reading and
 *	writing and without write seals; -1 lets the memory go
 * @flags: must be 0
 * @offset: where in the file it begins, in whole pages
 * @len: how long it is, in whole pages, at most 1 GiB
 */
struct uio_vmxnet3_memory {
	__s32 fd;
	__u32 flags;
	__u64 offset;
	__u64 len;
};

/* &uio_vmxnet3_start.flags */
#define UIO_VMXNET3_PROMISC	1	/* receive all frames */
#define UIO_VMXNET3_ALLMULTI	2	/* receive all multicast frames */

/**
 * struct uio_vmxnet3_start - how the device is to be set up
 * @mtu: from 60 to 9000
 * @flags: UIO_VMXNET3_PROMISC, UIO_VMXNET3_ALLMULTI
 * @reserved: must be 0
 */
struct uio_vmxnet3_start {
	__u32 mtu;
	__u32 flags;
	__u32 reserved[2];
};

/* How many requests one UIO_VMXNET3_SUBMIT can carry */
#define UIO_VMXNET3_MAX_REQUESTS	15

/**
 * struct uio_vmxnet3_request - one frame, or one buffer to receive it in
 * @offset: where in the memory it begins
 * @len: how long it is
 */
struct uio_vmxnet3_request {
	__u32 offset;
	__u32 len;
};

/**
 * struct uio_vmxnet3_submit - requests for one queue
 * @queue: UIO_VMXNET3_TX or UIO_VMXNET3_RX
 * @count: how many of @request there are, from 1 to UIO_VMXNET3_MAX_REQUESTS
 * @request: the requests, taken in this order
 */
struct uio_vmxnet3_submit {
	__u32 queue;
	__u32 count;
	struct uio_vmxnet3_request request[UIO_VMXNET3_MAX_REQUESTS];
};

#define UIO_VMXNET3_GET_INFO	_IOR('u', 0x60, struct uio_vmxnet3_info)
#define UIO_VMXNET3_SET_MEMORY	_IOW('u', 0x61, struct uio_vmxnet3_memory)
#define UIO_VMXNET3_START	_IOW('u', 0x62, struct uio_vmxnet3_start)
#define UIO_VMXNET3_STOP	_IO('u', 0x63)
#define UIO_VMXNET3_SUBMIT	_IOW('u', 0x64, struct uio_vmxnet3_submit)

/**
 * struct uio_vmxnet3_completion - one entry of a map of completions
 * @slot: UIO_VMXNET3_SLOT, and when receiving the other bits below
 * @hash: of the device
 * @len: when receiving, UIO_VMXNET3_LEN, UIO_VMXNET3_ERROR
 * @status: UIO_VMXNET3_GEN and, when receiving, what it checked
 *
 * Written by the device. An entry is there when UIO_VMXNET3_GEN is set in the
 * first pass over the map after a start, clear in the second, and so on. Read
 * @status first, and the rest after a load barrier.
 */
struct uio_vmxnet3_completion {
	__le32 slot;
	__le32 hash;
	__le32 len;
	__le32 status;
};

/* &uio_vmxnet3_completion.slot */
#define UIO_VMXNET3_SLOT	0x00000fff	/* the request that is complete */
#define UIO_VMXNET3_EOP		0x00004000	/* receive: ends a frame: 1 */
#define UIO_VMXNET3_SOP		0x00008000	/* receive: begins a frame: 1 */
#define UIO_VMXNET3_RING	0x03ff0000	/* receive: ring: 0 */

/* &uio_vmxnet3_completion.len, when receiving */
#define UIO_VMXNET3_LEN		0x00003fff	/* how much was written */
#define UIO_VMXNET3_ERROR	0x00004000	/* the frame is damaged or cut off */

/* &uio_vmxnet3_completion.status */
#define UIO_VMXNET3_GEN		0x80000000

#endif /* _UAPI_LINUX_UIO_VMXNET3_H */
