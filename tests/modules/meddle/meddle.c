// SPDX-License-Identifier: GPL-2.0-only
/*
 * What only the kernel can do to a device. By writing to the parameters of this
 * module, in /sys/module/meddle/parameters:
 *
 *	hold			"ADDRESS MS" holds the lock of the device for so long
 *	table_bar		"ADDRESS BAR" is where its MSI-X table says to be; 8 undoes
 *				it
 *	non_mappable_bars	"ADDRESS 0|1" what a quirk says of a device;
 *				the driver for kernels before 7.2 does not look
 *	intx_bug		the same
 *	more_bars		"ADDRESS 1" gives an unbound device as many memory BARs
 *				as can be, which it does not know, "ADDRESS 2" one of
 *				I/O ports; "ADDRESS 0" undoes it
 *	fail_reset		resets, but by FLR only, fail with this errno; 0 for not
 *	no_pciehp		"ADDRESS 1" is in a slot that is not that of a PCIe hot-plug
 *				port, as with ACPI; "ADDRESS 0" undoes it
 *	slot			"ADDRESS 1" is in a slot, without hot-plug; "ADDRESS 0"
 *				undoes it
 *	vanish			1: a device is not to be reached after such a reset,
 *				until its bridge has the number of its bus again
 *	resets, slot_resets	to be read: how many there were, and by a hot-plug slot
 *	full_resets		of these, those that were not by FLR only
 *	restoring, restored, bar0	COMMAND of a device just before its configuration was
 *				restored, COMMAND and BAR0 just after, both before the last
 *				reset that was not by FLR only; all ones if it was not
 *	power_state, msix	of a device just before its configuration was restored, 0
 *				being D0, and whether its vectors were there; the highest
 *				since 0 was written
 *	fail_store		1: saving a configuration fails for want of memory
 *	reset			"ADDRESS 1|0" tells its driver that a reset begins, or
 *				that it is over
 *	error			"ADDRESS STATE" tells its driver of an error, 3 being one
 *				without recovery
 *	slot_reset		"ADDRESS 0" tells its driver that the recovery from an
 *				error has reset it
 *	verdict			what the driver answered to the last of these two
 *	channel			"ADDRESS STATE" of its error_state
 *	d3hot_delay		"ADDRESS MS" what a quirk says
 *	awake			whether that device was awake when that was waited for, if
 *				it was a second or more
 *	slept			how often the PCI core put that device to sleep
 *	claim			"ADDRESS BAR" claims it, "ADDRESS 6" lets it go
 *	unset			"ADDRESS BAR" has no address, "ADDRESS 6" undoes it
 *	sub_page		"ADDRESS BAR" begins and ends the BAR of an unbound
 *				device inside of its pages; "ADDRESS 6" undoes it
 *	short_bar		the same, but it has 16 bytes only
 *	neighbour		1 claims what is left of the last page then, 2 of the
 *				first, 0 not; 3 tries to, as a driver does
 *	slow_signal		the next handler that signals an eventfd does so MS later
 *	slow_fault		the next fault that inserts a page of a device, too
 *	slow_wait		the process with this PID, when it is about to wait in
 *				poll() or read(), does so 300 ms later, once
 *	slow_queue		the same, when it is about to queue for that in read()
 *	slow_open		the process with this PID, when it is about to hold
 *				uio_msix, does so a second later, once: 0 then
 *	slow_zap		the process with this PID, when it is about to unmap a
 *				file from all who have mapped it, does so 300 ms later,
 *				once
 *	slow_free		who frees the vectors of a device next does so MS later
 *	early_frees		how often somebody else was about to, meanwhile
 *	begun			how often one of these seven has begun
 *	early_puts		how often the eventfd was let go meanwhile
 */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/kprobes.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <linux/version.h>

static int fail_reset;
module_param(fail_reset, int, 0600);

static int vanish;
module_param(vanish, int, 0600);

static unsigned long resets, full_resets;
module_param(resets, ulong, 0400);
module_param(full_resets, ulong, 0400);

static u16 restoring, restored, power_state, msix;
module_param(restoring, ushort, 0400);
module_param(restored, ushort, 0400);
module_param(power_state, ushort, 0600);
module_param(msix, ushort, 0600);

static u32 bar0;
module_param(bar0, uint, 0400);

/* Of the last one that was restored, until a reset. */
static u16 restoring_now, restored_now;
static u32 bar0_now;

static int remember_device(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	*(struct pci_dev **)instance->data = (void *)regs_get_kernel_argument(regs, 0);
	return 0;
}

static int state_is_loaded(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	struct pci_dev *pdev = *(struct pci_dev **)instance->data;

	u16 reg;

	pci_read_config_word(pdev, PCI_COMMAND, &restoring_now);
	if (pdev->pm_cap) {
		pci_read_config_word(pdev, pdev->pm_cap + PCI_PM_CTRL, &reg);
		power_state = max_t(u16, power_state, reg & PCI_PM_CTRL_STATE_MASK);
	}
	if (pdev->msix_cap) {
		pci_read_config_word(pdev, pdev->msix_cap + PCI_MSIX_FLAGS, &reg);
		msix |= !!(reg & PCI_MSIX_FLAGS_ENABLE);
	}
	return 0;
}

static struct kretprobe load_probe = {
	.kp.symbol_name = "pci_load_saved_state",
	.entry_handler = remember_device,
	.handler = state_is_loaded,
	.data_size = sizeof(struct pci_dev *),
};

static int state_is_restored(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	struct pci_dev *pdev = *(struct pci_dev **)instance->data;

	pci_read_config_word(pdev, PCI_COMMAND, &restored_now);
	pci_read_config_dword(pdev, PCI_BASE_ADDRESS_0, &bar0_now);
	return 0;
}

static struct kretprobe restore_probe = {
	.kp.symbol_name = "pci_restore_state",
	.entry_handler = remember_device,
	.handler = state_is_restored,
	.data_size = sizeof(struct pci_dev *),
};

/* No lock is taken here: a breakpoint is like an NMI. */
static int reset_begins(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	restoring = restoring_now;
	restored = restored_now;
	bar0 = bar0_now;
	restoring_now = ~0;
	restored_now = ~0;
	bar0_now = ~0;
	return remember_device(instance, regs);
}

static int reset_returns(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	struct pci_dev *pdev = *(struct pci_dev **)instance->data;

	resets++;
	full_resets++;
	if (fail_reset)
		regs_set_return_value(regs, -fail_reset);
	if (vanish)
		pci_write_config_byte(pdev->bus->self, PCI_SECONDARY_BUS, 0xff);
	return 0;
}

static struct kretprobe reset_probe = {
	.kp.symbol_name = "__pci_reset_function_locked",
	.entry_handler = reset_begins,
	.handler = reset_returns,
	.data_size = sizeof(struct pci_dev *),
};

/* Not if it is only asked whether there is one. */
static int flr_begins(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	return (bool)regs_get_kernel_argument(regs, 1) == PCI_RESET_PROBE;
}

static int flr_returns(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	resets++;
	return 0;
}

static struct kretprobe flr_probe = {
	.kp.symbol_name = "pcie_reset_flr",
	.entry_handler = flr_begins,
	.handler = flr_returns,
};

static unsigned long slot_resets;
module_param(slot_resets, ulong, 0400);

static int slot_was_reset(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	slot_resets++;
	return 0;
}

static struct kretprobe slot_probe = {
	.kp.symbol_name = "pciehp_reset_slot",
	.handler = slot_was_reset,
};

static int fail_store;
module_param(fail_store, int, 0600);

static int stored(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	if (fail_store) {
		kfree((void *)regs_return_value(regs));
		regs_set_return_value(regs, 0);
	}
	return 0;
}

static struct kretprobe store_probe = {
	.kp.symbol_name = "pci_store_saved_state",
	.handler = stored,
};

/* The device that lies: only then, for all that is read of any passes here. */
static struct pci_dev *liar;
static unsigned int lie;

static int reads_config(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	struct pci_dev *pdev = (void *)regs_get_kernel_argument(regs, 0);

	if (pdev != liar ||
	    (int)regs_get_kernel_argument(regs, 1) != pdev->msix_cap + PCI_MSIX_TABLE)
		return 1;
	*(u32 **)instance->data = (void *)regs_get_kernel_argument(regs, 2);
	return 0;
}

static int has_read_config(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	u32 *value = *(u32 **)instance->data;

	*value = (*value & ~PCI_MSIX_TABLE_BIR) | lie;
	return 0;
}

static struct kretprobe config_probe = {
	.kp.symbol_name = "pci_read_config_dword",
	.kp.flags = KPROBE_FLAG_DISABLED,
	.entry_handler = reads_config,
	.handler = has_read_config,
	.data_size = sizeof(u32 *),
};

static struct kretprobe *kretprobes[] = {
	&load_probe, &restore_probe, &reset_probe, &flr_probe, &slot_probe, &store_probe,
	&config_probe,
};

/* What must not be overtaken takes long, once. */
static int slow_signal, slow_fault, slow_wait, slow_queue, slow_open, slow_zap, slow_free;
module_param(slow_signal, int, 0600);
module_param(slow_fault, int, 0600);
module_param(slow_wait, int, 0600);
module_param(slow_queue, int, 0600);
module_param(slow_open, int, 0600);
module_param(slow_zap, int, 0600);
module_param(slow_free, int, 0600);

static unsigned long begun, early_puts, early_frees;
module_param(begun, ulong, 0400);
module_param(early_puts, ulong, 0400);
module_param(early_frees, ulong, 0400);

static void *signalled;

static int signal_eventfd(struct kprobe *probe, struct pt_regs *regs)
{
	int ms = xchg(&slow_signal, 0);

	if (ms) {
		WRITE_ONCE(signalled, (void *)regs_get_kernel_argument(regs, 0));
		begun++;
		mdelay(ms);
		WRITE_ONCE(signalled, NULL);
	}
	return 0;
}

static struct kprobe signal_probe = {
	.symbol_name = "eventfd_signal_mask",
	.pre_handler = signal_eventfd,
};

static int put_eventfd(struct kprobe *probe, struct pt_regs *regs)
{
	if ((void *)regs_get_kernel_argument(regs, 0) == READ_ONCE(signalled))
		early_puts++;
	return 0;
}

static struct kprobe put_probe = {
	.symbol_name = "eventfd_ctx_put",
	.pre_handler = put_eventfd,
};

static int insert_page(struct kprobe *probe, struct pt_regs *regs)
{
	int ms = xchg(&slow_fault, 0);

	if (ms) {
		begun++;
		mdelay(ms);
	}
	return 0;
}

static struct kprobe fault_probe = {
	.symbol_name = "vmf_insert_pfn",
	.pre_handler = insert_page,
};

/* Once, if *PID is this process. */
static int takes_long(int *pid)
{
	if (current->pid == *pid) {
		*pid = 0;
		begun++;
		mdelay(300);
	}
	return 0;
}

static int begin_to_wait(struct kprobe *probe, struct pt_regs *regs)
{
	return takes_long(&slow_wait);
}

static int begin_to_queue(struct kprobe *probe, struct pt_regs *regs)
{
	return takes_long(&slow_queue);
}

static struct kprobe queue_probe = {
	.symbol_name = "add_wait_queue",
	.pre_handler = begin_to_queue,
};

static struct kprobe read_probe = {
	.symbol_name = "wait_woken",
	.pre_handler = begin_to_wait,
};

static struct kprobe poll_probe = {
	.symbol_name = "__pollwait",
	.pre_handler = begin_to_wait,
};

static int hold_module(struct kprobe *probe, struct pt_regs *regs)
{
	struct module *module = (void *)regs_get_kernel_argument(regs, 0);

	if (current->pid == slow_open && module && !strcmp(module->name, "uio_msix")) {
		begun++;
		mdelay(1000);
		WRITE_ONCE(slow_open, 0);
	}
	return 0;
}

static struct kprobe module_probe = {
	.symbol_name = "try_module_get",
	.pre_handler = hold_module,
};

static int zap(struct kprobe *probe, struct pt_regs *regs)
{
	return takes_long(&slow_zap);
}

static struct kprobe zap_probe = {
	.symbol_name = "unmap_mapping_range",
	.pre_handler = zap,
};

static int free_vectors(struct kprobe *probe, struct pt_regs *regs)
{
	static bool freeing;
	int ms = xchg(&slow_free, 0);

	if (ms) {
		WRITE_ONCE(freeing, true);
		begun++;
		mdelay(ms);
		WRITE_ONCE(freeing, false);
	} else if (READ_ONCE(freeing)) {
		early_frees++;
	}
	return 0;
}

static struct kprobe free_probe = {
	.symbol_name = "pci_free_irq_vectors",
	.pre_handler = free_vectors,
};

/* It may be gone by now, but not while there is a long delay: nobody else has one. */
static struct pci_dev *sleeper;
static unsigned int long_delay;
static int awake;
static unsigned long slept;
module_param(awake, int, 0400);
module_param(slept, ulong, 0400);

static int waits_for_power(struct kprobe *probe, struct pt_regs *regs)
{
	u16 state;

	if (long_delay && (unsigned int)regs_get_kernel_argument(regs, 0) == long_delay) {
		pci_read_config_word(sleeper, sleeper->pm_cap + PCI_PM_CTRL, &state);
		awake = !(state & PCI_PM_CTRL_STATE_MASK);
	}
	return 0;
}

static struct kprobe msleep_probe = {
	.symbol_name = "msleep",
	.pre_handler = waits_for_power,
};

static int puts_to_sleep(struct kprobe *probe, struct pt_regs *regs)
{
	slept += (void *)regs_get_kernel_argument(regs, 0) == sleeper;
	return 0;
}

static struct kprobe sleep_probe = {
	.symbol_name = "pci_prepare_to_sleep",
	.pre_handler = puts_to_sleep,
};

static struct kprobe *kprobes[] = {
	&signal_probe, &put_probe, &fault_probe, &queue_probe, &read_probe, &poll_probe,
	&module_probe, &zap_probe, &free_probe, &msleep_probe, &sleep_probe,
};

static struct pci_dev *parse(const char *text, unsigned int *value)
{
	unsigned int domain, bus, slot, func;

	if (sscanf(text, "%x:%x:%x.%x %u", &domain, &bus, &slot, &func, value) != 5)
		return NULL;
	return pci_get_domain_bus_and_slot(domain, bus, PCI_DEVFN(slot, func));
}

static int on_device(const char *text, int (*set)(struct pci_dev *pdev, unsigned int value))
{
	unsigned int value;
	struct pci_dev *pdev = parse(text, &value);
	int ret;

	if (!pdev)
		return -EINVAL;
	device_lock(&pdev->dev);
	ret = set(pdev, value);
	device_unlock(&pdev->dev);
	pci_dev_put(pdev);
	return ret;
}

/* "ADDRESS VALUE" written to @name calls set_@name, under the device lock. */
#define DEVICE_PARAM(name)							\
static int store_##name(const char *text, const struct kernel_param *param)	\
{										\
	return on_device(text, set_##name);					\
}										\
static const struct kernel_param_ops name##_ops = { .set = store_##name };	\
module_param_cb(name, &name##_ops, NULL, 0200)

static int set_no_pciehp(struct pci_dev *pdev, unsigned int value)
{
	struct pci_dev *port = pdev->bus->self;
	static bool was;

	if (!pdev->slot || !port || !(value ? port->is_pciehp : was))
		return -ENODEV;
	port->is_pciehp = !value;
	was = value;
	return 0;
}
DEVICE_PARAM(no_pciehp);

static int set_slot(const char *text, const struct kernel_param *param)
{
	static struct pci_slot *slot;
	unsigned int value;
	struct pci_dev *pdev = parse(text, &value);

	if (!pdev)
		return -EINVAL;
	if (value)
		slot = pci_create_slot(pdev->bus, PCI_SLOT(pdev->devfn), "meddle", NULL);
	else
		pci_destroy_slot(slot);
	pci_dev_put(pdev);
	return PTR_ERR_OR_ZERO(slot);
}

static const struct kernel_param_ops slot_ops = { .set = set_slot };
module_param_cb(slot, &slot_ops, NULL, 0200);

static struct holder {
	struct pci_dev *pdev;
	unsigned int ms;
	struct completion held;
} holder;

static int hold_thread(void *arg)
{
	struct pci_dev *pdev = holder.pdev;
	unsigned int ms = holder.ms;

	device_lock(&pdev->dev);
	complete(&holder.held);
	msleep(ms);
	device_unlock(&pdev->dev);
	pci_dev_put(pdev);
	return 0;
}

static int set_hold(const char *text, const struct kernel_param *param)
{
	struct task_struct *task;

	holder.pdev = parse(text, &holder.ms);
	if (!holder.pdev)
		return -EINVAL;
	init_completion(&holder.held);
	task = kthread_run(hold_thread, NULL, "meddle");
	if (IS_ERR(task))
		return PTR_ERR(task);
	wait_for_completion(&holder.held);
	return 0;
}

static const struct kernel_param_ops hold_ops = { .set = set_hold };
module_param_cb(hold, &hold_ops, NULL, 0200);

/* What the driver of the device can be told of. */
static const struct pci_error_handlers *handlers(struct pci_dev *pdev)
{
	static const struct pci_error_handlers none;

	return pdev->driver && pdev->driver->err_handler ? pdev->driver->err_handler : &none;
}

static int set_reset(struct pci_dev *pdev, unsigned int begins)
{
	if (begins && handlers(pdev)->reset_prepare)
		handlers(pdev)->reset_prepare(pdev);
	else if (!begins && handlers(pdev)->reset_done)
		handlers(pdev)->reset_done(pdev);
	return 0;
}
DEVICE_PARAM(reset);

static int verdict;
module_param(verdict, int, 0400);

static int set_error(struct pci_dev *pdev, unsigned int state)
{
	if (handlers(pdev)->error_detected)
		verdict = (__force int)handlers(pdev)->error_detected(pdev,
						(__force pci_channel_state_t)state);
	return 0;
}
DEVICE_PARAM(error);

static int set_slot_reset(struct pci_dev *pdev, unsigned int value)
{
	if (handlers(pdev)->slot_reset)
		verdict = (__force int)handlers(pdev)->slot_reset(pdev);
	return 0;
}
DEVICE_PARAM(slot_reset);

static int set_channel(struct pci_dev *pdev, unsigned int state)
{
	pdev->error_state = (__force pci_channel_state_t)state;
	return 0;
}
DEVICE_PARAM(channel);

static int set_d3hot_delay(struct pci_dev *pdev, unsigned int ms)
{
	pdev->d3hot_delay = ms;
	sleeper = pdev;
	long_delay = ms >= 1000 ? ms : 0;
	awake = 0;
	return 0;
}
DEVICE_PARAM(d3hot_delay);

static int set_claim(struct pci_dev *pdev, unsigned int bar)
{
	static int claimed;

	if (bar < PCI_STD_NUM_BARS)
		return pci_request_region(pdev, claimed = bar, "meddle");
	pci_release_region(pdev, claimed);
	return 0;
}
DEVICE_PARAM(claim);

static int set_unset(struct pci_dev *pdev, unsigned int bar)
{
	static struct resource *unset;

	if (bar < PCI_STD_NUM_BARS) {
		unset = &pdev->resource[bar];
		unset->flags |= IORESOURCE_UNSET;
	} else {
		unset->flags &= ~IORESOURCE_UNSET;
	}
	return 0;
}
DEVICE_PARAM(unset);

static int set_table_bar(struct pci_dev *pdev, unsigned int bar)
{
	if (bar > PCI_MSIX_TABLE_BIR)
		return disable_kretprobe(&config_probe);
	liar = pdev;
	lie = bar;
	return enable_kretprobe(&config_probe);
}
DEVICE_PARAM(table_bar);

static int set_short_bar(struct pci_dev *pdev, unsigned int bar)
{
	static struct resource *cut;
	static resource_size_t size;

	if (pdev->driver)
		return -EBUSY;
	if (bar >= PCI_STD_NUM_BARS)
		return adjust_resource(cut, cut->start, size);
	cut = &pdev->resource[bar];
	size = resource_size(cut);
	return adjust_resource(cut, cut->start, 16);
}
DEVICE_PARAM(short_bar);

#define SHIFT	0x400

static struct resource *shrunk, neighbour;

/* As the kernel sees it: the device is not told. */
static int set_sub_page(struct pci_dev *pdev, unsigned int bar)
{
	int ret = -EBUSY;

	if (!pdev->driver && !shrunk && bar < PCI_STD_NUM_BARS) {
		shrunk = &pdev->resource[bar];
		ret = adjust_resource(shrunk, shrunk->start + SHIFT,
				      resource_size(shrunk) - 2 * SHIFT);
		if (ret)
			shrunk = NULL;
	} else if (!pdev->driver && shrunk && bar >= PCI_STD_NUM_BARS) {
		ret = adjust_resource(shrunk, shrunk->start - SHIFT,
				      resource_size(shrunk) + 2 * SHIFT);
		shrunk = NULL;
	}
	return ret;
}
DEVICE_PARAM(sub_page);

static int set_neighbour(const char *text, const struct kernel_param *param)
{
	if (!shrunk)
		return -EINVAL;
	if (*text == '0')
		return release_resource(&neighbour);
	if (*text == '3') {
		if (!request_mem_region(shrunk->end + 1, SHIFT, "meddle"))
			return -EBUSY;
		release_mem_region(shrunk->end + 1, SHIFT);
		return 0;
	}
	neighbour = DEFINE_RES_MEM_NAMED(*text == '1' ? shrunk->end + 1 : shrunk->start - SHIFT,
					 SHIFT, "meddle");
	return request_resource(shrunk->parent, &neighbour);
}

static const struct kernel_param_ops neighbour_ops = { .set = set_neighbour };
module_param_cb(neighbour, &neighbour_ops, NULL, 0200);

static const char invented[] = "meddle";

static int set_more_bars(struct pci_dev *pdev, unsigned int value)
{
	struct resource *res;
	int i, ret = 0;

	if (pdev->driver)
		return -EBUSY;
	for (i = 0; i < PCI_STD_NUM_BARS && !ret; i++) {
		res = &pdev->resource[i];
		if (value && !res->flags) {
			if (value == 1)
				*res = DEFINE_RES_MEM_NAMED(0, PAGE_SIZE, invented);
			else
				*res = DEFINE_RES_IO_NAMED(0, 32, invented);
			ret = pci_bus_alloc_resource(pdev->bus, res, resource_size(res),
						     resource_size(res), 0, res->flags, NULL, NULL);
			if (ret)
				*res = (struct resource){ };
			else if (value == 2)
				break;
		} else if (!value && res->name == invented) {
			ret = release_resource(res);
			*res = (struct resource){ };
		}
	}
	return ret;
}
DEVICE_PARAM(more_bars);

static int set_intx_bug(struct pci_dev *pdev, unsigned int value)
{
	if (value)
		pdev->dev_flags |= PCI_DEV_FLAGS_MSI_INTX_DISABLE_BUG;
	else
		pdev->dev_flags &= ~PCI_DEV_FLAGS_MSI_INTX_DISABLE_BUG;
	return 0;
}
DEVICE_PARAM(intx_bug);

#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 2, 0)
static int set_non_mappable_bars(struct pci_dev *pdev, unsigned int value)
{
	pdev->non_mappable_bars = value;
	return 0;
}
DEVICE_PARAM(non_mappable_bars);
#endif

static int __init meddle_init(void)
{
	int ret = register_kretprobes(kretprobes, ARRAY_SIZE(kretprobes));

	return ret ?: register_kprobes(kprobes, ARRAY_SIZE(kprobes));
}
module_init(meddle_init);

MODULE_DESCRIPTION("What only the kernel can do to a device, for tests of uio_msix");
MODULE_LICENSE("GPL");
