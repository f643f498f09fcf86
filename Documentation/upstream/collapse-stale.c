// SPDX-License-Identifier: GPL-2.0
/*
 * A direct write is not seen by read(2): the page cache has the old data in a
 * huge folio that MADV_COLLAPSE made of small ones meanwhile.
 *
 *   cc -O2 -pthread -o collapse-stale collapse-stale.c
 *   ./collapse-stale /mnt/file [seconds]
 *
 * /mnt is any file system with folios as large as a PMD maps (ext4, XFS). Two
 * CPUs. Exit status: 0 each read returned what had been written, 1 some did
 * not, 2 the test could not run.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <pthread.h>
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
static volatile int done;

static void *collapser(void *unused)
{
	char buf[PAGE];

	while (!done) {
		for (int i = 0; i < PAGES; i++)
			if (pread(fd, buf, PAGE, (off_t)i * PAGE) != PAGE)
				err(2, "pread");
		madvise(map, HUGE_SIZE, MADV_COLLAPSE);
	}
	return unused;
}

int main(int argc, char **argv)
{
	int seconds = argc > 2 ? atoi(argv[2]) : 60, direct;
	unsigned long writes = 0, stale = 0;
	char got[PAGE], *at, *buf;
	pthread_t t;
	time_t end;

	if (argc < 2)
		errx(2, "usage: collapse-stale FILE [SECONDS]");
	fd = open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0600);
	direct = open(argv[1], O_RDWR | O_DIRECT);
	if (fd < 0 || direct < 0)
		err(2, "%s", argv[1]);
	at = calloc(1, HUGE_SIZE);
	if (pwrite(fd, at, HUGE_SIZE, 0) != HUGE_SIZE || fsync(fd))
		err(2, "write");
	posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
	at = mmap(NULL, 2 * HUGE_SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	at = (char *)(((unsigned long)at + HUGE_SIZE - 1) & -(unsigned long)HUGE_SIZE);
	map = mmap(at, HUGE_SIZE, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0);
	if (map == MAP_FAILED || posix_memalign((void **)&buf, PAGE, PAGE))
		err(2, "memory");

	pthread_create(&t, NULL, collapser, NULL);
	for (end = time(NULL) + seconds; time(NULL) < end; writes++) {
		memset(buf, writes & 0xff, PAGE);
		if (pwrite(direct, buf, PAGE, 0) != PAGE)
			err(2, "direct write");
		if (pread(fd, got, PAGE, 0) != PAGE)
			err(2, "pread");
		if (memcmp(buf, got, PAGE) && !stale++)
			printf("write %lu: wrote %02x, read %02x\n", writes,
			       buf[0] & 0xff, got[0] & 0xff);
	}
	done = 1;
	pthread_join(t, NULL);
	printf("%lu of %lu direct writes were not seen by the next read\n", stale, writes);
	return stale != 0;
}
