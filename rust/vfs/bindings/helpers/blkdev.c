// SPDX-License-Identifier: GPL-2.0
/* include/linux/blkdev.h, include/linux/pagemap.h */
#include <linux/blkdev.h>
#include <linux/pagemap.h>
#include <linux/part_stat.h>

__rust_helper loff_t rust_helper_bdev_nr_bytes(struct block_device *bdev)
{
	return bdev_nr_bytes(bdev);
}

__rust_helper unsigned int rust_helper_bdev_sector_size(struct block_device *bdev)
{
	return bdev_logical_block_size(bdev);
}

__rust_helper bool rust_helper_bdev_read_only(struct block_device *bdev)
{
	return bdev_read_only(bdev);
}

__rust_helper int
rust_helper_bdev_read_virt(struct block_device *bdev, sector_t sector, void *data,
			    size_t len)
{
	return bdev_rw_virt(bdev, sector, data, len, REQ_OP_READ);
}

__rust_helper int
rust_helper_bdev_write_virt(struct block_device *bdev, sector_t sector, void *data,
			     size_t len, bool fua)
{
	blk_opf_t op = REQ_OP_WRITE | REQ_SYNC;

	if (fua)
		op |= REQ_FUA;
	return bdev_rw_virt(bdev, sector, data, len, (__force enum req_op)op);
}

__rust_helper bool rust_helper_bdev_can_discard(struct block_device *bdev)
{
	return bdev_max_discard_sectors(bdev);
}

__rust_helper unsigned int
rust_helper_bdev_discard_granularity(struct block_device *bdev)
{
	return bdev_discard_granularity(bdev);
}

__rust_helper int
rust_helper_bdev_discard(struct block_device *bdev, sector_t sector, sector_t len)
{
	return blkdev_issue_discard(bdev, sector, len, GFP_NOFS);
}

__rust_helper bool
rust_helper_bdev_writes_whole(struct block_device *bdev, unsigned int len)
{
	return bdev_can_atomic_write(bdev) &&
	       len >= bdev_atomic_write_unit_min_bytes(bdev) &&
	       len <= bdev_atomic_write_unit_max_bytes(bdev);
}

__rust_helper bool rust_helper_bdev_can_zero(struct block_device *bdev)
{
	return bdev_write_zeroes_unmap_sectors(bdev);
}

__rust_helper int
rust_helper_bdev_zero(struct block_device *bdev, sector_t sector, sector_t len)
{
	return blkdev_issue_zeroout(bdev, sector, len, GFP_NOFS, 0);
}

__rust_helper bool
rust_helper_bdev_has_cached(struct block_device *bdev, loff_t start, loff_t end)
{
	return start < end && filemap_range_has_page(bdev->bd_mapping, start, end - 1);
}

__rust_helper u64 rust_helper_bdev_sectors_written(struct block_device *bdev)
{
	return part_stat_read(bdev, sectors[STAT_WRITE]);
}

__rust_helper u32 rust_helper_bdev_number(struct block_device *bdev)
{
	return new_encode_dev(bdev->bd_dev);
}
