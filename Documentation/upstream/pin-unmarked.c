// SPDX-License-Identifier: GPL-2.0
/*
 * What a direct read puts into a mapping of a file does not get to the disk:
 * the mapping shows it, until the page leaves memory. Beside it somebody writes
 * another block of the same folio, after it was written back.
 *
 *   cc -O2 -pthread -o pin-unmarked pin-unmarked.c
 *   ./pin-unmarked /mnt/file /mnt/source [seconds [apart]]
 *
 * apart: how many bytes behind the block that is written the read goes. 2048 if
 * it is not given, for blocks of 1024 or 2048 bytes; 32768 for larger ones,
 * where the file is in a large folio. Exit status: 0 what each read had
 * returned was on the disk after an fsync, 1 some was not, 2 the test could not
 * run.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum {
	PAGE = 4096,
	SECTOR = 512,
	PART = 1024,		/* what is read into the mapping, */
	MORE = 1 << 20,		/* and into other memory behind it: it takes a while */
	SIZE = 1 << 16,
	KINDS = 2,
};

static int fd;
static volatile int done;

static void *memory(size_t size, char byte)
{
	void *mem;

	if (posix_memalign(&mem, PAGE, size))
		err(2, "memory");
	return memset(mem, byte, size);
}

/* Begins to write the folio back, and writes the first bytes of it again. */
static void *writer(void *unused)
{
	char *buf = memory(PAGE, 'w');

	while (!done)
		if (sync_file_range(fd, 0, SIZE, SYNC_FILE_RANGE_WRITE) ||
		    pwrite(fd, buf, SECTOR, 0) != SECTOR)
			err(2, "write");
	return unused;
}

/* What the disk has, when all that is dirty has been written. */
static char on_disk(int direct, char *buf, off_t at)
{
	if (fsync(fd) || pread(direct, buf, PART, at) != PART)
		err(2, "fsync and read");
	return buf[0];
}

int main(int argc, char **argv)
{
	int seconds = argc > 3 ? atoi(argv[3]) : 60;
	off_t apart = argc > 4 ? atol(argv[4]) : 2048;
	unsigned long reads = 0, lost = 0;
	char *map, *buf, *want[KINDS];
	struct iovec to[2];
	int direct, source;
	pthread_t t;
	time_t end;

	if (argc < 3 || apart < SECTOR || apart % SECTOR || apart > SIZE - PART)
		errx(2, "usage: pin-unmarked FILE SOURCE [SECONDS [APART]]");
	fd = open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0600);
	direct = open(argv[1], O_RDONLY | O_DIRECT);
	source = open(argv[2], O_RDWR | O_CREAT | O_TRUNC | O_DIRECT, 0600);
	if (fd < 0 || direct < 0 || source < 0)
		err(2, "open");
	for (int i = 0; i < KINDS; i++) {
		want[i] = memory(2 * MORE, '0' + i);
		if (pwrite(source, want[i], 2 * MORE, i * 2 * MORE) != 2 * MORE)
			err(2, "%s", argv[2]);
	}
	if (pwrite(fd, memory(SIZE, '.'), SIZE, 0) != SIZE || fsync(fd))
		err(2, "%s", argv[1]);
	map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		err(2, "mmap");
	buf = memory(PAGE, 0);
	to[0] = (struct iovec){ map + apart, PART };
	to[1] = (struct iovec){ memory(MORE, 0), MORE };

	pthread_create(&t, NULL, writer, NULL);
	for (end = time(NULL) + seconds; time(NULL) < end; reads++) {
		int kind = reads % KINDS;
		char has;

		if (preadv(source, to, 2, kind * 2 * MORE) != PART + MORE)
			err(2, "direct read");
		has = on_disk(direct, buf, apart);
		/* The page may become dirty a moment after the read returns. */
		for (int i = 0; i < 5 && has != want[kind][0]; i++) {
			usleep(20000);
			has = on_disk(direct, buf, apart);
		}
		if (has != want[kind][0] && !lost++)
			printf("read %lu: the mapping has %c, the disk %c\n",
			       reads, map[apart], has);
	}
	done = 1;
	pthread_join(t, NULL);
	printf("%lu of %lu direct reads are not on the disk after fsync\n",
	       lost, reads);
	return lost != 0;
}
