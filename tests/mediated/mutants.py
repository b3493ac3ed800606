#!/usr/bin/python3
"""
Break the mediated driver on purpose, and see which test notices.

Needs:  a kernel that run.sh built, and what mediated.sh made beside it
Makes:  OUT/N: logs of the guest whose first mutant was N
Prints: a line per mutant; "N mutants, N caught" last; exit code 1 if a mutant
        was not caught
Usage:  mutants.py TREE BUILD OUT [N...]
"""
import os
import re
import shutil
import subprocess
import sys

SCRIPTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../scripts')
DRIVER = 'uio_vmxnet3.c'
UAPI = 'info|memory|start|submit|request|completion'
CHOICE = """
static int which;
module_param(which, int, 0);
static struct pci_driver *const drivers[] = { DRIVERS };

static int __init mutants_init(void)
{
	return pci_register_driver(drivers[which]);
}
module_init(mutants_init);

static void __exit mutants_exit(void)
{
	pci_unregister_driver(drivers[which]);
}
module_exit(mutants_exit);

MODULE_DESCRIPTION("uio_vmxnet3, broken on purpose");
MODULE_LICENSE("GPL");
"""

# What it is, the test that notices, then text and what that becomes, once or more. A
# test is one of the kselftest, or a program; "iommu" before it has one that sees what
# the device does, "alone" a guest of its own, for what would disturb the next.
MUTANTS = (
    # The check
    ('no upper bound', 'submit_boundaries',
     ' &&\n\t       request->len <= page->left - offset;', ';'),
    ('no check, for an IOMMU', 'iommu vmxfuzz',
     '\tif (index >= mem->num_pages)\n\t\treturn false;\n', '\t(void)index;\n',
     'page = &mem->pages[array_index_nospec(index, mem->num_pages)];\n\t*dma = page->dma + offset;',
     'page = &mem->pages[0];\n\t(void)offset;\n\t*dma = page->dma + request->offset;',
     ' &&\n\t       request->len <= page->left - offset;', ';'),
    ('no upper bound of the offset', 'submit_boundaries',
     '\tif (index >= mem->num_pages)\n\t\treturn false;\n', '',
     'array_index_nospec(index, mem->num_pages)', 'index % mem->num_pages'),
    ('wrap not checked', 'submit_boundaries',
     '\tif (index >= mem->num_pages)\n',
     '\tif ((u32)(request->offset + request->len) > mem->num_pages << PAGE_SHIFT)\n',
     'array_index_nospec(index, mem->num_pages)', 'index % mem->num_pages',
     ' &&\n\t       request->len <= page->left - offset;', ';'),
    ('one byte too many', 'submit_boundaries',
     'request->len <= page->left - offset;', 'request->len <= page->left - offset + 1;'),
    ('no lower bound of the length', 'submit_boundaries', 'request->len >= type->min_len && ', ''),
    ('no upper bound of the length', 'submit_boundaries', ' && request->len <= type->max_len', ''),
    ('all folios in one piece', 'vmxfuzz',
     '= (struct uio_vmxnet3_page){ dma, left };',
     '= (struct uio_vmxnet3_page){ dma, left + ((loff_t)(end - pos) & INT_MAX) };',
     'i += mem->pages[i].left >> PAGE_SHIFT', 'i++',
     'mem->pages[i].dma,\n\t\t\t\t     mem->pages[i].left,',
     'mem->pages[i].dma & PAGE_MASK, PAGE_SIZE,',
     'folio_mark_dirty_lock(mem->folios[folio++]);', '(void)folio;'),
    ('any queue', 'ioctl_errors', 'arg->queue >= NUM_QUEUES || !arg->count', '!arg->count'),
    ('any count', 'ioctl_errors',
     ' ||\n\t    arg->count > UIO_VMXNET3_MAX_REQUESTS)', ')'),
    ('count 0', 'ioctl_errors', 'arg->queue >= NUM_QUEUES || !arg->count', 'arg->queue >= NUM_QUEUES'),
    # Rings
    ('generation bit first', 'iommu vmxstress kill',
     '\t\tdesc->qword[0] = cpu_to_le64(dma);\n',
     '\t\tWRITE_ONCE(desc->dword[2], cpu_to_le32(request.len | gen));\n'
     '\t\tfsleep(1000);\n\t\tdesc->qword[0] = cpu_to_le64(dma);\n'),
    ('generation never changes', 'ring_is_full_one_below_its_size',
     'q->submitted & RING_SIZE ? 0 : type->gen', 'type->gen'),
    ('completions of the first pass only', 'ring_is_full_one_below_its_size',
     'q->completions & RING_SIZE ? 0 : UIO_VMXNET3_GEN', 'UIO_VMXNET3_GEN'),
    ('ring filled to the brim', 'ring_is_full_one_below_its_size',
     'q->submitted - q->completed == RING_SIZE - 1', 'q->submitted - q->completed == RING_SIZE'),
    ('no completion check', 'vmxforge',
     '\t\t    done > q->submitted - q->completed) {', '\t\t    done > RING_SIZE) {'),
    ('completion beyond the ring', 'vmxforge',
     '\t\t    (slot & UIO_VMXNET3_SLOT) >= RING_SIZE ||\n\t\t    done > q->submitted - q->completed) {',
     '\t\t    (done > q->submitted - q->completed && (slot & UIO_VMXNET3_SLOT) < RING_SIZE)) {'),
    ('completion of any ring', 'vmxforge',
     '(queue == UIO_VMXNET3_RX && slot & UIO_VMXNET3_RING) ||\n\t\t    ', ''),
    ('stops at a bad one, and sends none', 'submit_boundaries',
     '\tif (!i)\n\t\treturn ret;\n', '\tif (i < arg->count)\n\t\treturn ret;\n'),
    ('all that was asked for is accepted', 'submit_boundaries', '\treturn i;\n', '\treturn arg->count;\n'),
    ('no doorbell', 'unprivileged_and_without_a_taint',
     '\t\twritel(q->submitted % RING_SIZE, udev->bar0 + VMXNET3_REG_TXPROD);\n', '\t\t;\n'),
    # Memory
    ('O_RDONLY accepted', 'memory_errors', '|| !(file->f_mode & FMODE_WRITE)', ''),
    ('O_WRONLY accepted', 'vmxrules', '!(file->f_mode & FMODE_READ) || ', ''),
    ('seals of huge pages ignored', 'vmxrules', 'READ_ONCE(HUGETLBFS_I(file_inode(file))->seals)', '0'),
    ('append-only accepted', 'memory_errors', ' ||\n\t    IS_APPEND(file_inode(file))', ''),
    ('F_SEAL_FUTURE_WRITE accepted', 'memory_errors',
     '\tif (seals & F_SEAL_FUTURE_WRITE)\n\t\treturn -EPERM;\n', '\t(void)seals;\n'),
    ('cannot be sealed afterwards', 'memory_is_pinned_until_it_is_dropped',
     '\tmapping_unmap_writable(mem->file->f_mapping);\n', ''),
    ('inode lock in SET_MEMORY', 'alone vmxstress deadlock',
     '\tret = uio_vmxnet3_map_writable(file);\n\tif (ret)',
     '\tinode_lock(file_inode(file));\n\tret = uio_vmxnet3_map_writable(file);\n'
     '\tinode_unlock(file_inode(file));\n\tif (ret)'),
    ('locked_vm not given back', 'alone memory_is_locked_memory',
     '\tatomic_long_sub(mem->locked, &mem->user->locked_vm);\n', ''),
    ('no limit', 'memory_is_locked_memory', '\t\tif (locked + pages > limit)\n\t\t\treturn -ENOMEM;\n', '\t\t(void)limit;\n'),
    ('a huge page counts in part', 'memory_is_locked_memory',
     'uio_vmxnet3_charge(mem, (folio_size(folio) - left) >> PAGE_SHIFT)',
     'uio_vmxnet3_charge(mem, 0)'),
    ('folio not dirtied', 'received_data_stays',
     'folio_mark_dirty_lock(mem->folios[folio++]);', '(void)folio;'),
    ('unpinned before it is dirty', 'vmxrules',
     '\tfor (i = 0; i < mem->mapped;',
     '\tunpin_folios(mem->folios, mem->num_folios);\n\tfor (i = 0; i < mem->mapped;',
     '\t}\n\tunpin_folios(mem->folios, mem->num_folios);\n', '\t}\n'),
    ('never unpinned', 'alone memory_is_pinned_until_it_is_dropped', '\tunpin_folios(mem->folios, mem->num_folios);\n', ''),
    ('folio that left its file', 'vmxrules', '\t\tif (folio->mapping != mem->file->f_mapping) {', '\t\tif (0) {'),
    ('not whole pages', 'memory_errors', 'offset_in_page(arg->len | arg->offset)', 'offset_in_page(arg->offset)'),
    ('more than 1 GiB', 'memory_errors', 'arg->len > SZ_1G', 'arg->len > 4ULL * SZ_1G'),
    ('memory exchanged while broken', 'vmxforge',
     '\tif (udev->state != UIO_VMXNET3_STOPPED)\n\t\treturn udev->state == UIO_VMXNET3_BROKEN ? -EIO : -EBUSY;\n\n\tmem =',
     '\tif (udev->state == UIO_VMXNET3_RUNNING)\n\t\treturn -EBUSY;\n\n\tmem ='),
    ('memory exchanged while running', 'ioctl_errors',
     '\tif (udev->state != UIO_VMXNET3_STOPPED)\n\t\treturn udev->state == UIO_VMXNET3_BROKEN ? -EIO : -EBUSY;\n\n\tmem =',
     '\tmem ='),
    ('flags of SET_MEMORY', 'ioctl_errors', 'arg->fd < -1 || arg->flags ||', 'arg->fd < -1 ||'),
    ('what fallocate() left is given away', 'received_data_stays',
     '\t\tif (!folio_test_uptodate(folio)) {', '\t\tif (false) {'),
    # The device
    ('MTU below 60', 'ioctl_errors', 'arg->mtu < VMXNET3_MIN_MTU || ', ''),
    ('MTU above 9000', 'ioctl_errors', ' || arg->mtu > VMXNET3_MAX_MTU', ''),
    ('flags of START', 'ioctl_errors',
     '\t    arg->flags & ~(UIO_VMXNET3_PROMISC | UIO_VMXNET3_ALLMULTI) ||\n', ''),
    ('reserved of START', 'ioctl_errors', '\t    arg->reserved[0] || arg->reserved[1])', '\t    arg->reserved[0])'),
    ('started twice', 'ioctl_errors',
     '\tif (udev->state != UIO_VMXNET3_STOPPED)\n\t\treturn udev->state == UIO_VMXNET3_BROKEN ? -EIO : -EBUSY;\n\tif (!udev->mem)',
     '\tif (!udev->mem)'),
    ('started while broken', 'vmxforge',
     '\tif (udev->state != UIO_VMXNET3_STOPPED)\n\t\treturn udev->state == UIO_VMXNET3_BROKEN ? -EIO : -EBUSY;\n\tif (!udev->mem)',
     '\tif (udev->state == UIO_VMXNET3_RUNNING)\n\t\treturn -EBUSY;\n\tif (!udev->mem)'),
    ('a START that fails is not seen', 'vmxrules',
     'if (uio_vmxnet3_command(udev, VMXNET3_CMD_ACTIVATE_DEV)) {',
     'if (uio_vmxnet3_command(udev, VMXNET3_CMD_ACTIVATE_DEV) > 1) {'),
    ('a START that fails leaves bus mastering on', 'vmxrules',
     '\t\tuio_vmxnet3_stop(udev, UIO_VMXNET3_STOPPED);\n\t\treturn -EIO;\n', '\t\treturn -EIO;\n'),
    ('address is not set', 'frames_are_received',
     '\twritel(get_unaligned_le16(udev->mac + 4), udev->bar1 + VMXNET3_REG_MACH);\n', ''),
    ('bus master kept', 'one_open', '\tpci_clear_master(udev->pdev);\n\tudev->state', '\tudev->state'),
    ('bus mastering off before the reset', 'vmxrules',
     '\tuio_vmxnet3_command(udev, VMXNET3_CMD_RESET_DEV);\n\tpci_clear_master(udev->pdev);\n',
     '\tpci_clear_master(udev->pdev);\n\tuio_vmxnet3_command(udev, VMXNET3_CMD_RESET_DEV);\n'),
    ('unpin before reset', 'iommu vmxstress kill',
     '\tinfo->irq = 0;\n\t/* First',
     '\tinfo->irq = 0;\n\tuio_vmxnet3_put_mem(udev, udev->mem);\n\tudev->mem = NULL;\n\tfsleep(30000);\n\t/* First'),
    ('does not mask itself', 'vector_masks_itself', 'autoMask = true', 'autoMask = false'),
    ('not armed again', 'vector_masks_itself',
     '\t\tif (!ret && !mask->masked)\n\t\t\tuio_vmxnet3_arm(udev, mask->vector);\n', ''),
    ('broken but goes on', 'vmxforge',
     '\t\t\tuio_vmxnet3_stop(udev, UIO_VMXNET3_BROKEN);\n\t\t\treturn -EIO;\n', '\t\t\treturn -EIO;\n'),
    ('link not told', 'link_event', '\t\twritel(events, udev->bar1 + VMXNET3_REG_ECR);\n', '',
     'conf->intrConf.eventIntrIdx = UIO_VMXNET3_EVENT', 'conf->intrConf.eventIntrIdx = UIO_VMXNET3_RX'),
    # Completions
    ('MAYWRITE kept', 'completions_are_read_only', '\tvma_desc_clear_flags(desc, VMA_MAYWRITE_BIT);\n', ''),
    ('completions writable', 'completions_are_read_only', 'vma_desc_test(desc, VMA_WRITE_BIT) ||\n\t    ', ''),
    ('completions private', 'completions_are_read_only', ' ||\n\t    !vma_desc_test(desc, VMA_MAYSHARE_BIT)', ''),
    ('completions grow', 'completions_are_read_only', 'VMA_DONTEXPAND_BIT, ', ''),
    # Its end
    ('two opens', 'alone one_open', '\tif (udev->open || udev->away)\n\t\treturn udev->open ? -EBUSY : -EAGAIN;\n', ''),
    ('not restored after a failed recovery', 'vmxaway',
     '\tpci_restore_state(pdev);\n\treturn PCI_ERS_RESULT_DISCONNECT;', '\treturn PCI_ERS_RESULT_DISCONNECT;'),
    ('opens during a reset', 'vmxaway',
     '\tif (udev->open || udev->away)\n', '\tif (udev->open)\n'),
    ('lives on after its end', 'alone unbind_in_traffic', '\tinfo->irq = 0;\n\t/* First', '\t/* First'),
    ('memory kept at the end', 'alone reset_in_traffic',
     '\tuio_vmxnet3_put_mem(udev, udev->mem);\n\tudev->mem = NULL;\n\tdma_unmap', '\tdma_unmap'),
    ('nobody is woken', 'reset_in_traffic', '\twake_up_interruptible_all(&info->uio_dev->wait);\n', ''),
    ('suspend is ignored', 'suspend_in_traffic',
     '\tuio_vmxnet3_take(to_pci_dev(dev), 0);\n\treturn 0;', '\treturn 0;'),
    ('reset is ignored', 'reset_in_traffic',
     '\t.reset_prepare = uio_vmxnet3_reset_prepare,\n\t.reset_done = uio_vmxnet3_reset_done,\n', ''),
    ('the end waits for all pages', 'vmxstress pinning',
     'READ_ONCE(udev->ending) || signal_pending', 'signal_pending'),
    ('a kill waits for all pages', 'vmxstress pinning',
     'READ_ONCE(udev->ending) || signal_pending(current)', 'READ_ONCE(udev->ending)'),
    ('the freezer waits for all pages', 'vmxstress pinning', '|| signal_pending', '|| fatal_signal_pending'),
    ('SET_MEMORY is not restarted', 'vmxstress pinning', '-ERESTARTSYS', '-EINTR'),
    ('SET_MEMORY is always restarted', 'vmxstress pinning', '-ERESTARTSYS', '-ERESTARTNOINTR'),
    ('SET_MEMORY begins after the end', 'vmxstress pinning',
     '\tif (!info->irq || READ_ONCE(udev->ending))\n', '\tif (!info->irq)\n'),
    ('error is ignored', 'error_in_traffic',
     '\tuio_vmxnet3_take(pdev, 0);\n\tif (state == pci_channel_io_normal)', '\tif (state == pci_channel_io_normal)',
     '\tuio_vmxnet3_take(pdev, 0);\n\tpci_restore_state', '\tpci_restore_state'),
)


def build_all(tree, build, work, chosen):
    """All mutants in one module, which reads the headers once, or exit."""
    source = os.path.join(build, 'guest/mediated/modules')
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(work)
    shutil.copy(os.path.join(source, 'uio_vectors.h'), work)
    original = open(os.path.join(source, DRIVER)).read()
    out = '#include <linux/delay.h>\n' + ''.join(re.findall('^#include.*\n', original, re.M))
    for number in chosen:
        name, _, *changes = MUTANTS[number]
        text = original
        for old, new in zip(changes[::2], changes[1::2]):
            if text.count(old) != 1:
                raise SystemExit(f'error: {name}: not once in {DRIVER}: {old!r}')
            text = text.replace(old, new)
        text = re.sub(r'^(#include|MODULE_|module_).*\n', '', text, flags=re.M)
        # Everything has this prefix; the structs of the UAPI keep it.
        text = re.sub(rf'(?<!struct )uio_vmxnet3_|(?<=struct )uio_vmxnet3_(?!({UAPI})\b)',
                      f'uio_vmxnet3_{number}_', text)
        out += ''.join(f'#undef {macro}\n' for macro in re.findall(r'^#define (\w+)', text, re.M))
        out += text
    drivers = ', '.join(f'[{n}] = &uio_vmxnet3_{n}_driver' for n in chosen)
    with open(os.path.join(work, 'mutants.c'), 'w') as file:
        file.write(out + CHOICE.replace('DRIVERS', drivers))
    flags = [line for line in open(os.path.join(source, 'Makefile')) if 'ccflags' in line]
    with open(os.path.join(work, 'Makefile'), 'w') as file:
        file.write('obj-m := mutants.o\n' + ''.join(flags))
    made = subprocess.run(['make', '-s', '-C', tree, 'O=' + build, 'M=' + work, 'modules'],
                          capture_output=True, text=True, check=False)
    if made.returncode:
        raise SystemExit('error: ' + re.search('.*error.*', made.stderr)[0])


def guest(build, work, out, chosen, boot):
    """One guest for all of CHOSEN, as far as it gets: a dict of what each said."""
    root = os.path.join(work, 'root')
    shutil.rmtree(root, ignore_errors=True)
    os.makedirs(os.path.join(root, 'mutants'))
    with open(os.path.join(root, 'mutants/list'), 'w') as file:
        for number in chosen:
            test = re.sub('^(iommu|alone) ', '', MUTANTS[number][1])
            file.write(f'{number} {test}\n')
    shutil.copy(os.path.join(work, 'mutants.ko'), os.path.join(root, 'mutants'))
    archive = subprocess.run('find . | cpio -o -H newc --quiet -R 0:0 | gzip -1', shell=True,
                             cwd=root, check=True, stdout=subprocess.PIPE).stdout
    extra = os.path.join(work, 'extra')
    with open(extra, 'wb') as file:
        file.write(open(os.path.join(build, 'guest/mediated/extra'), 'rb').read() + archive)
    logs = os.path.join(out, f'{chosen[0]}')
    os.makedirs(logs, exist_ok=True)
    open(os.path.join(logs, 'baseline.reports'), 'w').close()
    subprocess.run([os.path.join(SCRIPTS, 'boot.sh'), build, boot, logs],
                   capture_output=True, check=False,
                   env=dict(os.environ, EXTRA=extra, LIMIT='900'))
    said = {}
    for line in open(os.path.join(logs, boot + '.log'), errors='replace'):
        word = line.split()
        if word[:2] == ['guest:', 'mutant']:
            said[int(word[2])] = 'the guest dies or hangs'
        elif word[:2] == ['guest:', 'verdict']:
            said[int(word[2])] = ' '.join(word[3:])
    return said


def main():
    tree, build, out = sys.argv[1:4]
    chosen = [int(n) for n in sys.argv[4:]] or range(len(MUTANTS))
    work = os.path.join(build, 'guest/mediated-mutants')
    shutil.rmtree(out, ignore_errors=True)
    os.makedirs(out)
    build_all(tree, build, work, chosen)

    caught = 0
    for kind in ('', 'iommu', 'alone'):
        left = [n for n in chosen if re.match('(iommu |alone )?', MUTANTS[n][1])[0].strip() == kind]
        while left:
            now = left[:1] if kind == 'alone' else left
            said = guest(build, work, out, now,
                         'mediatedmutantsiommu' if kind == 'iommu' else 'mediatedmutants')
            if not said:
                raise SystemExit(f'error: the guest says nothing; log: {out}/{now[0]}')
            for number, by in said.items():
                left.remove(number)
                caught += by != 'missed'
                print(f'{number:3} {MUTANTS[number][0]:36} {MUTANTS[number][1]}: {by}', flush=True)
    print(f'{len(chosen)} mutants, {caught} caught')
    sys.exit(len(chosen) != caught)


main()
