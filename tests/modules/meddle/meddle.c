// SPDX-License-Identifier: GPL-2.0-only
/*
 * What only the kernel can do to a device. By writing to the parameters of this
 * module, in /sys/module/meddle/parameters:
 *
 *	hold			"ADDRESS MS" holds the lock of the device for so long
 *	non_mappable_bars	"ADDRESS 0|1" what a quirk says of a device;
 *				the driver for kernels before 7.2 does not look
 *	intx_bug		the same
 *	more_bars		"ADDRESS 1" gives an unbound device as many memory BARs
 *				as can be, which it does not know; "ADDRESS 0" undoes it
 *	fail_reset		resets, but by FLR only, fail with this errno; 0 for not
 *	vanish			1: a device is not to be reached after such a reset,
 *				until its bridge has the number of its bus again
 *	resets, slot_resets	to be read: how many there were, and by a hot-plug slot
 *	reset			"ADDRESS 1|0" tells its driver that a reset begins, or
 *				that it is over
 *	error			"ADDRESS STATE" tells its driver of an error, 3 being one
 *				without recovery
 *	slot_reset		"ADDRESS 0" tells its driver that the recovery from an
 *				error has reset it
 *	sub_page		"ADDRESS BAR" begins and ends the BAR of an unbound
 *				device inside of its pages; "ADDRESS 6" undoes it
 *	neighbour		1 claims what is left of the last page then, 0 not
 */
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/kprobes.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/version.h>

static int fail_reset;
module_param(fail_reset, int, 0600);

static int vanish;
module_param(vanish, int, 0600);

static unsigned long resets;
module_param(resets, ulong, 0400);

static int reset_begins(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	*(struct pci_dev **)instance->data = (void *)regs_get_kernel_argument(regs, 0);
	return 0;
}

static int reset_returns(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	struct pci_dev *pdev = *(struct pci_dev **)instance->data;

	resets++;
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

static int flr_returns(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	resets++;
	return 0;
}

static struct kretprobe flr_probe = {
	.kp.symbol_name = "pcie_reset_flr",
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

static struct kretprobe *probes[] = { &reset_probe, &flr_probe, &slot_probe };

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

static int set_error(struct pci_dev *pdev, unsigned int state)
{
	if (handlers(pdev)->error_detected)
		handlers(pdev)->error_detected(pdev, (__force pci_channel_state_t)state);
	return 0;
}
DEVICE_PARAM(error);

static int set_slot_reset(struct pci_dev *pdev, unsigned int value)
{
	if (handlers(pdev)->slot_reset)
		handlers(pdev)->slot_reset(pdev);
	return 0;
}
DEVICE_PARAM(slot_reset);

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
	neighbour = DEFINE_RES_MEM_NAMED(shrunk->end + 1, SHIFT, "meddle");
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
			*res = DEFINE_RES_MEM_NAMED(0, PAGE_SIZE, invented);
			ret = pci_bus_alloc_resource(pdev->bus, res, PAGE_SIZE, PAGE_SIZE,
						     0, IORESOURCE_MEM, NULL, NULL);
			if (ret)
				*res = (struct resource){ };
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
	return register_kretprobes(probes, ARRAY_SIZE(probes));
}
module_init(meddle_init);

MODULE_DESCRIPTION("Locks held, resets that fail or are told of, quirks, BARs, for tests of uio_msix");
MODULE_LICENSE("GPL");
