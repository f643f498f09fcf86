// SPDX-License-Identifier: GPL-2.0
/*
 * A direct read into a mapping of a file is lost: it returns its bytes, and
 * the file has what it had before. Beside it somebody writes other bytes of
 * the file directly.
 *
 *   cc -O2 -pthread -o pin-lost pin-lost.c
 *   ./pin-lost /mnt/file /mnt/source [seconds]
 *
 * /mnt is a file system on a device with sectors of 512 bytes. Exit status: 0
 * what each read had returned was in the mapping, 1 some was not, 2 the test
 * could not run.
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

enum { PAGE = 4096, SECTOR = 512, KINDS = 2 };

static int direct;
static volatile int done;

static void *page_of(char byte)
{
	void *page;

	if (posix_memalign(&page, PAGE, PAGE))
		err(2, "memory");
	return memset(page, byte, PAGE);
}

/* Writes the first sector of the page all the time. */
static void *writer(void *unused)
{
	char *buf = page_of('w');

	while (!done)
		if (pwrite(direct, buf, SECTOR, 0) != SECTOR)
			err(2, "direct write");
	return unused;
}

int main(int argc, char **argv)
{
	int seconds = argc > 3 ? atoi(argv[3]) : 60, fd, source;
	unsigned long reads = 0, lost = 0;
	char *map, *want[KINDS];
	pthread_t t;
	time_t end;

	if (argc < 3)
		errx(2, "usage: pin-lost FILE SOURCE [SECONDS]");
	fd = open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0600);
	direct = open(argv[1], O_RDWR | O_DIRECT);
	source = open(argv[2], O_RDWR | O_CREAT | O_TRUNC | O_DIRECT, 0600);
	if (fd < 0 || direct < 0 || source < 0)
		err(2, "open");
	for (int i = 0; i < KINDS; i++) {
		want[i] = page_of('0' + i);
		if (pwrite(source, want[i], PAGE, (off_t)i * PAGE) != PAGE)
			err(2, "%s", argv[2]);
	}
	if (pwrite(fd, page_of('.'), PAGE, 0) != PAGE || fsync(fd))
		err(2, "%s", argv[1]);
	map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		err(2, "mmap");

	pthread_create(&t, NULL, writer, NULL);
	for (end = time(NULL) + seconds; time(NULL) < end; reads++) {
		int kind = reads % KINDS;

		/* The second sector of the page: nobody else writes it. */
		if (pread(source, map + SECTOR, SECTOR, (off_t)kind * PAGE) != SECTOR)
			err(2, "direct read");
		if (memcmp(map + SECTOR, want[kind], SECTOR) && !lost++)
			printf("read %lu: read %c, the mapping has %c\n", reads,
			       want[kind][0], map[SECTOR]);
	}
	done = 1;
	pthread_join(t, NULL);
	printf("%lu of %lu direct reads are not in the mapping\n", lost, reads);
	return lost != 0;
}
