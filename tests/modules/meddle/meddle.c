// SPDX-License-Identifier: GPL-2.0-only
/*
 * What only the kernel can do to a device. By writing to the parameters of this
 * module, in /sys/module/meddle/parameters:
 *
 *	hold			"ADDRESS MS" holds the lock of the device for so long
 *	non_mappable_bars	"ADDRESS 0|1" what a quirk says of a device;
 *				the driver for kernels before 7.2 does not look
 *	fail_reset		resets by the driver fail with this errno; 0 for not
 *	slot_resets		to be read: how many resets went by a hot-plug slot
 *	reset			"ADDRESS 1|0" tells its driver that a reset begins, or
 *				that it is over
 *	error			"ADDRESS STATE" tells its driver of an error, 3 being one
 *				without recovery
 *	slot_reset		"ADDRESS 0" tells its driver that the recovery from an
 *				error has reset it
 *	shared_page		"ADDRESS BAR" begins and ends the BAR of an unbound
 *				device inside of its pages, and claims what is left of
 *				the last one; "ADDRESS 6" undoes it
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

static int reset_returns(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	if (fail_reset)
		regs_set_return_value(regs, -fail_reset);
	return 0;
}

static struct kretprobe reset_probe = {
	.kp.symbol_name = "__pci_reset_function_locked",
	.handler = reset_returns,
};

static struct kretprobe flr_probe = {
	.kp.symbol_name = "pcie_reset_flr",
	.handler = reset_returns,
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

/* The error handlers of its driver, if it has one, under the device lock. */
static int tell(const char *text, void (*how)(struct pci_dev *pdev,
					      const struct pci_error_handlers *handlers,
					      unsigned int value))
{
	unsigned int value;
	struct pci_dev *pdev = parse(text, &value);

	if (!pdev)
		return -EINVAL;
	device_lock(&pdev->dev);
	if (pdev->driver && pdev->driver->err_handler)
		how(pdev, pdev->driver->err_handler, value);
	device_unlock(&pdev->dev);
	pci_dev_put(pdev);
	return 0;
}

static void tell_reset(struct pci_dev *pdev,
		       const struct pci_error_handlers *handlers, unsigned int begins)
{
	if (begins && handlers->reset_prepare)
		handlers->reset_prepare(pdev);
	else if (!begins && handlers->reset_done)
		handlers->reset_done(pdev);
}

static int set_reset(const char *text, const struct kernel_param *param)
{
	return tell(text, tell_reset);
}

static const struct kernel_param_ops reset_ops = { .set = set_reset };
module_param_cb(reset, &reset_ops, NULL, 0200);

static void tell_error(struct pci_dev *pdev,
		       const struct pci_error_handlers *handlers, unsigned int state)
{
	if (handlers->error_detected)
		handlers->error_detected(pdev, (__force pci_channel_state_t)state);
}

static int set_error(const char *text, const struct kernel_param *param)
{
	return tell(text, tell_error);
}

static const struct kernel_param_ops error_ops = { .set = set_error };
module_param_cb(error, &error_ops, NULL, 0200);

static void tell_slot_reset(struct pci_dev *pdev,
			    const struct pci_error_handlers *handlers, unsigned int value)
{
	if (handlers->slot_reset)
		handlers->slot_reset(pdev);
}

static int set_slot_reset(const char *text, const struct kernel_param *param)
{
	return tell(text, tell_slot_reset);
}

static const struct kernel_param_ops slot_reset_ops = { .set = set_slot_reset };
module_param_cb(slot_reset, &slot_reset_ops, NULL, 0200);

#define SHIFT	0x400

static struct resource *shrunk, neighbour;

/* As the kernel sees it: the device is not told. */
static int set_shared_page(const char *text, const struct kernel_param *param)
{
	unsigned int bar;
	struct pci_dev *pdev = parse(text, &bar);
	int ret = 0;

	if (!pdev)
		return -EINVAL;
	device_lock(&pdev->dev);
	if (pdev->driver || !shrunk == (bar >= PCI_STD_NUM_BARS)) {
		ret = -EBUSY;
	} else if (shrunk) {
		release_resource(&neighbour);
		ret = adjust_resource(shrunk, shrunk->start - SHIFT,
				      resource_size(shrunk) + 2 * SHIFT);
		shrunk = NULL;
	} else {
		struct resource *res = &pdev->resource[bar];

		ret = adjust_resource(res, res->start + SHIFT,
				      resource_size(res) - 2 * SHIFT);
		if (!ret) {
			neighbour = DEFINE_RES_MEM_NAMED(res->end + 1, SHIFT, "meddle");
			ret = request_resource(res->parent, &neighbour);
			shrunk = res;
		}
	}
	device_unlock(&pdev->dev);
	pci_dev_put(pdev);
	return ret;
}

static const struct kernel_param_ops shared_page_ops = { .set = set_shared_page };
module_param_cb(shared_page, &shared_page_ops, NULL, 0200);

#if LINUX_VERSION_CODE >= KERNEL_VERSION(7, 2, 0)
static int set_non_mappable_bars(const char *text, const struct kernel_param *param)
{
	unsigned int value;
	struct pci_dev *pdev = parse(text, &value);

	if (!pdev)
		return -EINVAL;
	pdev->non_mappable_bars = value;
	pci_dev_put(pdev);
	return 0;
}

static const struct kernel_param_ops non_mappable_bars_ops = {
	.set = set_non_mappable_bars,
};
module_param_cb(non_mappable_bars, &non_mappable_bars_ops, NULL, 0200);
#endif

static int __init meddle_init(void)
{
	return register_kretprobes(probes, ARRAY_SIZE(probes));
}
module_init(meddle_init);

MODULE_DESCRIPTION("Locks held, resets that fail or are told of, quirks, shared pages, for tests of uio_msix");
MODULE_LICENSE("GPL");
