// SPDX-License-Identifier: GPL-2.0
/* include/linux/buffer_head.h, include/linux/bitops.h */
#include <linux/bitops.h>
#include <linux/buffer_head.h>
#include <linux/jbd2.h>
#include <linux/string.h>

/*
 * Ours of the bits that jbd2 leaves to file systems; the first is taken by ext4
 * (BH_BITMAP_UPTODATE).
 */
#define BH_VERIFIED (BH_JBDPrivateStart + 1)

__rust_helper struct buffer_head *
rust_helper_sb_find_get_block(struct super_block *sb, sector_t block)
{
	return sb_find_get_block(sb, block);
}

__rust_helper struct buffer_head *
rust_helper_sb_getblk(struct super_block *sb, sector_t block)
{
	return sb_getblk(sb, block);
}

__rust_helper struct buffer_head *
rust_helper_sb_getblk_unmovable(struct super_block *sb, sector_t block)
{
	gfp_t gfp = mapping_gfp_constraint(sb->s_bdev->bd_mapping, ~__GFP_FS);

	return sb_getblk_gfp(sb, block, gfp | __GFP_NOFAIL);
}

__rust_helper struct buffer_head *
rust_helper_sb_getblk_nowait(struct super_block *sb, sector_t block)
{
	return sb_getblk_gfp(sb, block, GFP_NOWAIT);
}

__rust_helper int rust_helper_bh_read_locked(struct buffer_head *bh)
{
	return __bh_read(bh, REQ_META | REQ_PRIO, true);
}

__rust_helper void rust_helper_bh_readahead_locked(struct buffer_head *bh)
{
	__bh_read(bh, REQ_META | REQ_RAHEAD, false);
}

/*
 * With the lock of the buffer, which is let go of; the caller has a count. As
 * ext4_commit_super() does it. __sync_dirty_buffer() would not do: it takes the
 * lock itself, and by then the flusher may have written the buffer, without FUA.
 */
__rust_helper int rust_helper_bh_write_fua_locked(struct buffer_head *bh)
{
	/* The device is gone: the buffer was discarded. */
	if (!buffer_mapped(bh)) {
		unlock_buffer(bh);
		return -EIO;
	}
	/* A write that failed has changed both. Memory is newer than the disk all the same. */
	clear_buffer_write_io_error(bh);
	set_buffer_uptodate(bh);
	clear_buffer_dirty(bh);
	bh_submit(bh, REQ_OP_WRITE | REQ_SYNC | REQ_FUA, bh_end_write);
	wait_on_buffer(bh);
	return buffer_write_io_error(bh) || !buffer_uptodate(bh) ? -EIO : 0;
}

__rust_helper void rust_helper_get_bh(struct buffer_head *bh)
{
	get_bh(bh);
}

__rust_helper void rust_helper_lock_buffer(struct buffer_head *bh)
{
	lock_buffer(bh);
}

__rust_helper bool rust_helper_trylock_buffer(struct buffer_head *bh)
{
	return trylock_buffer(bh);
}

__rust_helper void rust_helper_set_buffer_uptodate(struct buffer_head *bh)
{
	set_buffer_uptodate(bh);
}

__rust_helper void rust_helper_set_buffer_verified(struct buffer_head *bh)
{
	smp_mb__before_atomic();
	set_bit(BH_VERIFIED, &bh->b_state);
}

__rust_helper void rust_helper_clear_buffer_verified(struct buffer_head *bh)
{
	clear_bit(BH_VERIFIED, &bh->b_state);
}

/* Bytes that others may change meanwhile are touched by C, whose memory model allows it. */
__rust_helper void rust_helper_memcpy(void *dst, const void *src, size_t len)
{
	memcpy(dst, src, len);
}

__rust_helper void rust_helper_memmove(void *dst, const void *src, size_t len)
{
	memmove(dst, src, len);
}

__rust_helper int rust_helper_memcmp(const void *a, const void *b, size_t len)
{
	return memcmp(a, b, len);
}

__rust_helper void rust_helper_memset(void *dst, int c, size_t len)
{
	memset(dst, c, len);
}

__rust_helper bool rust_helper_test_bit_le(int nr, const void *addr)
{
	return test_bit_le(nr, addr);
}

__rust_helper unsigned long
rust_helper_find_next_zero_bit_le(const void *addr, unsigned long size,
				   unsigned long start)
{
	return find_next_zero_bit_le(addr, size, start);
}

__rust_helper unsigned long
rust_helper_find_next_bit_le(const void *addr, unsigned long size, unsigned long start)
{
	return find_next_bit_le(addr, size, start);
}
