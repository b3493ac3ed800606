// SPDX-License-Identifier: GPL-2.0-only
/*
 * What only the kernel sees of uio_vmxnet3: the order in which it ends things. And a
 * START that fails. In /sys/module/order/parameters:
 *
 *	device		"ADDRESS" of the vmxnet3, bound to it; "" for none
 *	fail_start	1: the device does not find what it is told at the next START
 *	hold_pin	1: who pins a folio of a memfd does not go on, 2 once he does not,
 *			until this is 0 again or for ten seconds
 *	clears		how often its bus mastering went off,
 *	early_clears	and how often while it was active
 *	unpins		how many folios were unpinned,
 *	clean_unpins	and how many that were not dirty
 */
#include <linux/delay.h>
#include <linux/kprobes.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pci.h>
#include "../net/vmxnet3/vmxnet3_defs.h"

static int fail_start, hold_pin;
module_param(fail_start, int, 0600);
module_param(hold_pin, int, 0600);

static unsigned long clears, early_clears, unpins, clean_unpins;
module_param(clears, ulong, 0400);
module_param(early_clears, ulong, 0400);
module_param(unpins, ulong, 0400);
module_param(clean_unpins, ulong, 0400);

static struct pci_dev *device;
static void __iomem *bar1;

/* No lock is taken in these: a breakpoint is like an NMI. */
static int master_goes_on(struct kprobe *probe, struct pt_regs *regs)
{
	if ((void *)regs_get_kernel_argument(regs, 0) != device || !xchg(&fail_start, 0))
		return 0;
	writel(0, bar1 + VMXNET3_REG_DSAL);
	writel(0, bar1 + VMXNET3_REG_DSAH);
	return 0;
}

static int master_goes_off(struct kprobe *probe, struct pt_regs *regs)
{
	struct pci_dev *pdev = (void *)regs_get_kernel_argument(regs, 0);

	if (pdev != device || !pdev->is_busmaster)
		return 0;
	clears++;
	/* It is then, or else it has forgotten what it was told. */
	writel(VMXNET3_CMD_ACTIVATE_DEV, bar1 + VMXNET3_REG_CMD);
	if (!readl(bar1 + VMXNET3_REG_CMD))
		early_clears++;
	return 0;
}

static int unpinned(struct kprobe *probe, struct pt_regs *regs)
{
	struct folio **folios = (void *)regs_get_kernel_argument(regs, 0);
	unsigned long i, n = regs_get_kernel_argument(regs, 1);

	for (i = 0; i < n && device; i++) {
		unpins++;
		if (!folio_test_dirty(folios[i]))
			clean_unpins++;
	}
	return 0;
}

static int folio_was_pinned(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	int ms;

	if (cmpxchg(&hold_pin, 1, 2) == 1)
		for (ms = 0; ms < 10000 && READ_ONCE(hold_pin); ms++)
			mdelay(1);
	return 0;
}

static struct kretprobe pin_probe = {
	.kp.symbol_name = "memfd_pin_folios",
	.handler = folio_was_pinned,
};

static struct kprobe probes[] = {
	{ .symbol_name = "pci_set_master", .pre_handler = master_goes_on },
	{ .symbol_name = "pci_clear_master", .pre_handler = master_goes_off },
	{ .symbol_name = "unpin_folios", .pre_handler = unpinned },
};
static struct kprobe *all[] = { &probes[0], &probes[1], &probes[2] };

static void forget(void)
{
	struct pci_dev *pdev = xchg(&device, NULL);

	if (!pdev)
		return;
	iounmap(bar1);
	pci_dev_put(pdev);
}

static int set_device(const char *text, const struct kernel_param *param)
{
	unsigned int domain, bus, slot, func;
	struct pci_dev *pdev;

	forget();
	if (sscanf(text, "%x:%x:%x.%x", &domain, &bus, &slot, &func) != 4)
		return 0;
	pdev = pci_get_domain_bus_and_slot(domain, bus, PCI_DEVFN(slot, func));
	if (!pdev)
		return -ENODEV;
	bar1 = ioremap(pci_resource_start(pdev, 1), pci_resource_len(pdev, 1));
	if (!bar1) {
		pci_dev_put(pdev);
		return -ENOMEM;
	}
	WRITE_ONCE(device, pdev);
	return 0;
}

static const struct kernel_param_ops device_ops = { .set = set_device };
module_param_cb(device, &device_ops, NULL, 0200);

static int __init order_init(void)
{
	int ret = register_kretprobe(&pin_probe);

	if (ret)
		return ret;
	ret = register_kprobes(all, ARRAY_SIZE(all));
	if (ret)
		unregister_kretprobe(&pin_probe);
	return ret;
}
module_init(order_init);

static void __exit order_exit(void)
{
	unregister_kprobes(all, ARRAY_SIZE(all));
	unregister_kretprobe(&pin_probe);
	forget();
}
module_exit(order_exit);

MODULE_DESCRIPTION("What only the kernel sees of uio_vmxnet3, for its tests");
MODULE_LICENSE("GPL");
