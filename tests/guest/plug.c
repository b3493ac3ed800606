// SPDX-License-Identifier: GPL-2.0-only
/*
 * Hot-unplug against a user who does all that the driver offers: by surprise,
 * and each tenth time in order, through the monitor of QEMU, which asks the
 * kernel first.
 *
 * Usage: plug ADDRESS ROUNDS MONITOR DEVICE_ADD
 *        DEVICE_ADD is the line that adds it again, with its id as "pulled"
 */
#include <setjmp.h>
#include <signal.h>
#include <time.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "uio_msix_utils.h"

#define PLUG_MS		60000	/* pciehp blinks for 5 s, and takes its time */
#define HANG_MS		10000

static const char *bdf;
static unsigned long *interrupts;	/* shared with the user */

static void fail(int round, const char *what)
{
	printf("not ok plug: %s (round %d)\n", what, round);
	fflush(stdout);
	put("/proc/sysrq-trigger", "w");
	exit(1);
}

/* Another driver may be probing it, or it is there, but not to be bound yet. */
static int bind_when_it_can(void)
{
	int ms, ret;

	for (ms = 0; ms < PLUG_MS; ms += 100) {
		ret = pci_bind(bdf, "uio_msix");
		if (ret != -EBUSY && ret != -ENODEV)
			break;
		usleep(100000);
	}
	return ret;
}

static bool wait_for(bool present, int ms)
{
	while (pci_has(bdf, "vendor") != present && ms-- > 0)
		usleep(1000);
	return ms > 0;
}

/*
 * QEMU has no other way to pull a device out: it does when the slot is turned
 * off, behind the back of pciehp, which is told once the power is back.
 */
static int pull(void)
{
	char port[256], *slash;
	ssize_t len = readlink(path(PCI_DEVICES "%s", bdf), port,
			       sizeof(port) - 1);
	int fd, sltctl, i, ret = 0;
	uint16_t on, off;

	/* .../PORT/BDF */
	port[len < 0 ? 0 : len] = 0;
	for (i = 0; i < 2; i++) {
		slash = strrchr(port, '/');
		if (!slash)
			return -1;
		*slash = i ? '/' : 0;
	}
	sltctl = pci_find_cap(slash + 1, PCI_CAP_ID_EXP) + PCI_EXP_SLTCTL;
	fd = open(pci(slash + 1, "config"), O_RDWR | O_CLOEXEC);
	if (pread(fd, &on, 2, sltctl) != 2)
		ret = -1;
	off = (on & ~PCI_EXP_SLTCTL_HPIE) | PCI_EXP_SLTCTL_PIC |
	      PCI_EXP_SLTCTL_PCC;
	if (!ret && (pwrite(fd, &off, 2, sltctl) != 2 ||
		     pwrite(fd, &on, 2, sltctl) != 2))
		ret = -1;
	close(fd);
	return ret;
}

static void gone(int sig)
{
	(void)sig;
	_exit(0);
}

/* Exits with 0 once the device is gone: by SIGBUS or ENODEV, no other way. */
static void use(struct uio_msix *dev)
{
	int fds[2], i, ret;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGBUS, gone);
	for (i = 0; i < 2; i++)
		fds[i] = eventfd(0, EFD_NONBLOCK);
	for (i = 0;; i++) {
		ret = set_eventfd(dev, 0, fds[i % 2]);
		if (!ret)
			ret = set_mask(dev, 0, i % 3 == 0);
		if (!ret && i % 16 == 0)
			ret = set_eventfd(dev, 0, -1);
		if (ret == -ENODEV)
			_exit(0);
		/* Detached a moment ago. */
		if (ret && ret != -EINVAL)
			_exit(1);
		uio_msix_fire(dev, 0);
		*interrupts += events(fds[0], 0) + events(fds[1], 0);
	}
}

int main(int argc, char **argv)
{
	struct pollfd pfd = { .events = POLLIN };
	time_t start = time(NULL);
	struct uio_msix_info info;
	unsigned long seen;
	struct uio_msix dev;
	int round, rounds, status, ms;
	pid_t pid;

	if (argc != 5) {
		fprintf(stderr, "usage: plug ADDRESS ROUNDS MONITOR DEVICE_ADD\n");
		return 2;
	}
	bdf = argv[1];
	rounds = atoi(argv[2]);
	interrupts = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	for (round = 0; round < rounds; round++) {
		if (bind_when_it_can() || uio_msix_find(&dev, bdf) ||
		    uio_msix_open(&dev))
			fail(round, "cannot be used");
		seen = *interrupts;
		pid = fork();
		if (!pid)
			use(&dev);
		for (ms = 0; *interrupts == seen && ms < HANG_MS; ms++)
			usleep(1000);
		if (ms == HANG_MS)
			fail(round, "no interrupt");
		usleep(random() % 20000);

		if (round % 10 == 9 ? put(argv[3], "device_del pulled\n") : pull())
			fail(round, "cannot be removed");
		if (!wait_for(false, PLUG_MS))
			fail(round, "not removed");
		for (ms = 0; !waitpid(pid, &status, WNOHANG); ms++) {
			if (ms == HANG_MS)
				fail(round, "its user hangs");
			usleep(1000);
		}
		if (!WIFEXITED(status) || WEXITSTATUS(status))
			fail(round, "its user was not told");
		pfd.fd = dev.fd;
		if (ioctl(dev.fd, UIO_MSIX_GET_INFO, &info) != -1 ||
		    errno != ENODEV || poll(&pfd, 1, 0) != 1 ||
		    !(pfd.revents & POLLERR))
			fail(round, "the file does not say that it is gone");
		uio_msix_close(&dev);

		/* QEMU refuses until the slot has no power: asked again. */
		for (ms = 0; ms < PLUG_MS; ms += 1000) {
			put(argv[3], path("%s\n", argv[4]));
			if (wait_for(true, 1000))
				break;
		}
		if (ms >= PLUG_MS)
			fail(round, "does not come back");
	}
	printf("ok plug: %d rounds, %lu interrupts, %ld s\n",
	       rounds, *interrupts, (long)(time(NULL) - start));
	return 0;
}
