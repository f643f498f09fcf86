// SPDX-License-Identifier: GPL-2.0
/* include/linux/blk-crypto.h, include/linux/fscrypt.h (fs/crypto/block.c) */
#include <linux/bio.h>
#include <linux/blk-crypto.h>
#include <linux/fscrypt.h>
#include <linux/iomap.h>

__rust_helper bool rust_helper_bio_has_crypt_ctx(struct bio *bio)
{
	return bio_has_crypt_ctx(bio);
}

__rust_helper void
rust_helper_bio_set_crypt_ctx(struct bio *bio, const struct inode *inode, loff_t pos)
{
	fscrypt_set_bio_crypt_ctx(bio, inode, pos, GFP_NOFS);
}

__rust_helper bool
rust_helper_bio_takes_crypted(struct bio *bio, const struct inode *inode, loff_t pos)
{
	return fscrypt_mergeable_bio(bio, inode, pos);
}

__rust_helper u64
rust_helper_limit_crypted_blocks(const struct inode *inode, u64 first, u64 blocks)
{
	return fscrypt_limit_io_blocks(inode, first, blocks);
}

__rust_helper void rust_helper_blk_crypto_submit_bio(struct bio *bio)
{
	blk_crypto_submit_bio(bio);
}

__rust_helper int
rust_helper_zero_crypted(const struct inode *inode, loff_t pos, sector_t sector, u64 len)
{
	return fscrypt_zeroout_range(inode, pos, sector, len);
}

__rust_helper struct bio_set *rust_helper_ioend_bio_set(void)
{
	return &iomap_ioend_bioset;
}

__rust_helper bool rust_helper_ioend_is_read(struct iomap_ioend *i)
{
	return bio_op(&i->io_bio) == REQ_OP_READ;
}

/* A read whose bytes are there; any context. */
__rust_helper void rust_helper_end_good_read(struct bio *bio)
{
	struct folio_iter fi;

	bio_for_each_folio_all(fi, bio)
		iomap_finish_folio_read(fi.folio, fi.offset, fi.length, 0);
	bio_put(bio);
}

static void rust_submit_crypted(struct bio *bio, void *priv)
{
	blk_crypto_submit_bio(bio);
}

/* The bytes lie in the mapping; waits. */
__rust_helper int
rust_helper_read_crypted(const struct iomap_iter *iter, struct folio *folio, loff_t pos,
			  size_t len)
{
	const struct iomap *iomap = iomap_iter_srcmap(iter);
	struct bio_vec bvec;
	struct bio bio;
	int error;

	bio_init(&bio, iomap->bdev, &bvec, 1, REQ_OP_READ);
	bio.bi_iter.bi_sector = iomap_sector(iomap, pos);
	fscrypt_set_bio_crypt_ctx(&bio, iter->inode, pos, GFP_NOFS);
	bio_add_folio_nofail(&bio, folio, len, offset_in_folio(folio, pos));
	bio_await(&bio, NULL, rust_submit_crypted);
	error = blk_status_to_errno(bio.bi_status);
	bio_uninit(&bio);
	return error;
}
