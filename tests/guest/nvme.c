// SPDX-License-Identifier: GPL-2.0-only
/*
 * A drive that is driven from here and interrupts by itself: a completion queue
 * per vector, and a block of the disk for each interrupt. UIO_MSIX_DEV is an
 * NVMe drive whose every sector begins with its number, as boot.sh makes it.
 */
#include <sys/wait.h>

#include "kselftest_harness.h"
#include "nvme.h"

#define ROUNDS	500
#define SECTORS	2048

static const char *bdf;

FIXTURE(nvme) {
	struct uio_msix dev;
	struct nvme nvme;
	int efds[NVME_QUEUES + 1];
	int queues;
	uint64_t *block;
	uint64_t phys;
};

FIXTURE_SETUP(nvme)
{
	int i;

	ASSERT_NE(NULL, bdf);
	ASSERT_EQ(0, pci_bind(bdf, "uio_msix"));
	ASSERT_EQ(0, uio_msix_find(&self->dev, bdf));
	ASSERT_EQ(0, uio_msix_open(&self->dev));
	ASSERT_EQ(0, nvme_alloc(&self->nvme));
	self->block = nvme_page(&self->nvme, &self->phys);
	ASSERT_EQ(0, nvme_start(&self->nvme, &self->dev));

	self->queues = self->dev.num_vectors - 1;
	if (self->queues > NVME_QUEUES)
		self->queues = NVME_QUEUES;
	ASSERT_LE(2, self->queues);
	for (i = 0; i <= self->queues; i++) {
		self->efds[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
		ASSERT_EQ(0, set_eventfd(&self->dev, i, self->efds[i]));
		if (i)
			ASSERT_EQ(0, nvme_create(&self->nvme, i, i));
	}
	/* Those of the admin queue, which nobody waited for. */
	ASSERT_LT(0, events(self->efds[0], EVENT_MS));
}

FIXTURE_TEARDOWN(nvme)
{
	munmap(self->nvme.bar, self->dev.maps[0].size);
	uio_msix_close(&self->dev);
}

TEST_F_TIMEOUT(nvme, identify_by_interrupt, 600)
{
	struct nvme_command cmd = { .opcode = NVME_IDENTIFY,
				    .prp1 = self->phys, .arg = { 1 } };

	nvme_submit(&self->nvme, 0, &cmd);
	/* The last of those that nobody waited for may come only now. */
	do {
		ASSERT_LT(0, events(self->efds[0], EVENT_MS));
	} while (!nvme_completed(&self->nvme, 0, 0));
	EXPECT_EQ(0, nvme_reap(&self->nvme, 0));
	EXPECT_EQ(get_u64(pci(bdf, "vendor")), self->block[0] & 0xffff);
}

TEST_F_TIMEOUT(nvme, each_queue_by_its_own_vector, 600)
{
	int round, q, i;

	for (round = 0; round < ROUNDS; round++) {
		q = 1 + round % self->queues;
		self->block[0] = ~0ull;
		nvme_read(&self->nvme, q, round * 7 % SECTORS, self->phys);
		ASSERT_EQ(1, events(self->efds[q], EVENT_MS));
		ASSERT_EQ(0, nvme_reap(&self->nvme, q));
		ASSERT_EQ(round * 7ull % SECTORS, self->block[0]);
		/* But the admin queue's, of which one may come only now. */
		for (i = 1; i <= self->queues; i++)
			ASSERT_EQ(0, events(self->efds[i], 0)) {
				TH_LOG("queue %d", i);
			}
	}
}

/* What completes while the vector is masked is one event afterwards. */
TEST_F_TIMEOUT(nvme, completions_held_back, 600)
{
	int round, i, ms;

	for (round = 0; round < 20; round++) {
		ASSERT_EQ(0, set_mask(&self->dev, 1, 1));
		for (i = 0; i < 3; i++)
			nvme_read(&self->nvme, 1, i, self->phys);
		for (ms = 0; !nvme_completed(&self->nvme, 1, 2); ms++) {
			ASSERT_GT(NVME_READY_MS, ms);
			usleep(1000);
		}
		ASSERT_EQ(0, events(self->efds[1], QUIET_MS));
		ASSERT_EQ(0, set_mask(&self->dev, 1, 0));
		ASSERT_EQ(1, events(self->efds[1], EVENT_MS));
		for (i = 0; i < 3; i++)
			ASSERT_EQ(0, nvme_reap(&self->nvme, 1));
	}
}

/* The one eventfd or the other has it, whenever the interrupt comes. */
TEST_F_TIMEOUT(nvme, replaced_while_reading, 600)
{
	int round, got, ms, fds[2];

	fds[0] = self->efds[1];
	fds[1] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	for (round = 0; round < ROUNDS; round++) {
		nvme_read(&self->nvme, 1, round % SECTORS, self->phys);
		ASSERT_EQ(0, set_eventfd(&self->dev, 1, fds[(round + 1) % 2]));
		for (got = 0, ms = 0; !got; ms++) {
			ASSERT_GT(EVENT_MS, ms);
			got = events(fds[0], 0) + events(fds[1], ms > 0);
		}
		ASSERT_EQ(1, got);
		ASSERT_EQ(0, nvme_reap(&self->nvme, 1));
		/* The next is the new one's. */
		nvme_read(&self->nvme, 1, round % SECTORS, self->phys);
		ASSERT_EQ(1, events(fds[(round + 1) % 2], EVENT_MS));
		ASSERT_EQ(0, nvme_reap(&self->nvme, 1));
		ASSERT_EQ(0, events(fds[round % 2], 0));
	}
}

/* Reads that were on their way when it was closed are not of the next user. */
TEST_F_TIMEOUT(nvme, nothing_after_close, 600)
{
	int round, i;

	for (round = 0; round < 10; round++) {
		for (i = 0; i < NVME_SLOTS / 2; i++)
			nvme_read(&self->nvme, 1, i, self->phys);
		munmap(self->nvme.bar, self->dev.maps[0].size);
		uio_msix_close(&self->dev);
		self->block[0] = ~0ull;
		usleep(QUIET_MS * 1000);
		ASSERT_EQ(~0ull, self->block[0]);

		ASSERT_EQ(0, uio_msix_open(&self->dev));
		memset(self->nvme.queues, 0, sizeof(self->nvme.queues));
		self->nvme.used = 1;
		ASSERT_EQ(0, nvme_start(&self->nvme, &self->dev));
		ASSERT_EQ(0, set_eventfd(&self->dev, 1, self->efds[1]));
		events(self->efds[1], 0);
		ASSERT_EQ(0, nvme_create(&self->nvme, 1, 1));
		nvme_read(&self->nvme, 1, round, self->phys);
		ASSERT_EQ(1, events(self->efds[1], EVENT_MS));
		ASSERT_EQ(0, nvme_reap(&self->nvme, 1));
		ASSERT_EQ((uint64_t)round, self->block[0]);
	}
}

/* Killed in the middle of it, masked: the kernel's driver reads the drive after it. */
TEST_F_TIMEOUT(nvme, given_back_to_its_driver, 600)
{
	static _Alignas(4096) char buf[4096];
	glob_t found;
	pid_t pid;
	int i, fd;

	pid = fork();
	if (!pid) {
		set_mask(&self->dev, 1, 1);
		for (i = 0; i < NVME_SLOTS / 2; i++)
			nvme_read(&self->nvme, 1, i, self->phys);
		raise(SIGKILL);
	}
	waitpid(pid, NULL, 0);
	munmap(self->nvme.bar, self->dev.maps[0].size);
	uio_msix_close(&self->dev);
	ASSERT_EQ(0, pci_bind(bdf, "nvme"));
	for (i = 0; i < EVENT_MS / 10; i++) {
		if (!glob(pci(bdf, "nvme/nvme*/nvme*n1"), 0, NULL, &found))
			break;
		usleep(10000);
	}
	ASSERT_GT(EVENT_MS / 10, i);
	fd = open(path("/dev/%s", strrchr(found.gl_pathv[0], '/') + 1),
		  O_RDONLY | O_DIRECT | O_CLOEXEC);
	globfree(&found);
	for (i = 0; i < 64; i++) {
		ASSERT_EQ((ssize_t)sizeof(buf), pread(fd, buf, sizeof(buf), i * 4096));
		EXPECT_EQ(i * 8, *(int64_t *)buf);
	}
	close(fd);
	ASSERT_EQ(0, pci_bind(bdf, "uio_msix"));
}

int main(int argc, char **argv)
{
	bdf = getenv("UIO_MSIX_DEV");
	return test_harness_run(argc, argv);
}
