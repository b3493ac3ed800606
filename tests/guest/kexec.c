// SPDX-License-Identifier: GPL-2.0-only
/*
 * Another kernel is started while a drive still reads into memory that the
 * first one gave it: from then on it writes no more. The memory is at
 * RESERVED, which neither kernel has for anything else (memmap=), so that what
 * would be written there harms nobody.
 *
 * Not one of the boots of "make run": with QEMU 10.0 the reads that were submitted
 * went on in the second kernel, as if it mapped their memory when they were.
 *
 * Usage: kexec go ADDRESS KERNEL INITRD COMMANDLINE	reads, and starts KERNEL
 *        kexec look ADDRESS				there: whether they go on
 */
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <linux/reboot.h>

#include "nvme.h"

#define RESERVED	0x30000000
#define READS		48
#define LOOK_S		15	/* boot.sh has the drive do two in a second */

static struct nvme nvme;

static int map_reserved(void)
{
	int fd = open("/dev/mem", O_RDWR | O_CLOEXEC), i;

	nvme.pool = mmap(NULL, NVME_PAGES * NVME_PAGE, PROT_READ | PROT_WRITE,
			 MAP_SHARED, fd, RESERVED);
	close(fd);
	for (i = 0; i < NVME_PAGES; i++)
		nvme.phys[i] = RESERVED + i * NVME_PAGE;
	return nvme.pool == MAP_FAILED ? -1 : 0;
}

/* Pages that were read to: those at the end. */
static int count_reads(void)
{
	int i, count = 0;

	for (i = NVME_PAGES - READS; i < NVME_PAGES; i++)
		count += __atomic_load_n((uint64_t *)(nvme.pool + i * NVME_PAGE),
					 __ATOMIC_ACQUIRE) != ~0ull;
	return count;
}

static int go(char **argv)
{
	int kernel = open(argv[1], O_RDONLY), initrd = open(argv[2], O_RDONLY);
	struct uio_msix dev;
	int i, efd = eventfd(0, EFD_NONBLOCK);

	if (syscall(SYS_kexec_file_load, kernel, initrd, strlen(argv[3]) + 1,
		    argv[3], 0)) {
		perror("kexec_file_load");
		return 1;
	}
	if (pci_bind(argv[0], "uio_msix") || uio_msix_find(&dev, argv[0]) ||
	    uio_msix_open(&dev) || map_reserved() || nvme_start(&nvme, &dev) ||
	    nvme_create(&nvme, 1, 1) || set_eventfd(&dev, 1, efd)) {
		perror("cannot use the drive");
		return 1;
	}
	assert(nvme.used <= NVME_PAGES - READS);
	memset(nvme.pool + (NVME_PAGES - READS) * NVME_PAGE, 0xff,
	       READS * NVME_PAGE);
	for (i = NVME_PAGES - READS; i < NVME_PAGES; i++)
		nvme_read(&nvme, 1, i, nvme.phys[i]);
	if (!events(efd, NVME_READY_MS)) {
		fprintf(stderr, "the drive does not read\n");
		return 1;
	}
	printf("%d of %d reads done, now kexec\n", count_reads(), READS);
	fflush(stdout);
	reboot(LINUX_REBOOT_CMD_KEXEC);
	perror("kexec");
	return 1;
}

static int look(const char *bdf)
{
	int before, after;

	if (map_reserved())
		return 1;
	before = count_reads();
	sleep(LOOK_S);
	after = count_reads();
	printf("# %d reads done, %d after %d s\n", before, after, LOOK_S);
	/* Some, or it never read; not all, or nothing is left to come. */
	if (before && before == after && before < READS && !pci_master(bdf))
		printf("ok 1 kexec_while_it_reads\n");
	else
		printf("not ok 1 kexec_while_it_reads\n");
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 6 && !strcmp(argv[1], "go"))
		return go(argv + 2);
	if (argc == 3 && !strcmp(argv[1], "look"))
		return look(argv[2]);
	fprintf(stderr, "usage: see the source\n");
	return 2;
}
