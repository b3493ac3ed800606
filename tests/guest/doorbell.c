// SPDX-License-Identifier: GPL-2.0-only
/*
 * A device whose interrupts come from outside of the guest: QEMU's
 * ivshmem-doorbell, with tests/ivshmem.py at the other end. UIO_MSIX_DEV is it.
 */
#include "kselftest_harness.h"
#include "uio_msix_utils.h"

#define ROUNDS		1000
#define VECTORS		8
#define IVSHMEM_ID	0x8	/* IVPosition: who we are */
#define IVSHMEM_RING	0xc	/* Doorbell: whom to interrupt, by which vector */
#define OURSELVES	0
#define ECHO		1	/* rings back, by the same vector */
#define STORM		2	/* rings all of ours again and again */
#define STORM_MS	60000

static const char *bdf;

FIXTURE(doorbell) {
	struct uio_msix dev;
	uint8_t *bar;
	uint32_t *regs;
	uint32_t *shm;		/* first word: storms that are over */
	int efds[VECTORS];
};

static int doorbell_open(FIXTURE_DATA(doorbell) *self)
{
	int i;

	if (uio_msix_open(&self->dev))
		return -1;
	for (i = 0; i < self->dev.num_maps; i++) {
		if (!strcmp(self->dev.maps[i].name, "BAR0")) {
			self->bar = uio_msix_map(&self->dev, i);
			self->regs = (void *)(self->bar +
					      self->dev.maps[i].offset);
		} else if (!strcmp(self->dev.maps[i].name, "BAR2")) {
			self->shm = uio_msix_map(&self->dev, i);
		}
	}
	if (!self->regs || self->bar == MAP_FAILED ||
	    !self->shm || self->shm == MAP_FAILED)
		return -1;
	for (i = 0; i < VECTORS; i++)
		if (set_eventfd(&self->dev, i, self->efds[i]))
			return -1;
	return 0;
}

static void doorbell_close(FIXTURE_DATA(doorbell) *self)
{
	int i;

	for (i = 0; i < self->dev.num_maps; i++) {
		if (!strcmp(self->dev.maps[i].name, "BAR0"))
			munmap(self->bar, self->dev.maps[i].size);
		else if (!strcmp(self->dev.maps[i].name, "BAR2"))
			munmap(self->shm, self->dev.maps[i].size);
	}
	uio_msix_close(&self->dev);
}

static void ring(FIXTURE_DATA(doorbell) *self, int whom, int vector)
{
	reg_write(self->regs, IVSHMEM_RING, whom << 16 | vector);
}

FIXTURE_SETUP(doorbell)
{
	int i;

	ASSERT_NE(NULL, bdf);
	ASSERT_EQ(0, pci_bind(bdf, "uio_msix"));
	ASSERT_EQ(0, uio_msix_find(&self->dev, bdf));
	for (i = 0; i < VECTORS; i++)
		self->efds[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	ASSERT_EQ(0, doorbell_open(self));
	ASSERT_EQ(VECTORS, (int)self->dev.num_vectors);
	ASSERT_EQ(OURSELVES, (int)reg_read(self->regs, IVSHMEM_ID));
}

FIXTURE_TEARDOWN(doorbell)
{
	doorbell_close(self);
}

TEST_F_TIMEOUT(doorbell, each_vector_from_outside, 600)
{
	int round, i;

	for (round = 0; round < ROUNDS; round++) {
		ring(self, ECHO, round % VECTORS);
		ASSERT_EQ(1, events(self->efds[round % VECTORS], EVENT_MS));
		for (i = 0; i < VECTORS; i++)
			ASSERT_EQ(0, events(self->efds[i], 0));
	}
}

TEST_F_TIMEOUT(doorbell, held_back, 600)
{
	int round, i;

	for (round = 0; round < 20; round++) {
		ASSERT_EQ(0, set_mask(&self->dev, 3, 1));
		for (i = 0; i < 3; i++)
			ring(self, ECHO, 3);
		/* They come in order: this is the last. */
		ring(self, ECHO, 4);
		ASSERT_EQ(1, events(self->efds[4], EVENT_MS));
		ASSERT_EQ(0, events(self->efds[3], QUIET_MS));
		ASSERT_EQ(0, set_mask(&self->dev, 3, 0));
		ASSERT_EQ(1, events(self->efds[3], EVENT_MS));
	}
}

TEST_F_TIMEOUT(doorbell, replaced, 600)
{
	int round, got, ms, fds[2];

	fds[0] = self->efds[5];
	fds[1] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	for (round = 0; round < ROUNDS; round++) {
		ring(self, ECHO, 5);
		ASSERT_EQ(0, set_eventfd(&self->dev, 5, fds[(round + 1) % 2]));
		for (got = 0, ms = 0; !got; ms++) {
			ASSERT_GT(EVENT_MS, ms);
			got = events(fds[0], 0) + events(fds[1], ms > 0);
		}
		ASSERT_EQ(1, got);
		/* The next is the new one's. */
		ring(self, ECHO, 5);
		ASSERT_EQ(1, events(fds[(round + 1) % 2], EVENT_MS));
		ASSERT_EQ(0, events(fds[round % 2], 0));
	}
}

TEST_F_TIMEOUT(doorbell, detached, 600)
{
	int round;

	for (round = 0; round < 20; round++) {
		ASSERT_EQ(0, set_eventfd(&self->dev, 6, -1));
		ring(self, ECHO, 6);
		ring(self, ECHO, 7);
		ASSERT_EQ(1, events(self->efds[7], EVENT_MS));
		ASSERT_EQ(0, events(self->efds[6], QUIET_MS));
		ASSERT_EQ(0, set_eventfd(&self->dev, 6, self->efds[6]));
		/* What came meanwhile may have been kept by the device. */
		events(self->efds[6], QUIET_MS);
		ring(self, ECHO, 6);
		ASSERT_EQ(1, events(self->efds[6], EVENT_MS));
	}
}

/* Who rings does not know that nobody is there any more, or somebody else. */
TEST_F_TIMEOUT(doorbell, close_and_unbind_in_a_storm, 600)
{
	uint32_t storms = __atomic_load_n(self->shm, __ATOMIC_ACQUIRE);
	int round, i, ms;

	for (round = 0; round < 10; round++) {
		ring(self, STORM, 0);
		for (i = 0; i < VECTORS; i++)
			ASSERT_LT(0, events(self->efds[i], EVENT_MS));
		if (round % 2)
			ASSERT_EQ(0, pci_bind(bdf, ""));
		doorbell_close(self);
		for (i = 0; i < VECTORS; i++)
			events(self->efds[i], 0);
		for (i = 0; i < VECTORS; i++)
			ASSERT_EQ(0, events(self->efds[i], QUIET_MS));
		if (round % 2) {
			ASSERT_EQ(0, pci_bind(bdf, "uio_msix"));
			ASSERT_EQ(0, uio_msix_find(&self->dev, bdf));
		}
		ASSERT_EQ(0, doorbell_open(self));
		for (ms = 0; __atomic_load_n(self->shm, __ATOMIC_ACQUIRE) ==
			     storms; ms++) {
			ASSERT_GT(STORM_MS, ms);
			usleep(1000);
		}
		storms++;
		/* The last of it. */
		ring(self, ECHO, 0);
		ASSERT_LT(0, events(self->efds[0], EVENT_MS));
	}
}

int main(int argc, char **argv)
{
	bdf = getenv("UIO_MSIX_DEV");
	return test_harness_run(argc, argv);
}
