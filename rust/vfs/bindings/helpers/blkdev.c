// SPDX-License-Identifier: GPL-2.0
/* include/linux/blkdev.h */
#include <linux/blkdev.h>

__rust_helper loff_t rext4_helper_bdev_nr_bytes(struct block_device *bdev) { return bdev_nr_bytes(bdev); }
__rust_helper bool rext4_helper_bdev_read_only(struct block_device *bdev) { return bdev_read_only(bdev); }
