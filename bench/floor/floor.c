// SPDX-License-Identifier: GPL-2.0-only
/*
 * The floor for "make bench": all MSI-X vectors of a device, each with a handler
 * that does nothing but eventfd_signal(), and no way to take it away. A struct
 * { u32 vector; s32 fd; } written to /dev/floor attaches an eventfd.
 *
 * Not to be used for anything else: no locking, no protection of anything.
 */
#include <linux/eventfd.h>
#include <linux/interrupt.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/pci.h>

static struct pci_dev *floor_pdev;
static struct eventfd_ctx *triggers[256];

static irqreturn_t floor_handler(int irq, void *arg)
{
	eventfd_signal(arg);
	return IRQ_HANDLED;
}

static void floor_detach(unsigned int vector)
{
	if (!triggers[vector])
		return;
	free_irq(pci_irq_vector(floor_pdev, vector), triggers[vector]);
	eventfd_ctx_put(triggers[vector]);
	triggers[vector] = NULL;
}

static ssize_t floor_write(struct file *file, const char __user *buf,
			   size_t count, loff_t *pos)
{
	struct { u32 vector; s32 fd; } arg;
	struct eventfd_ctx *trigger;
	int ret;

	if (!floor_pdev || count != sizeof(arg) ||
	    copy_from_user(&arg, buf, sizeof(arg)) ||
	    arg.vector >= ARRAY_SIZE(triggers))
		return -EINVAL;
	floor_detach(arg.vector);
	if (arg.fd < 0)
		return count;

	trigger = eventfd_ctx_fdget(arg.fd);
	if (IS_ERR(trigger))
		return PTR_ERR(trigger);
	ret = request_irq(pci_irq_vector(floor_pdev, arg.vector), floor_handler,
			  0, "floor", trigger);
	if (ret) {
		eventfd_ctx_put(trigger);
		return ret;
	}
	triggers[arg.vector] = trigger;
	return count;
}

static const struct file_operations floor_fops = {
	.owner = THIS_MODULE,
	.write = floor_write,
};

static struct miscdevice floor_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "floor",
	.fops = &floor_fops,
};

static int floor_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	int ret = pci_enable_device(pdev);

	if (ret)
		return ret;
	ret = pci_alloc_irq_vectors(pdev, 1, ARRAY_SIZE(triggers), PCI_IRQ_MSIX);
	if (ret < 0) {
		pci_disable_device(pdev);
		return ret;
	}
	pci_set_master(pdev);
	floor_pdev = pdev;
	return 0;
}

static void floor_remove(struct pci_dev *pdev)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(triggers); i++)
		floor_detach(i);
	floor_pdev = NULL;
	pci_clear_master(pdev);
	pci_free_irq_vectors(pdev);
	pci_disable_device(pdev);
}

static struct pci_driver floor_driver = {
	.name = "floor",
	.probe = floor_probe,
	.remove = floor_remove,
};

static int __init floor_init(void)
{
	int ret = misc_register(&floor_misc);

	return ret ?: pci_register_driver(&floor_driver);
}
module_init(floor_init);

static void __exit floor_exit(void)
{
	pci_unregister_driver(&floor_driver);
	misc_deregister(&floor_misc);
}
module_exit(floor_exit);

MODULE_DESCRIPTION("The floor for measurements of uio_msix");
MODULE_LICENSE("GPL");
