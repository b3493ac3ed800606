// SPDX-License-Identifier: GPL-2.0-only
/*
 * uio_msix - the MSI-X vectors of a PCI device as eventfds
 *
 * For drivers in userspace, where there is no IOMMU for VFIO. What it is for,
 * how to use it, and what it does and does not protect from:
 * Documentation/driver-api/uio-msix.rst
 */
#include <linux/capability.h>
#include <linux/delay.h>
#include <linux/eventfd.h>
#include <linux/fs.h>
#include <linux/interrupt.h>
#include <linux/iommu.h>
#include <linux/irq.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/nospec.h>
#include <linux/panic.h>
#include <linux/pci.h>
#include <linux/security.h>
#include <linux/slab.h>
#include <linux/uio_driver.h>
#include <uapi/linux/uio_msix.h>

#define DRIVER_NAME "uio_msix"

static bool allow_unsafe_vf;
module_param(allow_unsafe_vf, bool, 0644);
MODULE_PARM_DESC(allow_unsafe_vf,
		 "Bind to SR-IOV VFs too: lets their users reach any memory the VF can (default: N)");

/*
 * One vector of an open device. All of it changes under info_lock; the handler
 * reads the trigger without, see uio_msix_set_eventfd().
 */
struct uio_msix_vector {
	struct eventfd_ctx *trigger;	/* NULL while detached */
	int irq;
	bool masked;
};

/*
 * One bound device. From num_vectors on, everything changes under the info_lock
 * of the UIO core, which holds it around every callback and calls none once the
 * device is unregistered: from then on uio_msix_remove() is alone with them.
 *
 * Lock order: device lock, info_lock, config access lock; mmap_lock, info_lock.
 */
struct uio_msix_dev {
	struct uio_info info;
	struct pci_dev *pdev;
	struct resource pad[PCI_STD_NUM_BARS][2];	/* rest of shared pages */
	unsigned int max_vectors;
	unsigned int num_vectors;
	struct uio_msix_vector *vectors;
	struct inode *inode;	/* of the open file, pinned; NULL while closed */
	bool dirty;		/* used, by us or others, since its last reset */
	bool warned;		/* that no IOMMU confines it */
};

static struct uio_msix_dev *to_uio_msix_dev(struct uio_info *info)
{
	return container_of(info, struct uio_msix_dev, info);
}

/* Threaded on PREEMPT_RT, where eventfd_signal() sleeps: no IRQF_NO_THREAD. */
static irqreturn_t uio_msix_handler(int irq, void *arg)
{
	struct uio_msix_vector *vec = arg;

	eventfd_signal(READ_ONCE(vec->trigger));
	return IRQ_HANDLED;
}

static int uio_msix_attach(struct uio_msix_dev *udev,
			   struct uio_msix_vector *vec,
			   struct eventfd_ctx *trigger)
{
	char *name;
	int ret;

	name = kasprintf(GFP_KERNEL_ACCOUNT, DRIVER_NAME "[%td](%s)",
			 vec - udev->vectors, pci_name(udev->pdev));
	if (!name)
		return -ENOMEM;

	/*
	 * Mask in the device, at once. Done lazily, the first interrupt that
	 * is held back would be pending here and the next in the device, and
	 * unmasking would deliver both. free_irq() clears this.
	 */
	irq_set_status_flags(vec->irq, IRQ_DISABLE_UNLAZY);
	vec->trigger = trigger;
	ret = request_irq(vec->irq, uio_msix_handler, 0, name, vec);
	if (ret) {
		vec->trigger = NULL;
		kfree(name);
	}
	return ret;
}

static void uio_msix_detach(struct uio_msix_vector *vec)
{
	if (!vec->trigger)
		return;

	kfree(free_irq(vec->irq, vec));
	eventfd_ctx_put(vec->trigger);
	vec->trigger = NULL;
	vec->masked = false;
}

static struct uio_msix_vector *uio_msix_vector(struct uio_msix_dev *udev,
					       u32 index)
{
	if (index >= udev->num_vectors)
		return NULL;
	return &udev->vectors[array_index_nospec(index, udev->num_vectors)];
}

static int uio_msix_set_eventfd(struct uio_msix_dev *udev,
				const struct uio_msix_eventfd *arg)
{
	struct uio_msix_vector *vec = uio_msix_vector(udev, arg->vector);
	struct eventfd_ctx *trigger;
	int ret;

	if (!vec || arg->fd < -1 || arg->flags || arg->reserved)
		return -EINVAL;

	if (arg->fd == -1) {
		uio_msix_detach(vec);
		return 0;
	}

	trigger = eventfd_ctx_fdget(arg->fd);
	if (IS_ERR(trigger))
		return PTR_ERR(trigger);

	if (!vec->trigger) {
		ret = uio_msix_attach(udev, vec, trigger);
		if (ret)
			eventfd_ctx_put(trigger);
		return ret;
	}

	/*
	 * Replace in place: an interrupt signals the one or the other, never
	 * both or none. A handler that read the old trigger is in progress,
	 * and synchronize_irq() waits for it; one that starts later reads the
	 * new one, because both pass through the lock of the interrupt.
	 */
	trigger = xchg(&vec->trigger, trigger);
	synchronize_irq(vec->irq);
	eventfd_ctx_put(trigger);
	return 0;
}

static int uio_msix_set_mask(struct uio_msix_dev *udev,
			     const struct uio_msix_mask *arg)
{
	struct uio_msix_vector *vec = uio_msix_vector(udev, arg->vector);

	if (!vec || arg->masked > 1 || arg->flags || arg->reserved ||
	    !vec->trigger)
		return -EINVAL;

	/* disable_irq() counts, this ioctl does not. */
	if (vec->masked == arg->masked)
		return 0;

	if (arg->masked)
		disable_irq(vec->irq);
	else
		enable_irq(vec->irq);
	vec->masked = arg->masked;
	return 0;
}

static int uio_msix_ioctl(struct uio_info *info, unsigned int cmd, void *arg)
{
	struct uio_msix_dev *udev = to_uio_msix_dev(info);
	struct uio_msix_info *msix_info = arg;
	int ret = 0;

	/* A reset by sysfs saves and restores the MSI-X table: not meanwhile. */
	pci_cfg_access_lock(udev->pdev);
	switch (cmd) {
	case UIO_MSIX_GET_INFO:
		msix_info->num_vectors = udev->num_vectors;
		break;
	case UIO_MSIX_SET_EVENTFD:
		ret = uio_msix_set_eventfd(udev, arg);
		break;
	case UIO_MSIX_SET_MASK:
		ret = uio_msix_set_mask(udev, arg);
		break;
	default:
		ret = -ENOTTY;
	}
	pci_cfg_access_unlock(udev->pdev);
	return ret;
}

/*
 * Mappings are made by faults only, so that uio_msix_revoke() can undo them: a
 * page that mmap() itself inserted is not on the rmap yet and escapes the zap.
 */
static vm_fault_t uio_msix_fault(struct vm_fault *vmf)
{
	struct uio_device *idev = vmf->vma->vm_private_data;

	guard(mutex)(&idev->info_lock);
	if (!idev->info)
		return VM_FAULT_SIGBUS;

	/* Still registered: the zap comes after, and finds this page. */
	return vmf_insert_pfn(vmf->vma, vmf->address, vmf->pgoff);
}

static const struct vm_operations_struct uio_msix_vm_ops = {
	.fault = uio_msix_fault,
};

static int uio_msix_mmap_prepare(struct uio_info *info,
				 struct vm_area_desc *desc)
{
	pgoff_t index = array_index_nospec(desc->pgoff, MAX_UIO_MAPS);

	/* vmf_insert_pfn() cannot serve these. */
	if (vma_desc_is_cow_mapping(desc))
		return -EINVAL;

	/* The core sets it last, when the device can be opened already. */
	if (!info->uio_dev)
		return -ENODEV;

	/*
	 * The offset of a UIO mapping is the index of the map. Splitting a VMA
	 * moves its offset along, which makes sense for a page number only.
	 */
	desc->pgoff = PHYS_PFN(info->mem[index].addr);
	desc->private_data = info->uio_dev;
	desc->page_prot = pgprot_decrypted(pgprot_noncached(desc->page_prot));
	desc->vm_ops = &uio_msix_vm_ops;
	vma_desc_set_flags(desc, VMA_IO_BIT, VMA_PFNMAP_BIT,
			   VMA_DONTEXPAND_BIT, VMA_DONTDUMP_BIT);
	return 0;
}

static int uio_msix_count(struct device *dev, void *count)
{
	++*(int *)count;
	return 0;
}

/*
 * Whether the device can reach nothing but what the DMA API maps for it: those
 * of a group share a domain, and reach what is mapped for the others.
 */
static bool uio_msix_confined(struct pci_dev *pdev)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(&pdev->dev);
	struct iommu_group *group = iommu_group_get(&pdev->dev);
	int devices = 0;

	if (group) {
		iommu_group_for_each_dev(group, &devices, uio_msix_count);
		iommu_group_put(group);
	}
	return devices == 1 && domain && (domain->type & __IOMMU_DOMAIN_PAGING);
}

/*
 * INTx has no handler here: off, but for devices where that would take MSI-X
 * along.
 */
static void uio_msix_intx_off(struct pci_dev *pdev)
{
	if (!(pdev->dev_flags & PCI_DEV_FLAGS_MSI_INTX_DISABLE_BUG))
		pci_intx(pdev, 0);
}

static int uio_msix_open(struct uio_info *info, struct inode *inode)
{
	struct uio_msix_dev *udev = to_uio_msix_dev(info);
	struct pci_dev *pdev = udev->pdev;
	unsigned int i, tries;
	int ret;

	if (!capable(CAP_SYS_RAWIO))
		return -EPERM;
	ret = security_locked_down(LOCKDOWN_PCI_ACCESS);
	if (ret)
		return ret;
	if (udev->inode)
		return -EBUSY;

	/*
	 * Not reset since it was bound, or since the last close, which could
	 * not: see uio_msix_release(). What the device did for somebody else
	 * must not go on once it is bus master again. Most who hold the device
	 * lock do so for an instant, as a read of sriov_numvfs does. A reset
	 * would wait a minute for a device that was pulled.
	 */
	for (tries = 0; udev->dirty && pci_device_is_present(pdev); tries++) {
		if (pci_try_reset_function(pdev) != -EAGAIN)
			break;
		if (tries == 5)
			return -EBUSY;
		msleep(20);
	}
	if (!pci_device_is_present(pdev))
		return -ENODEV;

	udev->vectors = kvzalloc_objs(*udev->vectors, udev->max_vectors,
				      GFP_KERNEL_ACCOUNT);
	if (!udev->vectors)
		return -ENOMEM;

	/* A reset by sysfs would put the state back that it saved before. */
	pci_cfg_access_lock(pdev);
	ret = pci_alloc_irq_vectors(pdev, 1, udev->max_vectors, PCI_IRQ_MSIX);
	if (ret > 0)
		pci_set_master(pdev);
	pci_cfg_access_unlock(pdev);
	if (ret < 0) {
		kvfree(udev->vectors);
		/* What else it returns says that MSI-X is off here. */
		return ret == -ENOMEM || ret == -ENOSPC ? ret : -ENODEV;
	}

	udev->num_vectors = ret;
	for (i = 0; i < udev->num_vectors; i++)
		udev->vectors[i].irq = pci_irq_vector(pdev, i);
	udev->dirty = true;

	/*
	 * Unbind zaps its mappings, perhaps just after the file is closed and
	 * its file system unmounted.
	 */
	atomic_inc(&inode->i_sb->s_active);
	ihold(inode);
	udev->inode = inode;

	if (!uio_msix_confined(pdev)) {
		add_taint(TAINT_USER, LOCKDEP_STILL_OK);
		if (!udev->warned)
			pci_warn(pdev, "no IOMMU confines this device: its user can reach all memory; kernel tainted\n");
		udev->warned = true;
	}
	return 0;
}

/* Undo uio_msix_open() but for the reset, which depends on the locks held. */
static void uio_msix_quiesce(struct uio_msix_dev *udev)
{
	struct super_block *sb = udev->inode->i_sb;
	struct pci_dev *pdev = udev->pdev;
	unsigned int i;

	pci_cfg_access_lock(pdev);
	pci_clear_master(pdev);
	for (i = 0; i < udev->num_vectors; i++)
		uio_msix_detach(&udev->vectors[i]);
	pci_free_irq_vectors(pdev);
	/* That allowed INTx. */
	uio_msix_intx_off(pdev);
	pci_cfg_access_unlock(pdev);

	kvfree(udev->vectors);
	iput(udev->inode);
	deactivate_super(sb);
	udev->inode = NULL;
}

static int uio_msix_release(struct uio_info *info, struct inode *inode)
{
	struct uio_msix_dev *udev = to_uio_msix_dev(info);

	uio_msix_quiesce(udev);

	/*
	 * Never wait for the device lock here: uio_msix_remove() holds it and
	 * waits for info_lock. It then does this reset; if another holder was
	 * in the way, the next open does. Bus mastering is off by now, and
	 * stays off, because the reset restores the state it found.
	 */
	if (pci_device_is_present(udev->pdev))
		udev->dirty = pci_try_reset_function(udev->pdev) == -EAGAIN;
	return 0;
}

/*
 * Take the device from its user, if it has one. After unregistering, when the
 * core no longer calls release: this does the same, but for the reset.
 */
static void uio_msix_revoke(struct uio_msix_dev *udev)
{
	if (!udev->inode)
		return;

	/* No fault inserts a page now, see uio_msix_fault(). */
	unmap_mapping_range(udev->inode->i_mapping, 0, 0, true);
	uio_msix_quiesce(udev);
}

/* Refuse what must not be bound, with one line that says the way out. */
static int uio_msix_check(struct pci_dev *pdev)
{
	int ret;

	if (pdev->hdr_type != PCI_HEADER_TYPE_NORMAL) {
		pci_err(pdev, "not bound: a bridge, not an endpoint; bind the devices behind it\n");
		return -ENODEV;
	}
	if (!pdev->msix_cap) {
		pci_err(pdev, "not bound: no MSI-X capability; uio_pci_generic serves INTx\n");
		return -ENODEV;
	}
	if (pdev->is_virtfn && !READ_ONCE(allow_unsafe_vf)) {
		pci_err(pdev, "not bound: an SR-IOV VF; use vfio-pci, or set uio_msix.allow_unsafe_vf if its users may reach all memory\n");
		return -EPERM;
	}
	if (pci_num_vf(pdev)) {
		pci_err(pdev, "not bound: has %d VFs enabled; write 0 to sriov_numvfs first\n",
			pci_num_vf(pdev));
		return -EBUSY;
	}
	ret = security_locked_down(LOCKDOWN_PCI_ACCESS);
	if (ret)
		pci_err(pdev, "not bound: the kernel is locked down; use vfio-pci with an IOMMU\n");
	return ret;
}

/* Reserve [start, end), the rest of a page that @res shares. */
static int uio_msix_pad(struct uio_msix_dev *udev, struct resource *pad,
			const struct resource *res, resource_size_t start,
			resource_size_t end)
{
	if (start == end)
		return 0;

	*pad = DEFINE_RES_NAMED(start, end - start, DRIVER_NAME " sub-page",
				IORESOURCE_MEM | IORESOURCE_BUSY |
				IORESOURCE_EXCLUSIVE);
	return devm_request_resource(&udev->pdev->dev, res->parent, pad);
}

/* Export the pages [start, end) of memory BAR @bar as the next UIO map. */
static int uio_msix_add_map(struct uio_msix_dev *udev, int bar,
			    resource_size_t start, resource_size_t end)
{
	resource_size_t bar_start = pci_resource_start(udev->pdev, bar);
	struct uio_mem *mem = udev->info.mem;
	struct device *dev = &udev->pdev->dev;

	if (start >= end)
		return 0;

	while (mem->size) {
		if (++mem == udev->info.mem + MAX_UIO_MAPS) {
			pci_warn(udev->pdev, "BAR%d: no UIO map left for %pa-%pa\n",
				 bar, &start, &end);
			return 0;
		}
	}

	if (start <= bar_start) {
		mem->name = devm_kasprintf(dev, GFP_KERNEL, "BAR%d", bar);
		mem->offs = bar_start - start;
	} else {
		mem->name = devm_kasprintf(dev, GFP_KERNEL, "BAR%d+0x%llx", bar,
					   (u64)(start - bar_start));
	}
	if (!mem->name)
		return -ENOMEM;

	mem->addr = start;
	mem->size = end - start;
	mem->memtype = UIO_MEM_PHYS;
	return 0;
}

/*
 * Export memory BAR @bar, but for the pages that hold any of the MSI-X table,
 * and only if no page of it has registers of another device, now or later.
 */
static int uio_msix_add_mem(struct uio_msix_dev *udev, int bar, u32 table)
{
	const struct resource *res = &udev->pdev->resource[bar];
	resource_size_t start = ALIGN_DOWN(res->start, PAGE_SIZE);
	resource_size_t end = PAGE_ALIGN(res->end + 1);
	resource_size_t table_start, table_end;
	int ret;

	ret = uio_msix_pad(udev, &udev->pad[bar][0], res, start, res->start);
	if (!ret)
		ret = uio_msix_pad(udev, &udev->pad[bar][1], res, res->end + 1,
				   end);
	if (ret) {
		pci_info(udev->pdev, "BAR%d shares a page, not mappable\n", bar);
		return ret == -ENOMEM ? ret : 0;
	}

	if (bar != (table & PCI_MSIX_TABLE_BIR))
		return uio_msix_add_map(udev, bar, start, end);

	table_start = res->start + (table & PCI_MSIX_TABLE_OFFSET);
	table_end = table_start + udev->max_vectors * PCI_MSIX_ENTRY_SIZE;
	ret = uio_msix_add_map(udev, bar, start,
			       ALIGN_DOWN(table_start, PAGE_SIZE));
	if (ret)
		return ret;
	return uio_msix_add_map(udev, bar, PAGE_ALIGN(table_end), end);
}

static int uio_msix_add_bars(struct uio_msix_dev *udev)
{
	struct uio_port *port = udev->info.port;
	struct pci_dev *pdev = udev->pdev;
	u64 table_end;
	int bar, ret;
	u32 table;

	pci_read_config_dword(pdev, pdev->msix_cap + PCI_MSIX_TABLE, &table);
	bar = table & PCI_MSIX_TABLE_BIR;
	table_end = (u64)(table & PCI_MSIX_TABLE_OFFSET) +
		    udev->max_vectors * PCI_MSIX_ENTRY_SIZE;
	/* All ones is what a device reads as that is not there. */
	if (bar >= PCI_STD_NUM_BARS ||
	    !(pci_resource_flags(pdev, bar) & IORESOURCE_MEM) ||
	    table_end > pci_resource_len(pdev, bar)) {
		pci_err(pdev, "not bound: its MSI-X table is in no BAR; is it there at all?\n");
		return -ENODEV;
	}

	for (bar = 0; bar < PCI_STD_NUM_BARS; bar++) {
		if (!pci_resource_len(pdev, bar))
			continue;

		if (pci_resource_flags(pdev, bar) & IORESOURCE_MEM) {
			ret = uio_msix_add_mem(udev, bar, table);
			if (ret)
				return ret;
		} else if (port < udev->info.port + MAX_UIO_PORT_REGIONS) {
			port->name = devm_kasprintf(&pdev->dev, GFP_KERNEL,
						    "BAR%d", bar);
			if (!port->name)
				return -ENOMEM;
			port->start = pci_resource_start(pdev, bar);
			port->size = pci_resource_len(pdev, bar);
			port->porttype = UIO_PORT_X86;
			port++;
		}
	}
	return 0;
}

static int uio_msix_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct uio_msix_dev *udev;
	int ret;

	ret = uio_msix_check(pdev);
	if (ret)
		return ret;

	udev = devm_kzalloc(&pdev->dev, sizeof(*udev), GFP_KERNEL);
	if (!udev)
		return -ENOMEM;
	udev->pdev = pdev;
	udev->max_vectors = pci_msix_vec_count(pdev);
	udev->dirty = true;
	udev->info.name = DRIVER_NAME;
	udev->info.version = "1";
	udev->info.irq = UIO_IRQ_CUSTOM;
	udev->info.open = uio_msix_open;
	udev->info.release = uio_msix_release;
	udev->info.mmap_prepare = uio_msix_mmap_prepare;
	udev->info.ioctl = uio_msix_ioctl;
	pci_set_drvdata(pdev, udev);

	ret = pci_enable_device(pdev);
	if (ret)
		return ret;
	pci_clear_master(pdev);
	uio_msix_intx_off(pdev);

	ret = pci_request_regions_exclusive(pdev, DRIVER_NAME);
	if (ret) {
		pci_err(pdev, "not bound: BARs are in use, see /proc/iomem and /proc/ioports\n");
		goto err_disable;
	}

	ret = uio_msix_add_bars(udev);
	if (ret)
		goto err_release;

	ret = uio_register_device(&pdev->dev, &udev->info);
	if (ret)
		goto err_revoke;
	return 0;

err_revoke:
	/* It may have been open for a moment. */
	uio_msix_revoke(udev);
err_release:
	pci_release_regions(pdev);
err_disable:
	pci_disable_device(pdev);
	return ret;
}

static void uio_msix_remove(struct pci_dev *pdev)
{
	struct uio_msix_dev *udev = pci_get_drvdata(pdev);

	/* Waits for callbacks, which never wait for userspace. */
	uio_unregister_device(&udev->info);
	uio_msix_revoke(udev);
	/* Here the device lock is held already. */
	if (udev->dirty && pci_device_is_present(pdev))
		pci_reset_function_locked(pdev);
	pci_release_regions(pdev);
	pci_disable_device(pdev);
}

static struct pci_driver uio_msix_driver = {
	.name = DRIVER_NAME,
	.id_table = NULL, /* dynamic ids and driver_override only */
	.probe = uio_msix_probe,
	.remove = uio_msix_remove,
};
module_pci_driver(uio_msix_driver);

MODULE_DESCRIPTION("MSI-X vectors of PCI devices as eventfds for userspace drivers");
MODULE_LICENSE("GPL");
