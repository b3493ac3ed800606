// SPDX-License-Identifier: GPL-2.0-only
/*
 * uio_msix - the MSI-X vectors of a PCI device as eventfds, for drivers in
 * userspace where there is no IOMMU for VFIO. What it does and does not protect
 * from: Documentation/driver-api/uio-msix.rst
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
 * One vector of a session. All of it changes under info_lock; the handler reads
 * the trigger without, see uio_msix_set_eventfd().
 */
struct uio_msix_vector {
	struct eventfd_ctx *trigger;	/* NULL while detached */
	int irq;
	bool masked;
};

/*
 * One bound device. A session begins when it is opened, and ends when the file is
 * closed or the device is taken away; then the file is dead, but still open.
 *
 * Sessions begin, live and end under the info_lock of the UIO core, which holds
 * it around every callback. Between them the device is reset under its device
 * lock and its config access lock.
 *
 * Lock order: device lock > config access lock > info_lock > i_mmap_rwsem, and
 * mmap_lock > info_lock. Open and release, in info_lock, only try the first two.
 */
struct uio_msix_dev {
	struct uio_info info;	/* .irq: UIO_IRQ_CUSTOM in a session, or 0 */
	struct pci_dev *pdev;
	struct pci_saved_state *bind_state;	/* of configuration space */
	struct resource pad[PCI_STD_NUM_BARS][2];	/* rest of shared pages */
	unsigned int max_vectors;
	bool dirty;	/* since its last reset; under the device lock */
	/* Under info_lock */
	struct address_space *mapping;	/* of the open file, NULL while closed */
	unsigned int num_vectors;
	struct uio_msix_vector *vectors;
	bool warned;
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

static int uio_msix_attach(struct uio_msix_dev *udev, struct uio_msix_vector *vec,
			   struct eventfd_ctx *trigger)
{
	char *name = kasprintf(GFP_KERNEL_ACCOUNT, DRIVER_NAME "[%td](%s)",
			       vec - udev->vectors, pci_name(udev->pdev));
	int ret;

	if (!name)
		return -ENOMEM;

	/*
	 * Mask in the device, at once: lazily, one interrupt would be pending
	 * here and one there, and both delivered. free_irq() clears this.
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

static struct uio_msix_vector *uio_msix_vector(struct uio_msix_dev *udev, u32 index)
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
	 * new one, because both pass through the lock of the interrupt. Not so
	 * with handle_percpu_irq(), which is why Kconfig excludes s390.
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

	vec->masked = arg->masked;
	if (vec->masked)
		disable_irq(vec->irq);
	else
		enable_irq(vec->irq);
	return 0;
}

static int uio_msix_ioctl(struct uio_info *info, unsigned int cmd, void *arg)
{
	struct uio_msix_dev *udev = to_uio_msix_dev(info);
	struct uio_msix_info *msix_info = arg;

	if (!info->irq)
		return -ENODEV;

	switch (cmd) {
	case UIO_MSIX_GET_INFO:
		msix_info->num_vectors = udev->num_vectors;
		return 0;
	case UIO_MSIX_SET_EVENTFD:
		return uio_msix_set_eventfd(udev, arg);
	case UIO_MSIX_SET_MASK:
		return uio_msix_set_mask(udev, arg);
	default:
		return -ENOTTY;
	}
}

/*
 * Mappings are made by faults only, so that uio_msix_end() can undo them: a page
 * that mmap() itself inserted is not on the rmap yet and escapes the zap.
 */
static vm_fault_t uio_msix_fault(struct vm_fault *vmf)
{
	struct uio_device *idev = vmf->vma->vm_private_data;

	guard(mutex)(&idev->info_lock);
	if (!idev->info || !idev->info->irq)
		return VM_FAULT_SIGBUS;
	/* The session lives: its end comes after, and zaps this page. */
	return vmf_insert_pfn(vmf->vma, vmf->address, vmf->pgoff);
}

static const struct vm_operations_struct uio_msix_vm_ops = {
	.fault = uio_msix_fault,
};

static int uio_msix_mmap_prepare(struct uio_info *info,
				 struct vm_area_desc *desc)
{
	pgoff_t index = array_index_nospec(desc->pgoff, MAX_UIO_MAPS);

	if (!info->irq)
		return -ENODEV;
	/* vmf_insert_pfn() cannot serve these. */
	if (vma_desc_is_cow_mapping(desc))
		return -EINVAL;

	/* Not the map's index: splitting a VMA moves its offset along. */
	desc->pgoff = PHYS_PFN(info->mem[index].addr);
	desc->private_data = info->uio_dev;
	desc->page_prot = pgprot_decrypted(pgprot_noncached(desc->page_prot));
	desc->vm_ops = &uio_msix_vm_ops;
	vma_desc_set_flags(desc, VMA_IO_BIT, VMA_PFNMAP_BIT,
			   VMA_DONTEXPAND_BIT, VMA_DONTDUMP_BIT);
	return 0;
}

/* There is no handler for it. Some devices would lose MSI-X along with it. */
static void uio_msix_intx_off(struct pci_dev *pdev)
{
	if (!(pdev->dev_flags & PCI_DEV_FLAGS_MSI_INTX_DISABLE_BUG))
		pci_intx(pdev, 0);
}

/* Not the state it has now: its user, an error or a reset changed that. */
static void uio_msix_restore(struct uio_msix_dev *udev)
{
	pci_load_saved_state(udev->pdev, udev->bind_state);
	pci_restore_state(udev->pdev);
}

/*
 * Between sessions, under device lock and config access lock: have it as it was
 * bound, and reset if it may be dirty, by FLR only if @flr; -EIO if that failed.
 * -ENODEV if it is gone: a reset would wait for it, or for a VF be its slot's.
 * pci_try_reset_function() would save what the user left.
 */
static int uio_msix_reset(struct uio_msix_dev *udev, bool flr)
{
	struct pci_dev *pdev = udev->pdev;
	int ret = 0;
	u16 reg;

	/* Of a VF, pci_device_is_present() asks the PF. */
	pci_read_config_word(pdev, PCI_COMMAND, &reg);
	if (PCI_POSSIBLE_ERROR(reg))
		return -ENODEV;

	/* The user can have put it to sleep, unknown to pci_set_power_state(). */
	if (pdev->pm_cap) {
		pci_read_config_word(pdev, pdev->pm_cap + PCI_PM_CTRL, &reg);
		if (reg & PCI_PM_CTRL_STATE_MASK) {
			pci_write_config_word(pdev, pdev->pm_cap + PCI_PM_CTRL, 0);
			msleep(pdev->d3hot_delay);
		}
	}

	/* Quiet while BARs are restored: before a reset, too, which may use one. */
	pci_write_config_word(pdev, PCI_COMMAND, PCI_COMMAND_INTX_DISABLE);
	uio_msix_restore(udev);
	if (udev->dirty && pdev->reset_methods[0]) {
		ret = flr ? pcie_reset_flr(pdev, PCI_RESET_DO_RESET) :
			    __pci_reset_function_locked(pdev);
		udev->dirty = ret;
		/* -ENOTTY: "bus", and it is one of several functions; or FLR failed. */
		if (ret == -ENOTTY && pcie_reset_flr(pdev, PCI_RESET_PROBE) &&
		    pci_device_is_present(pdev))
			ret = 0;
		uio_msix_restore(udev);
	}
	return ret ? -EIO : 0;
}

/* Begin a session, under info_lock, device lock and config access lock. */
static int uio_msix_begin(struct uio_msix_dev *udev)
{
	struct pci_dev *pdev = udev->pdev;
	unsigned int i;
	int ret;

	ret = uio_msix_reset(udev, false);
	if (ret)
		return ret;

	udev->vectors = kvzalloc_objs(*udev->vectors, udev->max_vectors,
				      GFP_KERNEL_ACCOUNT);
	if (!udev->vectors)
		return -ENOMEM;

	ret = pci_alloc_irq_vectors(pdev, 1, udev->max_vectors, PCI_IRQ_MSIX);
	if (ret < 0) {
		kvfree(udev->vectors);
		return ret == -ENOMEM || ret == -ENOSPC ? ret : -ENODEV;
	}
	udev->num_vectors = ret;
	for (i = 0; i < udev->num_vectors; i++)
		udev->vectors[i].irq = pci_irq_vector(pdev, i);

	udev->dirty = true;
	pci_set_master(pdev);
	udev->info.irq = UIO_IRQ_CUSTOM;
	return 0;
}

/*
 * End the session if there is one, under info_lock, without waiting for its user.
 * If the device is gone or does not answer, what is written to it goes nowhere.
 */
static void uio_msix_end(struct uio_info *info)
{
	struct uio_msix_dev *udev = to_uio_msix_dev(info);
	struct pci_dev *pdev = udev->pdev;
	unsigned int i;

	if (!info->irq)
		return;

	/* The file is dead now: no fault inserts a page. */
	info->irq = 0;
	pci_clear_master(pdev);
	/* First, or the user leaves a vector pending. The inode is open still. */
	unmap_mapping_range(udev->mapping, 0, 0, true);
	for (i = 0; i < udev->num_vectors; i++)
		uio_msix_detach(&udev->vectors[i]);
	kvfree(udev->vectors);
	/* Not uio_event_notify(), after which a reader could find an event. */
	wake_up_interruptible_all(&info->uio_dev->wait);
	kill_fasync(&info->uio_dev->async_queue, SIGIO, POLL_HUP);
}

/*
 * After the session. Waits for readers of /proc/irq, who may read into a mapping
 * whose fault takes info_lock: not under that but for release, with none left.
 */
static void uio_msix_free_vectors(struct pci_dev *pdev)
{
	pci_free_irq_vectors(pdev);
	/* That allowed INTx. */
	uio_msix_intx_off(pdev);
}

static void uio_msix_taint(struct uio_msix_dev *udev)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(&udev->pdev->dev);

	add_taint(TAINT_USER, LOCKDEP_STILL_OK);
	if (udev->warned)
		return;
	udev->warned = true;
	if (domain && domain->type & __IOMMU_DOMAIN_PAGING)
		pci_warn(udev->pdev, "an IOMMU translates, so its DMA cannot reach the user's memory: use vfio-pci; kernel tainted\n");
	else
		pci_warn(udev->pdev, "nothing confines this device: its user can reach all memory; kernel tainted\n");
}

static int uio_msix_open(struct uio_info *info, struct inode *inode)
{
	struct uio_msix_dev *udev = to_uio_msix_dev(info);
	struct pci_dev *pdev = udev->pdev;
	int tries, ret;

	if (!capable(CAP_SYS_RAWIO))
		return -EPERM;
	ret = security_locked_down(LOCKDOWN_PCI_ACCESS);
	if (ret)
		return ret;
	if (udev->mapping)
		return -EBUSY;

	/* A read of sriov_numvfs holds it for an instant, a reset longer. */
	for (tries = 0; !pci_dev_trylock(pdev); tries++) {
		if (tries == 5)
			return -EAGAIN;
		msleep(20);
	}
	ret = uio_msix_begin(udev);
	pci_dev_unlock(pdev);
	if (!ret) {
		udev->mapping = inode->i_mapping;
		uio_msix_taint(udev);
	}
	return ret;
}

static int uio_msix_release(struct uio_info *info, struct inode *inode)
{
	struct uio_msix_dev *udev = to_uio_msix_dev(info);
	struct pci_dev *pdev = udev->pdev;
	bool live = info->irq;

	uio_msix_end(info);
	/* Else who ended it does, under the device lock. */
	if (live)
		uio_msix_free_vectors(pdev);
	udev->mapping = NULL;

	/* Or else uio_msix_remove() resets it, or the next open. */
	if (pci_dev_trylock(pdev)) {
		uio_msix_reset(udev, false);
		pci_dev_unlock(pdev);
	}
	return 0;
}

/* Refuse what must not be bound, with one line that says the way out. */
static int uio_msix_check(struct pci_dev *pdev)
{
	struct device *dev = &pdev->dev;
	int ret;

	if (pdev->hdr_type != PCI_HEADER_TYPE_NORMAL)
		return dev_err_probe(dev, -ENODEV,
				     "not bound: a bridge, not an endpoint; bind the devices behind it\n");
	if (!pdev->msix_cap)
		return dev_err_probe(dev, -ENODEV,
				     "not bound: no MSI-X capability; uio_pci_generic serves INTx\n");
	if (pdev->is_virtfn && !READ_ONCE(allow_unsafe_vf))
		return dev_err_probe(dev, -EPERM,
				     "not bound: an SR-IOV VF; use vfio-pci, or set uio_msix.allow_unsafe_vf if its users may reach all memory\n");
	if (pci_num_vf(pdev))
		return dev_err_probe(dev, -EBUSY,
				     "not bound: has VFs enabled; write 0 to sriov_numvfs first\n");
	ret = security_locked_down(LOCKDOWN_PCI_ACCESS);
	if (ret)
		dev_err_probe(dev, ret,
			      "not bound: the kernel is locked down; use vfio-pci with an IOMMU\n");
	return ret;
}

/* Make the pages [start, end) of memory BAR @bar the next UIO map, if any. */
static int uio_msix_add_map(struct uio_msix_dev *udev, int bar,
			    resource_size_t start, resource_size_t end)
{
	resource_size_t bar_start = pci_resource_start(udev->pdev, bar);
	struct device *dev = &udev->pdev->dev;
	struct uio_mem *mem = udev->info.mem;

	if (start >= end)
		return 0;
	while (mem->size) {
		if (++mem == udev->info.mem + MAX_UIO_MAPS) {
			dev_info(dev, "BAR%d: no map of %pa to %pa, UIO has no more\n",
				 bar, &start, &end);
			return 0;
		}
	}
	if (start <= bar_start)
		mem->name = devm_kasprintf(dev, GFP_KERNEL, "BAR%d", bar);
	else
		mem->name = devm_kasprintf(dev, GFP_KERNEL, "BAR%d+0x%llx", bar,
					   (u64)(start - bar_start));
	if (!mem->name)
		return -ENOMEM;
	mem->addr = start;
	mem->offs = max(start, bar_start) - start;
	mem->size = end - start;
	mem->memtype = UIO_MEM_PHYS;
	return 0;
}

/* Export memory BAR @bar, if nobody shares its pages, but for those of @table. */
static int uio_msix_add_mem(struct uio_msix_dev *udev, int bar,
			    const struct resource *table)
{
	struct pci_dev *pdev = udev->pdev;
	const struct resource *res = &pdev->resource[bar];
	resource_size_t start = ALIGN_DOWN(res->start, PAGE_SIZE);
	resource_size_t end = PAGE_ALIGN(res->end + 1);
	resource_size_t table_start, table_end;
	struct resource *pad = udev->pad[bar];
	int i, ret = 0;

	if (pdev->non_mappable_bars) {
		pci_info(pdev, "BAR%d: no map, this machine cannot map it\n", bar);
		return 0;
	}

	/* Claim the rest of its first and of its last page. */
	for (i = 0; i < 2 && !ret; i++) {
		pad[i] = DEFINE_RES_NAMED(i ? res->end + 1 : start,
					  i ? end - res->end - 1 : res->start - start,
					  DRIVER_NAME " sub-page",
					  IORESOURCE_MEM | IORESOURCE_BUSY |
					  IORESOURCE_EXCLUSIVE);
		if (resource_size(&pad[i]))
			ret = devm_request_resource(&pdev->dev, res->parent,
						    &pad[i]);
	}
	if (ret) {
		if (pad[0].parent)
			devm_release_resource(&pdev->dev, &pad[0]);
		pci_info(pdev, "BAR%d: no map, it shares a page\n", bar);
		return ret == -ENOMEM ? ret : 0;
	}

	if (!resource_overlaps(res, table))
		return uio_msix_add_map(udev, bar, start, end);

	table_start = ALIGN_DOWN(table->start, PAGE_SIZE);
	table_end = PAGE_ALIGN(table->end + 1);
	pci_info(pdev, "BAR%d: no map of %pa to %pa, for the MSI-X table\n",
		 bar, &table_start, &table_end);
	ret = uio_msix_add_map(udev, bar, start, table_start);
	return ret ?: uio_msix_add_map(udev, bar, table_end, end);
}

static int uio_msix_add_bars(struct uio_msix_dev *udev)
{
	struct uio_port *port = udev->info.port;
	struct pci_dev *pdev = udev->pdev;
	struct resource table;
	int bar, ret = 0;
	u32 reg;

	pci_read_config_dword(pdev, pdev->msix_cap + PCI_MSIX_TABLE, &reg);
	bar = reg & PCI_MSIX_TABLE_BIR;
	table = DEFINE_RES_MEM(pci_resource_start(pdev, bar) +
			       (reg & PCI_MSIX_TABLE_OFFSET),
			       udev->max_vectors * PCI_MSIX_ENTRY_SIZE);
	/* All ones is what a device reads as that is not there. */
	if (bar >= PCI_STD_NUM_BARS ||
	    !resource_contains(&pdev->resource[bar], &table))
		return dev_err_probe(&pdev->dev, -ENODEV,
				     "not bound: its MSI-X table is in no BAR; is it there at all?\n");

	for (bar = 0; bar < PCI_STD_NUM_BARS && !ret; bar++) {
		if (pci_resource_flags(pdev, bar) & IORESOURCE_MEM) {
			ret = uio_msix_add_mem(udev, bar, &table);
		} else if (pci_resource_len(pdev, bar)) {
			/* At most 5: the table is in memory. UIO has as many. */
			port->name = devm_kasprintf(&pdev->dev, GFP_KERNEL,
						    "BAR%d", bar);
			port->start = pci_resource_start(pdev, bar);
			port->size = pci_resource_len(pdev, bar);
			port->porttype = UIO_PORT_X86;
			ret = port++->name ? 0 : -ENOMEM;
		}
	}
	return ret;
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
	udev->dirty = true; /* reset at open: see uio_msix_remove() */
	udev->info.name = DRIVER_NAME;
	udev->info.version = "1";
	udev->info.open = uio_msix_open;
	udev->info.release = uio_msix_release;
	udev->info.mmap_prepare = uio_msix_mmap_prepare;
	udev->info.ioctl = uio_msix_ioctl;
	udev->info.disconnect = uio_msix_end;
	pci_set_drvdata(pdev, udev);

	ret = pci_enable_device(pdev);
	if (ret)
		return ret;
	pci_clear_master(pdev);
	uio_msix_intx_off(pdev);

	ret = pci_request_regions_exclusive(pdev, DRIVER_NAME);
	if (ret) {
		dev_err_probe(&pdev->dev, ret,
			      "not bound: BARs are in use, see /proc/iomem and /proc/ioports\n");
		goto err_disable;
	}
	ret = uio_msix_add_bars(udev);
	if (ret)
		goto err_release;

	ret = -ENOMEM;
	pci_save_state(pdev);
	udev->bind_state = pci_store_saved_state(pdev);
	if (!udev->bind_state)
		goto err_release;
	ret = uio_register_device(&pdev->dev, &udev->info);
	if (ret)
		goto err_free;
	return 0;

err_free:
	kfree(udev->bind_state);
err_release:
	pci_release_regions(pdev);
err_disable:
	pci_disable_device(pdev);
	return ret;
}

static void uio_msix_remove(struct pci_dev *pdev)
{
	struct uio_msix_dev *udev = pci_get_drvdata(pdev);
	struct pci_dev *port = pci_upstream_bridge(pdev);

	/* Waits for callbacks, which do not wait for the user. */
	uio_unregister_device(&udev->info);
	uio_msix_free_vectors(pdev);
	/* pciehp resets a slot under a lock that comes before those held here. */
	pci_cfg_access_lock(pdev);
	uio_msix_reset(udev, pdev->slot && port && port->is_pciehp);
	pci_cfg_access_unlock(pdev);
	kfree(udev->bind_state);
	pci_release_regions(pdev);
	pci_disable_device(pdev);
}

/* Somebody resets the device, or worse, under the device lock. */
static void uio_msix_reset_prepare(struct pci_dev *pdev)
{
	struct uio_msix_dev *udev = pci_get_drvdata(pdev);

	udev->dirty = true;
	scoped_guard(mutex, &udev->info.uio_dev->info_lock)
		uio_msix_end(&udev->info);
	uio_msix_free_vectors(pdev);
}

static pci_ers_result_t uio_msix_error_detected(struct pci_dev *pdev,
						pci_channel_state_t state)
{
	uio_msix_reset_prepare(pdev);
	if (state == pci_channel_io_normal)
		return PCI_ERS_RESULT_CAN_RECOVER;
	/* Else slot_reset() is not called, though the bus is reset. */
	if (state == pci_channel_io_frozen)
		return PCI_ERS_RESULT_NEED_RESET;
	/* The bus may have been reset before recovery failed. */
	if (pci_device_is_present(pdev))
		uio_msix_restore(pci_get_drvdata(pdev));
	return PCI_ERS_RESULT_DISCONNECT;
}

static pci_ers_result_t uio_msix_slot_reset(struct pci_dev *pdev)
{
	/* It can have been opened since the error: this reset was not announced. */
	uio_msix_reset_prepare(pdev);
	uio_msix_restore(pci_get_drvdata(pdev));
	return PCI_ERS_RESULT_RECOVERED;
}

static const struct pci_error_handlers uio_msix_err_handler = {
	.error_detected = uio_msix_error_detected,
	.slot_reset = uio_msix_slot_reset,
	.reset_prepare = uio_msix_reset_prepare,
};

/* Also for hibernation, in which another kernel may use it. */
static int uio_msix_suspend(struct device *dev)
{
	uio_msix_reset_prepare(to_pci_dev(dev));
	return 0;
}

static DEFINE_SIMPLE_DEV_PM_OPS(uio_msix_pm_ops, uio_msix_suspend, NULL);

static struct pci_driver uio_msix_driver = {
	.name = DRIVER_NAME,
	.id_table = NULL, /* dynamic ids and driver_override only */
	.probe = uio_msix_probe,
	.remove = uio_msix_remove,
	.err_handler = &uio_msix_err_handler,
	.driver.pm = pm_sleep_ptr(&uio_msix_pm_ops),
};
module_pci_driver(uio_msix_driver);

MODULE_DESCRIPTION("MSI-X vectors of PCI devices as eventfds for userspace drivers");
MODULE_LICENSE("GPL");
