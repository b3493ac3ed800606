/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The MSI-X vectors of a PCI device as eventfds, for drivers with the ioctls of
 * linux/uio_msix.h. Called under info_lock.
 */
#ifndef _UIO_VECTORS_H_
#define _UIO_VECTORS_H_

#include <linux/eventfd.h>
#include <linux/interrupt.h>
#include <linux/irq.h>
#include <linux/nospec.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <uapi/linux/uio_msix.h>

/*
 * One vector of a session. All of it changes under info_lock; the handler reads
 * the trigger without, see uio_vector_set_eventfd().
 */
struct uio_vector {
	struct eventfd_ctx *trigger;	/* NULL while detached */
	int irq;
	bool masked;
};

/* Threaded on PREEMPT_RT, where eventfd_signal() sleeps: no IRQF_NO_THREAD. */
static irqreturn_t uio_vector_handler(int irq, void *arg)
{
	struct uio_vector *vec = arg;

	eventfd_signal(READ_ONCE(vec->trigger));
	return IRQ_HANDLED;
}

static int uio_vector_attach(struct pci_dev *pdev, struct uio_vector *vec,
			     u32 index, struct eventfd_ctx *trigger)
{
	char *name;
	int ret;

	name = kasprintf(GFP_KERNEL_ACCOUNT, KBUILD_MODNAME "[%u](%s)",
			 index, pci_name(pdev));
	if (!name)
		return -ENOMEM;

	/*
	 * Mask in the device, at once: lazily, one interrupt would be pending
	 * here and one there, and both delivered. free_irq() clears this.
	 */
	irq_set_status_flags(vec->irq, IRQ_DISABLE_UNLAZY);
	vec->trigger = trigger;
	ret = request_irq(vec->irq, uio_vector_handler, 0, name, vec);
	if (ret) {
		vec->trigger = NULL;
		kfree(name);
	}
	return ret;
}

static void uio_vector_detach(struct uio_vector *vec)
{
	if (!vec->trigger)
		return;
	kfree(free_irq(vec->irq, vec));
	eventfd_ctx_put(vec->trigger);
	vec->trigger = NULL;
	vec->masked = false;
}

static struct uio_vector *uio_vector_get(struct uio_vector *vectors,
					 unsigned int num_vectors, u32 index)
{
	if (index >= num_vectors)
		return NULL;
	return &vectors[array_index_nospec(index, num_vectors)];
}

static int uio_vector_set_eventfd(struct pci_dev *pdev,
				  struct uio_vector *vectors,
				  unsigned int num_vectors,
				  const struct uio_msix_eventfd *arg)
{
	struct uio_vector *vec = uio_vector_get(vectors, num_vectors, arg->vector);
	struct eventfd_ctx *trigger;
	int ret;

	if (!vec || arg->fd < -1 || arg->flags || arg->reserved)
		return -EINVAL;

	if (arg->fd == -1) {
		uio_vector_detach(vec);
		return 0;
	}
	trigger = eventfd_ctx_fdget(arg->fd);
	if (IS_ERR(trigger))
		return PTR_ERR(trigger);

	if (!vec->trigger) {
		ret = uio_vector_attach(pdev, vec, arg->vector, trigger);
		if (ret)
			eventfd_ctx_put(trigger);
		return ret;
	}

	/*
	 * Replace in place: an interrupt signals the one or the other, never
	 * both or none. A handler that read the old trigger is in progress,
	 * and synchronize_irq() waits for it; one that starts later reads the
	 * new one, because both pass through the lock of the interrupt. Not so
	 * with handle_percpu_irq(), which is why Kconfig excludes s390.
	 */
	trigger = xchg(&vec->trigger, trigger);
	synchronize_irq(vec->irq);
	eventfd_ctx_put(trigger);
	return 0;
}

static int uio_vector_set_mask(struct uio_vector *vectors,
			       unsigned int num_vectors,
			       const struct uio_msix_mask *arg)
{
	struct uio_vector *vec = uio_vector_get(vectors, num_vectors, arg->vector);

	if (!vec || arg->masked > 1 || arg->flags || arg->reserved ||
	    !vec->trigger)
		return -EINVAL;
	/* disable_irq() counts, this ioctl does not. */
	if (vec->masked == arg->masked)
		return 0;

	vec->masked = arg->masked;
	if (vec->masked)
		disable_irq(vec->irq);
	else
		enable_irq(vec->irq);
	return 0;
}

#endif /* _UIO_VECTORS_H_ */
