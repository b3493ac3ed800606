// SPDX-License-Identifier: GPL-2.0-only
/*
 * Write-combining: what the kselftests cannot see, which is the page tables (by
 * tests/modules/pte), and what they have no time for. UIO_MSIX_DEV is a device
 * with a prefetchable BAR of two pages or more.
 */
#include <pthread.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "kselftest_harness.h"
#include "uio_msix_utils.h"

#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	900
#define PTE		"/sys/kernel/debug/pte"
#define FAILSLAB	"/sys/kernel/debug/failslab/"
#define TOGGLES		2000
#define ROUNDS		30
#define MAX_POINTS	1000

static const char *bdf;

FIXTURE(wc) {
	struct uio_msix dev;
	int map;
	uint32_t *p;
	size_t size;
};

static int open_and_map(FIXTURE_DATA(wc) *self)
{
	if (pci_bind(bdf, "uio_msix") || uio_msix_find(&self->dev, bdf) ||
	    uio_msix_open(&self->dev))
		return -1;
	for (self->map = 0; self->map < self->dev.num_maps; self->map++)
		if (can_wc(&self->dev, self->map))
			break;
	if (self->map == self->dev.num_maps)
		return -1;
	self->size = self->dev.maps[self->map].size;
	self->p = uio_msix_map(&self->dev, self->map);
	return self->p == MAP_FAILED ? -1 : 0;
}

static void unmap_and_close(FIXTURE_DATA(wc) *self)
{
	munmap(self->p, self->size);
	uio_msix_close(&self->dev);
}

FIXTURE_SETUP(wc)
{
	ASSERT_NE(NULL, bdf);
	ASSERT_EQ(0, open_and_map(self));
}

FIXTURE_TEARDOWN(wc)
{
	unmap_and_close(self);
}

/* How the page at @p is mapped, "" if it is not. */
static const char *mapped(void *p)
{
	static char kind[64];

	if (put(PTE, path("0x%lx", (unsigned long)p)))
		return "";
	return get(PTE, kind);
}

/* The same, once it has been read. */
static const char *faulted(void *p)
{
	reg_read(p, 0);
	return mapped(p);
}

TEST_F(wc, page_tables)
{
	uint32_t *q = uio_msix_map(&self->dev, self->map), *other = MAP_FAILED;
	void *last = (char *)self->p + self->size - getpagesize();
	int i;

	for (i = 0; i < self->dev.num_maps; i++)
		if (i != self->map)
			other = uio_msix_map(&self->dev, i);
	if (other != MAP_FAILED)
		EXPECT_STREQ("uc", faulted(other));
	EXPECT_STREQ("", mapped(self->p));
	EXPECT_STREQ("uc", faulted(self->p));
	EXPECT_STREQ("uc", faulted(last));
	EXPECT_STREQ("uc", faulted(q));

	ASSERT_EQ(0, set_wc(&self->dev, self->map, 1));
	EXPECT_STREQ("", mapped(self->p));
	EXPECT_STREQ("", mapped(last));
	EXPECT_STREQ("", mapped(q));
	EXPECT_STREQ("wc", faulted(self->p));
	EXPECT_STREQ("wc", faulted(last));
	EXPECT_STREQ("wc", faulted(q));
	munmap(q, self->size);
	q = uio_msix_map(&self->dev, self->map);
	EXPECT_STREQ("wc", faulted(q));
	if (other != MAP_FAILED) {
		EXPECT_STREQ("uc", mapped(other));
		munmap(other, getpagesize());
	}

	ASSERT_EQ(0, set_wc(&self->dev, self->map, 0));
	EXPECT_STREQ("", mapped(q));
	EXPECT_STREQ("uc", faulted(self->p));
	EXPECT_STREQ("uc", faulted(last));
	EXPECT_STREQ("uc", faulted(q));
	munmap(q, self->size);

	/* The next session begins without. */
	ASSERT_EQ(0, set_wc(&self->dev, self->map, 1));
	EXPECT_STREQ("wc", faulted(self->p));
	unmap_and_close(self);
	ASSERT_EQ(0, open_and_map(self));
	EXPECT_STREQ("uc", faulted(self->p));
}

static bool stop;

static void *stores(void *arg)
{
	FIXTURE_DATA(wc) *self = arg;
	size_t i;

	for (i = 0; !__atomic_load_n(&stop, __ATOMIC_RELAXED); i += 64)
		reg_write(self->p, i % self->size, 0);
	return NULL;
}

TEST_F(wc, changed_under_stores)
{
	pthread_t threads[2];
	int i;

	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, pthread_create(threads + i, NULL, stores, self));
	for (i = 0; i < TOGGLES; i++) {
		ASSERT_EQ(0, set_wc(&self->dev, self->map, i & 1));
		if (i % 8 == 0)
			usleep(100);
	}
	stop = true;
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	EXPECT_STREQ("wc", faulted(self->p));
}

static void sigbus_exit(int sig)
{
	_exit(sig == SIGBUS ? 0 : 1);
}

/* In turn by unbind, reset and a kill, ever later. */
TEST_F(wc, ended_under_stores)
{
	bool killed, reset;
	int i, status;
	pid_t pid;

	for (i = 0; i < ROUNDS; i++) {
		ASSERT_EQ(0, set_wc(&self->dev, self->map, 1));
		pid = fork();
		if (!pid) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			signal(SIGBUS, sigbus_exit);
			stores(self);
		}
		usleep(1000 * i);
		killed = i % 3 == 0;
		reset = i % 3 == 1 && pci_has(bdf, "reset");
		if (killed) {
			unmap_and_close(self);
			kill(pid, SIGKILL);
		} else if (reset) {
			ASSERT_EQ(0, put(pci(bdf, "reset"), "1"));
		} else {
			ASSERT_EQ(0, pci_bind(bdf, ""));
		}
		ASSERT_EQ(pid, waitpid(pid, &status, 0));
		EXPECT_EQ(killed ? SIGKILL : 0, status);
		EXPECT_EQ(0, listed_wc(&self->dev, self->map));
		if (!killed)
			unmap_and_close(self);
		ASSERT_EQ(0, open_and_map(self));
	}
}

/* Each allocation and user copy fails once: then all is as it was. */
TEST_F(wc, no_memory)
{
	int fd = open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC);
	int nth, ret, failed = 0;
	char left[16] = "";

	if (access(FAILSLAB, F_OK))
		SKIP(return, "no CONFIG_FAILSLAB");
	ASSERT_EQ(0, put(FAILSLAB "ignore-gfp-wait", "N"));
	/* Until there is no such point any more. */
	for (nth = 1; !atoi(left); nth++) {
		ASSERT_GT(MAX_POINTS, nth);
		snprintf(left, sizeof(left), "%d", nth);
		ASSERT_LT(0, pwrite(fd, left, strlen(left), 0));
		ret = set_wc(&self->dev, self->map, 1);
		memset(left, 0, sizeof(left));
		pread(fd, left, sizeof(left) - 1, 0);
		/* It may fail itself. */
		while (pwrite(fd, "0", 1, 0) != 1)
			;
		if (ret) {
			ASSERT_TRUE(ret == -ENOMEM || ret == -EFAULT);
			failed += ret == -ENOMEM;
			EXPECT_EQ(0, listed_wc(&self->dev, self->map));
			EXPECT_STREQ("uc", faulted(self->p));
		} else {
			EXPECT_STREQ("wc", faulted(self->p));
			ASSERT_EQ(0, set_wc(&self->dev, self->map, 0));
		}
	}
	close(fd);
	EXPECT_EQ(!access(PAT_LIST, F_OK), failed > 0);
}

/*
 * x86: two others have mapped a page each since before the bind, as different
 * types, and what was mapped stays as it was.
 */
TEST_F(wc, others_disagree)
{
	int bar = self->dev.maps[self->map].name[3], page = getpagesize();
	int fd[2], i;
	void *other[2];

	if (access(PAT_LIST, F_OK))
		SKIP(return, "only x86 has a list of types");
	ASSERT_EQ(0, pci_bind(bdf, ""));
	unmap_and_close(self);
	for (i = 0; i < 2; i++) {
		fd[i] = open(pci(bdf, path("resource%c%s", bar, i ? "_wc" : "")),
			     O_RDWR | O_CLOEXEC);
		other[i] = mmap(NULL, page, PROT_READ, MAP_SHARED, fd[i], i * page);
		ASSERT_NE(MAP_FAILED, other[i]);
	}
	ASSERT_EQ(0, open_and_map(self));
	EXPECT_STREQ("uc", faulted(self->p));
	EXPECT_EQ(-EBUSY, set_wc(&self->dev, self->map, 1));
	EXPECT_STREQ("uc", faulted(self->p));

	/* With one of them it has the type of that one. */
	munmap(other[1], page);
	close(fd[1]);
	EXPECT_EQ(0, set_wc(&self->dev, self->map, 1));
	EXPECT_EQ(0, listed_wc(&self->dev, self->map));
	EXPECT_STREQ("uc", faulted(self->p));
	EXPECT_EQ(0, set_wc(&self->dev, self->map, 0));
	munmap(other[0], page);
	close(fd[0]);
	EXPECT_EQ(0, set_wc(&self->dev, self->map, 1));
	EXPECT_EQ(1, listed_wc(&self->dev, self->map));
	EXPECT_STREQ("wc", faulted(self->p));
}

int main(int argc, char **argv)
{
	bdf = take();
	return test_harness_run(argc, argv);
}
