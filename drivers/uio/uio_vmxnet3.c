// SPDX-License-Identifier: GPL-2.0-only
/*
 * uio_vmxnet3 - the queues of a vmxnet3 for a process that is trusted with nothing
 * but a network. The kernel writes the rings and the registers, and checks each
 * request; the process reads completions: Documentation/driver-api/uio-vmxnet3.rst
 */
#include <linux/cred.h>
#include <linux/dma-mapping.h>
#include <linux/file.h>
#include <linux/hugetlb.h>
#include <linux/if_vlan.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/pci.h>
#include <linux/sched/signal.h>
#include <linux/shmem_fs.h>
#include <linux/sizes.h>
#include <linux/uio_driver.h>
#include <linux/unaligned.h>
#include <uapi/linux/uio_vmxnet3.h>
#include "uio_vectors.h"
#include "../net/vmxnet3/vmxnet3_defs.h"

#define DRIVER_NAME "uio_vmxnet3"
#define NUM_QUEUES 2
#define NUM_VECTORS 3
#define RING_SIZE 1024		/* and as many completions; a power of two */

/* No copy for the device: its user has mapped what it reads and writes. */
#define DMA_ATTRS DMA_ATTR_REQUIRE_COHERENT

/* What the device shares with the kernel; the user reads the completions. */
struct uio_vmxnet3_shared {
	struct Vmxnet3_DriverShared driver;
	struct {
		struct Vmxnet3_TxQueueDesc tx;
		struct Vmxnet3_RxQueueDesc rx;
	} queue __aligned(VMXNET3_QUEUE_DESC_ALIGN);
	struct {
		struct uio_vmxnet3_completion entry[RING_SIZE];
	} __aligned(PAGE_SIZE) completions[NUM_QUEUES];
	union Vmxnet3_GenericDesc ring[NUM_QUEUES][RING_SIZE];
};

#define SHARED_DMA(udev, member) cpu_to_le64((udev)->shared_dma + \
		offsetof(struct uio_vmxnet3_shared, member))
#define MAP_SIZE sizeof_field(struct uio_vmxnet3_shared, completions[0])

/* What differs between the queues */
static const struct uio_vmxnet3_queue_type {
	const char *map;
	u32 min_len;
	u32 max_len;
	u32 gen;	/* in the third word of a descriptor */
	u32 flags;	/* its fourth word */
} uio_vmxnet3_queue_types[NUM_QUEUES] = {
	[UIO_VMXNET3_TX] = {
		.map = "tx-completions",
		.min_len = ETH_HLEN, .max_len = VMXNET3_MAX_MTU + VLAN_ETH_HLEN,
		.gen = VMXNET3_TXD_GEN, .flags = VMXNET3_TXD_EOP | VMXNET3_TXD_CQ,
	},
	[UIO_VMXNET3_RX] = {
		.map = "rx-completions",
		.min_len = VMXNET3_MIN_T0_BUF_SIZE, .max_len = VMXNET3_MAX_RX_BUF_SIZE,
		.gen = 1U << VMXNET3_RXD_GEN_SHIFT,
	},
};

/* Since the start; neither the user nor the device writes these */
struct uio_vmxnet3_queue {
	u32 submitted;		/* requests */
	u32 completed;		/* of them, by ... */
	u32 completions;	/* ... so many */
};

/* Where a page of the memory is for the device, and how far it goes on there */
struct uio_vmxnet3_page {
	dma_addr_t dma;
	u32 left;
};

/* The memory of the user: folios that are pinned, and each mapped in one piece */
struct uio_vmxnet3_mem {
	struct file *file;
	struct user_struct *user;	/* who is charged for ... */
	unsigned long locked;		/* ... so many pages */
	struct folio **folios;
	unsigned long num_folios;
	u32 mapped;			/* pages, of ... */
	u32 num_pages;
	struct uio_vmxnet3_page pages[] __counted_by(num_pages);
};

/*
 * One bound device. A session begins when it is opened, and ends when the file is
 * closed or the device is taken away; then the file is dead, but still open. In
 * a session the device runs from START to STOP; only then does it do DMA.
 *
 * All of it is under info_lock, which the UIO core holds around each callback.
 * Lock order: device lock, info_lock, folio lock; mmap_lock, info_lock. Do not take
 * mmap_lock here, nor an inode lock, whose holder in write() may wait for it.
 */
struct uio_vmxnet3_dev {
	struct uio_info info;	/* .irq: UIO_IRQ_CUSTOM in a session, or 0 */
	struct pci_dev *pdev;
	void __iomem *bar0;	/* doorbells, interrupt masks */
	void __iomem *bar1;	/* all else */
	struct uio_vector vectors[NUM_VECTORS];
	bool open;
	bool ending;	/* no ioctl begins, SET_MEMORY gives up; without info_lock */
	int away;	/* resets, and shutdown: not to be opened */

	/* In a session */
	u8 state;
	u8 mac[ETH_ALEN];
	struct uio_vmxnet3_shared *shared;
	dma_addr_t shared_dma;
	struct page *pages[NUM_QUEUES * MAP_SIZE / PAGE_SIZE];	/* completions */
	struct uio_vmxnet3_queue queues[NUM_QUEUES];
	struct uio_vmxnet3_mem *mem;
};

static struct uio_vmxnet3_dev *to_uio_vmxnet3_dev(struct uio_info *info)
{
	return container_of(info, struct uio_vmxnet3_dev, info);
}

/* A command, and its answer; what was sent before has arrived then. */
static u32 uio_vmxnet3_command(struct uio_vmxnet3_dev *udev, u32 command)
{
	writel(command, udev->bar1 + VMXNET3_REG_CMD);
	return readl(udev->bar1 + VMXNET3_REG_CMD);
}

/* The device does no DMA after this. */
static void uio_vmxnet3_stop(struct uio_vmxnet3_dev *udev, u8 state)
{
	uio_vmxnet3_command(udev, VMXNET3_CMD_RESET_DEV);
	pci_clear_master(udev->pdev);
	udev->state = state;
	if (state == UIO_VMXNET3_BROKEN)
		pci_notice_ratelimited(udev->pdev, "stopped: reports an error, or completed what it was not given\n");
}

/* The device masks a vector when it fires. */
static void uio_vmxnet3_arm(struct uio_vmxnet3_dev *udev, u32 vector)
{
	if (udev->state == UIO_VMXNET3_RUNNING)
		writel(0, udev->bar0 + VMXNET3_REG_IMR + vector * VMXNET3_REG_ALIGN);
}

/* Charge the user for @pages more. account_locked_vm() takes mmap_lock. */
static int uio_vmxnet3_charge(struct uio_vmxnet3_mem *mem, unsigned long pages)
{
	unsigned long limit = rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT;
	long locked = atomic_long_read(&mem->user->locked_vm);

	do {
		if (locked + pages > limit)
			return -ENOMEM;
	} while (!atomic_long_try_cmpxchg(&mem->user->locked_vm, &locked,
					  locked + pages));
	mem->locked += pages;
	return 0;
}

/* Let go of what uio_vmxnet3_get_mem() got so far, when the device does not run. */
static void uio_vmxnet3_put_mem(struct uio_vmxnet3_dev *udev,
				struct uio_vmxnet3_mem *mem)
{
	unsigned long folio = 0;
	u32 i;

	if (!mem)
		return;
	for (i = 0; i < mem->mapped; i += mem->pages[i].left >> PAGE_SHIFT) {
		dma_unmap_page_attrs(&udev->pdev->dev, mem->pages[i].dma,
				     mem->pages[i].left, DMA_BIDIRECTIONAL, DMA_ATTRS);
		folio_mark_dirty_lock(mem->folios[folio++]);
	}
	unpin_folios(mem->folios, mem->num_folios);
	kvfree(mem->folios);
	atomic_long_sub(mem->locked, &mem->user->locked_vm);
	free_uid(mem->user);
	mapping_unmap_writable(mem->file->f_mapping);
	fput(mem->file);
	kvfree(mem);
}

/* Pin the folios of the memory, from @pos of its file, as a whole; map its part. */
static int uio_vmxnet3_pin(struct uio_vmxnet3_dev *udev,
			   struct uio_vmxnet3_mem *mem, loff_t pos)
{
	loff_t end = pos + ((loff_t)mem->num_pages << PAGE_SHIFT);
	pgoff_t skip;
	long ret;

	if (uio_vmxnet3_charge(mem, mem->num_pages))
		return -ENOMEM;
	mem->folios = kvmalloc_objs(*mem->folios, mem->num_pages,
				    GFP_KERNEL_ACCOUNT);
	if (!mem->folios)
		return -ENOMEM;
	while (pos < end) {
		struct folio *folio;
		dma_addr_t dma;
		size_t left;

		/* How long each takes is up to the user, who can be out of memory. */
		if (READ_ONCE(udev->ending) || signal_pending(current))
			return READ_ONCE(udev->ending) ? -ENODEV : -ERESTARTSYS;
		ret = memfd_pin_folios(mem->file, pos, pos, &folio, 1, &skip);
		if (ret < 0)
			return ret == -EINVAL ? -EINVAL : -ENOMEM;
		folio_lock(folio);
		/* Not the file's any more, if it was collapsed into a huge one. */
		if (folio->mapping != mem->file->f_mapping) {
			folio_unlock(folio);
			unpin_folio(folio);
			continue;
		}
		mem->folios[mem->num_folios++] = folio;
		/* fallocate() leaves in it what it held before. */
		if (!folio_test_uptodate(folio)) {
			folio_zero_range(folio, 0, folio_size(folio));
			folio_mark_uptodate(folio);
		}
		folio_unlock(folio);
		left = min_t(loff_t, folio_size(folio) - skip, end - pos);
		if (uio_vmxnet3_charge(mem, (folio_size(folio) - left) >> PAGE_SHIFT))
			return -ENOMEM;
		dma = dma_map_page_attrs(&udev->pdev->dev, &folio->page, skip, left,
					 DMA_BIDIRECTIONAL, DMA_ATTRS);
		if (dma_mapping_error(&udev->pdev->dev, dma))
			return -ENOMEM;
		for (pos += left; left; left -= PAGE_SIZE, dma += PAGE_SIZE)
			mem->pages[mem->mapped++] = (struct uio_vmxnet3_page){ dma, left };
	}
	return 0;
}

/* May the user write to @file? If so, it cannot be sealed until unmapped again. */
static int uio_vmxnet3_map_writable(struct file *file)
{
	unsigned int seals;

	if (shmem_file(file))
		seals = READ_ONCE(SHMEM_I(file_inode(file))->seals);
#ifdef CONFIG_HUGETLBFS
	else if (is_file_hugepages(file))
		seals = READ_ONCE(HUGETLBFS_I(file_inode(file))->seals);
#endif
	else
		return -EINVAL;

	/* As mmap() does. */
	if (!(file->f_mode & FMODE_READ) || !(file->f_mode & FMODE_WRITE) ||
	    IS_APPEND(file_inode(file)))
		return -EACCES;
	if (seals & F_SEAL_FUTURE_WRITE)
		return -EPERM;
	return mapping_map_writable(file->f_mapping);
}

static struct uio_vmxnet3_mem *uio_vmxnet3_get_mem(struct uio_vmxnet3_dev *udev,
						   const struct uio_vmxnet3_memory *arg)
{
	u32 num_pages = arg->len >> PAGE_SHIFT;
	struct file *file = fget(arg->fd);
	struct uio_vmxnet3_mem *mem;
	loff_t size;
	int ret;

	if (!file)
		return ERR_PTR(-EBADF);
	ret = uio_vmxnet3_map_writable(file);
	if (ret)
		goto err_fput;
	size = i_size_read(file_inode(file));
	ret = -EINVAL;
	if (arg->offset > size || arg->len > size - arg->offset)
		goto err_unmap;
	ret = -ENOMEM;
	mem = kvzalloc_flex(*mem, pages, num_pages, GFP_KERNEL_ACCOUNT);
	if (!mem)
		goto err_unmap;
	mem->num_pages = num_pages;
	mem->file = file;
	mem->user = get_uid(current_user());

	ret = uio_vmxnet3_pin(udev, mem, arg->offset);
	if (!ret)
		return mem;
	uio_vmxnet3_put_mem(udev, mem);
	return ERR_PTR(ret);

err_unmap:
	mapping_unmap_writable(file->f_mapping);
err_fput:
	fput(file);
	return ERR_PTR(ret);
}

static int uio_vmxnet3_set_memory(struct uio_vmxnet3_dev *udev,
				  const struct uio_vmxnet3_memory *arg)
{
	struct uio_vmxnet3_mem *mem;

	if (arg->fd < -1 || arg->flags ||
	    (arg->fd >= 0 && (!arg->len || arg->len > SZ_1G ||
			      offset_in_page(arg->len | arg->offset))))
		return -EINVAL;
	if (udev->state != UIO_VMXNET3_STOPPED)
		return udev->state == UIO_VMXNET3_BROKEN ? -EIO : -EBUSY;

	mem = arg->fd >= 0 ? uio_vmxnet3_get_mem(udev, arg) : NULL;
	if (IS_ERR(mem))
		return PTR_ERR(mem);
	uio_vmxnet3_put_mem(udev, udev->mem);
	udev->mem = mem;
	return 0;
}

/* Write what the device reads when it is activated. */
static void uio_vmxnet3_setup(struct uio_vmxnet3_dev *udev,
			      const struct uio_vmxnet3_start *arg)
{
	struct uio_vmxnet3_shared *shared = udev->shared;
	struct Vmxnet3_DSDevRead *conf = &shared->driver.devRead;
	struct Vmxnet3_TxQueueConf *tx = &shared->queue.tx.conf;
	struct Vmxnet3_RxQueueConf *rx = &shared->queue.rx.conf;
	u32 rx_mode = VMXNET3_RXM_UCAST | VMXNET3_RXM_BCAST;

	memset(shared, 0, sizeof(*shared));
	memset(udev->queues, 0, sizeof(udev->queues));

	shared->driver.magic = cpu_to_le32(VMXNET3_REV1_MAGIC);
	shared->driver.size = cpu_to_le32(sizeof(shared->driver));
	conf->misc.driverInfo.vmxnet3RevSpt = cpu_to_le32(1);
	conf->misc.driverInfo.uptVerSpt = cpu_to_le32(1);
	conf->misc.queueDescPA = SHARED_DMA(udev, queue);
	conf->misc.queueDescLen = cpu_to_le32(sizeof(shared->queue));
	conf->misc.mtu = cpu_to_le32(arg->mtu);
	/* Or else it looks for pieces in the second ring, which is not there. */
	conf->misc.maxNumRxSG = cpu_to_le16(1);
	conf->misc.numTxQueues = 1;
	conf->misc.numRxQueues = 1;
	conf->intrConf.autoMask = true;
	conf->intrConf.numIntrs = NUM_VECTORS;
	conf->intrConf.eventIntrIdx = UIO_VMXNET3_EVENT;
	memset(conf->intrConf.modLevels, UPT1_IML_ADAPTIVE, NUM_VECTORS);
	if (arg->flags & UIO_VMXNET3_PROMISC)
		rx_mode |= VMXNET3_RXM_PROMISC;
	if (arg->flags & UIO_VMXNET3_ALLMULTI)
		rx_mode |= VMXNET3_RXM_ALL_MULTI;
	conf->rxFilterConf.rxMode = cpu_to_le32(rx_mode);
	/* All VLANs; frames come with their tags. */
	memset(conf->rxFilterConf.vfTable, 0xff, sizeof(conf->rxFilterConf.vfTable));

	tx->txRingBasePA = SHARED_DMA(udev, ring[UIO_VMXNET3_TX]);
	tx->txRingSize = cpu_to_le32(RING_SIZE);
	tx->compRingBasePA = SHARED_DMA(udev, completions[UIO_VMXNET3_TX]);
	tx->compRingSize = cpu_to_le32(RING_SIZE);
	tx->intrIdx = UIO_VMXNET3_TX;
	rx->rxRingBasePA[0] = SHARED_DMA(udev, ring[UIO_VMXNET3_RX]);
	rx->rxRingSize[0] = cpu_to_le32(RING_SIZE);
	rx->compRingBasePA = SHARED_DMA(udev, completions[UIO_VMXNET3_RX]);
	rx->compRingSize = cpu_to_le32(RING_SIZE);
	rx->intrIdx = UIO_VMXNET3_RX;
}

static int uio_vmxnet3_start(struct uio_vmxnet3_dev *udev,
			     const struct uio_vmxnet3_start *arg)
{
	/* QEMU aborts if the MTU is out of range. */
	if (arg->mtu < VMXNET3_MIN_MTU || arg->mtu > VMXNET3_MAX_MTU ||
	    arg->flags & ~(UIO_VMXNET3_PROMISC | UIO_VMXNET3_ALLMULTI) ||
	    arg->reserved[0] || arg->reserved[1])
		return -EINVAL;
	if (udev->state != UIO_VMXNET3_STOPPED)
		return udev->state == UIO_VMXNET3_BROKEN ? -EIO : -EBUSY;
	if (!udev->mem)
		return -ENXIO;

	uio_vmxnet3_setup(udev, arg);
	writel(lower_32_bits(udev->shared_dma), udev->bar1 + VMXNET3_REG_DSAL);
	writel(upper_32_bits(udev->shared_dma), udev->bar1 + VMXNET3_REG_DSAH);
	pci_set_master(udev->pdev);
	if (uio_vmxnet3_command(udev, VMXNET3_CMD_ACTIVATE_DEV)) {
		uio_vmxnet3_stop(udev, UIO_VMXNET3_STOPPED);
		return -EIO;
	}
	/* QEMU goes back to the one it was made with. */
	writel(get_unaligned_le32(udev->mac), udev->bar1 + VMXNET3_REG_MACL);
	writel(get_unaligned_le16(udev->mac + 4), udev->bar1 + VMXNET3_REG_MACH);
	uio_vmxnet3_command(udev, VMXNET3_CMD_UPDATE_RX_MODE);
	udev->state = UIO_VMXNET3_RUNNING;
	for (int i = 0; i < NUM_VECTORS; i++)
		uio_vmxnet3_arm(udev, i);
	return 0;
}

/* Take the completions that have come. A request that was skipped is complete. */
static int uio_vmxnet3_complete(struct uio_vmxnet3_dev *udev, u32 queue)
{
	const struct uio_vmxnet3_completion *ring = udev->shared->completions[queue].entry;
	struct uio_vmxnet3_queue *q = &udev->queues[queue];

	for (;; q->completions++) {
		const struct uio_vmxnet3_completion *c = &ring[q->completions % RING_SIZE];
		u32 gen = q->completions & RING_SIZE ? 0 : UIO_VMXNET3_GEN;
		u32 slot, done;

		if ((le32_to_cpu(READ_ONCE(c->status)) & UIO_VMXNET3_GEN) != gen)
			return 0;
		/* The device writes the generation last. */
		dma_rmb();
		slot = le32_to_cpu(READ_ONCE(c->slot));
		done = (slot - q->completed) % RING_SIZE + 1;
		if ((queue == UIO_VMXNET3_RX && slot & UIO_VMXNET3_RING) ||
		    (slot & UIO_VMXNET3_SLOT) >= RING_SIZE ||
		    done > q->submitted - q->completed) {
			uio_vmxnet3_stop(udev, UIO_VMXNET3_BROKEN);
			return -EIO;
		}
		q->completed += done;
	}
}

/* The only way from a request to an address: where in the memory it is, if it is */
static bool uio_vmxnet3_check(const struct uio_vmxnet3_mem *mem,
			      const struct uio_vmxnet3_queue_type *type,
			      const struct uio_vmxnet3_request *request,
			      dma_addr_t *dma)
{
	u32 index = request->offset >> PAGE_SHIFT;
	u32 offset = offset_in_page(request->offset);
	const struct uio_vmxnet3_page *page;

	if (index >= mem->num_pages)
		return false;
	page = &mem->pages[array_index_nospec(index, mem->num_pages)];
	*dma = page->dma + offset;
	return request->len >= type->min_len && request->len <= type->max_len &&
	       request->len <= page->left - offset;
}

static int uio_vmxnet3_submit(struct uio_vmxnet3_dev *udev,
			      const struct uio_vmxnet3_submit *arg)
{
	u32 queue = array_index_nospec(arg->queue, NUM_QUEUES);
	const struct uio_vmxnet3_queue_type *type = &uio_vmxnet3_queue_types[queue];
	struct uio_vmxnet3_queue *q = &udev->queues[queue];
	u32 i;
	int ret;

	if (arg->queue >= NUM_QUEUES || !arg->count ||
	    arg->count > UIO_VMXNET3_MAX_REQUESTS)
		return -EINVAL;
	if (udev->state != UIO_VMXNET3_RUNNING)
		return udev->state == UIO_VMXNET3_BROKEN ? -EIO : -ENETDOWN;
	ret = uio_vmxnet3_complete(udev, queue);
	if (ret)
		return ret;

	for (i = 0; i < arg->count; i++) {
		const struct uio_vmxnet3_request request = arg->request[i];
		union Vmxnet3_GenericDesc *desc =
			&udev->shared->ring[queue][q->submitted % RING_SIZE];
		u32 gen = q->submitted & RING_SIZE ? 0 : type->gen;
		dma_addr_t dma;

		ret = -EINVAL;
		if (!uio_vmxnet3_check(udev->mem, type, &request, &dma))
			break;
		ret = -ENOSPC;
		if (q->submitted - q->completed == RING_SIZE - 1)
			break;

		desc->qword[0] = cpu_to_le64(dma);
		desc->dword[3] = cpu_to_le32(type->flags);
		/* The generation gives it to the device. */
		dma_wmb();
		WRITE_ONCE(desc->dword[2], cpu_to_le32(request.len | gen));
		q->submitted++;
	}
	if (!i)
		return ret;

	if (queue == UIO_VMXNET3_TX)
		writel(q->submitted % RING_SIZE, udev->bar0 + VMXNET3_REG_TXPROD);
	else if (READ_ONCE(udev->shared->queue.rx.ctrl.updateRxProd))
		writel(q->submitted % RING_SIZE, udev->bar0 + VMXNET3_REG_RXPROD);
	return i;
}

static void uio_vmxnet3_get_info(struct uio_vmxnet3_dev *udev,
				 struct uio_vmxnet3_info *arg)
{
	u32 link, events, i;

	if (udev->state == UIO_VMXNET3_RUNNING) {
		events = le32_to_cpu(READ_ONCE(udev->shared->driver.ecr));
		writel(events, udev->bar1 + VMXNET3_REG_ECR);
		if (events & (VMXNET3_ECR_RQERR | VMXNET3_ECR_TQERR))
			uio_vmxnet3_stop(udev, UIO_VMXNET3_BROKEN);
	}
	for (i = 0; i < NUM_QUEUES; i++) {
		if (udev->state == UIO_VMXNET3_RUNNING)
			uio_vmxnet3_complete(udev, i);
		arg->ring_size[i] = RING_SIZE;
		arg->completions[i] = RING_SIZE;
		arg->min_len[i] = uio_vmxnet3_queue_types[i].min_len;
		arg->max_len[i] = uio_vmxnet3_queue_types[i].max_len;
	}
	memcpy(arg->mac, udev->mac, ETH_ALEN);
	arg->state = udev->state;
	link = uio_vmxnet3_command(udev, VMXNET3_CMD_GET_LINK);
	if (link & 1 && !PCI_POSSIBLE_ERROR(link))
		arg->link_mbit = link >> 16;
	arg->num_vectors = NUM_VECTORS;
}

static int uio_vmxnet3_ioctl(struct uio_info *info, unsigned int cmd, void *arg)
{
	struct uio_vmxnet3_dev *udev = to_uio_vmxnet3_dev(info);
	struct uio_msix_eventfd *eventfd = arg;
	struct uio_msix_info *msix_info = arg;
	struct uio_msix_mask *mask = arg;
	int ret;

	if (!info->irq || READ_ONCE(udev->ending))
		return -ENODEV;

	switch (cmd) {
	case UIO_MSIX_GET_INFO:
		msix_info->num_vectors = NUM_VECTORS;
		return 0;
	case UIO_MSIX_SET_EVENTFD:
		ret = uio_vector_set_eventfd(udev->pdev, udev->vectors,
					     NUM_VECTORS, eventfd);
		if (!ret)
			uio_vmxnet3_arm(udev, eventfd->vector);
		return ret;
	case UIO_MSIX_SET_MASK:
		ret = uio_vector_set_mask(udev->vectors, NUM_VECTORS, mask);
		if (!ret && !mask->masked)
			uio_vmxnet3_arm(udev, mask->vector);
		return ret;
	case UIO_VMXNET3_GET_INFO:
		uio_vmxnet3_get_info(udev, arg);
		return 0;
	case UIO_VMXNET3_SET_MEMORY:
		return uio_vmxnet3_set_memory(udev, arg);
	case UIO_VMXNET3_START:
		return uio_vmxnet3_start(udev, arg);
	case UIO_VMXNET3_STOP:
		uio_vmxnet3_stop(udev, UIO_VMXNET3_STOPPED);
		return 0;
	case UIO_VMXNET3_SUBMIT:
		return uio_vmxnet3_submit(udev, arg);
	default:
		return -ENOTTY;
	}
}

/*
 * Insert the completions now: a fault handler would take info_lock, and go by the
 * offset of the VMA, which splitting it moves. Mappings may outlive the session.
 */
static int uio_vmxnet3_mmap_prepare(struct uio_info *info,
				    struct vm_area_desc *desc)
{
	struct uio_vmxnet3_dev *udev = to_uio_vmxnet3_dev(info);
	pgoff_t queue = array_index_nospec(desc->pgoff, NUM_QUEUES);

	if (!info->irq)
		return -ENODEV;
	if (vma_desc_test(desc, VMA_WRITE_BIT) ||
	    !vma_desc_test(desc, VMA_MAYSHARE_BIT))
		return -EPERM;

	vma_desc_clear_flags(desc, VMA_MAYWRITE_BIT);
	vma_desc_set_flags(desc, VMA_DONTEXPAND_BIT, VMA_DONTDUMP_BIT);
	mmap_action_map_kernel_pages_full(desc, udev->pages + queue * MAP_SIZE / PAGE_SIZE);
	return 0;
}

static int uio_vmxnet3_open(struct uio_info *info, struct inode *inode)
{
	struct uio_vmxnet3_dev *udev = to_uio_vmxnet3_dev(info);
	struct device *dev = &udev->pdev->dev;

	if (udev->open || udev->away)
		return udev->open ? -EBUSY : -EAGAIN;
	if (PCI_POSSIBLE_ERROR(readl(udev->bar1 + VMXNET3_REG_VRRS)))
		return -ENODEV;
	if (dma_addressing_limited(dev))
		return -EOPNOTSUPP;
	/* Pages of order 0 for mmap(), and new ones: the last may still be read. */
	udev->shared = alloc_pages_exact(sizeof(*udev->shared),
					 GFP_KERNEL_ACCOUNT | __GFP_ZERO);
	if (!udev->shared)
		return -ENOMEM;
	udev->shared_dma = dma_map_single_attrs(dev, udev->shared,
						sizeof(*udev->shared),
						DMA_BIDIRECTIONAL, DMA_ATTRS);
	if (dma_mapping_error(dev, udev->shared_dma)) {
		free_pages_exact(udev->shared, sizeof(*udev->shared));
		return -EOPNOTSUPP;
	}
	for (int i = 0; i < ARRAY_SIZE(udev->pages); i++)
		udev->pages[i] = virt_to_page(udev->shared->completions) + i;

	/* Again: it may have been reset since it was bound. */
	writel(1, udev->bar1 + VMXNET3_REG_VRRS);
	writel(1, udev->bar1 + VMXNET3_REG_UVRS);
	uio_vmxnet3_stop(udev, UIO_VMXNET3_STOPPED);
	put_unaligned_le32(readl(udev->bar1 + VMXNET3_REG_MACL), udev->mac);
	put_unaligned_le16(readl(udev->bar1 + VMXNET3_REG_MACH), udev->mac + 4);
	udev->open = true;
	info->irq = UIO_IRQ_CUSTOM;
	return 0;
}

/* End the session if there is one. What is written to a lost device goes nowhere. */
static void uio_vmxnet3_end(struct uio_info *info)
{
	struct uio_vmxnet3_dev *udev = to_uio_vmxnet3_dev(info);

	if (!info->irq)
		return;

	info->irq = 0;
	/* First: then nothing is read or written that is let go below. */
	uio_vmxnet3_stop(udev, UIO_VMXNET3_STOPPED);
	for (int i = 0; i < NUM_VECTORS; i++)
		uio_vector_detach(&udev->vectors[i]);
	uio_vmxnet3_put_mem(udev, udev->mem);
	udev->mem = NULL;
	dma_unmap_single_attrs(&udev->pdev->dev, udev->shared_dma,
			       sizeof(*udev->shared), DMA_BIDIRECTIONAL, DMA_ATTRS);
	free_pages_exact(udev->shared, sizeof(*udev->shared));
	wake_up_interruptible_all(&info->uio_dev->wait);
	kill_fasync(&info->uio_dev->async_queue, SIGIO, POLL_HUP);
}

static int uio_vmxnet3_release(struct uio_info *info, struct inode *inode)
{
	uio_vmxnet3_end(info);
	to_uio_vmxnet3_dev(info)->open = false;
	return 0;
}

static void uio_vmxnet3_release_regions(void *pdev)
{
	pci_release_regions(pdev);
}

static int uio_vmxnet3_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct uio_vmxnet3_dev *udev;
	int i, ret;

	if (pdev->vendor != PCI_VENDOR_ID_VMWARE ||
	    pdev->device != PCI_DEVICE_ID_VMWARE_VMXNET3)
		return dev_err_probe(&pdev->dev, -ENODEV, "not bound: no vmxnet3\n");
	udev = devm_kzalloc(&pdev->dev, sizeof(*udev), GFP_KERNEL);
	if (!udev)
		return -ENOMEM;
	udev->pdev = pdev;
	pci_set_drvdata(pdev, udev);

	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;
	pci_clear_master(pdev);
	dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(64));
	ret = pci_request_regions_exclusive(pdev, DRIVER_NAME);
	if (ret)
		return dev_err_probe(&pdev->dev, ret,
				     "not bound: BARs are in use, see /proc/iomem\n");
	ret = devm_add_action_or_reset(&pdev->dev, uio_vmxnet3_release_regions, pdev);
	if (ret)
		return ret;
	udev->bar0 = pcim_iomap(pdev, 0, 0);
	udev->bar1 = pcim_iomap(pdev, 1, 0);
	if (!udev->bar0 || !udev->bar1)
		return -ENOMEM;

	/* Of its revisions, the first can do all that is needed. */
	writel(1, udev->bar1 + VMXNET3_REG_VRRS);
	writel(1, udev->bar1 + VMXNET3_REG_UVRS);
	if ((uio_vmxnet3_command(udev, VMXNET3_CMD_GET_CONF_INTR) >> 2 & 3) !=
	    VMXNET3_IMM_AUTO)
		return dev_err_probe(&pdev->dev, -ENODEV,
				     "not bound: does not mask its vectors itself\n");
	ret = pci_alloc_irq_vectors(pdev, NUM_VECTORS, NUM_VECTORS, PCI_IRQ_MSIX);
	if (ret < 0)
		return dev_err_probe(&pdev->dev, ret == -ENOSPC ? ret : -ENODEV,
				     "not bound: no MSI-X vectors\n");
	for (i = 0; i < NUM_VECTORS; i++)
		udev->vectors[i].irq = pci_irq_vector(pdev, i);

	udev->info.name = DRIVER_NAME;
	udev->info.version = "1";
	udev->info.open = uio_vmxnet3_open;
	udev->info.release = uio_vmxnet3_release;
	udev->info.mmap_prepare = uio_vmxnet3_mmap_prepare;
	udev->info.ioctl = uio_vmxnet3_ioctl;
	udev->info.disconnect = uio_vmxnet3_end;
	for (i = 0; i < NUM_QUEUES; i++) {
		udev->info.mem[i].name = uio_vmxnet3_queue_types[i].map;
		udev->info.mem[i].size = MAP_SIZE;
	}
	pci_save_state(pdev);
	return uio_register_device(&pdev->dev, &udev->info);
}

static void uio_vmxnet3_remove(struct pci_dev *pdev)
{
	struct uio_vmxnet3_dev *udev = pci_get_drvdata(pdev);

	/* Waits for callbacks, one of which may be pinning a folio. */
	WRITE_ONCE(udev->ending, true);
	uio_unregister_device(&udev->info);
}

static void uio_vmxnet3_take(struct pci_dev *pdev, int away)
{
	struct uio_vmxnet3_dev *udev = pci_get_drvdata(pdev);

	WRITE_ONCE(udev->ending, true);
	guard(mutex)(&udev->info.uio_dev->info_lock);
	WRITE_ONCE(udev->ending, false);
	uio_vmxnet3_end(&udev->info);
	udev->away += away;
}

/* A session that began in between would be saved, and restored, with its DMA. */
static void uio_vmxnet3_reset_prepare(struct pci_dev *pdev)
{
	uio_vmxnet3_take(pdev, 1);
}

static void uio_vmxnet3_reset_done(struct pci_dev *pdev)
{
	uio_vmxnet3_take(pdev, -1);
}

static pci_ers_result_t uio_vmxnet3_error_detected(struct pci_dev *pdev,
						   pci_channel_state_t state)
{
	uio_vmxnet3_take(pdev, 0);
	if (state == pci_channel_io_normal)
		return PCI_ERS_RESULT_CAN_RECOVER;
	if (state == pci_channel_io_frozen)
		return PCI_ERS_RESULT_NEED_RESET;
	/* The bus may have been reset before recovery failed. */
	pci_restore_state(pdev);
	return PCI_ERS_RESULT_DISCONNECT;
}

static pci_ers_result_t uio_vmxnet3_slot_reset(struct pci_dev *pdev)
{
	/* It can have been opened since the error. */
	uio_vmxnet3_take(pdev, 0);
	pci_restore_state(pdev);
	return PCI_ERS_RESULT_RECOVERED;
}

static const struct pci_error_handlers uio_vmxnet3_err_handler = {
	.error_detected = uio_vmxnet3_error_detected,
	.slot_reset = uio_vmxnet3_slot_reset,
	.reset_prepare = uio_vmxnet3_reset_prepare,
	.reset_done = uio_vmxnet3_reset_done,
};

static int uio_vmxnet3_suspend(struct device *dev)
{
	uio_vmxnet3_take(to_pci_dev(dev), 0);
	return 0;
}

static DEFINE_SIMPLE_DEV_PM_OPS(uio_vmxnet3_pm_ops, uio_vmxnet3_suspend, NULL);

static struct pci_driver uio_vmxnet3_driver = {
	.name = DRIVER_NAME,
	.id_table = NULL, /* driver_override only: there is vmxnet3 */
	.probe = uio_vmxnet3_probe,
	.remove = uio_vmxnet3_remove,
	.err_handler = &uio_vmxnet3_err_handler,
	.shutdown = uio_vmxnet3_reset_prepare, /* nor is it opened again */
	.driver.pm = pm_sleep_ptr(&uio_vmxnet3_pm_ops),
};
module_pci_driver(uio_vmxnet3_driver);

MODULE_DESCRIPTION("Mediated vmxnet3 queues for userspace drivers");
MODULE_LICENSE("GPL");
