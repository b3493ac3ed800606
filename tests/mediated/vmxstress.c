// SPDX-License-Identifier: GPL-2.0-only
/*
 * What is done to a session of uio_vmxnet3 from outside, in traffic both ways:
 *
 *	vmxstress BDF deadlock SECONDS	its memory is written, mapped and set at once
 *	vmxstress BDF MODE ROUNDS	kill, unbind, reset, remove, pull, truncate, punch
 *	vmxstress BDF pinning ROUNDS	a SET_MEMORY that takes long, and gives up, in
 *					each of the ways; beyond that in the quick ones
 *
 *	UIO_VMXNET3_PULL='command'	for "pull": the device goes
 *	UIO_VMXNET3_PLUG='command'	and comes back
 *
 * Prints the counts; exit code 1 if something failed or hangs. The parent is root
 * and does not open the device; the children may nothing else.
 */
#include <sys/resource.h>
#include <sys/stat.h>

#include "vmxguest.h"

#define HANG_MS		30000	/* without progress */
#define SETTERS		100	/* at once */
#define ADD(x)		__atomic_add_fetch(&(x), 1, __ATOMIC_RELAXED)

/* What the processes share. */
static struct shared {
	unsigned long submits, sent, writes, maps, sets, signals;
	unsigned long tries[SETTERS];
	pid_t setters[SETTERS];
	bool started;
	char reason[128];
} *sh;

static struct vmx vmx;

static _Noreturn void fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(sh->reason, sizeof(sh->reason), fmt, ap);
	va_end(ap);
	_exit(1);
}

/* What the threads of @pid wait for, if they are stuck. */
static void print_tasks(pid_t pid)
{
	char line[512];
	glob_t found;
	size_t i;
	FILE *f;

	if (glob(path("/proc/%d/task/*", pid), 0, NULL, &found))
		return;
	for (i = 0; i < found.gl_pathc; i++) {
		f = fopen(path("%s/stat", found.gl_pathv[i]), "re");
		if (f && fgets(line, 64, f))
			printf("# %s", line);
		f = fopen(path("%s/stack", found.gl_pathv[i]), "re");
		while (f && fgets(line, sizeof(line), f))
			printf("#   %s", line);
		printf("\n");
	}
}

static void frames_from_the_peer(int n)
{
	static const char payload[1400];

	while (wire.fd >= 0 && n--)
		send(wire.fd, payload, rnd(sizeof(payload)), MSG_DONTWAIT);
}

/* The exit status of a child, for which it has not for ever. */
static int reap(pid_t pid, const char *what)
{
	unsigned long end = now_ms() + HANG_MS;
	int status;

	while (waitpid(pid, &status, WNOHANG) != pid) {
		if (now_ms() > end) {
			printf("# %s: process %d hangs\n", what, pid);
			print_tasks(pid);
			exit(1);
		}
		frames_from_the_peer(1);
		usleep(1000);
	}
	return status;
}

/* Memory, some buffers to receive into, and frames until the session ends. */
static void traffic(const char *mode)
{
	struct uio_vmxnet3_submit rx = { .queue = RX, .count = 15 }, tx = { .count = 15 };
	unsigned int rounds = 0, posted = 0, len = 0;
	bool truncates = !strcmp(mode, "truncate"), own = truncates || !strcmp(mode, "punch");
	bool huge = rnd(2);
	int ret, i;

	ret = drop_privileges();
	if (!ret)
		ret = vmx_open(&vmx);
	if (!ret && huge)
		ret = vmx_memory(&vmx, HUGE_PAGE, MFD_HUGETLB);
	if (!ret && !huge)
		ret = vmx_memory(&vmx, 64 * 4096, 0);
	if (!ret)
		ret = vmx_start(&vmx, 1500, UIO_VMXNET3_PROMISC);
	if (ret)
		fail("no session: %s", strerror(-ret));
	vmx_state(&vmx);
	memset(vmx.mem, 2, vmx.len);
	vmx_unmap(&vmx);
	len = vmx.info.min_len[RX] > 2048 ? vmx.info.min_len[RX] : 2048;
	for (i = 0; i < 15; i++) {
		tx.request[i].offset = i * 4096;
		tx.request[i].len = 60 + rnd(1400);
		rx.request[i].offset = (i + 20) * 4096;
		rx.request[i].len = len;
	}
	for (;;) {
		ret = vmx_submit(&vmx, &tx);
		if (ret > 0)
			ADD(sh->submits);
		while (vmx_done(&vmx, TX, 0, NULL) >= 0)
			ADD(sh->sent);
		while (vmx_done(&vmx, RX, 0, NULL) >= 0)
			posted--;
		if (ret > 0 && posted < 100) {
			ret = vmx_submit(&vmx, &rx);
			posted += ret > 0 ? ret : 0;
		}
		if (ret == -ENODEV)
			_exit(0);
		if (ret < 0 && ret != -ENOSPC)
			fail("SUBMIT: %s", strerror(-ret));
		__atomic_store_n(&sh->started, true, __ATOMIC_RELEASE);
		if (!own || ++rounds % 5)
			continue;

		/* Behind the device's back: what it reaches stays there. */
		if (rounds == 5 && truncates)
			ret = ftruncate(vmx.memfd, 0);
		else if (rounds == 5)
			ret = fallocate(vmx.memfd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
					0, vmx.len);
		if (ret < 0)
			fail("%s: %s", mode, strerror(errno));
		if (rounds < 30)
			continue;
		if (vmx_stop(&vmx) || vmx_set_memory(&vmx, -1, 0, 0) ||
		    ftruncate(vmx.memfd, vmx.len) ||
		    vmx_set_memory(&vmx, vmx.memfd, 0, vmx.len) ||
		    vmx_start(&vmx, 1500, 0))
			fail("%s: not again: %s", mode, strerror(errno));
		_exit(0);
	}
}

static int command(const char *name)
{
	const char *line = getenv(name);

	if (!line)
		errx(2, "set %s", name);
	return system(line);
}

/* The device goes, or its session. */
static int end_session(const char *mode, pid_t pid)
{
	if (!strcmp(mode, "kill"))
		return kill(pid, SIGKILL);
	if (!strcmp(mode, "unbind"))
		return put(PCI_DRIVERS "uio_vmxnet3/unbind", bdf);
	if (!strcmp(mode, "pull"))
		return command("UIO_VMXNET3_PULL") ?: command("UIO_VMXNET3_PLUG");
	if (!strcmp(mode, "reset"))
		return put(pci(bdf, "reset"), "1");
	if (strcmp(mode, "remove"))
		return 0;
	put("/sys/bus/pci/drivers_autoprobe", "0");
	return put(pci(bdf, "remove"), "1") ?: put("/sys/bus/pci/rescan", "1");
}

static int rounds(const char *mode, int count)
{
	unsigned long before;
	char driver[64];
	int round, status, ret = 0, tries;
	pid_t pid;

	for (round = 0; round < count && !ret; round++) {
		/* One that was plugged may not be there yet, or get another driver. */
		for (tries = 0; (ret = vmx_hand_over(&vmx)) && tries < 300; tries++)
			usleep(100000);
		if (ret) {
			printf("# round %d: not bound: %s\n", round, strerror(-ret));
			break;
		}
		sh->started = false;
		before = sh->submits;
		seed += round;
		pid = fork();
		if (!pid) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			traffic(mode);
		}
		for (tries = 0; !__atomic_load_n(&sh->started, __ATOMIC_ACQUIRE) &&
		     !sh->reason[0] && tries < HANG_MS; tries++)
			usleep(1000);
		for (tries = rnd(10); tries >= 0; tries--) {
			frames_from_the_peer(10);
			usleep(rnd(3000));
		}
		ret = end_session(mode, pid);
		if (ret)
			printf("# round %d: %s: %d\n", round, mode, ret);
		status = reap(pid, mode);
		if (status && (strcmp(mode, "kill") || status != SIGKILL)) {
			printf("# round %d: status %#x: %s\n", round, status, sh->reason);
			ret = 1;
		}
		if (before == sh->submits) {
			printf("# round %d: no traffic\n", round);
			ret = 1;
		}
		if (strcmp(pci_driver(bdf, driver), "vmxnet3") && pci_master(bdf)) {
			printf("# round %d: bus master is on\n", round);
			ret = 1;
		}
	}
	put("/sys/bus/pci/drivers_autoprobe", "1");
	printf("# %s: %d rounds, %lu frames sent\n", mode, round, sh->sent);
	return ret;
}

/*
 * On the memory, three that take locks of it or of the process: write() takes that of
 * the inode, then that of the address space if it has to fault the source in;
 * mmap() of the device that one, then info_lock; SET_MEMORY info_lock.
 */
static char *source;	/* comes and goes */

static void *writer(void *unused)
{
	long page = getpagesize();

	for (;;) {
		if (pwrite(vmx.memfd, source, page, rnd(16) * page) < 0 && errno != EFAULT)
			fail("write: %m");
		ADD(sh->writes);
	}
	return unused;
}

static void *mapper(void *unused)
{
	long page = getpagesize();
	char *p;

	for (;;) {
		mmap(source, page, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		p = mmap(NULL, vmx.uio.maps[TX].size, PROT_READ, MAP_SHARED, vmx.uio.fd, 0);
		if (p == MAP_FAILED)
			fail("mmap: %m");
		munmap(p, vmx.uio.maps[TX].size);
		p = mmap(NULL, 16 * page, PROT_READ | PROT_WRITE, MAP_SHARED, vmx.memfd, 0);
		p[rnd(16) * page] = 1;
		munmap(p, 16 * page);
		ADD(sh->maps);
	}
	return unused;
}

static void *setter(void *unused)
{
	int ret;

	for (;;) {
		ret = vmx_set_memory(&vmx, vmx.memfd, 0, 16 * getpagesize());
		if (!ret)
			ret = vmx_set_memory(&vmx, -1, 0, 0);
		if (ret)
			fail("SET_MEMORY: %s", strerror(-ret));
		ADD(sh->sets);
	}
	return unused;
}

static int deadlock(int seconds)
{
	void *(*const work[])(void *) = { writer, writer, mapper, setter };
	unsigned long last[3] = { }, beat[3], end = now_ms() + seconds * 1000;
	unsigned long *counts[] = { &sh->writes, &sh->maps, &sh->sets };
	pthread_t thread;
	pid_t pid;
	size_t i;
	int ret;

	pid = fork();
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		ret = drop_privileges();
		if (!ret)
			ret = vmx_open(&vmx);
		vmx.memfd = vmx_memfd(16 * getpagesize(), 0);
		source = mmap(NULL, getpagesize(), PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (ret || vmx.memfd < 0)
			fail("no session: %s", strerror(-ret));
		for (i = 0; i < ARRAY_SIZE(work); i++)
			pthread_create(&thread, NULL, work[i], NULL);
		pause();
	}
	for (i = 0; i < 3; i++)
		beat[i] = now_ms();
	while (now_ms() < end) {
		usleep(100000);
		if (waitpid(pid, &ret, WNOHANG) == pid) {
			printf("# ends: %s\n", sh->reason);
			return 1;
		}
		for (i = 0; i < 3; i++) {
			unsigned long count = __atomic_load_n(counts[i], __ATOMIC_RELAXED);

			if (count != last[i])
				beat[i] = now_ms();
			last[i] = count;
			if (now_ms() - beat[i] > HANG_MS) {
				printf("# deadlock after %lu writes, %lu mmaps, %lu SET_MEMORYs\n",
				       sh->writes, sh->maps, sh->sets);
				print_tasks(pid);
				return 1;
			}
		}
	}
	kill(pid, SIGKILL);
	reap(pid, "deadlock");
	printf("# deadlock: none in %lu writes, %lu mmaps, %lu SET_MEMORYs\n",
	       sh->writes, sh->maps, sh->sets);
	return !sh->writes || !sh->maps || !sh->sets;
}

/*
 * Nobody waits for all the pages of a user who takes long to get them. What comes in
 * between, and what the user has of it.
 */
#define PINNED		(256ull << 20)
#define OLD		65536

static const struct way {
	const char *name;
	int status;	/* of the user; if 0, it has all pages in the end */
} ways[] = {
	{ "unbind", ENODEV << 8 },
	{ "kill", SIGKILL },
	{ "queue", ENODEV << 8 },
	{ "suspend", ENODEV << 8 },
	{ "signal", EINTR << 8 },
	{ "restart", 0 },
	{ "stop", 0 },
};

static int pinned;	/* the file */

static unsigned long long has_pages(void)
{
	struct stat st;

	return fstat(pinned, &st) ? 0 : st.st_blocks * 512ull;
}

static bool has_all(void)
{
	return has_pages() >= PINNED;
}

static bool is_pinning(void)
{
	return has_pages() > PINNED / 64;
}

static unsigned long all_tries(void)
{
	unsigned long sum = 0;
	int n;

	for (n = 0; n < SETTERS; n++)
		sum += __atomic_load_n(&sh->tries[n], __ATOMIC_RELAXED);
	return sum;
}

/* As long as something goes on. */
static bool wait_until(bool (*is)(void))
{
	unsigned long long last = 0, now;
	unsigned long end = 0;

	for (; !is(); usleep(1000)) {
		now = has_pages() + all_tries();
		if (now != last || !end)
			end = now_ms() + HANG_MS;
		else if (now_ms() > end)
			return false;
		last = now;
	}
	return true;
}

static void in_between(int sig)
{
	if (!has_all())
		ADD(sh->signals);
}

static void may_lock(rlim_t bytes)
{
	struct rlimit limit = { bytes, bytes };

	setrlimit(RLIMIT_MEMLOCK, &limit);
}

/*
 * Those who wait for the one: each gets as far as its limit, which for some is that it
 * has its memory, until the session is over.
 */
static void set_in_vain(int n)
{
	const size_t len = n % 10 ? 1 << 30 : OLD;
	int ret, file = vmx_memfd(len, 0);

	may_lock(n % 10 ? 0 : OLD);
	for (;;) {
		ret = vmx_set_memory(&vmx, file, 0, len);
		if (ret == -ENODEV)
			_exit(0);
		if (ret && ret != -ENOMEM)
			fail("setter %d: %s", n, strerror(-ret));
		ADD(sh->tries[n]);
	}
}

static bool have_tried(void)
{
	int n;

	for (n = 0; n < SETTERS; n++)
		if (!__atomic_load_n(&sh->tries[n], __ATOMIC_RELAXED))
			return false;
	return true;
}

/* They wait for the lock of the file, which who pins has: no count changes now. */
static bool are_queued(void)
{
	char state;
	FILE *f;
	int n;

	for (n = 0; n < SETTERS; n++) {
		f = fopen(path("/proc/%d/stat", sh->setters[n]), "re");
		if (!f || fscanf(f, "%*d %*s %c", &state) != 1)
			state = 0;
		if (f)
			fclose(f);
		if (state != 'D')
			return false;
	}
	return true;
}

/* After a SET_MEMORY that was interrupted everything is as it was before. */
static void as_before(void)
{
	int ret;

	if (fcntl(pinned, F_ADD_SEALS, F_SEAL_WRITE))
		fail("still pinned: %m");
	ret = vmx_start(&vmx, 1500, 0);
	if (ret || vmx_submit_one(&vmx, TX, OLD - 60, 60) != 1 ||
	    vmx_submit_one(&vmx, TX, OLD, 60) != -EINVAL)
		fail("not with the old memory: %s", strerror(-ret));
	vmx_stop(&vmx);
	may_lock(2 * OLD);
	ret = vmx_set_memory(&vmx, vmx.memfd, 0, OLD);
	if (ret)
		fail("still charged: %s", strerror(-ret));
}

static _Noreturn void pins(const char *way)
{
	struct sigaction action = { .sa_handler = in_between };
	int ret, n, status;
	pid_t pid;

	if (!strcmp(way, "restart"))
		action.sa_flags = SA_RESTART;
	sigaction(SIGUSR1, &action, NULL);
	may_lock(RLIM_INFINITY);
	drop_privileges();
	ret = vmx_open(&vmx) ?: vmx_memory(&vmx, OLD, 0);
	if (ret)
		fail("no session: %s", strerror(-ret));
	vmx_unmap(&vmx);
	for (n = 0; n < SETTERS && !strcmp(way, "queue"); n++) {
		pid = fork();
		if (!pid) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			set_in_vain(n);
		}
		sh->setters[n] = pid;
	}
	if (n && !wait_until(have_tried))
		fail("not all have tried");
	ret = vmx_set_memory(&vmx, pinned, 0, PINNED);
	while (n--)
		if (waitpid(sh->setters[n], &status, 0) < 0 || status)
			fail("setter %d: status %#x", n, status);
	if (ret == -EINTR)
		as_before();
	_exit(-ret);
}

static bool was_signalled(void)
{
	return __atomic_load_n(&sh->signals, __ATOMIC_RELAXED);
}

/* While it has pages, but not all: NULL, or what is wrong. */
static const char *come_between(const char *way, pid_t pid, unsigned long *tries)
{
	int status;
	pid_t other;

	if (!strcmp(way, "kill"))
		return kill(pid, SIGKILL) ? "kill" : NULL;
	if (!strcmp(way, "signal"))
		return kill(pid, SIGUSR1) ? "kill" : NULL;
	if (!strcmp(way, "restart"))
		return kill(pid, SIGUSR1) || !wait_until(was_signalled) ?
		       "the signal waits for all pages" : NULL;
	if (!strcmp(way, "stop")) {
		if (kill(pid, SIGSTOP) || waitpid(pid, &status, WUNTRACED) != pid ||
		    !WIFSTOPPED(status) || has_all())
			return "the stop waits for all pages";
		return kill(pid, SIGCONT) ? "kill" : NULL;
	}
	/* Its devices are suspended, for which all processes are frozen. */
	if (!strcmp(way, "suspend")) {
		status = put("/sys/power/pm_test", "devices") ?: put("/sys/power/state", "freeze");
		return put("/sys/power/pm_test", "none") || status ? "no suspend" : NULL;
	}
	if (!strcmp(way, "queue") && !wait_until(are_queued))
		return "no queue";
	*tries = all_tries();
	other = fork();
	if (!other)
		_exit(!!pci_bind(bdf, ""));
	return reap(other, "unbind") ? "no unbind" : NULL;
}

static int pinning(int count)
{
	int round, status, ret = 0;
	unsigned long tries;
	const char *wrong;
	pid_t pid;

	for (round = 0; !ret && (round < count || round < (int)ARRAY_SIZE(ways)); round++) {
		const struct way *way = &ways[round < (int)ARRAY_SIZE(ways) ? round : round % 2];

		memset(sh, 0, sizeof(*sh));
		tries = 0;
		pinned = vmx_memfd(PINNED, 0);
		ret = vmx_hand_over(&vmx);
		if (ret || pinned < 0) {
			printf("# %s: not bound, or no file: %d, %d\n", way->name, ret, pinned);
			return 1;
		}
		pid = fork();
		if (!pid) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			pins(way->name);
		}
		wrong = wait_until(is_pinning) ? come_between(way->name, pid, &tries) :
			"does not begin";
		if (!wrong && !way->status && !wait_until(has_all))
			wrong = "not restarted";
		status = reap(pid, way->name);
		if (!wrong && !strcmp(way->name, "queue") && tries != all_tries())
			wrong = "those who waited begin after the end";
		if (wrong || status != way->status || has_all() != !status) {
			printf("# %s: %s, status %#x, %s pages, %lu and %lu tries: %s\n", way->name,
			       wrong ?: "ends", status, has_all() ? "all" : "not all", tries,
			       all_tries(), sh->reason);
			ret = 1;
		}
		close(pinned);
	}
	printf("# pinning: %d rounds\n", round);
	return ret;
}

int main(int argc, char **argv)
{
	int ret;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc != 4)
		errx(2, "usage: vmxstress BDF MODE COUNT");
	bdf = argv[1];
	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	vmx_prepare(&vmx);
	if (!strcmp(argv[2], "deadlock"))
		ret = deadlock(atoi(argv[3]));
	else if (!strcmp(argv[2], "pinning"))
		ret = pinning(atoi(argv[3]));
	else
		ret = rounds(argv[2], atoi(argv[3]));
	return ret;
}
