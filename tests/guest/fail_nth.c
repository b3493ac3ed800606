// SPDX-License-Identifier: GPL-2.0-only
/*
 * uio_msix: each allocation and user copy of bind, open, the ioctls, mmap and
 * the page fault fails once, by /proc/PID/fail-nth. Then the error is one that
 * Documentation/driver-api/uio-msix.rst names, everything is as it was before,
 * and the next try succeeds. For UIO_MSIX_DEV, as uio_msix_test; run kmemleak
 * afterwards.
 */
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <sys/stat.h>

#include "kselftest_harness.h"
#include "guest.h"

#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	1800

#define FAILS		"/sys/kernel/debug/"
#define MAX_POINTS	20000U

static const char *bdf;

/* Errors that an operation may return; 0 ends the list. */
static const int no_memory[] = { ENOMEM, 0 };
static const int no_memory_or_copy[] = { ENOMEM, EFAULT, 0 };
static const int bind_errors[] = { ENOMEM, EBUSY, 0 };
static const int open_errors[] = { ENOMEM, ENOSPC, 0 };

static const char * const fails[] = {
	"failslab", "fail_page_alloc", "fail_usercopy",
};

/*
 * Functions that allocate memory. A cache that has to grow shifts the points, and
 * may hide one: below these no point is missed.
 */
static struct below {
	const char *name;
	unsigned long long start, end;
} below[] = {
	{ .name = "devm_request_resource" },	/* what shares a page with a BAR */
	{ .name = "devm_kvasprintf" },		/* names of maps and ports */
	{ .name = "pci_store_saved_state" },
	{ .name = "idr_alloc" },		/* the minor */
	{ .name = "request_threaded_irq" },
	{ .name = "__kvmalloc_node_noprof" },	/* the vectors */
};

/* Only calls within [start, end) fail. */
static int require(const char *fail, unsigned long long start, unsigned long long end)
{
	return put(path(FAILS "%s/require-start", fail), path("%llu", start)) ?:
	       put(path(FAILS "%s/require-end", fail), path("%llu", end));
}

/*
 * Spare ACPI, which looks up interrupt routing and power states whenever a
 * device is enabled: the errors of its interpreter crash the kernel. False if
 * that is not possible.
 */
static bool spare_acpi(void)
{
	FILE *f = fopen("/proc/kallsyms", "re");
	char line[512], name[512], start[20] = "", end[20] = "";
	bool inside = false, spared = true;
	unsigned long long addr;
	size_t i;

	/* From the one to the other, drivers/acpi in the order of addresses. */
	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%llx %*c %511s", &addr, name) != 2)
			continue;
		if (inside)
			sprintf(end, "0x%llx", addr);
		for (i = 0; i < ARRAY_SIZE(below); i++) {
			if (!strcmp(name, below[i].name))
				below[i].start = addr;
			else if (below[i].start && !below[i].end && addr > below[i].start)
				below[i].end = addr;
		}
		inside = !strcmp(name, "acpi_ns_evaluate") ||
			 !strncmp(name, "acpi_pci_irq_", 13);
		if (inside && !*start)
			sprintf(start, "0x%llx", addr);
	}
	if (f)
		fclose(f);
	for (i = 0; *start && i < ARRAY_SIZE(fails); i++)
		if (put(path(FAILS "%s/reject-start", fails[i]), start) ||
		    put(path(FAILS "%s/reject-end", fails[i]), end))
			spared = false;
	return spared;
}

FIXTURE(fail_nth) {
	struct uio_msix dev;
	int efd;
	int other;
	int nth_fd;
	unsigned int nth;	/* which point fails */
	unsigned int failed;	/* how many points made the operation fail */
	bool filter;		/* CONFIG_FAULT_INJECTION_STACKTRACE_FILTER */
	unsigned int fewer;	/* opens that got fewer vectors */
	uint64_t errors;	/* a bit each */
};

FIXTURE_SETUP(fail_nth)
{
	size_t i;

	if (!bdf)
		SKIP(return, "no device: set UIO_MSIX_DEV");
	if (access(PCI_DRIVERS "uio_msix", F_OK))
		SKIP(return, "uio_msix is not loaded");
	if (!pci_has(bdf, "vendor"))
		SKIP(return, "%s is not there", bdf);
	self->nth_fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	if (self->nth_fd < 0 || access(FAILS "failslab", F_OK))
		SKIP(return, "no CONFIG_FAULT_INJECTION_DEBUG_FS, no debugfs");
	if (!spare_acpi())
		SKIP(return, "ACPI, no CONFIG_FAULT_INJECTION_STACKTRACE_FILTER");

	/* The log would be the bulk of the work. */
	self->filter = !access(FAILS "failslab/require-start", F_OK);
	for (i = 0; i < ARRAY_SIZE(fails); i++) {
		ASSERT_EQ(0, put(path(FAILS "%s/verbose", fails[i]), "0"));
		if (self->filter)
			ASSERT_EQ(0, require(fails[i], 0, ULONG_MAX));
	}
	ASSERT_EQ(0, put(FAILS "failslab/ignore-gfp-wait", "N"));
	ASSERT_EQ(0, put(FAILS "fail_page_alloc/ignore-gfp-wait", "N"));
	ASSERT_EQ(0, put(FAILS "fail_page_alloc/min-order", "0"));

	ASSERT_EQ(0, pci_bind(bdf, "uio_msix"));
	ASSERT_EQ(0, uio_msix_find(&self->dev, bdf));
	ASSERT_EQ(0, uio_msix_open(&self->dev));
	self->efd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	self->other = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
}

FIXTURE_TEARDOWN(fail_nth)
{
	uio_msix_close(&self->dev);
	close(self->efd);
	close(self->other);
	close(self->nth_fd);
}

/* The next point that fails in what follows until nth_end(). */
static void nth_begin(struct _test_data_fail_nth *self)
{
	char nth[16];

	snprintf(nth, sizeof(nth), "%u", ++self->nth);
	/* Slow is not silent. */
	if (!(self->nth % 20))
		fprintf(stderr, "# point %u\n", self->nth);
	if (write(self->nth_fd, nth, strlen(nth)) < 0)
		perror("fail-nth");
}

/* Whether the point was reached: what is left of nth is 0 then. */
static bool nth_end(struct _test_data_fail_nth *self)
{
	char left[16] = "";
	bool copied;

	/* These copies count as well, and may be the one to fail. */
	copied = pread(self->nth_fd, left, sizeof(left) - 1, 0) > 0;
	while (pwrite(self->nth_fd, "0", 1, 0) != 1)
		copied = false;
	return copied && !atoi(left);
}

static bool listed(const int *errors, int error)
{
	while (*errors && *errors != error)
		errors++;
	return *errors;
}

static void fail_each(struct __test_metadata *_metadata,
		      struct _test_data_fail_nth *self,
		      int (*operation)(struct _test_data_fail_nth *self),
		      void (*unchanged)(struct __test_metadata *_metadata,
					struct _test_data_fail_nth *self),
		      void (*undo)(struct __test_metadata *_metadata,
				   struct _test_data_fail_nth *self),
		      const int *errors)
{
	bool reached = true;
	int ret;

	while (reached) {
		ASSERT_GT(MAX_POINTS, self->nth);
		nth_begin(self);
		ret = operation(self);
		reached = nth_end(self);
		if (ret) {
			EXPECT_TRUE(reached);
			EXPECT_TRUE(listed(errors, -ret) ||
				    (ret == -EFAULT && !self->filter)) {
				TH_LOG("point %u: %s", self->nth,
				       strerror(-ret));
			}
			self->failed++;
			self->errors |= 1ULL << -ret;
			unchanged(_metadata, self);
			EXPECT_EQ(0, operation(self)) {
				TH_LOG("after point %u", self->nth);
			}
		}
		undo(_metadata, self);
		if (!__test_passed(_metadata))
			break;
	}
	TH_LOG("%u points, %u of them made it fail", self->nth - 1,
	       self->failed);
}

/* Not the copies of a path, or of what is written to sysfs. */
static void spare_copies(struct _test_data_fail_nth *self)
{
	if (self->filter)
		require("fail_usercopy", 0, 0);
}

/* In what fail_each() is called for next, only what is allocated below @function. */
static void only_below(struct __test_metadata *_metadata,
		       struct _test_data_fail_nth *self, const char *function)
{
	struct below *b = below;

	while (strcmp(b->name, function))
		b++;
	ASSERT_LT(b->start, b->end);
	ASSERT_EQ(0, require("failslab", b->start, b->end));
	ASSERT_EQ(0, require("fail_page_alloc", 0, 0));
	spare_copies(self);
	self->nth = self->failed = 0;
}

/* One interrupt of vector 0 makes one event there, and none elsewhere. */
static void fires(struct __test_metadata *_metadata,
		  struct _test_data_fail_nth *self, int efd)
{
	EXPECT_EQ(0, uio_msix_fire(&self->dev, 0));
	EXPECT_EQ(1, events(efd, EVENT_MS));
	EXPECT_EQ(0, events(efd == self->efd ? self->other : self->efd, 0));
}

static int do_bind(struct _test_data_fail_nth *self)
{
	(void)self;
	return put(PCI_DRIVERS "uio_msix/bind", bdf);
}

static void is_unbound(struct __test_metadata *_metadata,
		       struct _test_data_fail_nth *self)
{
	char name[64];

	EXPECT_STREQ("", pci_driver(bdf, name));
	EXPECT_FALSE(pci_has(bdf, "uio"));
	EXPECT_FALSE(pci_master(bdf));
	EXPECT_EQ(0U, get_u64(pci(bdf, "enable")));
	EXPECT_NE(0, access(self->dev.path, F_OK));
}

static void undo_bind(struct __test_metadata *_metadata,
		      struct _test_data_fail_nth *self)
{
	struct uio_msix bound;
	const char *port;
	char name[64];

	/* Nothing is left out for want of memory. */
	EXPECT_EQ(0, uio_msix_find(&bound, bdf));
	EXPECT_EQ(self->dev.num_maps, bound.num_maps);
	port = path("/sys/class/uio/%s/portio/port0/name", bound.path + strlen("/dev/"));
	if (!access(port, F_OK))
		EXPECT_STRNE("", get(port, name));
	EXPECT_EQ(0, put(PCI_DRIVERS "uio_msix/unbind", bdf));
}

TEST_F(fail_nth, bind)
{
	uio_msix_close(&self->dev);
	ASSERT_EQ(0, pci_bind(bdf, ""));
	ASSERT_EQ(0, put(pci(bdf, "driver_override"), "uio_msix"));
	spare_copies(self);
	fail_each(_metadata, self, do_bind, is_unbound, undo_bind, bind_errors);
	EXPECT_LT(10U, self->failed);
	put(pci(bdf, "driver_override"), "\n");
}

/* With a BAR inside of its pages, for the rest of these to be claimed. */
TEST_F(fail_nth, bind_below)
{
	int cap = pci_find_cap(bdf, PCI_CAP_ID_MSIX), bar = 0;
	int table = pci_config(bdf, cap + PCI_MSIX_TABLE, 1) & PCI_MSIX_TABLE_BIR;
	uint64_t start;
	glob_t others;
	size_t i;

	while (bar < 6 && (bar == table || !pci_bar(bdf, bar, IORESOURCE_MEM, &start)))
		bar++;
	if (!self->filter || access(MEDDLE "sub_page", F_OK) || bar == 6)
		SKIP(return, "no filter, no tests/modules/meddle, or no BAR but that of the table");
	uio_msix_close(&self->dev);
	ASSERT_EQ(0, pci_bind(bdf, ""));
	ASSERT_EQ(0, put(MEDDLE "sub_page", path("%s %d", bdf, bar)));
	ASSERT_EQ(0, put(pci(bdf, "driver_override"), "uio_msix"));
	/* Beside others, a minor may take no memory. */
	for (i = 0; i < (glob("/dev/uio*", 0, NULL, &others) ? 4 : 3); i++) {
		only_below(_metadata, self, below[i].name);
		fail_each(_metadata, self, do_bind, is_unbound, undo_bind,
			  i ? no_memory : bind_errors);
		EXPECT_LT(0U, self->failed) {
			TH_LOG("below %s", below[i].name);
		}
	}
	put(pci(bdf, "driver_override"), "\n");
	EXPECT_EQ(0, put(MEDDLE "sub_page", path("%s 6", bdf)));
}

static int do_bind_generic(struct _test_data_fail_nth *self)
{
	(void)self;
	return put(PCI_DRIVERS "uio_pci_generic/bind", bdf);
}

static void undo_bind_generic(struct __test_metadata *_metadata,
			      struct _test_data_fail_nth *self)
{
	EXPECT_EQ(0, try_open(&self->dev));
	EXPECT_EQ(0, put(PCI_DRIVERS "uio_pci_generic/unbind", bdf));
}

/* A driver that has the UIO core request its interrupt. */
TEST_F(fail_nth, bind_generic)
{
	if (!self->filter || access(PCI_DRIVERS "uio_pci_generic", F_OK) ||
	    !get_u64(pci(bdf, "irq")))
		SKIP(return, "no filter, no uio_pci_generic, or no INTx");
	uio_msix_close(&self->dev);
	ASSERT_EQ(0, pci_bind(bdf, ""));
	ASSERT_EQ(0, put(pci(bdf, "driver_override"), "uio_pci_generic"));
	only_below(_metadata, self, "request_threaded_irq");
	fail_each(_metadata, self, do_bind_generic, is_unbound, undo_bind_generic,
		  no_memory);
	EXPECT_LT(0U, self->failed);
	put(pci(bdf, "driver_override"), "\n");
}

/*
 * Somebody opens a node of his own while the bind fails, preempting it all the
 * time: a file that he got of a device that was taken back is dead.
 */
static struct opener {
	const char *node;
	bool stop;
	unsigned int opened, alive;
} opener;

static void *open_all_the_time(void *arg)
{
	struct opener *o = arg;
	struct uio_msix_info info;
	struct pollfd pfd = { .events = POLLIN };

	while (!__atomic_load_n(&o->stop, __ATOMIC_ACQUIRE)) {
		usleep(50);
		pfd.fd = open(o->node, O_RDWR | O_CLOEXEC);
		if (pfd.fd < 0)
			continue;
		o->opened++;
		/* Until it was bound after all and is unbound, or was not bound. */
		if (poll(&pfd, 1, EVENT_MS) != 1 || !(pfd.revents & POLLERR) ||
		    !ioctl(pfd.fd, UIO_MSIX_GET_INFO, &info) || errno != ENODEV)
			o->alive++;
		close(pfd.fd);
	}
	return NULL;
}

TEST_F(fail_nth, bind_with_an_opener)
{
	struct sched_param rt = { .sched_priority = 1 };
	char node[] = "/tmp/uio_static";
	struct stat st;
	cpu_set_t cpu;
	pthread_t thread;

	ASSERT_EQ(0, stat(self->dev.path, &st));
	ASSERT_EQ(0, mknod(node, S_IFCHR | 0600, st.st_rdev));
	uio_msix_close(&self->dev);
	ASSERT_EQ(0, pci_bind(bdf, ""));

	CPU_ZERO(&cpu);
	CPU_SET(0, &cpu);
	ASSERT_EQ(0, sched_setaffinity(0, sizeof(cpu), &cpu));
	opener.node = node;
	ASSERT_EQ(0, pthread_create(&thread, NULL, open_all_the_time, &opener));
	ASSERT_EQ(0, pthread_setschedparam(thread, SCHED_FIFO, &rt));

	ASSERT_EQ(0, put(pci(bdf, "driver_override"), "uio_msix"));
	spare_copies(self);
	fail_each(_metadata, self, do_bind, is_unbound, undo_bind, bind_errors);
	__atomic_store_n(&opener.stop, true, __ATOMIC_RELEASE);
	pthread_join(thread, NULL);
	put(pci(bdf, "driver_override"), "\n");
	unlink(node);
	TH_LOG("%u opened", opener.opened);
	EXPECT_LT(0U, opener.opened);
	EXPECT_EQ(0U, opener.alive);
}

static int do_open(struct _test_data_fail_nth *self)
{
	self->dev.fd = open(self->dev.path, O_RDWR | O_CLOEXEC);
	return self->dev.fd < 0 ? -errno : 0;
}

static bool msix_is_on(void)
{
	int cap = pci_find_cap(bdf, PCI_CAP_ID_MSIX);

	return pci_config(bdf, cap + PCI_MSIX_FLAGS, 2) & PCI_MSIX_FLAGS_ENABLE;
}

static void is_closed(struct __test_metadata *_metadata,
		      struct _test_data_fail_nth *self)
{
	(void)self;
	EXPECT_FALSE(pci_master(bdf));
	EXPECT_FALSE(msix_is_on());
}

static void undo_open(struct __test_metadata *_metadata,
		      struct _test_data_fail_nth *self)
{
	struct uio_msix_info info;

	/* As many vectors as it says, though they may be fewer. */
	EXPECT_EQ(0, ioctl(self->dev.fd, UIO_MSIX_GET_INFO, &info));
	EXPECT_EQ(0, set_eventfd(&self->dev, info.num_vectors - 1, self->efd));
	EXPECT_EQ(-EINVAL, set_eventfd(&self->dev, info.num_vectors, self->efd));
	EXPECT_TRUE(msix_is_on());
	self->fewer += info.num_vectors < self->dev.num_vectors;
	EXPECT_EQ(0, close(self->dev.fd));
	is_closed(_metadata, self);
	self->dev.fd = -1;
}

TEST_F(fail_nth, open)
{
	unsigned int vectors = self->dev.num_vectors;

	/* A reset at each close would take longer than all else. */
	uio_msix_close(&self->dev);
	spare_copies(self);
	fail_each(_metadata, self, do_open, is_closed, undo_open, open_errors);
	EXPECT_LT(10U, self->failed);
	EXPECT_LT(0U, self->fewer);
	EXPECT_EQ(1ULL << ENOMEM | 1ULL << ENOSPC, self->errors);

	/* All of them again. */
	ASSERT_EQ(0, uio_msix_open(&self->dev));
	EXPECT_EQ(vectors, self->dev.num_vectors);
	ASSERT_EQ(0, set_eventfd(&self->dev, 0, self->efd));
	fires(_metadata, self, self->efd);
}

/* That there is no MSI-X it learns when it has memory for the vectors. */
static int do_open_without_msi(struct _test_data_fail_nth *self)
{
	int ret = do_open(self);

	return ret == -ENODEV ? 0 : ret ?: -EEXIST;
}

/* More than a page of them, at 16 bytes each, are had from vmalloc() then. */
TEST_F(fail_nth, open_below)
{
	unsigned int fails = self->dev.num_vectors * 16 <= (uint32_t)getpagesize();

	if (!self->filter)
		SKIP(return, "no CONFIG_FAULT_INJECTION_STACKTRACE_FILTER");
	uio_msix_close(&self->dev);
	only_below(_metadata, self, "__kvmalloc_node_noprof");
	fail_each(_metadata, self, do_open, is_closed, undo_open, no_memory);
	EXPECT_EQ(fails, self->failed);
	ASSERT_EQ(0, put(pci(bdf, "msi_bus"), "0"));
	self->nth = self->failed = 0;
	fail_each(_metadata, self, do_open_without_msi, is_closed, is_closed, no_memory);
	EXPECT_EQ(fails, self->failed);
	EXPECT_EQ(0, put(pci(bdf, "msi_bus"), "1"));
}

static int do_info(struct _test_data_fail_nth *self)
{
	struct uio_msix_info info;

	return ioctl(self->dev.fd, UIO_MSIX_GET_INFO, &info) ? -errno : 0;
}

static void nothing(struct __test_metadata *_metadata,
		    struct _test_data_fail_nth *self)
{
	(void)_metadata;
	(void)self;
}

TEST_F(fail_nth, info)
{
	fail_each(_metadata, self, do_info, nothing, nothing,
		  no_memory_or_copy);
	EXPECT_EQ(1U, self->failed);
}

static int do_attach(struct _test_data_fail_nth *self)
{
	return set_eventfd(&self->dev, 0, self->efd);
}

static void is_detached(struct __test_metadata *_metadata,
			struct _test_data_fail_nth *self)
{
	EXPECT_EQ(-1, uio_msix_irq(&self->dev, 0));
	EXPECT_EQ(-EINVAL, set_mask(&self->dev, 0, 1));
}

static void undo_attach(struct __test_metadata *_metadata,
			struct _test_data_fail_nth *self)
{
	fires(_metadata, self, self->efd);
	EXPECT_EQ(0, set_eventfd(&self->dev, 0, -1));
}

TEST_F(fail_nth, attach)
{
	int id = eventfd_id(self->efd);

	fail_each(_metadata, self, do_attach, is_detached, undo_attach,
		  no_memory_or_copy);
	EXPECT_LT(2U, self->failed);
	close(self->efd);
	EXPECT_TRUE(eventfd_is_free(id));
}

static int do_replace(struct _test_data_fail_nth *self)
{
	return set_eventfd(&self->dev, 0, self->other);
}

static void is_attached(struct __test_metadata *_metadata,
			struct _test_data_fail_nth *self)
{
	fires(_metadata, self, self->efd);
}

static void undo_replace(struct __test_metadata *_metadata,
			 struct _test_data_fail_nth *self)
{
	fires(_metadata, self, self->other);
	EXPECT_EQ(0, set_eventfd(&self->dev, 0, self->efd));
}

TEST_F(fail_nth, replace)
{
	ASSERT_EQ(0, do_attach(self));
	fail_each(_metadata, self, do_replace, is_attached, undo_replace,
		  no_memory_or_copy);
	EXPECT_LE(1U, self->failed);
}

static int do_detach(struct _test_data_fail_nth *self)
{
	return set_eventfd(&self->dev, 0, -1);
}

static void undo_detach(struct __test_metadata *_metadata,
			struct _test_data_fail_nth *self)
{
	is_detached(_metadata, self);
	EXPECT_EQ(0, do_attach(self));
}

TEST_F(fail_nth, detach)
{
	ASSERT_EQ(0, do_attach(self));
	fail_each(_metadata, self, do_detach, is_attached, undo_detach,
		  no_memory_or_copy);
	EXPECT_LE(1U, self->failed);
}

static int do_mask(struct _test_data_fail_nth *self)
{
	return set_mask(&self->dev, 0, 1);
}

static int do_unmask(struct _test_data_fail_nth *self)
{
	return set_mask(&self->dev, 0, 0);
}

static void is_masked(struct __test_metadata *_metadata,
		      struct _test_data_fail_nth *self)
{
	EXPECT_EQ(0, uio_msix_fire(&self->dev, 0));
	EXPECT_EQ(0, events(self->efd, 5));
}

static void undo_mask(struct __test_metadata *_metadata,
		      struct _test_data_fail_nth *self)
{
	is_masked(_metadata, self);
	EXPECT_EQ(0, do_unmask(self));
	EXPECT_EQ(1, events(self->efd, EVENT_MS));
}

static void undo_unmask(struct __test_metadata *_metadata,
			struct _test_data_fail_nth *self)
{
	events(self->efd, QUIET_MS);
	fires(_metadata, self, self->efd);
	EXPECT_EQ(0, do_mask(self));
}

TEST_F(fail_nth, mask)
{
	ASSERT_EQ(0, do_attach(self));
	fail_each(_metadata, self, do_mask, is_attached, undo_mask,
		  no_memory_or_copy);
	EXPECT_LE(1U, self->failed);
}

TEST_F(fail_nth, unmask)
{
	ASSERT_EQ(0, do_attach(self));
	ASSERT_EQ(0, do_mask(self));
	fail_each(_metadata, self, do_unmask, is_masked, undo_unmask,
		  no_memory_or_copy);
	EXPECT_LE(1U, self->failed);
}

static void *mapped;

static int do_mmap(struct _test_data_fail_nth *self)
{
	mapped = uio_msix_map(&self->dev, 0);
	return mapped == MAP_FAILED ? -errno : 0;
}

static void undo_mmap(struct __test_metadata *_metadata,
		      struct _test_data_fail_nth *self)
{
	reg_read(mapped, 0);
	EXPECT_EQ(0, munmap(mapped, self->dev.maps[0].size));
}

static void is_unmapped(struct __test_metadata *_metadata,
			struct _test_data_fail_nth *self)
{
	FILE *f = fopen("/proc/self/maps", "re");
	char line[512];
	int count = 0;

	while (f && fgets(line, sizeof(line), f))
		count += !!strstr(line, self->dev.path);
	if (f)
		fclose(f);
	EXPECT_EQ(self->dev.regs ? 1 : 0, count);
}

TEST_F(fail_nth, mmap)
{
	if (!self->dev.num_maps)
		SKIP(return, "no BAR to map");
	fail_each(_metadata, self, do_mmap, is_unmapped, undo_mmap, no_memory);
	EXPECT_LE(1U, self->failed);
}

static int do_fault(struct _test_data_fail_nth *self)
{
	(void)self;
	reg_read(mapped, 0);
	return 0;
}

/* Elsewhere each time, for the page tables to be allocated. */
static void undo_fault(struct __test_metadata *_metadata,
		       struct _test_data_fail_nth *self)
{
	static uint64_t at = 0x100000000000;
	size_t size = self->dev.maps[0].size;

	if (mapped)
		EXPECT_EQ(0, munmap(mapped, size));
	at += 1ULL << 39;
	mapped = mmap((void *)(uintptr_t)at, size, PROT_READ, MAP_SHARED | MAP_FIXED,
		      self->dev.fd, 0);
	EXPECT_TRUE(mapped != MAP_FAILED);
}

/* The kernel tries again by itself, as long as it takes. */
TEST_F(fail_nth, fault)
{
	if (!self->dev.num_maps)
		SKIP(return, "no BAR to map");
	if (sizeof(long) < 8)
		SKIP(return, "no room for page tables of their own");
	undo_fault(_metadata, self);
	fail_each(_metadata, self, do_fault, nothing, undo_fault, no_memory);
	EXPECT_LT(1U, self->nth);
}

int main(int argc, char **argv)
{
	bdf = take();
	return test_harness_run(argc, argv);
}
