// SPDX-License-Identifier: GPL-2.0-only
/*
 * How a page of a device is mapped. An address of the caller, written to "pte" in
 * debugfs, is looked up in the page tables; what is read then is
 *
 *	wc	write-combining
 *	uc	not cached, of whatever kind
 *	other	anything else
 *
 * ENXIO if the page is not mapped. "pte_address" is where it is.
 */
#include <linux/debugfs.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/uaccess.h>

static struct dentry *file;
static const char *found = "";
static u64 address;

static const char *kind(pgprot_t prot)
{
	if (pgprot_val(prot) == pgprot_val(pgprot_writecombine(prot)))
		return "wc\n";
	if (pgprot_val(prot) == pgprot_val(pgprot_noncached(prot)))
		return "uc\n";
	return "other\n";
}

static ssize_t kind_write(struct file *f, const char __user *buf, size_t len, loff_t *pos)
{
	struct follow_pfnmap_args args = { };
	int ret;

	ret = kstrtoul_from_user(buf, len, 0, &args.address);
	if (ret)
		return ret;
	mmap_read_lock(current->mm);
	args.vma = vma_lookup(current->mm, args.address);
	ret = args.vma ? follow_pfnmap_start(&args) : -EFAULT;
	if (!ret) {
		found = kind(args.pgprot);
		address = PFN_PHYS(args.pfn);
		follow_pfnmap_end(&args);
	}
	mmap_read_unlock(current->mm);
	return ret ? -ENXIO : len;
}

static ssize_t kind_read(struct file *f, char __user *buf, size_t len, loff_t *pos)
{
	return simple_read_from_buffer(buf, len, pos, found, strlen(found));
}

static const struct file_operations pte_fops = {
	.owner = THIS_MODULE,
	.write = kind_write,
	.read = kind_read,
};

static int __init pte_init(void)
{
	file = debugfs_create_file("pte", 0600, NULL, NULL, &pte_fops);
	debugfs_create_x64("pte_address", 0400, NULL, &address);
	return PTR_ERR_OR_ZERO(file);
}

static void __exit pte_exit(void)
{
	debugfs_remove(file);
	debugfs_lookup_and_remove("pte_address", NULL);
}

module_init(pte_init);
module_exit(pte_exit);
MODULE_DESCRIPTION("How a page of a device is mapped");
MODULE_LICENSE("GPL");
