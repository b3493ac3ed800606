// SPDX-License-Identifier: GPL-2.0-only
/*
 * UIO devices without a device behind them, for what the core promises to their
 * drivers in include/linux/uio_driver.h: those whose registration fails, for want of a
 * minor, of a name, of a place in sysfs, of an interrupt; and one that comes and goes.
 * Loads if the core took the steps that it should, in that order. Then there is one
 * more, with an interrupt and ioctls, for userspace.
 */
#include <linux/device.h>
#include <linux/idr.h>
#include <linux/interrupt.h>
#include <linux/ioctl.h>
#include <linux/irq.h>
#include <linux/kprobes.h>
#include <linux/limits.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/string.h>
#include <linux/uio_driver.h>

#define PLAIN_INTERRUPT	_IO('u', 0xf0)
#define PLAIN_NEXT	_IOWR('u', 0xf1, int)	/* adds 1, returns 1 */

static struct device *parent;
static struct task_struct *task;	/* that loads the module */
static char steps[32];
/* What shall fail. */
static enum { NOTHING, MINOR, NAME, ADD } fails;
static const char *name;	/* of who could not be added with it */
static int irq;
static struct wait_queue_entry waiters[2];

static void step(char what)
{
	steps[strnlen(steps, sizeof(steps) - 2)] = what;
}

static irqreturn_t plain_handler(int irq, struct uio_info *info)
{
	return IRQ_HANDLED;
}

static int woken(struct wait_queue_entry *entry, unsigned int mode, int flags, void *key)
{
	step('W');
	return 1;
}

/* Two wait exclusively, for what comes after. */
static void plain_disconnect(struct uio_info *info)
{
	struct uio_device *idev = info->uio_dev;
	int i;

	step(mutex_is_locked(&idev->info_lock) && idev->info == info ? 'X' : '-');
	for (i = 0; i < ARRAY_SIZE(waiters); i++) {
		init_waitqueue_func_entry(&waiters[i], woken);
		add_wait_queue_exclusive(&idev->wait, &waiters[i]);
	}
}

static int plain_ioctl(struct uio_info *info, unsigned int cmd, void *arg)
{
	switch (cmd) {
	case PLAIN_INTERRUPT:
		generic_handle_irq_safe(irq);
		return 0;
	case PLAIN_NEXT:
		++*(int *)arg;
		return 1;
	default:
		return -ENOTTY;
	}
}

static struct uio_info info = {
	.name = "plain",
	.version = "1",
	.handler = plain_handler,
	.ioctl = plain_ioctl,
	.disconnect = plain_disconnect,
};

static void plain_irq_shutdown(struct irq_data *data)
{
	step(mutex_is_locked(&info.uio_dev->info_lock) ? 'I' : '-');
}

static void plain_irq_noop(struct irq_data *data)
{
}

static struct irq_chip plain_irq_chip = {
	.name = "plain",
	.irq_shutdown = plain_irq_shutdown,
	.irq_mask = plain_irq_noop,
	.irq_unmask = plain_irq_noop,
};

/* What the core calls for this device. */
static int allocates(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	if (current != task || !info.uio_dev ||
	    regs_get_kernel_argument(regs, 1) != (unsigned long)info.uio_dev)
		return 1;
	step('M');
	*(struct idr **)instance->data = (void *)regs_get_kernel_argument(regs, 0);
	return 0;
}

static int allocated(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	if (fails == MINOR) {
		idr_remove(*(struct idr **)instance->data, regs_return_value(regs));
		regs_set_return_value(regs, -ENOMEM);
	}
	return 0;
}

static int named(struct kretprobe_instance *instance, struct pt_regs *regs)
{
	if (current == task && fails == NAME)
		regs_set_return_value(regs, -ENOMEM);
	return 0;
}

static int removes(struct kprobe *probe, struct pt_regs *regs)
{
	if (current == task && info.uio_dev &&
	    regs_get_kernel_argument(regs, 1) == info.uio_dev->minor)
		step('F');
	return 0;
}

static bool is_ours(struct pt_regs *regs, size_t member)
{
	return current == task && info.uio_dev &&
	       regs_get_kernel_argument(regs, 0) == (unsigned long)info.uio_dev + member;
}

static int adds(struct kprobe *probe, struct pt_regs *regs)
{
	if (is_ours(regs, offsetof(struct uio_device, dev))) {
		step('A');
		if (fails == ADD)
			swap(name, info.uio_dev->dev.kobj.name);
	}
	return 0;
}

static int deletes(struct kprobe *probe, struct pt_regs *regs)
{
	if (is_ours(regs, offsetof(struct uio_device, dev)))
		step('D');
	return 0;
}

static int signals(struct kprobe *probe, struct pt_regs *regs)
{
	if (is_ours(regs, offsetof(struct uio_device, async_queue)))
		step('S');
	return 0;
}

static struct kretprobe minor_probe = {
	.kp.symbol_name = "idr_alloc",
	.entry_handler = allocates,
	.handler = allocated,
	.data_size = sizeof(struct idr *),
};
static struct kretprobe name_probe = { .kp.symbol_name = "dev_set_name", .handler = named };
static struct kprobe free_probe = { .symbol_name = "idr_remove", .pre_handler = removes };
static struct kprobe add_probe = { .symbol_name = "device_add", .pre_handler = adds };
static struct kprobe del_probe = { .symbol_name = "device_del", .pre_handler = deletes };
static struct kprobe signal_probe = { .symbol_name = "kill_fasync", .pre_handler = signals };

static struct kprobe *probes[] = {
	&free_probe, &add_probe, &del_probe, &signal_probe,
};

static struct kretprobe *kretprobes[] = { &minor_probe, &name_probe };

/* Minor, add; free Interrupt, disconnect (X), Wake both, Signal, Delete, Free minor. */
static bool steps_are(const char *what, const char *expected)
{
	bool same = !strcmp(steps, expected);

	pr_info("plain: %s: steps %s, expected %s\n", what, steps, expected);
	memset(steps, 0, sizeof(steps));
	return same;
}

static bool fails_by(int what, int error, const char *expected)
{
	int ret;

	fails = what;
	ret = uio_register_device(parent, &info);
	fails = NOTHING;
	kfree_const(name);
	name = NULL;
	return steps_are("fails", expected) && ret == error && !info.uio_dev;
}

static int register_and_unregister(void)
{
	int ret;

	info.irq = INT_MAX;
	if (!fails_by(MINOR, -ENOMEM, "M") || !fails_by(NAME, -ENOMEM, "MXWWSF") ||
	    !fails_by(ADD, -EINVAL, "MAXWWSF") || !fails_by(NOTHING, -EINVAL, "MADXWWSF"))
		return -EPROTO;

	info.irq = irq;
	ret = uio_register_device(parent, &info);
	if (ret)
		return ret;
	uio_unregister_device(&info);
	return steps_are("comes and goes", "MAIXWWSDF") ? 0 : -EPROTO;
}

static int __init plain_init(void)
{
	int ret;

	/* Not 0, which is none to UIO; of no module: who requests it would hold this one. */
	irq = __irq_alloc_descs(-1, 1, 1, NUMA_NO_NODE, NULL, NULL);
	if (irq < 0)
		return irq;
	irq_set_chip_and_handler(irq, &plain_irq_chip, handle_simple_irq);
	irq_modify_status(irq, IRQ_NOREQUEST, 0);

	parent = root_device_register("plain");
	ret = PTR_ERR_OR_ZERO(parent);
	if (ret)
		goto err_irq;

	task = current;
	ret = register_kprobes(probes, ARRAY_SIZE(probes));
	if (ret)
		goto err_parent;
	ret = register_kretprobes(kretprobes, ARRAY_SIZE(kretprobes));
	if (!ret) {
		ret = register_and_unregister();
		unregister_kretprobes(kretprobes, ARRAY_SIZE(kretprobes));
	}
	unregister_kprobes(probes, ARRAY_SIZE(probes));
	if (!ret)
		ret = uio_register_device(parent, &info);
	if (!ret)
		return 0;

err_parent:
	root_device_unregister(parent);
err_irq:
	irq_free_desc(irq);
	return ret;
}
module_init(plain_init);

static void __exit plain_exit(void)
{
	uio_unregister_device(&info);
	root_device_unregister(parent);
	irq_free_desc(irq);
}
module_exit(plain_exit);

MODULE_DESCRIPTION("UIO devices without a device behind them, for tests of the UIO core");
MODULE_LICENSE("GPL");
