#!/usr/bin/python3
"""
Break the mediated driver on purpose, and see which test notices.

Needs:  a kernel that run.sh built, and what mediated.sh made beside it
Makes:  OUT/N: logs of the guests that ran mutant N
Prints: a line per mutant; "N mutants, N caught" last; exit code 1 if a mutant
        was not caught
Usage:  mutants.py TREE BUILD OUT JOBS [N...]
"""
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys
import threading

SCRIPTS = os.path.join(os.path.dirname(os.path.abspath(__file__)), '../../scripts')
DRIVER = 'uio_vmxnet3.c'

# Where it is noticed first: by the selftest and what follows it, or only where an
# IOMMU sees what the device does; "both" where that has to see it as well.
TESTS, IOMMU, BOTH = ['mediatedmutant'], ['mediatediommu'], ['mediatedmutant', 'mediatediommu']

# What it is, where it is noticed, then text and what that becomes, once or more.
MUTANTS = (
    # The check
    ('no upper bound', BOTH,
     ' &&\n\t       request->len <= page->left - offset;', ';'),
    ('no upper bound of the offset', TESTS,
     '\tif (index >= mem->num_pages)\n\t\treturn false;\n', '',
     'array_index_nospec(index, mem->num_pages)', 'index % mem->num_pages'),
    ('wrap not checked', TESTS,
     '\tif (index >= mem->num_pages)\n',
     '\tif ((u32)(request->offset + request->len) > mem->num_pages << PAGE_SHIFT)\n',
     'array_index_nospec(index, mem->num_pages)', 'index % mem->num_pages',
     ' &&\n\t       request->len <= page->left - offset;', ';'),
    ('one byte too many', TESTS,
     'request->len <= page->left - offset;', 'request->len <= page->left - offset + 1;'),
    ('no lower bound of the length', TESTS, 'request->len >= type->min_len && ', ''),
    ('no upper bound of the length', TESTS, ' && request->len <= type->max_len', ''),
    ('all folios in one piece', BOTH,
     '= (struct uio_vmxnet3_page){ dma, left };',
     '= (struct uio_vmxnet3_page){ dma, left + ((loff_t)(end - pos) & INT_MAX) };',
     'i += page->left >> PAGE_SHIFT', 'i++',
     'page->dma, page->left,', 'page->dma & PAGE_MASK, PAGE_SIZE,',
     'folio_mark_dirty_lock(mem->folios[folio++]);', '(void)folio;'),
    ('any queue', TESTS, 'arg->queue >= NUM_QUEUES || !arg->count', '!arg->count'),
    ('any count', TESTS,
     ' ||\n\t    arg->count > UIO_VMXNET3_MAX_REQUESTS)', ')'),
    ('count 0', TESTS, 'arg->queue >= NUM_QUEUES || !arg->count', 'arg->queue >= NUM_QUEUES'),
    # Rings
    ('generation bit first', IOMMU,
     '\t\tdesc->qword[0] = cpu_to_le64(dma);\n',
     '\t\tWRITE_ONCE(desc->dword[2], cpu_to_le32(request.len | gen));\n'
     '\t\tfsleep(1000);\n\t\tdesc->qword[0] = cpu_to_le64(dma);\n',
     '#include <linux/mm.h>\n', '#include <linux/mm.h>\n#include <linux/delay.h>\n'),
    ('generation never changes', TESTS,
     'q->submitted & RING_SIZE ? 0 : type->gen', 'type->gen'),
    ('completions of the first pass only', TESTS,
     'q->completions & RING_SIZE ? 0 : UIO_VMXNET3_GEN', 'UIO_VMXNET3_GEN'),
    ('ring filled to the brim', TESTS,
     'q->submitted - q->completed == RING_SIZE - 1', 'q->submitted - q->completed == RING_SIZE'),
    ('no completion check', TESTS,
     '\t\t    done > q->submitted - q->completed) {', '\t\t    done > RING_SIZE) {'),
    ('completion beyond the ring', TESTS,
     '\t\t    (slot & UIO_VMXNET3_SLOT) >= RING_SIZE ||\n\t\t    done > q->submitted - q->completed) {',
     '\t\t    (done > q->submitted - q->completed && (slot & UIO_VMXNET3_SLOT) < RING_SIZE)) {'),
    ('stops at a bad one, and sends none', TESTS,
     '\tif (!i)\n\t\treturn ret;\n', '\tif (i < arg->count)\n\t\treturn ret;\n'),
    ('all that was asked for is accepted', TESTS, '\treturn i;\n', '\treturn arg->count;\n'),
    ('no doorbell', TESTS,
     '\tif (queue == UIO_VMXNET3_TX)\n\t\twritel(q->submitted % RING_SIZE, udev->bar0 + VMXNET3_REG_TXPROD);\n\telse if',
     '\tif (queue != UIO_VMXNET3_TX &&\n\t   '),
    # Memory
    ('O_RDONLY accepted', TESTS, '|| !(file->f_mode & FMODE_WRITE)', ''),
    ('any file', TESTS, '\telse\n\t\treturn -EINVAL;\n\n\tif (!(file', '\telse\n\t\tseals = 0;\n\n\tif (!(file'),
    ('F_SEAL_FUTURE_WRITE accepted', TESTS,
     '\tif (seals & F_SEAL_FUTURE_WRITE)\n\t\treturn -EPERM;\n', '\t(void)seals;\n'),
    ('can be sealed in use', TESTS,
     '\treturn mapping_map_writable(file->f_mapping);\n',
     '\tif (mapping_map_writable(file->f_mapping))\n\t\treturn -EPERM;\n'
     '\tmapping_unmap_writable(file->f_mapping);\n\treturn 0;\n',
     '\tmapping_unmap_writable(mem->file->f_mapping);\n', '',
     'err_unmap:\n\tmapping_unmap_writable(file->f_mapping);\n', 'err_unmap:\n'),
    ('cannot be sealed afterwards', TESTS,
     '\tmapping_unmap_writable(mem->file->f_mapping);\n', ''),
    ('inode lock in SET_MEMORY', TESTS,
     '\tret = uio_vmxnet3_map_writable(file);\n\tif (ret)',
     '\tinode_lock(file_inode(file));\n\tret = uio_vmxnet3_map_writable(file);\n'
     '\tinode_unlock(file_inode(file));\n\tif (ret)'),
    ('locked_vm not given back', TESTS,
     '\tatomic_long_sub(mem->locked, &mem->user->locked_vm);\n', ''),
    ('no limit', TESTS, '\t\tif (locked + pages > limit)\n\t\t\treturn -ENOMEM;\n', '\t\t(void)limit;\n'),
    ('a huge page counts in part', TESTS,
     'uio_vmxnet3_charge(mem, (folio_size(folio) - left) >> PAGE_SHIFT)',
     'uio_vmxnet3_charge(mem, 0)'),
    ('folio not dirtied', TESTS,
     'folio_mark_dirty_lock(mem->folios[folio++]);', '(void)folio;'),
    ('never unpinned', TESTS, '\tunpin_folios(mem->folios, mem->num_folios);\n', ''),
    ('not whole pages', TESTS, 'offset_in_page(arg->len | arg->offset)', 'offset_in_page(arg->offset)'),
    ('more than 1 GiB', TESTS, 'arg->len > SZ_1G', 'arg->len > 4ULL * SZ_1G'),
    ('memory exchanged while running', TESTS,
     '\tif (udev->state != UIO_VMXNET3_STOPPED)\n\t\treturn udev->state == UIO_VMXNET3_BROKEN ? -EIO : -EBUSY;\n\n\tmem =',
     '\tmem ='),
    ('flags of SET_MEMORY', TESTS, 'arg->fd < -1 || arg->flags ||', 'arg->fd < -1 ||'),
    # The device
    ('MTU below 60', TESTS, 'arg->mtu < VMXNET3_MIN_MTU || ', ''),
    ('MTU above 9000', TESTS, ' || arg->mtu > VMXNET3_MAX_MTU', ''),
    ('flags of START', TESTS,
     '\t    arg->flags & ~(UIO_VMXNET3_PROMISC | UIO_VMXNET3_ALLMULTI) ||\n', ''),
    ('reserved of START', TESTS, '\t    arg->reserved[0] || arg->reserved[1])', '\t    arg->reserved[0])'),
    ('started twice', TESTS,
     '\tif (udev->state != UIO_VMXNET3_STOPPED)\n\t\treturn udev->state == UIO_VMXNET3_BROKEN ? -EIO : -EBUSY;\n\tif (!udev->mem)',
     '\tif (!udev->mem)'),
    ('bus master kept', TESTS, '\tpci_clear_master(udev->pdev);\n\tudev->state', '\tudev->state'),
    ('unpin before reset', IOMMU,
     '\tinfo->irq = 0;\n\t/* First',
     '\tinfo->irq = 0;\n\tuio_vmxnet3_put_mem(udev, udev->mem);\n\tudev->mem = NULL;\n\tfsleep(30000);\n\t/* First',
     '#include <linux/mm.h>\n', '#include <linux/mm.h>\n#include <linux/delay.h>\n'),
    ('does not mask itself', TESTS, 'autoMask = true', 'autoMask = false'),
    ('not armed again', TESTS,
     '\t\tif (!ret && !mask->masked)\n\t\t\tuio_vmxnet3_arm(udev, mask->vector);\n', ''),
    ('broken but goes on', TESTS,
     '\t\t\tuio_vmxnet3_stop(udev, UIO_VMXNET3_BROKEN);\n\t\t\treturn -EIO;\n', '\t\t\treturn -EIO;\n'),
    ('link not told', TESTS, '\t\twritel(events, udev->bar1 + VMXNET3_REG_ECR);\n', '',
     'conf->intrConf.eventIntrIdx = UIO_VMXNET3_EVENT', 'conf->intrConf.eventIntrIdx = UIO_VMXNET3_RX'),
    # Completions
    ('MAYWRITE kept', TESTS, '\tvma_desc_clear_flags(desc, VMA_MAYWRITE_BIT);\n', ''),
    ('completions writable', TESTS, 'vma_desc_test(desc, VMA_WRITE_BIT) ||\n\t    ', ''),
    ('completions private', TESTS, ' ||\n\t    !vma_desc_test(desc, VMA_MAYSHARE_BIT)', ''),
    ('completions grow', TESTS, 'VMA_DONTEXPAND_BIT, ', ''),
    # Its end
    ('two opens', TESTS, '\tif (udev->open)\n\t\treturn -EBUSY;\n', ''),
    ('lives on after its end', TESTS, '\tinfo->irq = 0;\n\t/* First', '\t/* First'),
    ('memory kept at the end', TESTS,
     '\tuio_vmxnet3_put_mem(udev, udev->mem);\n\tudev->mem = NULL;\n\tdma_unmap', '\tdma_unmap'),
    ('nobody is woken', TESTS, '\twake_up_interruptible(&info->uio_dev->wait);\n', ''),
    ('suspend is ignored', TESTS,
     '\tuio_vmxnet3_reset(to_pci_dev(dev));\n\treturn 0;', '\treturn 0;'),
    ('reset is ignored', TESTS,
     '\t.reset_prepare = uio_vmxnet3_reset,\n\t.reset_done = uio_vmxnet3_reset,\n', ''),
    ('error is ignored', TESTS,
     '\tuio_vmxnet3_reset(pdev);\n\tif (state == pci_channel_io_normal)', '\tif (state == pci_channel_io_normal)',
     '\tuio_vmxnet3_reset(pdev);\n\tpci_restore_state', '\tpci_restore_state'),
)
building = threading.Lock()


def image(tree, build, work, changes):
    """An archive for boot.sh, with the driver so changed in place of the other."""
    made = os.path.join(build, 'guest/mediated')
    shutil.rmtree(work, ignore_errors=True)
    os.makedirs(os.path.join(work, 'root/modules'))
    text = open(os.path.join(made, 'modules', DRIVER)).read()
    for old, new in zip(changes[::2], changes[1::2]):
        if text.count(old) != 1:
            raise SystemExit(f'error: not once in {DRIVER}: {old!r}')
        text = text.replace(old, new)
    for name in ('Makefile', 'uio_vectors.h'):
        shutil.copy(os.path.join(made, 'modules', name), work)
    with open(os.path.join(work, 'Makefile'), 'a') as file:
        file.write('obj-m := uio_vmxnet3.o\n')
    with open(os.path.join(work, DRIVER), 'w') as file:
        file.write(text)
    with building:
        subprocess.run(['make', '-s', '-C', tree, 'O=' + build, 'M=' + work, 'modules'],
                       capture_output=True, check=False)
    ko = os.path.join(work, 'uio_vmxnet3.ko')
    if not os.path.exists(ko):
        return None
    shutil.copy(ko, os.path.join(work, 'root/modules'))
    extra = os.path.join(work, 'extra')
    with open(extra, 'wb') as file:
        file.write(open(os.path.join(made, 'extra'), 'rb').read())
        file.write(subprocess.run('find . | cpio -o -H newc --quiet -R 0:0 | gzip -1', shell=True,
                                  cwd=os.path.join(work, 'root'), check=True,
                                  stdout=subprocess.PIPE).stdout)
    return extra


def verdict(build, extra, boot, logs):
    """The first test that fails in BOOT, or what else goes wrong; None if nothing."""
    args = ['until-failure', '20000', '5']
    run = subprocess.run([os.path.join(SCRIPTS, 'boot.sh'), build, boot, logs, *args],
                         capture_output=True, text=True, check=False,
                         env=dict(os.environ, EXTRA=extra, LIMIT='300'))
    log = open(os.path.join(logs, boot + '.log'), errors='replace').read()
    last = faults = ''
    for line in log.replace('\r', '').split('\n'):
        said = re.match(r'# #  RUN +(?:\w+\.)?(\w+)|guest: (vmx\w+) [^ ]+ ?([a-z]*)', line)
        if said:
            last = said[1] or f'{said[2]} {said[3]}'.strip()
        faults = re.search(r'[1-9]\d* IOMMU faults', line) or faults
        if re.match(r'# not ok \d+', line):
            return line.split(' ')[4].rsplit('.', maxsplit=1)[-1]
        if re.match('not ok (?!1 selftests)', line):
            return f'{last}: {faults[0]}' if faults else last
    if run.returncode:
        return f'{last}: ' + run.stderr.strip().split('; log:')[0].removeprefix('error: ')
    return None


def main():
    tree, build, out, jobs = sys.argv[1:5]
    chosen = [int(n) for n in sys.argv[5:]] or range(len(MUTANTS))
    os.makedirs(out, exist_ok=True)
    subprocess.run([os.path.join(SCRIPTS, 'boot.sh'), build, 'baseline', out],
                   check=True, stdout=subprocess.DEVNULL)

    def run(number):
        _, boots, *changes = MUTANTS[number]
        work = os.path.join(build, f'guest/mediated-{number}')
        extra = image(tree, build, work, changes)
        if not extra:
            return number, None
        logs = os.path.join(out, str(number))
        shutil.rmtree(logs, ignore_errors=True)
        os.makedirs(logs)
        shutil.copy(os.path.join(out, 'baseline.reports'), logs)
        caught = [verdict(build, extra, boot, logs) for boot in boots]
        shutil.rmtree(work)
        return number, None if None in caught else '; '.join(caught)

    done = caught = 0
    with concurrent.futures.ThreadPoolExecutor(int(jobs)) as pool:
        for future in concurrent.futures.as_completed(
                [pool.submit(run, number) for number in chosen]):
            number, by = future.result()
            done += 1
            caught += by is not None
            print(f'{number:3} {MUTANTS[number][0]:36} {by or "NOT CAUGHT"}', flush=True)
    print(f'{done} mutants, {caught} caught')
    sys.exit(done != caught)


main()
