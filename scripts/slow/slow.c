// SPDX-License-Identifier: GPL-2.0-only
/*
 * Makes interrupt handlers that signal an eventfd slow, just before they touch
 * it: what is freed too early is then seen to be used, and no race is needed.
 */
#include <linux/delay.h>
#include <linux/kprobes.h>
#include <linux/module.h>

static int slow(struct kprobe *probe, struct pt_regs *regs)
{
	if (in_hardirq())
		udelay(200);
	return 0;
}

static struct kprobe probe = {
	.symbol_name = "eventfd_signal_mask",
	.pre_handler = slow,
};

static int __init slow_init(void)
{
	return register_kprobe(&probe);
}
module_init(slow_init);

static void __exit slow_exit(void)
{
	unregister_kprobe(&probe);
}
module_exit(slow_exit);

MODULE_DESCRIPTION("Slow handlers, for tests of uio_msix");
MODULE_LICENSE("GPL");
