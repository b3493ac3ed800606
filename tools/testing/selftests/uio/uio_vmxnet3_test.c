// SPDX-License-Identifier: GPL-2.0-only
/*
 * uio_vmxnet3: the rules of Documentation/driver-api/uio-vmxnet3.rst, seen by a
 * user who may nothing but open the file. All are optional:
 *
 *	UIO_VMXNET3_DEV=0000:01:00.0	device under test, taken from its driver;
 *					else the first that is not in use
 *	UIO_VMXNET3_PEER=eth0		NIC of this kernel on the same wire, and on no
 *					other
 *	UIO_VMXNET3_LINK='command %s'	pulls the cable ("off"), or plugs it ("on")
 *	UIO_VMXNET3_AER='command'	its port reports a fatal error, and recovers
 *	UIO_VMXNET3_UNPLUG='command'	pulls it, for good, and waits until it is gone
 */
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <linux/fs.h>

#include "kselftest_harness.h"
#include "uio_vmxnet3_utils.h"

/* How busy the machine is must not matter. */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	300

#define NR_HUGEPAGES	"/proc/sys/vm/nr_hugepages"
#define TAINTED		"/proc/sys/kernel/tainted"
#define MTU		9000
#define FRAME		(ETH_HLEN + MTU)
#define BUFFER		10240	/* of a frame that is received */
#define SMALL		65536	/* of memory */

static const char *bdf;
static struct wire wire = { .fd = -1 };

FIXTURE(uio_vmxnet3) {
	struct vmx vmx;
	int efd;
	int root;	/* who still is */
	int append_only;	/* memory, for which it takes root; or -1 */
};

/* What the user cannot do: a command's exit code. */
static int as_root(int root, const char *command)
{
	int status = -1;

	if (write(root, command, strlen(command) + 1) < 0 ||
	    read(root, &status, sizeof(status)) != sizeof(status))
		return -1;
	return status;
}

static int start_root(void)
{
	char command[512];
	int sock[2], status;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sock))
		return -1;
	if (fork()) {
		close(sock[1]);
		return sock[0];
	}
	close(sock[0]);
	while (read(sock[1], command, sizeof(command)) > 0) {
		status = system(command);
		write(sock[1], &status, sizeof(status));
	}
	_exit(0);
}

/* Bound, given to the user, and not open. */
static int hand_over(struct vmx *vmx)
{
	int ret = pci_bind(bdf, "uio_vmxnet3");

	if (!ret)
		ret = uio_msix_find(&vmx->uio, bdf);
	if (!ret)
		ret = chown(vmx->uio.path, USER_ID, USER_ID);
	return ret;
}

FIXTURE_SETUP(uio_vmxnet3)
{
	int flags = FS_APPEND_FL;

	if (getuid())
		SKIP(return, "only root can bind a device and give it away");
	if (access(PCI_DRIVERS "uio_vmxnet3", F_OK))
		SKIP(return, "uio_vmxnet3 is not loaded");
	if (!bdf || !pci_has(bdf, "vendor"))
		SKIP(return, "no vmxnet3 that is not in use: set UIO_VMXNET3_DEV");
	ASSERT_EQ(0, hand_over(&self->vmx));
	self->root = start_root();
	ASSERT_LE(0, self->root);
	self->append_only = vmx_memfd(SMALL, 0);
	if (ioctl(self->append_only, FS_IOC_SETFLAGS, &flags))
		self->append_only = -1;
	ASSERT_EQ(0, drop_privileges());
	ASSERT_EQ(0, vmx_open(&self->vmx));
	self->efd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
}

FIXTURE_TEARDOWN(uio_vmxnet3)
{
	vmx_close(&self->vmx);
	close(self->efd);
	close(self->root);
	close(self->append_only);
}

/* With huge pages, in which there is room for large frames, if there are any. */
static void start(struct __test_metadata *_metadata, struct vmx *vmx)
{
	if (vmx_memory(vmx, HUGE_PAGE, MFD_HUGETLB)) {
		vmx_unmap(vmx);
		ASSERT_EQ(0, vmx_memory(vmx, SMALL, 0));
	}
	ASSERT_EQ(0, vmx_start(vmx, MTU, 0));
	ASSERT_EQ(1, vmx_state(vmx));
}

/* One small frame, until it is sent. */
static void transmit(struct __test_metadata *_metadata, struct vmx *vmx)
{
	uint32_t slot = vmx->seen[TX] % vmx->info.ring_size[TX];

	memset(vmx->mem, 0xff, 60);
	ASSERT_EQ(1, vmx_submit_one(vmx, TX, 0, 60));
	ASSERT_EQ((int)slot, vmx_done(vmx, TX, EVENT_MS, NULL));
}

TEST_F(uio_vmxnet3, unprivileged_and_without_a_taint)
{
	uint64_t tainted = get_u64(TAINTED);
	char line[256] = "";
	FILE *f = fopen("/proc/self/status", "re");

	while (strncmp(line, "CapEff:", 7))
		ASSERT_TRUE(!!fgets(line, sizeof(line), f));
	EXPECT_EQ(0ULL, strtoull(line + 7, NULL, 16));
	EXPECT_TRUE(getuid() == USER_ID && geteuid() == USER_ID);
	fclose(f);
	start(_metadata, &self->vmx);
	transmit(_metadata, &self->vmx);
	EXPECT_EQ(tainted, get_u64(TAINTED));
}

TEST_F(uio_vmxnet3, info)
{
	struct uio_vmxnet3_info info;
	struct uio_msix_info msix;
	int i;

	memset(&info, 0xff, sizeof(info));
	ASSERT_EQ(0, ioctl(self->vmx.uio.fd, UIO_VMXNET3_GET_INFO, &info));
	EXPECT_FALSE(info.mac[0] & 1);
	EXPECT_EQ(UIO_VMXNET3_STOPPED, info.state);
	EXPECT_EQ(3U, info.num_vectors);
	EXPECT_EQ(0U, info.reserved0 | info.reserved[0] | info.reserved[1] |
		  info.reserved[2] | info.reserved[3]);
	for (i = 0; i < 2; i++) {
		EXPECT_LE(32U, info.ring_size[i]);
		EXPECT_LE(info.ring_size[i], info.completions[i]);
		EXPECT_LE(info.completions[i] * 16, self->vmx.uio.maps[i].size);
		EXPECT_TRUE(info.min_len[i] && info.min_len[i] <= (i ? BUFFER : 60U));
		EXPECT_TRUE(info.max_len[i] >= FRAME && info.max_len[i] < 16384);
	}
	EXPECT_EQ(0, ioctl(self->vmx.uio.fd, UIO_MSIX_GET_INFO, &msix));
	EXPECT_EQ(3U, msix.num_vectors);
	EXPECT_EQ(0U, msix.flags | msix.reserved[0] | msix.reserved[1]);

	start(_metadata, &self->vmx);
	EXPECT_LT(0U, self->vmx.info.link_mbit);
	EXPECT_EQ(0, vmx_stop(&self->vmx));
	EXPECT_EQ(UIO_VMXNET3_STOPPED, vmx_state(&self->vmx));
}

/* In the table, what is so in all states: without memory, stopped, running. */
TEST_F(uio_vmxnet3, ioctl_errors)
{
	const __u32 null = open("/dev/null", O_RDWR | O_CLOEXEC), efd = self->efd;
	const struct {
		unsigned int cmd;
		__u32 arg[4];
		int error;
	} bad[] = {
		{ UIO_MSIX_SET_EVENTFD, { 3, efd }, EINVAL },
		{ UIO_MSIX_SET_EVENTFD, { -1, -1 }, EINVAL },
		{ UIO_MSIX_SET_EVENTFD, { 0, -2 }, EINVAL },
		{ UIO_MSIX_SET_EVENTFD, { 0, efd, 1 }, EINVAL },
		{ UIO_MSIX_SET_EVENTFD, { 0, efd, 0, 1 }, EINVAL },
		{ UIO_MSIX_SET_EVENTFD, { 0, null }, EINVAL },
		{ UIO_MSIX_SET_EVENTFD, { 0, 1000 }, EBADF },
		{ UIO_MSIX_SET_MASK, { 0, 0 }, EINVAL },
		{ UIO_MSIX_SET_MASK, { 3, 1 }, EINVAL },
		{ UIO_MSIX_SET_MASK, { 2, 2 }, EINVAL },
		{ UIO_MSIX_SET_MASK, { 2, 1, 1 }, EINVAL },
		{ UIO_MSIX_SET_MASK, { 2, 1, 0, 1 }, EINVAL },
		/* fd, flags, offset, len */
		{ UIO_VMXNET3_SET_MEMORY, { -1, 1 }, EINVAL },
		/* mtu, flags, reserved */
		{ UIO_VMXNET3_START, { 0 }, EINVAL },
		{ UIO_VMXNET3_START, { 59 }, EINVAL },
		{ UIO_VMXNET3_START, { 9001 }, EINVAL },
		{ UIO_VMXNET3_START, { -1 }, EINVAL },
		{ UIO_VMXNET3_START, { 1500, 4 }, EINVAL },
		{ UIO_VMXNET3_START, { 1500, 1u << 31 }, EINVAL },
		{ UIO_VMXNET3_START, { 1500, 0, 1 }, EINVAL },
		{ UIO_VMXNET3_START, { 1500, 0, 0, 1 }, EINVAL },
		/* queue, count, offset, len */
		{ UIO_VMXNET3_SUBMIT, { 2, 1, 0, 60 }, EINVAL },
		{ UIO_VMXNET3_SUBMIT, { -1, 1, 0, 60 }, EINVAL },
		{ UIO_VMXNET3_SUBMIT, { 0, 0, 0, 60 }, EINVAL },
		{ UIO_VMXNET3_SUBMIT, { 0, 16, 0, 60 }, EINVAL },
		{ UIO_VMXNET3_SUBMIT, { 0, -1, 0, 60 }, EINVAL },
		{ _IO('u', 0x60), { }, ENOTTY },
		{ _IOW('u', 0x63, __u32), { }, ENOTTY },
		{ _IOW('u', 0x64, __u32), { }, ENOTTY },
		{ _IO('u', 0x65), { }, ENOTTY },
	};
	struct vmx *vmx = &self->vmx;
	__u32 arg[32] = { };
	int state;
	size_t i;

	for (state = 0; state < 3; state++) {
		for (i = 0; i < ARRAY_SIZE(bad); i++) {
			memcpy(arg, bad[i].arg, sizeof(bad[i].arg));
			EXPECT_EQ(-1, ioctl(vmx->uio.fd, bad[i].cmd, arg));
			EXPECT_EQ(bad[i].error, errno) {
				TH_LOG("case %zu, state %d", i, state);
			}
		}
		EXPECT_EQ(-1, ioctl(vmx->uio.fd, UIO_VMXNET3_SUBMIT, NULL));
		EXPECT_EQ(EFAULT, errno);
		EXPECT_EQ(state == 2 ? 1 : -ENETDOWN, vmx_submit_one(vmx, TX, 0, 60));
		if (state == 0) {
			EXPECT_EQ(-ENXIO, vmx_start(vmx, 1500, 0));
			ASSERT_EQ(0, vmx_memory(vmx, SMALL, 0));
		} else if (state == 1) {
			EXPECT_EQ(0, vmx_start(vmx, 60, UIO_VMXNET3_PROMISC));
			EXPECT_EQ(0, vmx_stop(vmx));
			EXPECT_EQ(0, vmx_stop(vmx));
			EXPECT_EQ(0, vmx_start(vmx, MTU, UIO_VMXNET3_PROMISC |
					       UIO_VMXNET3_ALLMULTI));
		}
		EXPECT_EQ(state > 0, vmx_state(vmx));
	}
	EXPECT_EQ(-EBUSY, vmx_start(vmx, 1500, 0));
	EXPECT_EQ(-EBUSY, vmx_set_memory(vmx, -1, 0, 0));
	EXPECT_EQ(-EBUSY, vmx_set_memory(vmx, vmx->memfd, 0, SMALL));
	EXPECT_EQ(1, vmx_submit_one(vmx, TX, 0, 60));
}

/* A memfd with @seals, or else opened for reading only if they are 0. */
static int memfd_with(int seals)
{
	int fd = vmx_memfd(SMALL, 0);

	if (!seals)
		return open(path("/proc/self/fd/%d", fd), O_RDONLY | O_CLOEXEC);
	return fcntl(fd, F_ADD_SEALS, seals) ? -2 : fd;
}

TEST_F(uio_vmxnet3, memory_errors)
{
	const uint64_t page = getpagesize(), gig = 1 << 30;
	struct vmx *vmx = &self->vmx;
	int small = vmx_memfd(SMALL, 0), large = vmx_memfd(2 * gig, 0);
	const struct {
		int fd;
		uint64_t offset, len;
		int error;
	} cases[] = {
		{ small, 0, SMALL, 0 },
		{ small, page, page, 0 },
		{ small, SMALL - page, page, 0 },
		{ small, 0, 0, EINVAL },
		{ small, 0, page - 1, EINVAL },
		{ small, 0, page + 1, EINVAL },
		{ small, 1, page, EINVAL },
		{ small, page / 2, page, EINVAL },
		{ small, 0, SMALL + page, EINVAL },
		{ small, page, SMALL, EINVAL },
		{ small, SMALL, page, EINVAL },
		{ small, -page, page, EINVAL },
		{ small, -page, 2 * page, EINVAL },
		{ small, 1ULL << 63, page, EINVAL },
		{ small, 0, -page, EINVAL },
		{ large, 0, gig + page, EINVAL },
		{ large, gig, 1ULL << 32, EINVAL },
		{ large, page, 1ULL << 63, EINVAL },
		{ 1000, 0, page, EBADF },
		{ memfd_with(0), 0, page, EACCES },
		{ self->append_only, 0, page, EACCES },
		{ memfd_with(F_SEAL_WRITE), 0, page, EPERM },
		{ memfd_with(F_SEAL_FUTURE_WRITE), 0, page, EPERM },
		{ memfd_with(F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL), 0, page, 0 },
		{ open("/dev/null", O_RDWR), 0, page, EINVAL },
		{ open("/proc/self/comm", O_RDWR), 0, page, EINVAL },
		{ open("/", O_PATH), 0, page, EBADF },
		{ self->efd, 0, page, EINVAL },
		{ vmx->uio.fd, 0, page, EINVAL },
		{ large, gig, page, 0 },
	};
	size_t i;
	int ret;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		if (cases[i].fd == -1) {
			TH_LOG("case %zu: not without CONFIG_TMPFS_XATTR", i);
			continue;
		}
		ret = vmx_set_memory(vmx, cases[i].fd, cases[i].offset, cases[i].len);
		EXPECT_EQ(-cases[i].error, ret) {
			TH_LOG("case %zu", i);
		}
		ret = vmx_start(vmx, MTU, 0);
		EXPECT_EQ(cases[i].error > 0, ret == -ENXIO) {
			TH_LOG("case %zu", i);
		}
		EXPECT_EQ(0, vmx_stop(vmx));
		EXPECT_EQ(0, vmx_set_memory(vmx, -1, 0, 0));
	}
}

static void limit(struct __test_metadata *_metadata, rlim_t bytes)
{
	struct rlimit rlim;

	ASSERT_EQ(0, getrlimit(RLIMIT_MEMLOCK, &rlim));
	rlim.rlim_cur = bytes;
	ASSERT_EQ(0, setrlimit(RLIMIT_MEMLOCK, &rlim));
}

/* The limit is of the user; what one session took, none of the next lacks. */
TEST_F(uio_vmxnet3, memory_is_locked_memory)
{
	struct vmx *vmx = &self->vmx;
	int small = vmx_memfd(2 * SMALL, 0), huge = vmx_memfd(HUGE_PAGE, MFD_HUGETLB), i;

	limit(_metadata, SMALL);
	for (i = 0; i < 4; i++) {
		EXPECT_EQ(-ENOMEM, vmx_set_memory(vmx, small, 0, SMALL + getpagesize()));
		EXPECT_EQ(0, vmx_set_memory(vmx, small, SMALL, SMALL));
		EXPECT_EQ(i & 1 ? 0 : -ENOMEM, vmx_set_memory(vmx, i & 1 ? -1 : small, 0, SMALL));
		vmx_close(vmx);
		ASSERT_EQ(0, vmx_open(vmx));
	}
	if (huge < 0)
		SKIP(return, "no huge pages");
	/* A huge page counts whole. */
	limit(_metadata, HUGE_PAGE - getpagesize());
	EXPECT_EQ(-ENOMEM, vmx_set_memory(vmx, huge, 0, getpagesize()));
	limit(_metadata, HUGE_PAGE);
	EXPECT_EQ(0, vmx_set_memory(vmx, huge, getpagesize(), getpagesize()));
}

/* Seals tell: nobody maps it writable, nobody has its pages. */
TEST_F(uio_vmxnet3, memory_is_pinned_until_it_is_dropped)
{
	struct vmx *vmx = &self->vmx;

	start(_metadata, vmx);
	vmx_unmap(vmx);
	EXPECT_EQ(-EBUSY, vmx_set_memory(vmx, vmx->memfd, 0, vmx->len));
	EXPECT_EQ(-1, fcntl(vmx->memfd, F_ADD_SEALS, F_SEAL_WRITE));
	EXPECT_EQ(EBUSY, errno);
	EXPECT_EQ(0, vmx_stop(vmx));
	EXPECT_EQ(-1, fcntl(vmx->memfd, F_ADD_SEALS, F_SEAL_WRITE));
	EXPECT_EQ(EBUSY, errno);
	EXPECT_EQ(0, vmx_set_memory(vmx, -1, 0, 0));
	EXPECT_EQ(0, fcntl(vmx->memfd, F_ADD_SEALS, F_SEAL_WRITE));
	EXPECT_EQ(-EPERM, vmx_set_memory(vmx, vmx->memfd, 0, vmx->len));
}

TEST_F(uio_vmxnet3, one_open)
{
	pid_t pid;

	EXPECT_EQ(-EBUSY, try_open(&self->vmx.uio));
	start(_metadata, &self->vmx);
	EXPECT_TRUE(pci_master(bdf));
	pid = fork();
	if (!pid)
		_exit(pause());
	vmx_close(&self->vmx);
	EXPECT_EQ(-EBUSY, try_open(&self->vmx.uio));
	EXPECT_TRUE(pci_master(bdf));
	kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, NULL, 0));
	EXPECT_FALSE(pci_master(bdf));
	EXPECT_EQ(0, try_open(&self->vmx.uio));
	EXPECT_FALSE(pci_master(bdf) || pci_intx(bdf));
}

TEST_F(uio_vmxnet3, submit_boundaries)
{
	struct vmx *vmx = &self->vmx;
	int queue, ret, i;

	start(_metadata, vmx);
	for (queue = 0; queue < 2; queue++) {
		const uint32_t min = vmx->info.min_len[queue], max = vmx->info.max_len[queue];
		const uint32_t end = vmx->len;
		const struct {
			uint32_t offset, len;
			int ret;
		} one[] = {
			{ 0, min, 1 },
			{ 1, min, 1 },
			{ end - min, min, 1 },
			{ end - min + 1, min, -EINVAL },
			{ end - 1, min, -EINVAL },
			{ end, min, -EINVAL },
			{ end + 1, min, -EINVAL },
			{ -1, min, -EINVAL },
			{ -min, min, -EINVAL },
			{ -min + 1, min, -EINVAL },
			{ 1u << 31, min, -EINVAL },
			{ 0, min - 1, -EINVAL },
			{ 0, 0, -EINVAL },
			{ 0, max + 1, -EINVAL },
			{ 0, 16384, -EINVAL },
			{ 0, 16384 + min, -EINVAL },
			{ 0, 1u << 31, -EINVAL },
			{ 0, -1, -EINVAL },
			{ 60, -60, -EINVAL },
			{ end - 60, -60, -EINVAL },
			{ 0, end + 1, -EINVAL },
		};
		struct uio_vmxnet3_submit many = { .queue = queue, .count = 15 };

		for (i = 0; i < (int)ARRAY_SIZE(one); i++) {
			ret = vmx_submit_one(vmx, queue, one[i].offset, one[i].len);
			EXPECT_EQ(one[i].ret, ret) {
				TH_LOG("queue %d, case %d", queue, i);
			}
		}
		if (end == HUGE_PAGE) {
			EXPECT_EQ(1, vmx_submit_one(vmx, queue, 0, max));
			EXPECT_EQ(1, vmx_submit_one(vmx, queue, end - max, max));
			EXPECT_EQ(-EINVAL, vmx_submit_one(vmx, queue, end - max + 1, max));
		}

		/* Up to the first bad one. */
		for (i = 0; i < 15; i++)
			many.request[i].len = min;
		EXPECT_EQ(15, vmx_submit(vmx, &many));
		for (i = 14; i >= 0; i--) {
			many.request[i].offset = end;
			EXPECT_EQ(i ? i : -EINVAL, vmx_submit(vmx, &many));
		}
		many.count = 1;
		many.request[0].offset = 0;
		EXPECT_EQ(1, vmx_submit(vmx, &many));
	}
}

/* Nobody sends anything: what is there to receive into stays there. */
TEST_F(uio_vmxnet3, ring_is_full_one_below_its_size)
{
	struct vmx *vmx = &self->vmx;
	struct uio_vmxnet3_submit arg = { .queue = RX, .count = 1 };
	uint32_t n, round;

	start(_metadata, vmx);
	for (n = 0; n < 15; n++)
		arg.request[n].len = vmx->info.min_len[RX];
	for (round = 0; round < 2; round++) {
		arg.count = 1;
		for (n = 7; n < vmx->info.ring_size[RX] - 1; n++)
			ASSERT_EQ(1, vmx_submit(vmx, &arg));
		arg.count = 15;
		EXPECT_EQ(7, vmx_submit(vmx, &arg));
		EXPECT_EQ(-ENOSPC, vmx_submit(vmx, &arg));
		/* The other queue has its own; and goes on at its beginning. */
		for (n = 0; n < 2 * vmx->info.ring_size[TX]; n++)
			transmit(_metadata, vmx);
		EXPECT_EQ(0, vmx_stop(vmx));
		ASSERT_EQ(0, vmx_start(vmx, MTU, 0));
		EXPECT_EQ(-1, vmx_done(vmx, TX, QUIET_MS, NULL));
	}
}

/* Whether a parent that traces this process can write there. */
static bool poked(void *p)
{
	pid_t pid = fork();
	int status, ret;

	if (!pid) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	ret = ptrace(PTRACE_POKEDATA, pid, p, -1L);
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return !ret;
}

TEST_F(uio_vmxnet3, completions_are_read_only)
{
	struct vmx *vmx = &self->vmx;
	long page = getpagesize(), word = -1, before;
	int fd = vmx->uio.fd, mem, queue, pipes[2];
	struct iovec from = { &word, sizeof(word) }, to = from;

	mem = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	ASSERT_LE(0, mem);
	ASSERT_EQ(0, pipe2(pipes, O_CLOEXEC));
	start(_metadata, vmx);
	transmit(_metadata, vmx);
	for (queue = 0; queue < 2; queue++) {
		size_t size = vmx->uio.maps[queue].size;
		char *p = (char *)vmx->done[queue], *q;

		EXPECT_EQ(0, strcmp(vmx->uio.maps[queue].name,
				    queue ? "rx-completions" : "tx-completions"));
		EXPECT_EQ(0U, vmx->uio.maps[queue].addr);
		before = *(long *)p;
		to.iov_base = p;
		errno = 0;
		EXPECT_TRUE(mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED,
				 fd, queue * page) == MAP_FAILED);
		EXPECT_EQ(EPERM, errno);
		EXPECT_TRUE(mmap(NULL, size, PROT_WRITE, MAP_SHARED, fd,
				 queue * page) == MAP_FAILED);
		EXPECT_EQ(EPERM, errno);
		EXPECT_EQ(-EPERM, try_mmap(fd, queue * page, size, MAP_PRIVATE));
		EXPECT_EQ(-EINVAL, try_mmap(fd, queue * page, size + page, MAP_SHARED));
		EXPECT_EQ(-1, mprotect(p, size, PROT_READ | PROT_WRITE));
		EXPECT_EQ(EACCES, errno);
		EXPECT_EQ(-1, pwrite(mem, &word, sizeof(word), (uintptr_t)p));
		EXPECT_EQ(-1, process_vm_writev(getpid(), &from, 1, &to, 1, 0));
		EXPECT_EQ((int)sizeof(word), write(pipes[1], &word, sizeof(word)));
		EXPECT_EQ(-1, read(pipes[0], p, sizeof(word)));
		EXPECT_FALSE(poked(p));
		EXPECT_TRUE(mremap(p, size, size + page, MREMAP_MAYMOVE) == MAP_FAILED);

		/* Twice there, of which one is in pieces. */
		q = mremap(p, 0, size, MREMAP_MAYMOVE);
		if (q != MAP_FAILED) {
			EXPECT_EQ(before, *(long *)q);
			EXPECT_EQ(-1, mprotect(q, page, PROT_READ | PROT_WRITE));
			munmap(q, size);
		}
		q = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, queue * page);
		ASSERT_TRUE(q != MAP_FAILED);
		EXPECT_EQ(0, memcmp(p, q, size));
		if (size > (size_t)page) {
			EXPECT_EQ(0, mprotect(q, page, PROT_NONE));
			EXPECT_EQ(-1, mprotect(q + page, page, PROT_READ | PROT_WRITE));
			EXPECT_EQ(0, memcmp(p + page, q + page, size - page));
			EXPECT_EQ(0, munmap(q, page));
			EXPECT_EQ(0, memcmp(p + page, q + page, size - page));
		}
		/* Gone for good, but nothing else comes in its place. */
		madvise(q + size - page, page, MADV_DONTNEED);
		if (!sigbus_at((void *)(q + size - page)))
			EXPECT_EQ(0, memcmp(p + size - page, q + size - page, page));
		munmap(q, size);
		EXPECT_EQ(before, *(long *)p);
	}
	EXPECT_EQ(-EINVAL, try_mmap(fd, 2 * page, page, MAP_SHARED));
	transmit(_metadata, vmx);
	close(mem);
}

/* All sizes near those at which something may change, and some between. */
static int next_size(int size)
{
	const int edges[] = { 60, 64, 128, 256, 1514, 2048, 4096, 8192, FRAME };
	size_t i = 0;

	while (edges[i] + 2 <= size)
		i++;
	if (size + 1 >= edges[i] - 2)
		return size + 1;
	if (size + 499 < edges[i] - 2)
		return size + 499;
	return edges[i] - 2;
}

TEST_F(uio_vmxnet3, frames_are_sent)
{
	struct vmx *vmx = &self->vmx;
	uint8_t got[FRAME], want[FRAME];
	int size, len, offset;
	uint32_t n = 0;

	if (wire.fd < 0)
		SKIP(return, "nobody at the other end: set UIO_VMXNET3_PEER");
	start(_metadata, vmx);
	if (vmx->len != HUGE_PAGE)
		SKIP(return, "no huge pages");
	for (size = 60; size <= FRAME; size = next_size(size), n++) {
		offset = n * 4999 % (HUGE_PAGE - FRAME);
		wire_frame(&wire, vmx->mem + offset, size, n);
		ASSERT_EQ(1, vmx_submit_one(vmx, TX, offset, size));
		len = recv(wire.fd, got, sizeof(got), 0);
		ASSERT_EQ(wire_payload(want, size, n), len);
		ASSERT_EQ(0, memcmp(want, got, len));
		ASSERT_LE(0, vmx_done(vmx, TX, EVENT_MS, NULL));
	}
}

/* With an event for each. Others may send as well. */
TEST_F(uio_vmxnet3, frames_are_received)
{
	struct vmx *vmx = &self->vmx;
	uint32_t posted = 0, n = 0, slot;
	uint8_t payload[FRAME], *buffer;
	int size, len;

	if (wire.fd < 0)
		SKIP(return, "nobody at the other end: set UIO_VMXNET3_PEER");
	ASSERT_EQ(0, set_eventfd(&vmx->uio, RX, self->efd));
	start(_metadata, vmx);
	if (vmx->len != HUGE_PAGE)
		SKIP(return, "no huge pages");
	for (size = 60; size <= FRAME; size = next_size(size), n++) {
		for (; posted < 15 + vmx->seen[RX]; posted++)
			ASSERT_EQ(1, vmx_submit_one(vmx, RX, posted % 64 * (BUFFER + 1), BUFFER));
		memset(vmx->mem, 0xa5, HUGE_PAGE);
		ASSERT_EQ(0, set_mask(&vmx->uio, RX, 0));
		len = wire_payload(payload, size, n);
		ASSERT_EQ(len, send(wire.fd, payload, len, 0));
		ASSERT_LE(1, events(self->efd, EVENT_MS));
		do {
			slot = vmx->seen[RX];
			buffer = vmx->mem + slot % 64 * (BUFFER + 1);
			ASSERT_EQ((int)(slot % vmx->info.ring_size[RX]),
				  vmx_done(vmx, RX, EVENT_MS, &len));
		} while (!wire_is(&wire, buffer, len, size, n));
		EXPECT_EQ(size, len);
		EXPECT_TRUE(slot % 64 == 0 || buffer[-1] == 0xa5);
		EXPECT_EQ(0xa5, buffer[size + 4]);
	}
}

/*
 * Pages that only the device wrote to are not thrown away with what it wrote, nor
 * cleared when somebody else looks at them first. fallocate() does not clear them.
 */
TEST_F(uio_vmxnet3, received_data_stays)
{
	struct vmx *vmx = &self->vmx;
	uint8_t payload[2048], *p;
	int i, len, allocate;

	if (wire.fd < 0)
		SKIP(return, "nobody at the other end: set UIO_VMXNET3_PEER");
	for (allocate = 0; allocate < 2; allocate++) {
		vmx->memfd = vmx_memfd(SMALL, 0);
		if (allocate)
			ASSERT_EQ(0, fallocate(vmx->memfd, 0, 0, SMALL));
		ASSERT_EQ(0, vmx_set_memory(vmx, vmx->memfd, 0, SMALL));
		ASSERT_EQ(0, vmx_start(vmx, 1500, 0));
		for (i = 0; i < 16; i++)
			ASSERT_EQ(1, vmx_submit_one(vmx, RX, i * 4096, 2048));
		len = wire_payload(payload, 1000, 5);
		ASSERT_EQ(len, send(wire.fd, payload, len, 0));
		i = vmx_done(vmx, RX, EVENT_MS, &len);
		ASSERT_LE(0, i);
		p = mmap(NULL, SMALL, PROT_READ, MAP_SHARED, vmx->memfd, 0);
		EXPECT_TRUE(wire_is(&wire, p + i * 4096, len, 1000, 5));
		EXPECT_EQ(0, vmx_stop(vmx));
		EXPECT_EQ(0, vmx_set_memory(vmx, -1, 0, 0));
		EXPECT_EQ(0, madvise(p, SMALL, MADV_PAGEOUT));
		EXPECT_TRUE(wire_is(&wire, p + i * 4096, len, 1000, 5));
		munmap(p, SMALL);
	}
}

/* The device writes on to what is no longer in the file. */
TEST_F(uio_vmxnet3, memory_is_truncated_in_use)
{
	struct vmx *vmx = &self->vmx;
	char payload[100] = "";
	int i;

	start(_metadata, vmx);
	for (i = 0; i < 15; i++)
		EXPECT_EQ(1, vmx_submit_one(vmx, RX, i * 4096, 4096));
	vmx_unmap(vmx);
	EXPECT_EQ(0, fallocate(vmx->memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
			       vmx->len));
	for (i = 0; i < 5 && wire.fd >= 0; i++)
		EXPECT_EQ(100, send(wire.fd, payload, 100, 0));
	EXPECT_EQ(1, vmx_submit_one(vmx, TX, 0, 60));
	EXPECT_EQ(0, ftruncate(vmx->memfd, 0));
	EXPECT_EQ(1, vmx_submit_one(vmx, TX, 0, 60));
	for (i = 0; i < 2; i++)
		EXPECT_EQ(i, vmx_done(vmx, TX, EVENT_MS, NULL));
	EXPECT_EQ(0, vmx_stop(vmx));
	EXPECT_EQ(0, vmx_start(vmx, MTU, 0));
	EXPECT_EQ(0, vmx_stop(vmx));
	EXPECT_EQ(0, vmx_set_memory(vmx, -1, 0, 0));
	EXPECT_EQ(-EINVAL, vmx_set_memory(vmx, vmx->memfd, 0, vmx->len));
}

/* No more of them: two for one arming are possible. */
static void quiet(struct __test_metadata *_metadata, int efd)
{
	int tries;

	for (tries = 0; events(efd, QUIET_MS); tries++)
		ASSERT_GT(20, tries);
}

TEST_F(uio_vmxnet3, vector_masks_itself)
{
	struct vmx *vmx = &self->vmx;
	int round;

	ASSERT_EQ(0, set_eventfd(&vmx->uio, TX, self->efd));
	start(_metadata, vmx);
	for (round = 0; round < 20; round++) {
		ASSERT_EQ(0, set_mask(&vmx->uio, TX, 0));
		transmit(_metadata, vmx);
		ASSERT_LE(1, events(self->efd, EVENT_MS));
		quiet(_metadata, self->efd);
		transmit(_metadata, vmx);
		EXPECT_EQ(0, events(self->efd, 5));
		/* There is something. */
		EXPECT_EQ(0, set_mask(&vmx->uio, TX, 0));
		ASSERT_LE(1, events(self->efd, EVENT_MS));
		quiet(_metadata, self->efd);
	}
	ASSERT_EQ(0, set_mask(&vmx->uio, TX, 0));
	quiet(_metadata, self->efd);
	ASSERT_EQ(0, set_mask(&vmx->uio, TX, 1));
	transmit(_metadata, vmx);
	EXPECT_EQ(0, events(self->efd, QUIET_MS));

	/* Not the business of the UIO file; and detached it is silent. */
	EXPECT_EQ(0, poll(&(struct pollfd){ .fd = vmx->uio.fd, .events = POLLIN }, 1, 0));
	EXPECT_EQ(0, set_eventfd(&vmx->uio, TX, -1));
	transmit(_metadata, vmx);
	EXPECT_EQ(0, events(self->efd, QUIET_MS));
	EXPECT_EQ(-EINVAL, set_mask(&vmx->uio, TX, 0));
}

TEST_F(uio_vmxnet3, link_event)
{
	const char *link = getenv("UIO_VMXNET3_LINK");
	struct vmx *vmx = &self->vmx;
	int up, tries;

	if (!link)
		SKIP(return, "no way to pull the cable: set UIO_VMXNET3_LINK");
	ASSERT_EQ(0, set_eventfd(&vmx->uio, UIO_VMXNET3_EVENT, self->efd));
	start(_metadata, vmx);
	for (up = 0; up < 2; up++) {
		ASSERT_EQ(0, set_mask(&vmx->uio, UIO_VMXNET3_EVENT, 0));
		quiet(_metadata, self->efd);
		ASSERT_EQ(0, set_mask(&vmx->uio, UIO_VMXNET3_EVENT, 0));
		EXPECT_EQ(0, as_root(self->root, path(link, up ? "on" : "off")));
		EXPECT_LE(1, events(self->efd, EVENT_MS));
		for (tries = 0; tries < 1000 && (vmx->info.link_mbit != 0) != up; tries++) {
			usleep(1000);
			EXPECT_EQ(UIO_VMXNET3_RUNNING, vmx_state(vmx));
		}
		EXPECT_EQ(up, !!vmx->info.link_mbit);
	}
}

/* All that a file answers after its session: still bound, or device gone. */
static void expect_dead(struct __test_metadata *_metadata, struct vmx *vmx, bool gone)
{
	static char arg[8192];
	static const struct {
		unsigned int cmd;
		char *arg;
		int error[2];
	} ioctls[] = {
		{ UIO_MSIX_GET_INFO, arg, { ENODEV, ENODEV } },
		{ UIO_MSIX_SET_EVENTFD, arg, { ENODEV, ENODEV } },
		{ UIO_MSIX_SET_MASK, arg, { ENODEV, ENODEV } },
		{ UIO_VMXNET3_GET_INFO, arg, { ENODEV, ENODEV } },
		{ UIO_VMXNET3_SET_MEMORY, arg, { ENODEV, ENODEV } },
		{ UIO_VMXNET3_START, arg, { ENODEV, ENODEV } },
		{ UIO_VMXNET3_STOP, NULL, { ENODEV, ENODEV } },
		{ UIO_VMXNET3_SUBMIT, arg, { ENODEV, ENODEV } },
		{ _IO('u', 0x6f), NULL, { ENODEV, ENODEV } },
		{ _IOR('u', 0x6f, char[129]), arg, { ENOTTY, ENODEV } },
		{ UIO_VMXNET3_SUBMIT, NULL, { EFAULT, ENODEV } },
	};
	struct pollfd pfd = { .fd = vmx->uio.fd, .events = POLLIN };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(ioctls); i++) {
		EXPECT_EQ(-1, ioctl(vmx->uio.fd, ioctls[i].cmd, ioctls[i].arg));
		EXPECT_EQ(ioctls[i].error[gone], errno) {
			TH_LOG("case %zu", i);
		}
	}
	EXPECT_EQ(1, poll(&pfd, 1, 0));
	EXPECT_TRUE(pfd.revents & POLLERR);
	EXPECT_EQ(-1, read(vmx->uio.fd, arg, 4));
	EXPECT_EQ(EIO, errno);
	EXPECT_EQ(-1, write(vmx->uio.fd, arg, 4));
	EXPECT_EQ(gone ? EINVAL : EIO, errno);
	for (i = 0; i < 2; i++)
		EXPECT_EQ(gone ? -EINVAL : -ENODEV,
			  try_mmap(vmx->uio.fd, i * getpagesize(), vmx->uio.maps[i].size,
				   MAP_SHARED));
	if (!gone)
		EXPECT_EQ(-EBUSY, try_open(&vmx->uio));
}

/* A child that transmits until its session is over, and exits with 0 then. */
static pid_t sender(struct vmx *vmx)
{
	struct uio_vmxnet3_submit arg = { .queue = TX, .count = 15 };
	pid_t pid = fork();
	int ret, i;

	if (pid)
		return pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (i = 0; i < 15; i++)
		arg.request[i].len = 60;
	do
		ret = vmx_submit(vmx, &arg);
	while (ret > 0 || ret == -ENOSPC);
	_exit(ret != -ENODEV);
}

/* End the session by this command while others send and sleep. */
static void end_session(struct __test_metadata *_metadata, struct vmx *vmx, int root,
			const char *how, bool gone)
{
	struct pollfd pfd = { .fd = vmx->uio.fd, .events = POLLIN };
	pid_t sends, sleeps;
	uint32_t before;
	int status, ret;

	start(_metadata, vmx);
	transmit(_metadata, vmx);
	before = vmx->done[RX]->status;
	vmx_unmap(vmx);
	sends = sender(vmx);
	sleeps = fork();
	if (!sleeps) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		_exit(poll(&pfd, 1, -1) != 1 || !(pfd.revents & POLLERR));
	}
	usleep(100000);
	EXPECT_EQ(0, as_root(root, how));
	ASSERT_EQ(sends, waitpid(sends, &status, 0));
	EXPECT_EQ(0, status);
	ASSERT_EQ(sleeps, waitpid(sleeps, &status, 0));
	EXPECT_EQ(0, status);

	/* The memory is its user's alone again. The completions are there. */
	EXPECT_EQ(0, fcntl(vmx->memfd, F_ADD_SEALS, F_SEAL_WRITE));
	expect_dead(_metadata, vmx, gone);
	EXPECT_EQ(before, vmx->done[RX]->status);
	if (!gone)
		EXPECT_FALSE(pci_master(bdf) || pci_intx(bdf));
	if (!pci_has(bdf, "vendor"))
		return;

	/* Whoever opens it next has a new session. */
	vmx_close(vmx);
	if (gone) {
		ret = as_root(root, path("echo uio_vmxnet3 >" PCI_DEVICES "%s/driver_override; "
					 "echo %s >" PCI_DRIVERS "uio_vmxnet3/bind; "
					 "echo >" PCI_DEVICES "%s/driver_override", bdf, bdf, bdf));
		ASSERT_EQ(0, ret);
		ASSERT_EQ(0, uio_msix_find(&vmx->uio, bdf));
		ASSERT_EQ(0, as_root(root, path("chown %d %s", USER_ID, vmx->uio.path)));
	}
	ASSERT_EQ(0, vmx_open(vmx));
	EXPECT_EQ(0, vmx_state(vmx));
	start(_metadata, vmx);
	transmit(_metadata, vmx);
}

TEST_F(uio_vmxnet3, unbind_in_traffic)
{
	end_session(_metadata, &self->vmx, self->root,
		    path("echo %s >" PCI_DRIVERS "uio_vmxnet3/unbind", bdf), true);
}

TEST_F(uio_vmxnet3, remove_in_traffic)
{
	end_session(_metadata, &self->vmx, self->root,
		    path("cd /sys/bus/pci && echo 0 >drivers_autoprobe; "
			 "echo 1 >devices/%s/remove && echo 1 >rescan; "
			 "echo 1 >drivers_autoprobe", bdf), true);
}

TEST_F(uio_vmxnet3, reset_in_traffic)
{
	if (!pci_has(bdf, "reset"))
		SKIP(return, "%s cannot be reset", bdf);
	end_session(_metadata, &self->vmx, self->root,
		    path("echo 1 >" PCI_DEVICES "%s/reset", bdf), false);
}

/* All devices are suspended and resumed, but the machine does not sleep. */
TEST_F(uio_vmxnet3, suspend_in_traffic)
{
	if (access("/sys/power/pm_test", F_OK))
		SKIP(return, "no CONFIG_PM_DEBUG");
	end_session(_metadata, &self->vmx, self->root,
		    "cd /sys/power && echo devices>pm_test && echo freeze>state && echo none>pm_test",
		    false);
}

TEST_F(uio_vmxnet3, error_in_traffic)
{
	if (!getenv("UIO_VMXNET3_AER"))
		SKIP(return, "no way to inject an error: set UIO_VMXNET3_AER");
	end_session(_metadata, &self->vmx, self->root, getenv("UIO_VMXNET3_AER"), false);
}

TEST_F(uio_vmxnet3, unplug_in_traffic)
{
	if (!getenv("UIO_VMXNET3_UNPLUG"))
		SKIP(return, "no way to pull it: set UIO_VMXNET3_UNPLUG");
	end_session(_metadata, &self->vmx, self->root, getenv("UIO_VMXNET3_UNPLUG"), true);
}

/* Its interface, "" if it has none: an attribute of that. */
static const char *interface(const char *dev, const char *attr)
{
	const char *file = "";
	glob_t found;

	if (!glob(pci(dev, "net/*"), 0, NULL, &found))
		file = path("%s/%s", found.gl_pathv[0], attr);
	globfree(&found);
	return file;
}

/* The first whose interface is not up. */
static const char *find(void)
{
	glob_t found;
	size_t i;
	char *p;

	glob(PCI_DEVICES "*", 0, NULL, &found);
	for (i = 0; i < found.gl_pathc; i++) {
		p = strrchr(found.gl_pathv[i], '/') + 1;
		if (get_u64(pci(p, "vendor")) == 0x15ad &&
		    get_u64(pci(p, "device")) == 0x07b0 &&
		    !(get_u64(interface(p, "flags")) & IFF_UP))
			return p;
	}
	return NULL;
}

static char nr_hugepages[64];

static void give_back_pages(void)
{
	if (getpid() == taken.pid)
		put(NR_HUGEPAGES, nr_hugepages);
}

/* What only root can prepare. */
static void prepare(void)
{
	const char *peer = getenv("UIO_VMXNET3_PEER");
	struct vmx vmx = { };

	taken.bdf = bdf;
	taken.pid = getpid();
	pci_driver(bdf, taken.driver);
	atexit(give_back);
	get(NR_HUGEPAGES, nr_hugepages);
	atexit(give_back_pages);
	put(NR_HUGEPAGES, path("%llu", get_u64(NR_HUGEPAGES) + 4));

	if (peer && !hand_over(&vmx) && !vmx_open(&vmx) &&
	    wire_open(&wire, peer, vmx.info.mac))
		ksft_print_msg("%s cannot be set up: %m\n", peer);
	vmx_close(&vmx);
}

int main(int argc, char **argv)
{
	bdf = getenv("UIO_VMXNET3_DEV") ?: find();
	if (bdf && !getuid())
		prepare();
	return test_harness_run(argc, argv);
}
