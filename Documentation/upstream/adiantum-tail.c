// SPDX-License-Identifier: GPL-2.0
/*
 * The last 16 bytes of a block become garbage on the disk, which nobody has
 * touched: of an encrypted file whose contents Adiantum encrypts, while
 * somebody changes the first byte of the block. Once by a direct write whose
 * buffer changes, once by stores to a mapping beside direct reads, which write
 * back before they read.
 *
 *   cc -O2 -pthread -o adiantum-tail adiantum-tail.c
 *   ./adiantum-tail /mnt/directory [seconds [xts]]
 *
 * /mnt is a file system made with -O encrypt, the directory a new one; xts is
 * for comparison. Exit status: 0 the last bytes were always what had been
 * written, 1 some were not, 2 the test could not run.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <linux/fscrypt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 4096, BLOCKS = 16, SIZE = BLOCKS * BLOCK, TAIL = 16, KEY = 64 };

static volatile char *changing;
static volatile int done;

/* Changes the first byte of each block all the time. */
static void *changer(void *unused)
{
	for (char n = 0; !done; n++)
		for (int at = 0; at < SIZE; at += BLOCK)
			changing[at] = n;
	return unused;
}

static char *memory(char byte)
{
	void *mem;

	if (posix_memalign(&mem, BLOCK, SIZE))
		err(2, "memory");
	return memset(mem, byte, SIZE);
}

/* What is made in the new directory is encrypted. */
static void encrypt(const char *path, int xts)
{
	struct fscrypt_policy_v2 policy = {
		.version = FSCRYPT_POLICY_V2,
		.contents_encryption_mode = xts ? FSCRYPT_MODE_AES_256_XTS :
						  FSCRYPT_MODE_ADIANTUM,
		.filenames_encryption_mode = xts ? FSCRYPT_MODE_AES_256_CTS :
						   FSCRYPT_MODE_ADIANTUM,
		.flags = FSCRYPT_POLICY_FLAGS_PAD_32,
	};
	struct fscrypt_add_key_arg *key = calloc(1, sizeof(*key) + KEY);
	int dir;

	if (!key || mkdir(path, 0700))
		err(2, "%s", path);
	dir = open(path, O_RDONLY | O_DIRECTORY);
	if (dir < 0)
		err(2, "%s", path);
	key->key_spec.type = FSCRYPT_KEY_SPEC_TYPE_IDENTIFIER;
	key->raw_size = KEY;
	memset(key->raw, 'k', KEY);
	if (ioctl(dir, FS_IOC_ADD_ENCRYPTION_KEY, key))
		err(2, "key");
	memcpy(policy.master_key_identifier, key->key_spec.u.identifier,
	       FSCRYPT_KEY_IDENTIFIER_SIZE);
	if (ioctl(dir, FS_IOC_SET_ENCRYPTION_POLICY, &policy))
		err(2, "policy");
	close(dir);
	free(key);
}

/* Of how many blocks the disk does not have the last bytes. */
static unsigned long bad(int direct, char want)
{
	static char *seen;
	unsigned long n = 0;
	char tail[TAIL];

	if (!seen)
		seen = memory(0);
	memset(tail, want, TAIL);
	if (pread(direct, seen, SIZE, 0) != SIZE)
		err(2, "direct read");
	for (int end = BLOCK; end <= SIZE; end += BLOCK)
		n += memcmp(seen + end - TAIL, tail, TAIL) != 0;
	return n;
}

/* Direct writes of a buffer that changes, or stores to a mapping. */
static unsigned long run(int direct, char *buf, int writes, int seconds)
{
	unsigned long tries = 0, lost = 0;
	pthread_t t;
	time_t end;

	done = 0;
	changing = buf;
	pthread_create(&t, NULL, changer, NULL);
	for (end = time(NULL) + seconds; time(NULL) < end; tries += BLOCKS) {
		if (writes && pwrite(direct, buf, SIZE, 0) != SIZE)
			err(2, "direct write");
		lost += bad(direct, 'a');
	}
	done = 1;
	pthread_join(t, NULL);
	printf("%s: the last %d bytes of %lu of %lu blocks are garbage\n",
	       writes ? "direct writes" : "stores to a mapping", TAIL, lost,
	       tries);
	return lost;
}

int main(int argc, char **argv)
{
	int seconds = argc > 2 ? atoi(argv[2]) : 30, fd, direct;
	unsigned long lost;
	char *buf, *map;

	if (argc < 2)
		errx(2, "usage: adiantum-tail DIRECTORY [SECONDS [xts]]");
	encrypt(argv[1], argc > 3);
	if (chdir(argv[1]))
		err(2, "%s", argv[1]);
	fd = open("file", O_RDWR | O_CREAT | O_EXCL, 0600);
	direct = open("file", O_RDWR | O_DIRECT);
	buf = memory('a');
	if (fd < 0 || direct < 0 || pwrite(fd, buf, SIZE, 0) != SIZE ||
	    fsync(fd))
		err(2, "file");
	lost = run(direct, buf, 1, seconds);

	memset(buf, 'a', SIZE);
	if (pwrite(direct, buf, SIZE, 0) != SIZE)
		err(2, "direct write");
	map = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		err(2, "mmap");
	lost += run(direct, map, 0, seconds);
	/* Nobody changes anything any more: written once again, all is well. */
	printf("afterwards: %lu of %d\n", bad(direct, 'a'), BLOCKS);
	return lost != 0;
}
