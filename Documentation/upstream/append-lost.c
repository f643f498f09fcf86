// SPDX-License-Identifier: GPL-2.0
/*
 * A direct append is lost: it returns its bytes, and the file has zeros there.
 * Beside it somebody stores to another block of the same page by a mapping.
 *
 *   cc -O2 -pthread -o append-lost append-lost.c
 *   ./append-lost /mnt/file [seconds]
 *
 * /mnt is a file system with blocks of 1024 bytes. Exit status: 0 each append
 * was read again, 1 some were not, 2 the test could not run.
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

enum { PAGE = 4096, BLOCK = 1024, MORE = 2 * BLOCK };

static volatile char *map;
static volatile int done;

/* Stores to the first byte of the file all the time. */
static void *storer(void *unused)
{
	for (char n = 0; !done; n++)
		map[0] = n;
	return unused;
}

int main(int argc, char **argv)
{
	int seconds = argc > 2 ? atoi(argv[2]) : 60, fd, direct;
	unsigned long appends = 0, lost = 0, told = 0;
	char seen[MORE], *more;
	pthread_t t;
	time_t end;

	if (argc < 2)
		errx(2, "usage: append-lost FILE [SECONDS]");
	if (posix_memalign((void **)&more, PAGE, PAGE))
		err(2, "memory");
	fd = open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0600);
	direct = open(argv[1], O_RDWR | O_DIRECT);
	if (fd < 0 || direct < 0)
		err(2, "open");
	if (ftruncate(fd, BLOCK))
		err(2, "%s", argv[1]);
	map = mmap(NULL, BLOCK, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		err(2, "mmap");

	pthread_create(&t, NULL, storer, NULL);
	for (end = time(NULL) + seconds; time(NULL) < end; appends++) {
		if (ftruncate(fd, BLOCK))
			err(2, "truncate");
		memset(more, '0' + appends % 64, MORE);
		if (pwrite(direct, more, MORE, BLOCK) != MORE)
			err(2, "direct append");
		told += fsync(fd) != 0;
		posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
		if (pread(fd, seen, MORE, BLOCK) != MORE)
			err(2, "read");
		if (!memcmp(seen, more, MORE))
			continue;
		if (!lost++)
			printf("append %lu: wrote %d, read %d\n", appends,
			       more[0], seen[0]);
	}
	done = 1;
	pthread_join(t, NULL);
	printf("%lu of %lu direct appends are lost, fsync told of %lu errors\n",
	       lost, appends, told);
	return lost > 0;
}
