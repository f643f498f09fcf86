// SPDX-License-Identifier: GPL-2.0
/*
 * A punch and MADV_COLLAPSE of the same file wait for each other for ever.
 *
 *   cc -O2 -pthread -o collapse-hang collapse-hang.c
 *   ./collapse-hang /mnt/file [seconds]
 *
 * /mnt is any file system with folios as large as a PMD maps (ext4, XFS). Two
 * CPUs. Exit status: 0 nothing happened, 2 the test could not run. If it says that
 * both threads hang, neither can be killed and the process does not go away: use
 * a machine that may be reset.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

enum { HUGE_SIZE = 2 << 20, PAGE = 4096, PAGES = HUGE_SIZE / PAGE };

static int fd;
static char *map;
static volatile unsigned long collapses, punches;
/* When the collapse began, and how long the last one took, in seconds. */
static volatile double began, took = 1e-3;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec / 1e9;
}

/*
 * All pages but the last one are there, and the collapse has locked them when it
 * reads that one in.
 */
static void *collapser(void *unused)
{
	char buf[PAGE];

	for (;;) {
		posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
		for (int i = 0; i < PAGES - 1; i++)
			if (pread(fd, buf, PAGE, (off_t)i * PAGE) != PAGE)
				err(2, "pread");
		began = now();
		collapses++;
		madvise(map, HUGE_SIZE, MADV_COLLAPSE);
		took = now() - began;
		while (punches != collapses)
			sched_yield();
	}
	return unused;
}

/* Punches the first page some time while the collapse is under way. */
static void *puncher(void *unused)
{
	for (;; punches++) {
		while (punches == collapses)
			sched_yield();
		for (double at = began + took * drand48(); now() < at;)
			;
		if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE))
			err(2, "fallocate");
	}
	return unused;
}

int main(int argc, char **argv)
{
	int seconds = argc > 2 ? atoi(argv[2]) : 60, still = 0;
	unsigned long c = 0, p = 0;
	pthread_t t;
	char *at;

	if (argc < 2)
		errx(2, "usage: collapse-hang FILE [SECONDS]");
	fd = open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (fd < 0)
		err(2, "%s", argv[1]);
	at = malloc(HUGE_SIZE);
	memset(at, 'A', HUGE_SIZE);
	if (pwrite(fd, at, HUGE_SIZE, 0) != HUGE_SIZE || fsync(fd))
		err(2, "write");
	/* No readahead: a read brings its own page only. */
	posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
	at = mmap(NULL, 2 * HUGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	at = (char *)(((unsigned long)at + HUGE_SIZE - 1) & -(unsigned long)HUGE_SIZE);
	map = mmap(at, HUGE_SIZE, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0);
	if (map == MAP_FAILED)
		err(2, "mmap");

	pthread_create(&t, NULL, collapser, NULL);
	pthread_create(&t, NULL, puncher, NULL);
	for (int s = 0; s < seconds; s++) {
		sleep(1);
		still = c == collapses && p == punches ? still + 1 : 0;
		c = collapses;
		p = punches;
		if (still == 10) {
			printf("hang after %d s, %lu collapses, %lu punches\n", s - 9, c, p);
			printf("stacks: echo w >/proc/sysrq-trigger; dmesg\n");
			fflush(stdout);
			_exit(1);
		}
	}
	printf("no hang: %lu collapses, %lu punches\n", c, p);
	return 0;
}
