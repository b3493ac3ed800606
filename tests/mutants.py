#!/usr/bin/python3
"""
Break the series on purpose, one line at a time, and see which test notices.

Needs:  kernels that run.sh built, the debug kernel last: it is the only one to
        notice what leaks
Makes:  OUT/KERNEL/N: logs of the guests that ran mutant N
Prints: a line per mutant; "N mutants, N caught" last; exit code 1 if a mutant
        was not caught
Usage:  mutants.py TREE BUILD[:BUILD...] OUT JOBS [N...]
"""
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import threading

DRIVER = 'drivers/uio/uio_msix.c'
CORE = 'drivers/uio/uio.c'
SCRIPTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../scripts')

UNBIND_RESET = '\tuio_msix_reset(udev, pdev->slot && port && port->is_pciehp);\n'
TRANSLATES = '\tif (domain && domain->type & __IOMMU_DOMAIN_PAGING)\n'

# What it is, file, text, what the text becomes; or several of each.
MUTANTS = (
    # Handler, vectors
    ('signals twice', DRIVER,
     '\teventfd_signal(READ_ONCE(vec->trigger));\n',
     '\teventfd_signal(READ_ONCE(vec->trigger));\n' * 2),
    ('masks lazily', DRIVER,
     '\tirq_set_status_flags(vec->irq, IRQ_DISABLE_UNLAZY);\n', ''),
    ('trigger kept when request_irq() fails', DRIVER,
     '\t\tvec->trigger = NULL;\n\t\tkfree(name);', '\t\tkfree(name);'),
    ('name leaks when request_irq() fails', DRIVER,
     '\t\tvec->trigger = NULL;\n\t\tkfree(name);', '\t\tvec->trigger = NULL;'),
    ('name leaks on detach', DRIVER,
     'kfree(free_irq(vec->irq, vec));', 'free_irq(vec->irq, vec);'),
    ('detach frees what is not requested', DRIVER,
     '\tif (!vec->trigger)\n\t\treturn;\n', ''),
    ('eventfd leaks on detach', DRIVER,
     '\teventfd_ctx_put(vec->trigger);\n', ''),
    ('eventfd put before the interrupt is freed', DRIVER,
     '\tkfree(free_irq(vec->irq, vec));\n\teventfd_ctx_put(vec->trigger);\n',
     '\teventfd_ctx_put(vec->trigger);\n\tkfree(free_irq(vec->irq, vec));\n'),
    ('detached but still attached', DRIVER,
     '\teventfd_ctx_put(vec->trigger);\n\tvec->trigger = NULL;\n',
     '\teventfd_ctx_put(vec->trigger);\n'),
    ('mask survives a detach', DRIVER, '\tvec->masked = false;\n', ''),
    ('vector out of range', DRIVER,
     'index >= udev->num_vectors', 'index > udev->num_vectors'),
    ('nobody cares', DRIVER, '\treturn IRQ_HANDLED;', '\treturn IRQ_NONE;'),
    ('never a thread', DRIVER, 'uio_msix_handler, 0, name', 'uio_msix_handler, IRQF_NO_THREAD, name'),
    # SET_EVENTFD
    ('fd 0 detaches', DRIVER, 'if (arg->fd == -1) {', 'if (arg->fd < 1) {'),
    ('failed set forgets the mask', DRIVER,
     '\tif (IS_ERR(trigger))\n\t\treturn PTR_ERR(trigger);\n',
     '\tif (IS_ERR(trigger)) {\n\t\tvec->masked = false;\n\t\treturn PTR_ERR(trigger);\n\t}\n'),
    ('fd below -1', DRIVER, 'arg->fd < -1 || ', ''),
    ('flags of SET_EVENTFD', DRIVER, 'arg->fd < -1 || arg->flags ||',
     'arg->fd < -1 ||'),
    ('reserved of SET_EVENTFD', DRIVER,
     'arg->fd < -1 || arg->flags || arg->reserved)',
     'arg->fd < -1 || arg->flags)'),
    ('failed set detaches', DRIVER,
     '\tif (IS_ERR(trigger))\n',
     '\tuio_msix_detach(vec);\n\tif (IS_ERR(trigger))\n'),
    ('eventfd leaks when attach fails', DRIVER,
     '\t\tif (ret)\n\t\t\teventfd_ctx_put(trigger);\n', ''),
    ('replace by free and request', DRIVER,
     '\tif (!vec->trigger) {\n\t\tret =', '\tuio_msix_detach(vec);\n\tif (!vec->trigger) {\n\t\tret ='),
    ('old eventfd put while it is signalled', DRIVER,
     '\tsynchronize_irq(vec->irq);\n', ''),
    ('old eventfd put before the swap', DRIVER,
     '\ttrigger = xchg(&vec->trigger, trigger);\n\tsynchronize_irq(vec->irq);\n'
     '\teventfd_ctx_put(trigger);\n',
     '\teventfd_ctx_put(vec->trigger);\n'
     '\ttrigger = xchg(&vec->trigger, trigger);\n\tsynchronize_irq(vec->irq);\n'),
    ('old eventfd leaks on replace', DRIVER,
     '\tsynchronize_irq(vec->irq);\n\teventfd_ctx_put(trigger);\n',
     '\tsynchronize_irq(vec->irq);\n'),
    ('replace keeps the old', DRIVER,
     '\ttrigger = xchg(&vec->trigger, trigger);\n', ''),
    # SET_MASK
    ('masked above 1', DRIVER, 'arg->masked > 1 || ', ''),
    ('flags of SET_MASK', DRIVER, 'arg->masked > 1 || arg->flags ||',
     'arg->masked > 1 ||'),
    ('reserved of SET_MASK', DRIVER,
     'arg->flags || arg->reserved ||\n', 'arg->flags ||\n'),
    ('mask of a detached vector', DRIVER,
     ' ||\n\t    !vec->trigger)', ')'),
    ('mask is counted', DRIVER,
     '\tif (vec->masked == arg->masked)\n\t\treturn 0;\n', ''),
    ('mask is not remembered', DRIVER, '\tvec->masked = arg->masked;\n', ''),
    ('unmask never', DRIVER, '\t\tenable_irq(vec->irq);\n', '\t\t;\n'),
    ('mask does not wait', DRIVER, '\t\tdisable_irq(', '\t\tdisable_irq_nosync('),
    ('interrupt named by another vector', DRIVER, 'vec - udev->vectors,',
     'vec - udev->vectors + 1,'),
    ('all vectors are the first', DRIVER,
     'pci_irq_vector(pdev, i)', 'pci_irq_vector(pdev, 0)'),
    # Ioctls
    ('ioctls of a dead file', DRIVER,
     '\tif (!info->irq)\n\t\treturn -ENODEV;\n\n\tswitch', '\tswitch'),
    ('EINVAL for an unknown ioctl', DRIVER,
     '\tdefault:\n\t\treturn -ENOTTY;', '\tdefault:\n\t\treturn -EINVAL;'),
    # Mappings
    ('fault after unregistering', DRIVER,
     'if (!idev->info || !idev->info->irq)', 'if (idev->info && !idev->info->irq)'),
    ('fault after the end of a session', DRIVER,
     'if (!idev->info || !idev->info->irq)', 'if (!idev->info)'),
    ('fault without the lock', DRIVER,
     '\tguard(mutex)(&idev->info_lock);\n\tif (!idev->info ||',
     '\tif (!idev->info ||'),
    ('every page is the first', DRIVER,
     'vmf->address, vmf->pgoff)', 'vmf->address, vmf->vma->vm_pgoff)'),
    ('mmap of a dead file', DRIVER,
     '\tif (!info->irq)\n\t\treturn -ENODEV;\n\t/* vmf', '\t/* vmf'),
    ('private mappings', DRIVER,
     '\tif (vma_desc_is_cow_mapping(desc))\n\t\treturn -EINVAL;\n', ''),
    ('mappings grow', DRIVER,
     '\t\t\t   VMA_DONTEXPAND_BIT, VMA_DONTDUMP_BIT);', '\t\t\t   VMA_DONTDUMP_BIT);'),
    ('always map 0', DRIVER, 'info->mem[index].addr', 'info->mem[0].addr'),
    # Reset, bind-time state
    ('D3hot not left', DRIVER,
     '\t\tif (reg & PCI_PM_CTRL_STATE_MASK) {', '\t\tif (0) {'),
    ('resets what is not there', DRIVER, 'if (PCI_POSSIBLE_ERROR(reg))', 'if (0)'),
    ('asks the PF whether its VF is there', DRIVER,
     'if (PCI_POSSIBLE_ERROR(reg))', 'if (!pci_device_is_present(pdev))'),
    ('refuses a device whose channel is offline', DRIVER,
     'if (PCI_POSSIBLE_ERROR(reg))', 'if (PCI_POSSIBLE_ERROR(reg) || pci_channel_offline(pdev))'),
    ('no wait after D3hot', DRIVER, '\t\t\tmsleep(pdev->d3hot_delay);\n', ''),
    ('not quiet while BARs are written', DRIVER,
     '\tpci_write_config_word(pdev, PCI_COMMAND, PCI_COMMAND_INTX_DISABLE);\n', ''),
    ('state of the bind not restored', DRIVER,
     ('PCI_COMMAND_INTX_DISABLE);\n\tuio_msix_restore(udev);\n',
      '\t\tuio_msix_restore(udev);\n\t}\n\treturn ret ?'),
     ('PCI_COMMAND_INTX_DISABLE);\n', '\t}\n\treturn ret ?')),
    ('not restored before the reset', DRIVER,
     'PCI_COMMAND_INTX_DISABLE);\n\tuio_msix_restore(udev);\n',
     'PCI_COMMAND_INTX_DISABLE);\n'),
    ('not restored after the reset', DRIVER,
     '\t\tuio_msix_restore(udev);\n\t}\n\treturn ret ?', '\t}\n\treturn ret ?'),
    ('restores what is saved by others', DRIVER,
     '\tpci_load_saved_state(udev->pdev, udev->bind_state);\n', ''),
    ('reset while clean', DRIVER, '\tif (udev->dirty && pdev', '\tif (pdev'),
    ('clean after a reset by others', DRIVER,
     '\tudev->dirty = true;\n\tscoped', '\tscoped'),
    ('INTx off in spite of a bug', DRIVER,
     '\tif (!(pdev->dev_flags & PCI_DEV_FLAGS_MSI_INTX_DISABLE_BUG))\n', ''),
    ('never reset', DRIVER, '\tif (udev->dirty && pdev', '\tif (0 && pdev'),
    ('clean after a failed reset', DRIVER,
     '\t\tudev->dirty = ret;\n', '\t\tudev->dirty = false;\n'),
    ('opens after a failed reset', DRIVER,
     '\treturn ret ? -EIO : 0;\n', '\treturn 0;\n'),
    ('no reset after all is a failure', DRIVER,
     '\t\t    pci_device_is_present(pdev))\n\t\t\tret = 0;\n',
     '\t\t    pci_device_is_present(pdev))\n\t\t\t;\n'),
    ('gone after a reset is no reset after all', DRIVER,
     ' &&\n\t\t    pci_device_is_present(pdev))', ')'),
    ('FLR that failed is no reset after all', DRIVER,
     'pcie_reset_flr(pdev, PCI_RESET_PROBE) &&', '1 &&'),
    ('FLR where reset_method is empty', DRIVER,
     'udev->dirty && pdev->reset_methods[0])', 'udev->dirty)'),
    # Begin, open
    ('errno of the PCI core for no MSI-X', DRIVER,
     'return ret == -ENOMEM || ret == -ENOSPC ? ret : -ENODEV;', 'return ret;'),
    ('one vector only', DRIVER,
     'pci_alloc_irq_vectors(pdev, 1, udev->max_vectors,', 'pci_alloc_irq_vectors(pdev, 1, 1,'),
    ('vectors leak when open fails', DRIVER,
     '\tif (ret < 0) {\n\t\tkvfree(udev->vectors);\n', '\tif (ret < 0) {\n'),
    ('clean after it was used', DRIVER,
     '\tudev->dirty = true;\n\tpci_set_master(pdev);\n', '\tpci_set_master(pdev);\n'),
    ('no bus master', DRIVER, '\tpci_set_master(pdev);\n', ''),
    ('no CAP_SYS_RAWIO', DRIVER, 'if (!capable(CAP_SYS_RAWIO))', 'if (0)'),
    ('root of a user namespace', DRIVER, 'capable(CAP_SYS_RAWIO)',
     'ns_capable(current_user_ns(), CAP_SYS_RAWIO)'),
    ('opens under lockdown', DRIVER,
     '\tif (ret)\n\t\treturn ret;\n\tif (udev->mapping)', '\tif (udev->mapping)'),
    ('two opens', DRIVER,
     '\tif (udev->mapping)\n\t\treturn -EBUSY;\n', ''),
    ('opens while a dead file is open', DRIVER,
     '\tif (udev->mapping)\n', '\tif (info->irq)\n'),
    ('no second try for the lock', DRIVER, '\t\tif (tries == 5)\n', '\t\tif (1)\n'),
    ('tries for the lock for long', DRIVER, 'tries == 5', 'tries == 500'),
    ('EBUSY for the lock', DRIVER, 'return -EAGAIN;', 'return -EBUSY;'),
    ('tries for the lock twice', DRIVER, 'tries == 5', 'tries == 2'),
    ('tries for the lock for a second', DRIVER, 'tries == 5', 'tries == 50'),
    ('hardly waits for the lock', DRIVER, 'msleep(20);', 'msleep(2);'),
    ('waits long for the lock', DRIVER, 'msleep(20);', 'msleep(200);'),
    ('locks the port, too', DRIVER,
     '\tret = uio_msix_begin(udev);\n',
     '\tif (pdev->bus->self && mutex_is_locked(&pdev->bus->self->dev.mutex)) {\n'
     '\t\tpci_dev_unlock(pdev);\n\t\treturn -EAGAIN;\n\t}\n'
     '\tret = uio_msix_begin(udev);\n'),
    ('config access during the reset of an open', DRIVER,
     ('!pci_dev_trylock(pdev); tries++)', '\tpci_dev_unlock(pdev);\n\tif (!ret) {'),
     ('!device_trylock(&pdev->dev); tries++)', '\tdevice_unlock(&pdev->dev);\n\tif (!ret) {')),
    ('config access during the reset of an unbind', DRIVER,
     ('\tpci_cfg_access_lock(pdev);\n', '\tpci_cfg_access_unlock(pdev);\n'), ('', '')),
    ('EBUSY before EPERM', DRIVER,
     '\tif (!capable(CAP_SYS_RAWIO))',
     '\tif (udev->mapping)\n\t\treturn -EBUSY;\n\tif (!capable(CAP_SYS_RAWIO))'),
    ('open is locked down for another reason', DRIVER,
     'return -EPERM;\n\tret = security_locked_down(LOCKDOWN_PCI_ACCESS);',
     'return -EPERM;\n\tret = security_locked_down(LOCKDOWN_DEV_MEM);'),
    ('an open that fails taints', DRIVER,
     '\tif (!ret) {\n\t\tudev->mapping = inode->i_mapping;\n\t\tuio_msix_taint(udev);\n\t}\n',
     '\tif (!ret)\n\t\tudev->mapping = inode->i_mapping;\n\tuio_msix_taint(udev);\n'),
    ('opens without the lock', DRIVER,
     ('!pci_dev_trylock(pdev); tries++)', '\tpci_dev_unlock(pdev);\n\tif (!ret) {'),
     ('0; tries++)', '\tif (!ret) {')),
    ('no taint', DRIVER, '\tadd_taint(TAINT_USER, LOCKDEP_STILL_OK);\n', ''),
    ('no taint with an IOMMU', DRIVER,
     '\tadd_taint(', '\tif (!domain || domain->type == IOMMU_DOMAIN_IDENTITY)\n\t\tadd_taint('),
    ('switches lockdep off', DRIVER, 'LOCKDEP_STILL_OK', 'LOCKDEP_NOW_UNRELIABLE'),
    ('does not say why', DRIVER,
     '\tif (udev->warned)\n\t\treturn;\n', '\treturn;\n'),
    ('warns each time', DRIVER, '\tudev->warned = true;\n', ''),
    ('the wrong line', DRIVER, TRANSLATES,
     '\tif (!domain || domain->type == IOMMU_DOMAIN_IDENTITY)\n'),
    ('confined by identity', DRIVER, TRANSLATES,
     '\tif (domain)\n'),
    # The end of a session, by each cause
    ('ends twice', DRIVER,
     '\tif (!info->irq)\n\t\treturn;\n\n\t/* The file', '\t/* The file'),
    ('dead but alive', DRIVER, '\tinfo->irq = 0;\n', ''),
    ('bus master after the end', DRIVER,
     '\tinfo->irq = 0;\n\tpci_clear_master(pdev);\n', '\tinfo->irq = 0;\n'),
    ('no zap', DRIVER, '\tunmap_mapping_range(udev->mapping, 0, 0, true);\n', ''),
    ('zaps one page', DRIVER, 'mapping, 0, 0, true', 'mapping, 0, 1, true'),
    ('interrupts outlive the end', DRIVER,
     '\t\tuio_msix_detach(&udev->vectors[i]);\n', '\t\t;\n'),
    ('vectors outlive the end', DRIVER, '\tpci_free_irq_vectors(pdev);\n', ''),
    ('INTx is on after the end', DRIVER,
     '\t/* That allowed INTx. */\n\tuio_msix_intx_off(pdev);\n', ''),
    ('vectors leak at the end', DRIVER,
     '\tkvfree(udev->vectors);\n\t/* Not', '\t/* Not'),
    ('vectors freed under info_lock', DRIVER,
     '\tkvfree(udev->vectors);\n\t/* Not',
     '\tpci_free_irq_vectors(pdev);\n\tkvfree(udev->vectors);\n\t/* Not'),
    ('nobody is woken at the end', DRIVER,
     '\twake_up_interruptible_all(&info->uio_dev->wait);\n', ''),
    ('nobody is signalled at the end', DRIVER,
     '\tkill_fasync(&info->uio_dev->async_queue, SIGIO, POLL_HUP);\n', ''),
    ('no end by close', DRIVER,
     '\tuio_msix_end(info);\n\t/* Else', '\t/* Else'),
    ('open for ever', DRIVER, '\tudev->mapping = NULL;\n', ''),
    ('no reset at close', DRIVER, '\t\tuio_msix_reset(udev, false);\n', ''),
    ('no end by unbind', DRIVER, '\tudev->info.disconnect = uio_msix_end;\n', ''),
    ('close waits for the lock', DRIVER,
     '\tif (pci_dev_trylock(pdev)) {\n', '\tpci_dev_lock(pdev);\n\tif (1) {\n'),
    ('clean after a close that could not reset', DRIVER,
     '\t\tpci_dev_unlock(pdev);\n\t}\n\treturn 0;',
     '\t\tpci_dev_unlock(pdev);\n\t} else {\n\t\tudev->dirty = false;\n\t}\n\treturn 0;'),
    ('no reset at unbind', DRIVER,
     UNBIND_RESET, ''),
    ('unbind resets by the slot', DRIVER, UNBIND_RESET, '\tuio_msix_reset(udev, false);\n'),
    ('unbind resets by FLR only', DRIVER, UNBIND_RESET, '\tuio_msix_reset(udev, true);\n'),
    ('end without info_lock', DRIVER,
     '\tscoped_guard(mutex, &udev->info.uio_dev->info_lock)\n\t\tuio_msix_end(',
     '\tuio_msix_end('),
    ('no end by a reset', DRIVER,
     '\t.reset_prepare = uio_msix_reset_prepare,\n', ''),
    ('no end by an error', DRIVER,
     ('\tuio_msix_reset_prepare(pdev);\n\tif (state',
      '\tuio_msix_reset_prepare(pdev);\n\tuio_msix_restore('),
     ('\tif (state', '\tuio_msix_restore(')),
    ('no end by an error that is not fatal', DRIVER,
     '\tuio_msix_reset_prepare(pdev);\n\tif (state', '\tif (state'),
    ('no end by the reset of an error', DRIVER,
     '\tuio_msix_reset_prepare(pdev);\n\tuio_msix_restore(', '\tuio_msix_restore('),
    ('not restored after an error', DRIVER,
     '\tuio_msix_restore(pci_get_drvdata(pdev));\n\treturn PCI_ERS_RESULT_RECOVERED;',
     '\treturn PCI_ERS_RESULT_RECOVERED;'),
    ('not restored without recovery', DRIVER,
     '\t\tuio_msix_restore(pci_get_drvdata(pdev));\n\treturn PCI_ERS_RESULT_DISCONNECT;',
     '\t\t;\n\treturn PCI_ERS_RESULT_DISCONNECT;'),
    ('frozen, but asks for no reset', DRIVER,
     '\tif (state == pci_channel_io_frozen)\n', '\tif (0)\n'),
    ('any error asks for a reset', DRIVER,
     'return PCI_ERS_RESULT_CAN_RECOVER;', 'return PCI_ERS_RESULT_NEED_RESET;'),
    ('says nothing of its recovery', DRIVER,
     'return PCI_ERS_RESULT_RECOVERED;', 'return PCI_ERS_RESULT_NONE;'),
    ('says nothing of no recovery', DRIVER,
     'return PCI_ERS_RESULT_DISCONNECT;', 'return PCI_ERS_RESULT_NONE;'),
    ('does not recover', DRIVER,
     'return PCI_ERS_RESULT_RECOVERED;', 'return PCI_ERS_RESULT_DISCONNECT;'),
    ('no end by suspend', DRIVER,
     '\tuio_msix_reset_prepare(to_pci_dev(dev));\n', ''),
    # Bind
    ('VFs by default', DRIVER,
     'static bool allow_unsafe_vf;', 'static bool allow_unsafe_vf = true;'),
    ('VFs always', DRIVER,
     'pdev->is_virtfn && !READ_ONCE(allow_unsafe_vf)', '0'),
    ('PF with VFs', DRIVER, '\tif (pci_num_vf(pdev))\n', '\tif (0)\n'),
    ('bridges', DRIVER, 'pdev->hdr_type != PCI_HEADER_TYPE_NORMAL', '0'),
    ('no MSI-X', DRIVER, '\tif (!pdev->msix_cap)\n', '\tif (0)\n'),
    ('binds under lockdown', DRIVER,
     'use vfio-pci with an IOMMU\\n");\n\treturn ret;',
     'use vfio-pci with an IOMMU\\n");\n\treturn 0;'),
    ('no reset before the first open', DRIVER,
     '\tudev->dirty = true; /* reset at open', '\t/* reset at open'),
    ('bus master from the start', DRIVER,
     '\tpci_clear_master(pdev);\n\tuio', '\tpci_set_master(pdev);\n\tuio'),
    ('INTx from the start', DRIVER,
     '\tuio_msix_intx_off(pdev);\n\n\tret', '\n\tret'),
    ('bus master as it was', DRIVER,
     '\tpci_clear_master(pdev);\n\tuio_msix_intx_off(pdev);\n\n\tret',
     '\tuio_msix_intx_off(pdev);\n\n\tret'),
    ('bus master is part of the state of the bind', DRIVER,
     ('\tpci_clear_master(pdev);\n\tuio_msix_intx_off(pdev);\n\n\tret',
      '\tret = uio_register_device('),
     ('\tuio_msix_intx_off(pdev);\n\n\tret',
      '\tpci_clear_master(pdev);\n\tret = uio_register_device(')),
    ('I/O ports not enabled', DRIVER,
     'ret = pci_enable_device(pdev);', 'ret = pci_enable_device_mem(pdev);'),
    ('binds what cannot be enabled', DRIVER,
     'ret = pci_enable_device(pdev);\n\tif (ret)\n\t\treturn ret;\n',
     'ret = pci_enable_device(pdev);\n'),
    ('binds what is claimed', DRIVER,
     'exclusive(pdev, DRIVER_NAME);\n\tif (ret) {', 'exclusive(pdev, DRIVER_NAME);\n\tif (0) {'),
    ('releases what others claimed', DRIVER, '\t\tgoto err_disable;\n', '\t\tgoto err_release;\n'),
    ('does not say that BARs are claimed', DRIVER,
     '\t\tdev_err_probe(&pdev->dev, ret,\n'
     '\t\t\t      "not bound: BARs are in use, see /proc/iomem and /proc/ioports\\n");\n', ''),
    ('binds without the state of the bind', DRIVER,
     '\tif (!udev->bind_state)\n\t\tgoto err_release;\n', ''),
    ('reset at bind', DRIVER,
     '\tret = -ENOMEM;\n\tpci_save_state(pdev);\n',
     '\tpci_save_state(pdev);\n\t__pci_reset_function_locked(pdev);\n'
     '\tpci_restore_state(pdev);\n\tret = -ENOMEM;\n\tpci_save_state(pdev);\n'),
    ('another version', DRIVER, 'udev->info.version = "1";', 'udev->info.version = "0";'),
    ('opt-in for root\'s eyes only', DRIVER, 'allow_unsafe_vf, bool, 0644', 'allow_unsafe_vf, bool, 0600'),
    ('BARs not claimed exclusively', DRIVER,
     'pci_request_regions_exclusive', 'pci_request_regions'),
    ('BARs stay claimed', DRIVER,
     '\tpci_release_regions(pdev);\n\tpci_disable_device(pdev);\n}',
     '\tpci_disable_device(pdev);\n}'),
    ('BARs stay claimed when the bind fails', DRIVER,
     'err_release:\n\tpci_release_regions(pdev);\n', 'err_release:\n'),
    ('enabled when the bind fails', DRIVER,
     'err_disable:\n\tpci_disable_device(pdev);\n', 'err_disable:\n'),
    ('enabled after unbind', DRIVER,
     '\tpci_release_regions(pdev);\n\tpci_disable_device(pdev);\n}',
     '\tpci_release_regions(pdev);\n}'),
    ('state of the bind leaks', DRIVER,
     '\tkfree(udev->bind_state);\n\tpci_release_regions(pdev);\n\tpci', '\tpci_release_regions(pdev);\n\tpci'),
    ('state of the bind leaks when the bind fails', DRIVER,
     'err_free:\n\tkfree(udev->bind_state);\n', 'err_free:\n'),
    ('table is mapped', DRIVER, '\tif (!resource_overlaps(res, table))\n', '\tif (1)\n'),
    ('table of one page', DRIVER,
     'udev->max_vectors * PCI_MSIX_ENTRY_SIZE);', 'PCI_MSIX_ENTRY_SIZE);'),
    ('table is not named', DRIVER,
     '\tpci_info(pdev, "BAR%d: no map of %pa to %pa, for the MSI-X table\\n",\n'
     '\t\t bar, &table_start, &table_end);\n', ''),
    ('page after the table is not mapped', DRIVER,
     'udev, bar, table_end, end)', 'udev, bar, table_end + PAGE_SIZE, end)'),
    ('table in no BAR', DRIVER,
     'if (bar >= PCI_STD_NUM_BARS ||\n\t    !resource_contains(&pdev->resource[bar], &table))',
     'if (0)'),
    ('table beyond the end of its BAR', DRIVER,
     'if (bar >= PCI_STD_NUM_BARS ||\n\t    !resource_contains(&pdev->resource[bar], &table))',
     'if (bar >= PCI_STD_NUM_BARS)'),
    ('page that the table begins in', DRIVER,
     'table_start = ALIGN_DOWN(table->start, PAGE_SIZE);',
     'table_start = PAGE_ALIGN(table->start);'),
    ('the ROM is a BAR', DRIVER,
     'bar < PCI_STD_NUM_BARS && !ret', 'bar <= PCI_STD_NUM_BARS && !ret'),
    ('maps a page whose beginning is another\'s', DRIVER, 'i < 2 && !ret', 'i < 2'),
    ('gives back what it did not get', DRIVER, '\t\tif (pad[0].parent)\n', ''),
    ('piece named by its address', DRIVER,
     '(u64)(start - bar_start)', '(u64)start'),
    ('maps what this machine cannot', DRIVER,
     '\tif (pdev->non_mappable_bars) {', '\tif (0) {'),
    ('one pad is left behind', DRIVER,
     '\t\tif (pad[0].parent)\n\t\t\tdevm_release_resource(&pdev->dev, &pad[0]);\n', ''),
    ('offset in the page is lost', DRIVER,
     'max(start, bar_start) - start;', '0;'),
    ('more maps than UIO has', DRIVER,
     'udev->info.mem + MAX_UIO_MAPS)', 'udev->info.mem + MAX_UIO_MAPS - 1)'),
    ('one I/O BAR is another', DRIVER,
     'port->start = pci_resource_start(pdev, bar);',
     'port->start = pci_resource_start(pdev, 0);'),
    # The core
    ('core: ENOTTY once unregistered', CORE,
     '\t\tif (!idev->info)\n\t\t\treturn -ENODEV;\n\t\tif (!idev->info->ioctl',
     '\t\tif (!idev->info)\n\t\t\treturn -ENOTTY;\n\t\tif (!idev->info->ioctl'),
    ('core: any size', CORE, ' || size > sizeof(buf))', ')'),
    ('core: stack leaks', CORE, 'sizeof(u64)] = { };',
     'sizeof(u64)];\n\n\tmemset(buf, 0x5a, sizeof(buf));'),
    ('core: not copied in', CORE,
     '(_IOC_DIR(cmd) & _IOC_WRITE) && ', '0 && '),
    ('core: copies more than the argument', CORE,
     'copy_from_user(buf, uarg, size)', 'copy_from_user(buf, uarg, sizeof(buf))'),
    ('core: copies out what was only read', CORE, '(_IOC_DIR(cmd) & _IOC_READ) &&\n', '\n'),
    ('core: faults ignored', CORE,
     '\t    copy_to_user(uarg, buf, size))\n\t\treturn -EFAULT;',
     '\t    copy_to_user(uarg, buf, size))\n\t\treturn ret;'),
    ('core: copies under the lock', CORE,
     '\t\tfault = copy_from_user', '\t\tscoped_guard(mutex, &idev->info_lock)\n'
     '\t\t\tfault = copy_from_user'),
    ('core: the driver handles ioctls without the lock', CORE,
     '\tscoped_guard(mutex, &idev->info_lock) {\n\t\t/* A device', '\t{\n\t\t/* A device'),
    ('core: copies out after an error', CORE, 'ret >= 0 && ', ''),
    ('core: calls what is not there', CORE, '!idev->info->ioctl || ', ''),
    ('core: no 32-bit programs', CORE, '\t.compat_ioctl\t= compat_ptr_ioctl,\n', ''),
    ('core: unregistering tells nobody', CORE,
     'free_irq(info->irq, idev);\n\n\tif (info->disconnect)\n\t\tinfo->disconnect(info);\n',
     'free_irq(info->irq, idev);\n\n'),
    ('core: a failed registration tells nobody', CORE,
     'mutex_lock(&idev->info_lock);\n\tif (info->disconnect)\n\t\tinfo->disconnect(info);\n',
     'mutex_lock(&idev->info_lock);\n'),
    ('core: usable after a failed registration', CORE,
     '\tidev->info = NULL;\n\tmutex_unlock(&idev->info_lock);\n\twake_up',
     '\tmutex_unlock(&idev->info_lock);\n\twake_up'),
    ('core: open before it has its uio_dev', CORE,
     ('\tinfo->uio_dev = idev;\n\n\t/* From', '\tif (info->irq && (info->irq != UIO_IRQ_CUSTOM)) {\n\t\t/*'),
     ('\t/* From', '\tinfo->uio_dev = idev;\n\tif (info->irq && (info->irq != UIO_IRQ_CUSTOM)) {\n\t\t/*')),
    ('core: the minor is free before the name', CORE,
     '\tdevice_del(&idev->dev);\n\tuio_free_minor(minor);\n\tput_device(&idev->dev);\n\n\treturn;',
     '\tuio_free_minor(minor);\n\tdevice_unregister(&idev->dev);\n\n\treturn;'),
    ('core: poll() looks first', CORE,
     ('\tpoll_wait(filep, &idev->wait, wait);\n', '\tif (listener->event_count != atomic_read'),
     ('', '\tpoll_wait(filep, &idev->wait, wait);\n\tif (listener->event_count != atomic_read')),
    ('core: read() is not woken before it sleeps', CORE,
     '\tDEFINE_WAIT_FUNC(wait, woken_wake_function);\n', '\tDECLARE_WAITQUEUE(wait, current);\n'),
    ('core: read() misses what wakes it', CORE,
     'wait_woken(&wait, TASK_INTERRUPTIBLE, MAX_SCHEDULE_TIMEOUT);',
     'wait_woken(&wait, TASK_INTERRUPTIBLE, 0);\n'
     '\t\tset_current_state(TASK_INTERRUPTIBLE);\n\t\tschedule();'),
    ('core: poll() queues last', CORE,
     ('\tpoll_wait(filep, &idev->wait, wait);\n', '\tif (listener->event_count != atomic_read'),
     ('', '\tschedule_timeout_uninterruptible(2 * HZ);\n'
      '\tpoll_wait(filep, &idev->wait, wait);\n\tif (listener->event_count != atomic_read')),
    ('unbind resets by FLR only in any slot', DRIVER, UNBIND_RESET,
     '\tuio_msix_reset(udev, pdev->slot);\n'),
    ('core: copies any size', CORE, ' && size <= sizeof(buf))', ')'),
    ('core: a bad pointer is zeros', CORE, 'ret = fault ? -EFAULT : ', 'ret = '),
    ('core: a bad pointer comes before a device that is gone', CORE,
     '\t\tif (!idev->info)\n\t\t\treturn -ENODEV;\n\t\tif (!idev->info->ioctl',
     '\t\tif (fault)\n\t\t\treturn -EFAULT;\n'
     '\t\tif (!idev->info)\n\t\t\treturn -ENODEV;\n\t\tif (!idev->info->ioctl'),
    ('core: holds the module when the minor may be free', CORE,
     ('\t/* Its owner is sure', '\t\tmutex_unlock(&minor_lock);\n\t\tret = -ENODEV;\n\t\tgoto err_module_get;\n\t}\n'
      '\tmutex_unlock(&minor_lock);\n'),
     ('\tmutex_unlock(&minor_lock);\n\t/* Its owner is sure', '\t\tret = -ENODEV;\n\t\tgoto err_module_get;\n\t}\n')),
    ('core: unregistering wakes one program', CORE,
     'wake_up_interruptible_all(&idev->wait);\n\tkill_fasync(&idev->async_queue, SIGIO, POLL_HUP);\n\n',
     'wake_up_interruptible(&idev->wait);\n\tkill_fasync(&idev->async_queue, SIGIO, POLL_HUP);\n\n'),
    ('the end wakes one program', DRIVER, 'wake_up_interruptible_all(', 'wake_up_interruptible('),
    # What fails for want of memory
    ('vector out of those it got', DRIVER,
     'index >= udev->num_vectors', 'index >= udev->max_vectors'),
    ('all vectors or none', DRIVER,
     'pci_alloc_irq_vectors(pdev, 1, udev->max_vectors,',
     'pci_alloc_irq_vectors(pdev, udev->max_vectors, udev->max_vectors,'),
    ('MSI where MSI-X fails', DRIVER, 'PCI_IRQ_MSIX)', 'PCI_IRQ_MSIX | PCI_IRQ_MSI)'),
    ('kfree() of vmalloc() when open fails', DRIVER,
     '\tif (ret < 0) {\n\t\tkvfree(', '\tif (ret < 0) {\n\t\tkfree('),
    ('kfree() of vmalloc() at the end', DRIVER,
     '\tkvfree(udev->vectors);\n\t/* Not', '\tkfree(udev->vectors);\n\t/* Not'),
    ('no memory to claim a page is no map', DRIVER,
     'return ret == -ENOMEM ? ret : 0;', 'return 0;'),
    ('no memory for the map before the table is none', DRIVER,
     'return ret ?: uio_msix_add_map(', 'return uio_msix_add_map('),
    ('no memory for the name of a port is no name', DRIVER,
     'ret = port++->name ? 0 : -ENOMEM;', 'port++;'),
    ('no BAR is a port', DRIVER,
     '} else if (pci_resource_len(pdev, bar)) {', '} else {'),
    ('core: registers without a minor', CORE,
     '\tret = uio_get_minor(idev);\n\tif (ret)\n\t\tgoto err_get_minor;\n',
     '\tuio_get_minor(idev);\n'),
    ('core: registers without the interrupt', CORE,
     '\t\tif (ret)\n\t\t\tgoto err_request_irq;\n', ''),
    ('core: stays when it gets no interrupt', CORE,
     '\t\tif (ret)\n\t\t\tgoto err_request_irq;', '\t\tif (ret)\n\t\t\tgoto err_device_create;'),
    ('fifth map is the first', DRIVER,
     'array_index_nospec(desc->pgoff, MAX_UIO_MAPS)',
     'array_index_nospec(desc->pgoff, MAX_UIO_MAPS - 1)'),
    ('last entry of the table is no part of it', DRIVER,
     'udev->max_vectors * PCI_MSIX_ENTRY_SIZE);',
     '(udev->max_vectors - 1) * PCI_MSIX_ENTRY_SIZE);'),
    ('core: disconnect when info_lock is let go', CORE,
     '\tif (info->disconnect)\n'
     '\t\tinfo->disconnect(info);\n'
     '\tidev->info = NULL;\n'
     '\tmutex_unlock(&idev->info_lock);\n'
     '\n'
     '\twake_up',
     '\tidev->info = NULL;\n'
     '\tmutex_unlock(&idev->info_lock);\n'
     '\tif (info->disconnect)\n'
     '\t\tinfo->disconnect(info);\n'
     '\n'
     '\twake_up'),
    ('two vectors or none', DRIVER,
     'pci_alloc_irq_vectors(pdev, 1, udev->max_vectors,',
     'pci_alloc_irq_vectors(pdev, 2, udev->max_vectors,'),
    ('close frees the vectors of who ends the session', DRIVER,
     '\tbool live = info->irq;',
     '\tbool live = true;'),
    ('core: keeps minor_lock when the module goes', CORE,
     '\tif (!try_module_get(idev->owner)) {\n'
     '\t\tmutex_unlock(&minor_lock);\n',
     '\tif (!try_module_get(idev->owner)) {\n'),
    ('not restored after a reset that failed', DRIVER,
     '\t\tuio_msix_restore(udev);\n'
     '\t}\n'
     '\treturn ret ?',
     '\t\tif (!ret)\n'
     '\t\t\tuio_msix_restore(udev);\n'
     '\t}\n'
     '\treturn ret ?'),
    ('close of a dead file does not reset', DRIVER,
     '\tif (pci_dev_trylock(pdev)) {\n',
     '\tif (live && pci_dev_trylock(pdev)) {\n'),
    ('vectors are let go before the mappings', DRIVER,
     '\tunmap_mapping_range(udev->mapping, 0, 0, true);\n'
     '\tfor (i = 0; i < udev->num_vectors; i++)\n'
     '\t\tuio_msix_detach(&udev->vectors[i]);\n',
     '\tfor (i = 0; i < udev->num_vectors; i++)\n'
     '\t\tuio_msix_detach(&udev->vectors[i]);\n'
     '\tunmap_mapping_range(udev->mapping, 0, 0, true);\n'),
    ('replace waits for no thread', DRIVER,
     '\tsynchronize_irq(vec->irq);\n',
     '\tsynchronize_hardirq(vec->irq);\n'),
    ('mask waits for no thread', DRIVER,
     '\t\tdisable_irq(vec->irq);\n',
     '\t\tdisable_hardirq(vec->irq);\n'),
    ('replace waits for another vector', DRIVER,
     '\tsynchronize_irq(vec->irq);\n',
     '\tsynchronize_irq(udev->vectors->irq);\n'),
    ('two I/O BARs are one port', DRIVER,
     'ret = port++->name ? 0 : -ENOMEM;',
     'ret = port->name ? 0 : -ENOMEM;'),
    ('confined by a lazy IOMMU only', DRIVER,
     '\tif (domain && domain->type & __IOMMU_DOMAIN_PAGING)\n',
     '\tif (domain && domain->type == IOMMU_DOMAIN_DMA_FQ)\n'),
    ('rest of the page is not busy', DRIVER,
     'IORESOURCE_MEM | IORESOURCE_BUSY |\n'
     '\t\t\t\t\t  IORESOURCE_EXCLUSIVE);',
     'IORESOURCE_MEM | IORESOURCE_EXCLUSIVE);'),
    ('unbind below no port in a slot', DRIVER,
     'pdev->slot && port && port->is_pciehp',
     'pdev->slot && port->is_pciehp'),
    ('table in what is no BAR', DRIVER,
     'if (bar >= PCI_STD_NUM_BARS ||\n'
     '\t    !resource_contains(',
     'if (!resource_contains('),
    ('leaves D3hot when it has restored', DRIVER,
     ('\t/* The user can have put it to sleep, unknown to pci_set_power_state(). */\n'
      '\tif (pdev->pm_cap) {\n'
      '\t\tpci_read_config_word(pdev, pdev->pm_cap + PCI_PM_CTRL, &reg);\n'
      '\t\tif (reg & PCI_PM_CTRL_STATE_MASK) {\n'
      '\t\t\tpci_write_config_word(pdev, pdev->pm_cap + PCI_PM_CTRL, 0);\n'
      '\t\t\tmsleep(pdev->d3hot_delay);\n'
      '\t\t}\n'
      '\t}\n'
      '\n',
      'PCI_COMMAND_INTX_DISABLE);\n'
      '\tuio_msix_restore(udev);\n'),
     ('',
      'PCI_COMMAND_INTX_DISABLE);\n'
      '\tuio_msix_restore(udev);\n'
      '\tif (pdev->pm_cap) {\n'
      '\t\tpci_read_config_word(pdev, pdev->pm_cap + PCI_PM_CTRL, &reg);\n'
      '\t\tif (reg & PCI_PM_CTRL_STATE_MASK) {\n'
      '\t\t\tpci_write_config_word(pdev, pdev->pm_cap + PCI_PM_CTRL, 0);\n'
      '\t\t\tmsleep(pdev->d3hot_delay);\n'
      '\t\t}\n'
      '\t}\n')),
    ('masks lazily once it was detached', DRIVER,
     ('\tirq_set_status_flags(vec->irq, IRQ_DISABLE_UNLAZY);\n',
      '\t\tudev->vectors[i].irq = pci_irq_vector(pdev, i);\n'),
     ('',
      '\t{\n'
      '\t\tudev->vectors[i].irq = pci_irq_vector(pdev, i);\n'
      '\t\tirq_set_status_flags(udev->vectors[i].irq, IRQ_DISABLE_UNLAZY);\n'
      '\t}\n')),
    ('all but the first mask lazily', DRIVER,
     '\tirq_set_status_flags(vec->irq, IRQ_DISABLE_UNLAZY);\n',
     '\tirq_set_status_flags(udev->vectors->irq, IRQ_DISABLE_UNLAZY);\n'),
    ('core: a failed registration wakes nobody', CORE,
     '\twake_up_interruptible_all(&idev->wait);\n'
     '\tkill_fasync(&idev->async_queue, SIGIO, POLL_HUP);\n'
     '\tuio_free_minor(',
     '\tkill_fasync(&idev->async_queue, SIGIO, POLL_HUP);\n'
     '\tuio_free_minor('),
    ('core: a failed registration wakes one program', CORE,
     '\twake_up_interruptible_all(&idev->wait);\n'
     '\tkill_fasync(&idev->async_queue, SIGIO, POLL_HUP);\n'
     '\tuio_free_minor(',
     '\twake_up_interruptible(&idev->wait);\n'
     '\tkill_fasync(&idev->async_queue, SIGIO, POLL_HUP);\n'
     '\tuio_free_minor('),
    ('core: uio_dev stays after a failed registration', CORE,
     'err_get_minor:\n'
     '\tinfo->uio_dev = NULL;\n',
     'err_get_minor:\n'),
    ('errno of the reset', DRIVER,
     '\treturn ret ? -EIO : 0;\n',
     '\treturn ret == -ENOTTY ? -EIO : ret;\n'),
    ('dirty after an open that failed', DRIVER,
     ('\tudev->vectors = kvzalloc_objs(',
      '\tudev->dirty = true;\n'
      '\tpci_set_master(pdev);\n'),
     ('\tudev->dirty = true;\n'
      '\tudev->vectors = kvzalloc_objs(',
      '\tpci_set_master(pdev);\n')),
    ('core: disconnect before the interrupt is freed', CORE,
     '\tif (info->irq && info->irq != UIO_IRQ_CUSTOM)\n'
     '\t\tfree_irq(info->irq, idev);\n'
     '\n'
     '\tif (info->disconnect)\n'
     '\t\tinfo->disconnect(info);\n',
     '\tif (info->disconnect)\n'
     '\t\tinfo->disconnect(info);\n'
     '\n'
     '\tif (info->irq && info->irq != UIO_IRQ_CUSTOM)\n'
     '\t\tfree_irq(info->irq, idev);\n'
     '\n'),
    ('core: the interrupt is freed before info_lock is taken', CORE,
     '\tmutex_lock(&idev->info_lock);\n'
     '\tuio_dev_del_attributes(idev);\n'
     '\n'
     '\tif (info->irq && info->irq != UIO_IRQ_CUSTOM)\n'
     '\t\tfree_irq(info->irq, idev);\n',
     '\tif (info->irq && info->irq != UIO_IRQ_CUSTOM)\n'
     '\t\tfree_irq(info->irq, idev);\n'
     '\n'
     '\tmutex_lock(&idev->info_lock);\n'
     '\tuio_dev_del_attributes(idev);\n'),
    ('core: who gets no minor frees that of another', CORE,
     '\tret = uio_get_minor(idev);\n'
     '\tif (ret)\n'
     '\t\tgoto err_get_minor;\n',
     '\tret = uio_get_minor(idev);\n'
     '\tif (ret)\n'
     '\t\tgoto err_device_create;\n'),
    ('core: usable after a registration without a name', CORE,
     '\tret = dev_set_name(&idev->dev, "uio%d", idev->minor);\n'
     '\tif (ret)\n'
     '\t\tgoto err_device_create;\n',
     '\tret = dev_set_name(&idev->dev, "uio%d", idev->minor);\n'
     '\tif (ret) {\n'
     '\t\tuio_free_minor(idev->minor);\n'
     '\t\tgoto err_get_minor;\n'
     '\t}\n'),
    ('core: what could not be added is not disconnected', CORE,
     '\tdevice_del(&idev->dev);\n'
     'err_device_create:\n'
     '\tmutex_lock(&idev->info_lock);\n'
     '\tif (info->disconnect)\n'
     '\t\tinfo->disconnect(info);\n'
     '\tidev->info = NULL;\n',
     '\tdevice_del(&idev->dev);\n'
     '\tmutex_lock(&idev->info_lock);\n'
     '\tif (info->disconnect)\n'
     '\t\tinfo->disconnect(info);\n'
     '\tmutex_unlock(&idev->info_lock);\n'
     'err_device_create:\n'
     '\tmutex_lock(&idev->info_lock);\n'
     '\tidev->info = NULL;\n'),
    ('core: public before it has its uio_dev', CORE,
     ('\tinfo->uio_dev = idev;\n'
      '\n'
      '\t/* From here',
      '\t\tgoto err_get_minor;\n'
      '\tidev->dev.devt'),
     ('\n'
      '\t/* From here',
      '\t\tgoto err_get_minor;\n'
      '\tinfo->uio_dev = idev;\n'
      '\tidev->dev.devt')),
    ('core: a failed registration signals nobody', CORE,
     '\twake_up_interruptible_all(&idev->wait);\n'
     '\tkill_fasync(&idev->async_queue, SIGIO, POLL_HUP);\n'
     '\tuio_free_minor(idev->minor);\n',
     '\twake_up_interruptible_all(&idev->wait);\n'
     '\tuio_free_minor(idev->minor);\n'),
    ('core: a failed registration frees the minor before the name', CORE,
     'err_uio_dev_add_attributes:\n'
     '\tdevice_del(&idev->dev);\n',
     'err_uio_dev_add_attributes:\n'
     '\tuio_free_minor(idev->minor);\n'
     '\tdevice_del(&idev->dev);\n'),
    ('core: unregistering signals nobody', CORE,
     '\tkill_fasync(&idev->async_queue, SIGIO, POLL_HUP);\n'
     '\n'
     '\t/* Its name goes first',
     '\n'
     '\t/* Its name goes first'),
    ('core: what an ioctl both reads and writes is not copied back', CORE,
     'ret >= 0 && (_IOC_DIR(cmd) & _IOC_READ) &&\n',
     'ret >= 0 && _IOC_DIR(cmd) == _IOC_READ &&\n'),
    ('core: a positive result is no success', CORE,
     '\tif (ret >= 0 && (_IOC_DIR(cmd)',
     '\tif (!ret && (_IOC_DIR(cmd)'),
    ('core: of two readers one hears of an interrupt', CORE,
     '\tadd_wait_queue(&idev->wait, &wait);\n',
     '\tadd_wait_queue_exclusive(&idev->wait, &wait);\n'),
    ('core: read() does not remember what it has read', CORE,
     '\t\t\t\tlistener->event_count = event_count;\n',
     ''),
    ('core: read() queues last', CORE,
     ('\tadd_wait_queue(&idev->wait, &wait);\n'
      '\n'
      '\tdo {\n',
      '\t\twait_woken(&wait, TASK_INTERRUPTIBLE, MAX_SCHEDULE_TIMEOUT);\n'
      '\t} while (1);\n'
      '\n'
      '\tremove_wait_queue(&idev->wait, &wait);\n'),
     ('\tdo {\n',
      '\t\tadd_wait_queue(&idev->wait, &wait);\n'
      '\t\twait_woken(&wait, TASK_INTERRUPTIBLE, MAX_SCHEDULE_TIMEOUT);\n'
      '\t\tremove_wait_queue(&idev->wait, &wait);\n'
      '\t} while (1);\n')),
    ('unbind asks the root port, not the port of its slot', DRIVER,
     'struct pci_dev *port = pci_upstream_bridge(pdev);',
     'struct pci_dev *port = pcie_find_root_port(pdev);'),
    ('not restored without recovery while it is closed', DRIVER,
     '\tif (pci_device_is_present(pdev))\n'
     '\t\tuio_msix_restore(pci_get_drvdata(pdev));\n',
     '\tif (pci_device_is_present(pdev) &&\n'
     '\t    ((struct uio_msix_dev *)pci_get_drvdata(pdev))->mapping)\n'
     '\t\tuio_msix_restore(pci_get_drvdata(pdev));\n'),
    ('two opens, by two nodes', DRIVER,
     '\tif (udev->mapping)\n'
     '\t\treturn -EBUSY;\n',
     '\tif (udev->mapping == inode->i_mapping)\n'
     '\t\treturn -EBUSY;\n'),
    ('fewer vectors once are fewer for ever', DRIVER,
     '\tudev->num_vectors = ret;\n',
     '\tudev->num_vectors = udev->max_vectors = ret;\n'),
    ('no vector left is no memory', DRIVER,
     'return ret == -ENOMEM || ret == -ENOSPC ? ret : -ENODEV;',
     'return ret == -ENOMEM || ret == -ENOSPC ? -ENOMEM : -ENODEV;'),
    ('no memory for the name of a map is EBUSY', DRIVER,
     '\tif (!mem->name)\n'
     '\t\treturn -ENOMEM;\n',
     '\tif (!mem->name)\n'
     '\t\treturn -EBUSY;\n'),
    ('VFs without opt-in where there is an IOMMU', DRIVER,
     'pdev->is_virtfn && !READ_ONCE(allow_unsafe_vf)',
     'pdev->is_virtfn && !device_iommu_mapped(&pdev->dev) &&\n'
     '\t    !READ_ONCE(allow_unsafe_vf)'),
    ('takes no part of its IOMMU group', DRIVER,
     '\t.err_handler = &uio_msix_err_handler,\n',
     '\t.err_handler = &uio_msix_err_handler,\n'
     '\t.driver_managed_dma = true,\n'),
    ('I/O BARs are not claimed', DRIVER,
     'pci_request_regions_exclusive(pdev, DRIVER_NAME)',
     'pci_request_selected_regions_exclusive(pdev,\n'
     '\t\t\tpci_select_bars(pdev, IORESOURCE_MEM), DRIVER_NAME)'),
    ('clean after a suspend while closed', DRIVER,
     '\tuio_msix_reset_prepare(to_pci_dev(dev));\n',
     '\tstruct uio_msix_dev *udev = dev_get_drvdata(dev);\n'
     '\n'
     '\tif (udev->info.irq)\n'
     '\t\tuio_msix_reset_prepare(to_pci_dev(dev));\n'),
    ('clean after an error while closed', DRIVER,
     '\tuio_msix_reset_prepare(pdev);\n'
     '\tif (state == pci_channel_io_normal)\n',
     '\tstruct uio_msix_dev *udev = pci_get_drvdata(pdev);\n'
     '\n'
     '\tif (udev->info.irq)\n'
     '\t\tuio_msix_reset_prepare(pdev);\n'
     '\tif (state == pci_channel_io_normal)\n'),
    ('a signal ends the wait for the lock', DRIVER,
     '\t\tmsleep(20);\n',
     '\t\tmsleep_interruptible(20);\n'),
    ('no zap above 4 GB', DRIVER,
     'unmap_mapping_range(udev->mapping, 0, 0, true)',
     'unmap_mapping_range(udev->mapping, 0, 1ULL << 32, true)'),
    ('maps what is 4 GB below', DRIVER,
     'PHYS_PFN(info->mem[index].addr)',
     'PHYS_PFN((u32)info->mem[index].addr)'),
    ('FLR of what has none, or must not', DRIVER,
     'pcie_reset_flr(pdev, PCI_RESET_DO_RESET)',
     'pcie_flr(pdev)'),
    ('unbind resets before it ends the session', DRIVER,
     ('\tuio_unregister_device(&udev->info);\n'
      '\tuio_msix_free_vectors(pdev);\n',
      '\tpci_cfg_access_unlock(pdev);\n'),
     ('',
      '\tpci_cfg_access_unlock(pdev);\n'
      '\tuio_unregister_device(&udev->info);\n'
      '\tuio_msix_free_vectors(pdev);\n')),
    ('D3hot not left at unbind in a slot', DRIVER,
     '\tif (pdev->pm_cap) {\n',
     '\tif (pdev->pm_cap && !flr) {\n'),
    ('the end wakes only who waits for input', DRIVER,
     '\twake_up_interruptible_all(&info->uio_dev->wait);\n',
     '\t__wake_up(&info->uio_dev->wait, TASK_INTERRUPTIBLE, 0,\n'
     '\t\t  poll_to_key((__force __poll_t)1 /* EPOLLIN */));\n'),
    ('the end wakes two programs', DRIVER,
     '\twake_up_interruptible_all(&info->uio_dev->wait);\n',
     '\twake_up_interruptible_nr(&info->uio_dev->wait, 2);\n'),
    ('no SIGIO at the end', DRIVER,
     'kill_fasync(&info->uio_dev->async_queue, SIGIO, POLL_HUP)',
     'kill_fasync(&info->uio_dev->async_queue, SIGURG, POLL_HUP)'),
    ('stays awake in suspend', DRIVER,
     '\tuio_msix_reset_prepare(to_pci_dev(dev));\n',
     '\tuio_msix_reset_prepare(to_pci_dev(dev));\n'
     '\tpci_save_state(to_pci_dev(dev));\n'),
    ('a signal ends the wait after D3hot', DRIVER,
     '\t\t\tmsleep(pdev->d3hot_delay);\n',
     '\t\t\tmsleep_interruptible(pdev->d3hot_delay);\n'),
    ('waits for D0 before it asks for it', DRIVER,
     '\t\t\tpci_write_config_word(pdev, pdev->pm_cap + PCI_PM_CTRL, 0);\n'
     '\t\t\tmsleep(pdev->d3hot_delay);\n',
     '\t\t\tmsleep(pdev->d3hot_delay);\n'
     '\t\t\tpci_write_config_word(pdev, pdev->pm_cap + PCI_PM_CTRL, 0);\n'),
    ('bus mastering goes off last', DRIVER,
     ('\tinfo->irq = 0;\n'
      '\tpci_clear_master(pdev);\n',
      '\tkvfree(udev->vectors);\n'
      '\t/* Not uio_event_notify()'),
     ('\tinfo->irq = 0;\n',
      '\tkvfree(udev->vectors);\n'
      '\tpci_clear_master(pdev);\n'
      '\t/* Not uio_event_notify()')),
    ('to ask for FLR does one', DRIVER,
     'pcie_reset_flr(pdev, PCI_RESET_PROBE)',
     'pcie_reset_flr(pdev, PCI_RESET_DO_RESET)'),
)

# Noticed by nothing but kmemleak: not on the plain kernel.
DEBUG = {name for name, *_ in MUTANTS if name.startswith(('name leaks', 'vectors leak', 'state of the bind leaks'))}

# Where to look first: a boot, or one test on one device. Who does not notice there
# goes through all of them.
FIRST = {
    'rocker uio_msix_test ioctl_errors': (
        'vector out of range',
        'fd below -1',
        'flags of SET_EVENTFD',
        'reserved of SET_EVENTFD',
        'failed set detaches',
        'masked above 1',
        'flags of SET_MASK',
        'reserved of SET_MASK',
        'mask of a detached vector',
        'EINVAL for an unknown ioctl',
        'core: not copied in',
        'core: faults ignored',
        'core: copies any size',
        'core: a bad pointer is zeros',
        'core: copies out after an error',
        'core: stack leaks',
    ),
    'rocker uio_msix_test every_vector_signals_its_own_eventfd': (
        'signals twice',
        'all vectors are the first',
        'no bus master',
    ),
    'rocker extra replace_loses_and_doubles_nothing': (
        'replace by free and request',
        'replace keeps the old',
    ),
    'rocker extra mask_holds_back_and_delivers_one': (
        'masks lazily',
        'mask is counted',
        'mask is not remembered',
        'unmask never',
    ),
    'rocker extra detach_and_reattach': (
        'detach frees what is not requested',
        'detached but still attached',
        'mask survives a detach',
        'masks lazily once it was detached',
    ),
    'rocker extra interrupts_are_handled': ('nobody cares', 'interrupt named by another vector'),
    'rocker extra dma_reaches_memory_unless_iommu': ('one vector only',),
    'rocker extra mask_of_another_vector': (
        'fd 0 detaches',
        'all but the first mask lazily',
    ),
    'rocker extra errors_leave_a_mask': ('failed set forgets the mask',),
    'rocker extra handler_in_progress': (
        'eventfd put before the interrupt is freed',
        'old eventfd put while it is signalled',
        'old eventfd put before the swap',
        'mask does not wait',
        'replace waits for another vector',
    ),
    'rocker extra fault_in_progress': ('fault without the lock',),
    'rocker extra lets_go_of_eventfds': (
        'eventfd leaks on detach',
        'old eventfd leaks on replace',
    ),
    'igb extra other_drivers_have_no_ioctls': (
        'core: calls what is not there',
        'core: unregistering wakes one program',
    ),
    'rocker extra ioctls_beyond_those_of_the_kselftest': (
        'core: copies more than the argument',
        'core: copies out what was only read',
    ),
    'rocker extra open_needs_cap_sys_rawio': (
        'no CAP_SYS_RAWIO',
        'root of a user namespace',
        'EBUSY before EPERM',
    ),
    'rocker extra opt_in_can_be_written_and_read': ("opt-in for root's eyes only",),
    'rocker extra bridge_and_no_msix': ('bridges', 'no MSI-X'),
    'rocker extra name_and_version': ('another version',),
    'rocker extra bar_that_is_claimed': (
        'binds what is claimed',
        'releases what others claimed',
        'does not say that BARs are claimed',
    ),
    'rocker extra device_that_cannot_be_enabled': ('binds what cannot be enabled',),
    'rocker extra no_memory_for_the_state_of_the_bind': ('binds without the state of the bind',),
    'rocker extra table_outside_of_its_bar': ('table beyond the end of its BAR',),
    'rocker extra bar_inside_of_its_pages': (
        'maps a page whose beginning is another\'s',
        'gives back what it did not get',
        'one pad is left behind',
        'offset in the page is lost',
    ),
    'rocker extra more_maps_than_uio_has': ('more maps than UIO has',),
    'rocker extra non_mappable_bars_are_not_mapped': ('maps what this machine cannot',),
    'rocker extra pages_of_the_table_are_named': ('table is not named',),
    'rocker extra intx_stays_where_msix_goes_with_it': ('INTx off in spite of a bug',),
    'rocker extra no_other_way_to_the_bars': ('BARs not claimed exclusively',),
    'rocker extra bind_sets_the_command_register': (
        'bus master from the start',
        'INTx from the start',
        'bus master as it was',
        'bus master is part of the state of the bind',
        'enabled after unbind',
    ),
    'rocker extra answers_to_errors': (
        'any error asks for a reset',
        'says nothing of its recovery',
        'says nothing of no recovery',
        'frozen, but asks for no reset',
        'does not recover',
    ),
    'rocker extra open_of_a_locked_device_is_eagain': (
        'a signal ends the wait for the lock',
        'no second try for the lock',
        'tries for the lock for long',
        'EBUSY for the lock',
        'tries for the lock twice',
        'tries for the lock for a second',
        'hardly waits for the lock',
        'waits long for the lock',
        'close waits for the lock',
    ),
    'rocker uio_msix_test one_open_until_the_last_fd_and_mapping_go': (
        'two opens',
        'no end by close',
        'open for ever',
    ),
    'rocker uio_msix_test open_taints_and_says_why_once_a_bind': (
        'no taint',
        'does not say why',
        'warns each time',
    ),
    'rocker uio_msix_test maps_have_none_of_the_table': ('private mappings', 'table is mapped'),
    'rocker uio_msix_test unbind_while_in_use': (
        'fault after unregistering',
        'dead but alive',
        'no zap',
        'interrupts outlive the end',
        'no end by unbind',
        'BARs stay claimed',
        'core: ENOTTY once unregistered',
        'core: a bad pointer comes before a device that is gone',
        'core: unregistering tells nobody',
    ),
    'rocker uio_msix_test suspend_while_in_use_and_while_closed': (
        'no end by suspend',
        'ioctls of a dead file',
        'bus master after the end',
        'core: any size',
    ),
    'rocker fail_nth attach': (
        'trigger kept when request_irq() fails',
        'name leaks when request_irq() fails',
        'eventfd leaks when attach fails',
    ),
    'rocker fail_nth open': (
        'no vector left is no memory',
        'fewer vectors once are fewer for ever',
        'vector out of those it got',
        'all vectors or none',
        'vectors leak when open fails',
        'vectors leak at the end',
    ),
    'rocker uio_msix_test detach_is_final_and_forgets_the_mask': ('name leaks on detach',),
    'rocker fail_nth bind': (
        'BARs stay claimed when the bind fails',
        'enabled when the bind fails',
        'state of the bind leaks',
        'state of the bind leaks when the bind fails',
    ),
    'rocker fail_nth bind_with_an_opener': ('core: usable after a failed registration',),
    'rocker extra core_keeps_its_promises_to_drivers': (
        'core: disconnect before the interrupt is freed',
        'core: the interrupt is freed before info_lock is taken',
        'core: who gets no minor frees that of another',
        'core: usable after a registration without a name',
        'core: what could not be added is not disconnected',
        'core: public before it has its uio_dev',
        'core: a failed registration signals nobody',
        'core: a failed registration frees the minor before the name',
        'core: unregistering signals nobody',
        'core: what an ioctl both reads and writes is not copied back',
        'core: a positive result is no success',
        'core: of two readers one hears of an interrupt',
        'core: read() does not remember what it has read',
        'core: a failed registration tells nobody',
        'core: open before it has its uio_dev',
        'core: disconnect when info_lock is let go',
        'core: a failed registration wakes nobody',
        'core: a failed registration wakes one program',
        'core: uio_dev stays after a failed registration',
    ),
    'rocker fail_nth bind_below': (
        'no memory for the name of a map is EBUSY',
        'no memory to claim a page is no map',
        'core: registers without a minor',
    ),
    'nvme-300 fail_nth open_below': (
        'kfree() of vmalloc() when open fails',
        'kfree() of vmalloc() at the end',
    ),
    'megasas fail_nth bind_below': (
        'no memory for the map before the table is none',
        'no memory for the name of a port is no name',
    ),
    'megasas extra io_bars_are_port_regions': ('no BAR is a port',),
    'e1000e fail_nth bind_generic': (
        'core: registers without the interrupt',
        'core: stays when it gets no interrupt',
    ),
    'e1000e extra io_bars_are_port_regions': (
        'one I/O BAR is another',
        'two I/O BARs are one port',
    ),
    'e1000e extra bind_sets_the_command_register': ('I/O ports not enabled',),
    'e1000e extra table_in_what_is_no_bar': ('table in what is no BAR',),
    'e1000e extra unbind_resets': (
        'unbind resets by FLR only',
        'unbind below no port in a slot',
    ),
    'e1000e extra maps_all_but_the_table': ('the ROM is a BAR',),
    'nvme extra pf_with_live_vfs': ('PF with VFs',),
    'nvme-300 extra maps_all_but_the_table': ('table of one page',),
    'igb-vf extra vf_needs_opt_in': ('VFs by default', 'VFs always'),
    'igb uio_msix_test reset_while_in_use': (
        'fault after the end of a session',
        'mmap of a dead file',
        'opens while a dead file is open',
        'INTx is on after the end',
        'vectors outlive the end',
        'no end by a reset',
        'nobody is woken at the end',
    ),
    'igb uio_msix_test error_while_in_use': ('no end by an error',),
    'igb extra error_then_bind': ('not restored after an error',),
    'igb uio_msix_test next_open_repairs_the_config': ('state of the bind not restored',),
    'igb extra mapping_leads_no_further': ('mappings grow', 'zaps one page'),
    'igb extra partial_munmap': ('every page is the first',),
    'igb extra maps_are_where_they_say': ('always map 0',),
    'igb extra maps_all_but_the_table': (
        'page after the table is not mapped',
        'piece named by its address',
    ),
    'igb extra table_inside_of_its_pages': ('page that the table begins in',),
    'igb extra absent_device': (
        'resets what is not there',
        'table in no BAR',
    ),
    'igb extra end_on_the_way_to_sleep': (
        'core: poll() looks first',
        'core: read() is not woken before it sleeps',
        'core: read() misses what wakes it',
        'core: poll() queues last',
    ),
    'rocker extra module_does_not_go_during_an_open': (
        'core: holds the module when the minor may be free',
    ),
    'igb extra fault_in_progress': ('end without info_lock',),
    'igb extra end_while_proc_irq_is_read_into_a_mapping': ('vectors freed under info_lock',),
    'igb extra open_leaves_d3hot_without_a_reset': (
        'a signal ends the wait after D3hot',
        'waits for D0 before it asks for it',
        'D3hot not left',
        'no wait after D3hot',
        'leaves D3hot when it has restored',
    ),
    'igb extra offline_channel_is_no_reason': ('refuses a device whose channel is offline',),
    'igb extra quiet_and_restored_before_the_reset': (
        'not quiet while BARs are written',
        'not restored before the reset',
    ),
    'igb extra open_restores_the_state_of_the_bind': (
        'not restored after the reset',
        'no reset at close',
    ),
    'igb extra open_restores_nothing_that_a_reset_saved': ('restores what is saved by others',),
    'igb extra open_resets_what_may_be_dirty_only': (
        'clean after a suspend while closed',
        'clean after an error while closed',
        'reset while clean',
        'clean after a reset by others',
        'no reset before the first open',
        'reset at bind',
    ),
    'igb extra resets': (
        'never reset',
        'clean after it was used',
        'no reset at unbind',
    ),
    'igb extra open_of_a_locked_device_is_eagain': ('clean after a close that could not reset',),
    'igb extra open_is_eio_if_the_reset_fails': (
        'clean after a failed reset',
        'opens after a failed reset',
        'not restored after a reset that failed',
        'errno of the reset',
    ),
    'igb extra no_reset_after_all': (
        'FLR that failed is no reset after all',
        'to ask for FLR does one',
    ),
    'igb extra reset_method_empty_for_an_unbind': ('FLR where reset_method is empty',),
    'igb extra open_and_close_during_resets': ('opens without the lock',),
    'igb extra opened_while_its_port_is_locked': ('locks the port, too',),
    'igb extra config_waits_for_our_resets': (
        'config access during the reset of an open',
        'config access during the reset of an unbind',
    ),
    'igb extra unbind_does_not_reset_the_slot': (
        'unbind resets by the slot',
        'FLR of what has none, or must not',
    ),
    'igb extra unbind_resets_in_a_slot_of_no_pciehp': ('unbind resets by FLR only in any slot',),
    'igb extra error_that_is_not_fatal': ('no end by an error that is not fatal',),
    'igb extra opened_before_the_reset_of_an_error': ('no end by the reset of an error',),
    'igb extra error_without_recovery': (
        'not restored without recovery',
        'not restored without recovery while it is closed',
    ),
    'mutant:rocker-32': ('core: no 32-bit programs',),
    'racesrocker:arg_on_uffd': ('core: copies under the lock',),
    'racesrocker:remove': ('core: the driver handles ioctls without the lock',),
    'unplug': ('asks the PF whether its VF is there',),
    'onecpu': (
        'never a thread',
        'last entry of the table is no part of it',
        'two vectors or none',
    ),
    'field': (
        'no zap above 4 GB',
        'maps what is 4 GB below',
        'unbind asks the root port, not the port of its slot',
        'no SIGIO at the end',
        'stays awake in suspend',
        'no reset after all is a failure',
        'gone after a reset is no reset after all',
        'nobody is signalled at the end',
        'core: the minor is free before the name',
        'the end wakes one program',
    ),
    'iommu': (
        'VFs without opt-in where there is an IOMMU',
        'takes no part of its IOMMU group',
        'no taint with an IOMMU',
        'the wrong line',
        'confined by identity',
        'confined by a lazy IOMMU only',
    ),
    'lockdown': (
        'opens under lockdown',
        'binds under lockdown',
        'open is locked down for another reason',
    ),
    'nomsi': ('errno of the PCI core for no MSI-X', 'an open that fails taints'),
    'faults': ('MSI where MSI-X fails',),
    'igb extra more_maps_than_uio_has': ('fifth map is the first',),
    'igb extra close_while_a_reset_ends_the_session': (
        'close frees the vectors of who ends the session',
    ),
    'igb extra module_goes_during_an_open': ('core: keeps minor_lock when the module goes',),
    'igb extra close_of_a_dead_file_resets': ('close of a dead file does not reset',),
    'rocker extra nothing_is_pending_after_the_end': (
        'vectors are let go before the mappings',
        'bus mastering goes off last',
    ),
    'nointremap': (
        'replace waits for no thread',
        'mask waits for no thread',
    ),
    'igb extra bar_inside_of_its_pages': ('rest of the page is not busy',),
    'igb extra open_that_fails_is_not_reset_after': ('dirty after an open that failed',),
    'rocker extra end_on_the_way_to_sleep': (
        'core: read() queues last',
    ),
    'rocker extra other_node_of_the_device': (
        'two opens, by two nodes',
    ),
    'e1000e extra bar_that_is_claimed': (
        'I/O BARs are not claimed',
    ),
    'igb extra unbind_ends_the_session_first': (
        'unbind resets before it ends the session',
        'D3hot not left at unbind in a slot',
    ),
    'rocker extra end_wakes_all': (
        'the end wakes only who waits for input',
        'the end wakes two programs',
    ),
}
FIRST = {name: 'mutant:' + where.replace(' ', '+') if ' ' in where else where
         for where, names in FIRST.items() for name in names}
assert set(FIRST) | DEBUG <= {name for name, *_ in MUTANTS}


def changed(tree, path, before, after):
    """The text of PATH with the change."""
    text = open(os.path.join(tree, path)).read()
    if isinstance(before, str):
        before, after = (before,), (after,)
    for old, new in zip(before, after):
        if text.count(old) != 1:
            raise SystemExit(f'error: not once in {path}: {old!r}')
        text = text.replace(old, new, 1)
    return text


def module(tree, build, work, path, before, after):
    """Build the module of PATH with the change; return its file."""
    text = changed(tree, path, before, after)
    name = os.path.basename(path)[:-2]
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(work)
    with open(os.path.join(work, name + '.c'), 'w') as file:
        file.write(text)
    with open(os.path.join(work, 'Makefile'), 'w') as file:
        file.write(f'obj-m := {name}.o\n')
    subprocess.run(['make', '-s', '-C', tree, 'O=' + build, 'M=' + work,
                    'modules'], capture_output=True, check=False)
    built = os.path.join(work, name + '.ko')
    return built if os.path.exists(built) else None


def image(build, work, ko):
    """A build folder for boot.sh: the kernel, an initramfs with the module."""
    root = os.path.join(work, 'root')
    shutil.copytree(os.path.join(build, 'guest/root'), root, symlinks=True)
    shutil.copy(ko, os.path.join(root, 'modules'))
    os.makedirs(os.path.join(work, 'guest'))
    os.link(os.path.join(build, 'guest/kernel'),
            os.path.join(work, 'guest/kernel'))
    subprocess.run('find . | cpio -o -H newc --quiet -R 0:0 | gzip -1 '
                   '>../guest/initramfs', shell=True, cwd=root, check=True)
    shutil.rmtree(root)


def verdict(name, work, out, baseline, limit):
    """The first test that fails, or what else goes wrong; None if nothing."""
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    shutil.copy(baseline, out)
    boots = ['mutant', 'injected', 'unplug', 'field', 'iommu', 'lockdown', 'nomsi', 'faults']
    if name in FIRST:
        boots.insert(0, FIRST[name])
    for boot in boots:
        args = ['until-failure']
        env = dict(os.environ, LIMIT=limit)
        if boot.startswith('racesrocker:'):
            args = ['50']
            env['MULTI'] = '1'
        run = subprocess.run(
            [os.path.join(SCRIPTS, 'boot.sh'), work, boot, out, *args],
            capture_output=True, text=True, env=env)
        log = open(os.path.join(out, boot.replace(':', '-') + '.log'), errors='replace').read()
        device = ''
        for line in log.replace('\r', '').split('\n'):
            if line.startswith('guest: device '):
                device = line.split()[2]
            failed = re.match(r'(?:# not ok \d+|not ok:?) (?!\d)(.*)', line)
            if failed:
                return f'{device}: {failed[1]}'
        if run.returncode:
            said = run.stderr.strip().split('; log:')[0]
            return said.removeprefix('error: ')
    return None


def main():
    tree, builds, out, jobs = sys.argv[1:5]
    chosen = [int(n) for n in sys.argv[5:]] or range(len(MUTANTS))
    # Before the first boots: some have a long way to the last.
    for number in chosen:
        changed(tree, *MUTANTS[number][1:])
    baselines = {}
    for build in builds.split(':'):
        logs = os.path.join(out, os.path.basename(build))
        os.makedirs(logs, exist_ok=True)
        subprocess.run([os.path.join(SCRIPTS, 'boot.sh'), build, 'baseline', logs],
                       check=True, stdout=subprocess.DEVNULL)
        baselines[build] = os.path.join(logs, 'baseline.reports')
    building = threading.Lock()

    def run(number):
        name, path, before, after = MUTANTS[number]
        for build, baseline in baselines.items():
            last = build == list(baselines)[-1]
            if name in DEBUG and not last:
                continue
            work = os.path.join(build, 'guest', f'mutant-{number}')
            with building:
                ko = module(tree, build, work, path, before, after)
            if not ko:
                raise SystemExit(f'error: mutant {number} ({name}) does not build')
            image(build, work, ko)
            logs = os.path.join(os.path.dirname(baseline), str(number))
            caught = verdict(name, work, logs, baseline, '1500' if last else '400')
            shutil.rmtree(work)
            if caught:
                return number, caught
        return number, None

    done = caught = 0
    with concurrent.futures.ThreadPoolExecutor(int(jobs)) as pool:
        for future in concurrent.futures.as_completed(
                [pool.submit(run, number) for number in chosen]):
            number, by = future.result()
            done += 1
            caught += by is not None
            print(f'{number:3} {MUTANTS[number][0]:42} '
                  f'{by or "NOT CAUGHT"}', flush=True)
    print(f'{done} mutants, {caught} caught')
    sys.exit(done != caught)


main()
