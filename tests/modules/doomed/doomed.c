// SPDX-License-Identifier: GPL-2.0-only
/*
 * A UIO device that is registered and unregistered, and then one that can be opened
 * for a moment: its registration fails, for want of its interrupt. Loads if the UIO
 * core did by them as include/linux/uio_driver.h says, and woke all who wait.
 */
#include <linux/device.h>
#include <linux/kprobes.h>
#include <linux/limits.h>
#include <linux/module.h>
#include <linux/uio_driver.h>

static struct device *parent;
static unsigned int disconnects, wakeups;
static bool in_order = true, ready;
static struct wait_queue_entry waiters[2];

static irqreturn_t doomed_handler(int irq, struct uio_info *info)
{
	return IRQ_NONE;
}

static int woken(struct wait_queue_entry *entry, unsigned int mode, int flags, void *key)
{
	wakeups++;
	return 1;
}

/* Two wait exclusively, for what comes after. */
static void doomed_disconnect(struct uio_info *info)
{
	struct uio_device *idev = info->uio_dev;
	int i;

	disconnects++;
	in_order &= mutex_is_locked(&idev->info_lock) && idev->info == info;
	for (i = 0; i < ARRAY_SIZE(waiters); i++) {
		init_waitqueue_func_entry(&waiters[i], woken);
		add_wait_queue_exclusive(&idev->wait, &waiters[i]);
	}
}

static struct uio_info info = {
	.name = "doomed",
	.version = "1",
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
	ret = uio_register_device(parent, &info);
	if (ret)
		goto out;
	uio_unregister_device(&info);
	pr_info("doomed: disconnected %u times, in order: %d, woken: %u\n",
		disconnects, in_order, wakeups);

	info.irq = INT_MAX;
	ret = register_kprobe(&add_probe);
	if (ret)
		goto out;
	ret = uio_register_device(parent, &info);
	unregister_kprobe(&add_probe);
	pr_info("doomed: registered: %d, disconnected %u times, in order: %d, ready: %d, woken: %u, device: %d\n",
		ret, disconnects, in_order, ready, wakeups, !!info.uio_dev);
	ret = ret == -EINVAL && disconnects == 2 && in_order && ready && wakeups == 4 &&
	      !info.uio_dev ? 0 : -EPROTO;
out:
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
