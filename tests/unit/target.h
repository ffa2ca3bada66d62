/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A process to be tracked, for test-track and test-inject: a forked child with a shared memfd as its "guest
 * memory" that does what it is told over a socket pair, one command after the other:
 *
 *	parent --- struct command ---> child (reads, does it, answers)
 *	parent <--- struct answer ----
 *
 * Its death is the parent's: PDEATHSIG, and every wait of the parent has a deadline.
 */
#ifndef REMUS_TARGET_H
#define REMUS_TARGET_H

#ifndef _GNU_SOURCE
#error "define _GNU_SOURCE before the first #include"
#endif
#include <dirent.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "remus/bitmap.h"
#include "remus/track.h"
#include "unit.h"

#define TARGET_PAGES   2048u /* 8 MiB */
#define TARGET_WRITERS 3

enum verb {
	DO_WRITE,	  /* to page a */
	DO_READ,	  /* from page a */
	DO_KERNEL_WRITE,  /* let the kernel write to page a, by read(2) */
	DO_PUNCH,	  /* give page a back (MADV_REMOVE) */
	DO_NANOSLEEP,	  /* a ms: answer 0, errno, and b = ms really slept */
	DO_PPOLL,	  /* a ms, nothing to wait for */
	DO_READ_PIPE,	  /* one byte of the pipe */
	DO_COUNT_SIGNALS, /* ppoll until a SIGRTMIN were handled */
	DO_SPIN,	  /* compute, without system calls, until the flag in memory is set */
	DO_MASK,	  /* b = the signal mask */
	DO_UFFD,	  /* make a userfaultfd; a = 1: with handshake */
	DO_START_WRITERS,
	DO_STOP_WRITERS,
};
struct command {
	int verb;
	uint64_t a;
};
struct answer {
	int64_t result, error;
	uint64_t b;
};

struct target {
	pid_t pid;
	int socket, pipe; /* the child reads the pipe's other end */
	uint8_t *memory;  /* TARGET_PAGES pages; at the same address in the child */
	atomic_int *flag; /* shared */
};

static atomic_int target_signals, target_stop;
static uint8_t *target_memory;

static inline void target_on_signal(int number)
{
	(void)number;
	atomic_fetch_add(&target_signals, 1);
}

static inline void *target_writer(void *argument)
{
	uint64_t x = 88172645463325252u + (uintptr_t)argument * 7919;
	while (!atomic_load(&target_stop)) {
		for (int i = 0; i < 64; i++) {
			x ^= x << 13, x ^= x >> 7, x ^= x << 17;
			/* each writer has its own words: no race among them */
			size_t word = (x >> 20) % 510 / TARGET_WRITERS * TARGET_WRITERS + (uintptr_t)argument;
			((volatile uint64_t *)(target_memory + x % TARGET_PAGES * 4096))[word] = x;
		}
		nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
	}
	return NULL;
}

static inline void target_do(const struct target *t, int pipe_read, const struct command *c, struct answer *a)
{
	static pthread_t writer[TARGET_WRITERS];
	struct timespec time = {.tv_sec = (time_t)(c->a / 1000), .tv_nsec = (long)(c->a % 1000) * 1000000};
	volatile uint8_t *page = t->memory + c->a % TARGET_PAGES * 4096;
	uint64_t before = remus_now_us();
	sigset_t none;
	char byte = 0;
	int fd;

	sigemptyset(&none);
	errno = 0;
	switch (c->verb) {
	case DO_WRITE:
		page[7]++;
		break;
	case DO_READ:
		a->result = page[7];
		break;
	case DO_KERNEL_WRITE:
		fd = open("/proc/self/cmdline", O_RDONLY);
		a->result = read(fd, (void *)page, 8);
		close(fd);
		break;
	case DO_PUNCH:
		a->result = madvise((void *)page, 4096, MADV_REMOVE);
		break;
	case DO_NANOSLEEP:
		a->result = nanosleep(&time, NULL);
		break;
	case DO_PPOLL:
		a->result = ppoll(NULL, 0, &time, &none);
		break;
	case DO_READ_PIPE:
		a->result = read(pipe_read, &byte, 1);
		a->b = (uint64_t)byte;
		break;
	case DO_COUNT_SIGNALS:
		while (atomic_load(&target_signals) < (int)c->a)
			ppoll(NULL, 0, NULL, &none);
		a->result = atomic_load(&target_signals);
		break;
	case DO_SPIN:
		while (!atomic_load(t->flag))
			a->b = a->b * 6364136223846793005u + 1;
		a->b |= 1;
		break;
	case DO_MASK:
		sigprocmask(SIG_BLOCK, NULL, &none);
		memcpy(&a->b, &none, sizeof a->b);
		break;
	case DO_UFFD:
		fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | 1 /* UFFD_USER_MODE_ONLY */);
		a->result = fd;
		if (fd >= 0 && c->a)
			a->result = ioctl(fd, UFFDIO_API, &(struct uffdio_api){.api = UFFD_API}) ? -1 : fd;
		break;
	case DO_START_WRITERS:
		for (uintptr_t i = 0; i < TARGET_WRITERS; i++)
			a->result |= pthread_create(&writer[i], NULL, target_writer, (void *)i);
		break;
	case DO_STOP_WRITERS:
		atomic_store(&target_stop, 1);
		for (int i = 0; i < TARGET_WRITERS; i++)
			a->result |= pthread_join(writer[i], NULL);
		break;
	}
	a->error = a->result < 0 ? errno : 0;
	if (c->verb == DO_NANOSLEEP || c->verb == DO_PPOLL)
		a->b = (remus_now_us() - before) / 1000;
}

static inline void target_child(const struct target *t, int socket, int pipe_read)
{
	struct sigaction act = {.sa_handler = target_on_signal};
	struct command c;
	sigset_t set;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
	target_memory = t->memory;
	sigaction(SIGRTMIN, &act, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGRTMIN); /* deliverable only inside ppoll, as QEMU does with its signals */
	sigprocmask(SIG_BLOCK, &set, NULL);
	while (read(socket, &c, sizeof c) == sizeof c) {
		struct answer a = {0};
		target_do(t, pipe_read, &c, &a);
		if (write(socket, &a, sizeof a) != sizeof a)
			break;
	}
	_exit(0);
}

static inline struct target target_start(void)
{
	struct target t = {.pid = -1};
	int sockets[2], pipes[2], fd = memfd_create("target", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, TARGET_PAGES * 4096) || pipe2(pipes, O_CLOEXEC) ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets))
		abort();
	t.memory = mmap(NULL, TARGET_PAGES * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	t.flag = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (t.memory == MAP_FAILED || t.flag == MAP_FAILED)
		abort();
	memset(t.memory, 1, TARGET_PAGES * 4096);
	close(fd);
	t.socket = sockets[0];
	t.pipe = pipes[1];
	fflush(NULL);
	t.pid = fork();
	if (t.pid < 0)
		abort();
	if (!t.pid) {
		close(sockets[0]);
		close(pipes[1]);
		target_child(&t, sockets[1], pipes[0]);
	}
	close(sockets[1]);
	close(pipes[0]);
	return t;
}

static inline void target_end(struct target *t)
{
	if (t->pid > 0) {
		kill(t->pid, SIGKILL);
		waitpid(t->pid, NULL, 0);
	}
	close(t->socket);
	close(t->pipe);
	munmap(t->memory, TARGET_PAGES * 4096);
	munmap(t->flag, 4096);
	t->pid = -1;
}

static inline void target_send(const struct target *t, int verb, uint64_t a)
{
	struct command c = {.verb = verb, .a = a};
	CU_ASSERT_FATAL(write(t->socket, &c, sizeof c) == sizeof c);
}

static inline struct answer target_receive(const struct target *t)
{
	struct answer a = {.result = -1};
	struct pollfd ask = {.fd = t->socket, .events = POLLIN};
	CU_ASSERT_FATAL(poll(&ask, 1, 10000) == 1);
	CU_ASSERT_FATAL(read(t->socket, &a, sizeof a) == sizeof a);
	return a;
}

static inline struct answer target_call(const struct target *t, int verb, uint64_t a)
{
	target_send(t, verb, a);
	return target_receive(t);
}

/* Wait until the child's main thread sleeps in system call @number. */
static inline bool target_sleeps_in(const struct target *t, long number)
{
	char path[64], text[64];
	snprintf(path, sizeof path, "/proc/%d/syscall", (int)t->pid);
	for (int tries = 0; tries < 2000; tries++) {
		FILE *f = fopen(path, "re");
		if (f && fgets(text, sizeof text, f) && text[0] != 'r' && strtol(text, NULL, 10) == number) {
			fclose(f);
			return true;
		}
		if (f)
			fclose(f);
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
	return false;
}

/* How many userfaultfds the child has. */
static inline int target_uffds(const struct target *t)
{
	char path[64], link[64];
	int n = 0;
	snprintf(path, sizeof path, "/proc/%d/fd", (int)t->pid);
	DIR *dir = opendir(path);
	for (struct dirent *e; dir && (e = readdir(dir));) {
		ssize_t got = readlinkat(dirfd(dir), e->d_name, link, sizeof link - 1);
		link[got > 0 ? got : 0] = 0;
		n += !strcmp(link, "anon_inode:[userfaultfd]");
	}
	if (dir)
		closedir(dir);
	return n;
}

static inline struct remus_track_target target_range(const struct target *t)
{
	return (struct remus_track_target){.pid = t->pid,
					   .address = (uintptr_t)t->memory,
					   .bytes = TARGET_PAGES * 4096,
					   .mapping = t->memory};
}

#endif
