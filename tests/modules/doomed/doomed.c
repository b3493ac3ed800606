// SPDX-License-Identifier: GPL-2.0-only
/*
 * A UIO device that can be opened for a moment: its registration fails, for want of
 * its interrupt. Loads if the UIO core did by it as include/linux/uio_driver.h says.
 */
#include <linux/device.h>
#include <linux/kprobes.h>
#include <linux/limits.h>
#include <linux/module.h>
#include <linux/uio_driver.h>

static struct device *parent;
static unsigned int disconnects;
static bool locked, ready;

static irqreturn_t doomed_handler(int irq, struct uio_info *info)
{
	return IRQ_NONE;
}

static void doomed_disconnect(struct uio_info *info)
{
	disconnects++;
	locked = mutex_is_locked(&info->uio_dev->info_lock);
}

static struct uio_info info = {
	.name = "doomed",
	.version = "1",
	.irq = INT_MAX,
	.handler = doomed_handler,
	.disconnect = doomed_disconnect,
};

/* The device is about to get a node. */
static int is_added(struct kprobe *probe, struct pt_regs *regs)
{
	struct device *dev = (void *)regs_get_kernel_argument(regs, 0);

	if (dev->parent == parent)
		ready = info.uio_dev;
	return 0;
}

static struct kprobe add_probe = {
	.symbol_name = "device_add",
	.pre_handler = is_added,
};

static int __init doomed_init(void)
{
	int ret;

	parent = root_device_register("doomed");
	if (IS_ERR(parent))
		return PTR_ERR(parent);
	ret = register_kprobe(&add_probe);
	if (!ret) {
		ret = uio_register_device(parent, &info);
		unregister_kprobe(&add_probe);
		pr_info("doomed: registered: %d, disconnected %u times, locked: %d, ready: %d\n",
			ret, disconnects, locked, ready);
		ret = ret == -EINVAL && disconnects == 1 && locked && ready ? 0 : -EPROTO;
	}
	root_device_unregister(parent);
	return ret;
}
module_init(doomed_init);

static void __exit doomed_exit(void)
{
}
module_exit(doomed_exit);

MODULE_DESCRIPTION("A UIO device whose registration fails, for tests of the UIO core");
MODULE_LICENSE("GPL");
