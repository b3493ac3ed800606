/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * uio_msix: the MSI-X vectors of a PCI device as eventfds
 *
 * See Documentation/driver-api/uio-msix.rst
 */
#ifndef _UAPI_LINUX_UIO_MSIX_H
#define _UAPI_LINUX_UIO_MSIX_H

#include <linux/ioctl.h>
#include <linux/types.h>

/**
 * struct uio_msix_info - what this open of the device offers
 * @num_vectors: number of vectors, from 1 to what the device has
 * @flags: 0 for now
 * @reserved: 0
 */
struct uio_msix_info {
	__u32 num_vectors;
	__u32 flags;
	__u32 reserved[2];
};

/**
 * struct uio_msix_eventfd - which eventfd a vector signals
 * @vector: index of the vector, below &uio_msix_info.num_vectors
 * @fd: eventfd that is signalled when it interrupts, or -1 to detach the vector
 * @flags: must be 0
 * @reserved: must be 0
 */
struct uio_msix_eventfd {
	__u32 vector;
	__s32 fd;
	__u32 flags;
	__u32 reserved;
};

/**
 * struct uio_msix_mask - whether a vector holds its interrupts back
 * @vector: index of the vector, below &uio_msix_info.num_vectors
 * @masked: 1 holds interrupts back; 0 delivers them again, beginning with an
 *	    event for what arrived in between
 * @flags: must be 0
 * @reserved: must be 0
 */
struct uio_msix_mask {
	__u32 vector;
	__u32 masked;
	__u32 flags;
	__u32 reserved;
};

#define UIO_MSIX_GET_INFO	_IOR('u', 0x50, struct uio_msix_info)
#define UIO_MSIX_SET_EVENTFD	_IOW('u', 0x51, struct uio_msix_eventfd)
#define UIO_MSIX_SET_MASK	_IOW('u', 0x52, struct uio_msix_mask)

#endif /* _UAPI_LINUX_UIO_MSIX_H */
