// SPDX-License-Identifier: GPL-2.0-only
/*
 * Makes what must not be overtaken slow, so that no luck is needed to see it
 * overtaken: interrupt handlers that signal an eventfd, just before they touch
 * it, and page faults that insert a page of a device, just before they do.
 */
#include <linux/delay.h>
#include <linux/kprobes.h>
#include <linux/module.h>

static int slow_signal(struct kprobe *probe, struct pt_regs *regs)
{
	if (in_hardirq())
		udelay(200);
	return 0;
}

static int slow_fault(struct kprobe *probe, struct pt_regs *regs)
{
	mdelay(20);
	return 0;
}

static struct kprobe signal_probe = {
	.symbol_name = "eventfd_signal_mask",
	.pre_handler = slow_signal,
};

static struct kprobe fault_probe = {
	.symbol_name = "vmf_insert_pfn",
	.pre_handler = slow_fault,
};

static struct kprobe *probes[] = { &signal_probe, &fault_probe };

static int __init slow_init(void)
{
	return register_kprobes(probes, ARRAY_SIZE(probes));
}
module_init(slow_init);

static void __exit slow_exit(void)
{
	unregister_kprobes(probes, ARRAY_SIZE(probes));
}
module_exit(slow_exit);

MODULE_DESCRIPTION("Slow handlers and faults, for tests of uio_msix");
MODULE_LICENSE("GPL");
