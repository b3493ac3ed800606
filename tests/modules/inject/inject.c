// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the selftests use of CONFIG_GENERIC_IRQ_DEBUGFS, for kernels without: in
 * /sys/kernel/debug/irq/irqs a file per interrupt, into which "trigger" is
 * written, and which says whether the interrupt is masked.
 */
#include <linux/debugfs.h>
#include <linux/interrupt.h>
#include <linux/irq.h>
#include <linux/module.h>
#include <linux/seq_file.h>

#define INTERRUPTS 1024

static struct dentry *dir;

static int inject_show(struct seq_file *file, void *unused)
{
	struct irq_data *data = irq_get_irq_data((long)file->private);

	if (data && irqd_irq_masked(data))
		seq_puts(file, "IRQD_IRQ_MASKED\n");
	return 0;
}

static int inject_open(struct inode *inode, struct file *file)
{
	return single_open(file, inject_show, inode->i_private);
}

static ssize_t inject_write(struct file *file, const char __user *buf,
			    size_t count, loff_t *pos)
{
	int ret = irq_inject_interrupt((long)file_inode(file)->i_private);

	return ret ?: count;
}

static const struct file_operations inject_fops = {
	.owner = THIS_MODULE,
	.open = inject_open,
	.read = seq_read,
	.write = inject_write,
	.release = single_release,
};

static int __init inject_init(void)
{
	struct dentry *irqs;
	char name[16];
	long irq;

	dir = debugfs_create_dir("irq", NULL);
	irqs = debugfs_create_dir("irqs", dir);
	for (irq = 0; irq < INTERRUPTS; irq++) {
		sprintf(name, "%ld", irq);
		debugfs_create_file(name, 0600, irqs, (void *)irq, &inject_fops);
	}
	return PTR_ERR_OR_ZERO(irqs);
}
module_init(inject_init);

static void __exit inject_exit(void)
{
	debugfs_remove(dir);
}
module_exit(inject_exit);

MODULE_DESCRIPTION("Interrupts injected by debugfs, for tests of uio_msix");
MODULE_LICENSE("GPL");
