// SPDX-License-Identifier: GPL-2.0
/* include/linux/iomap.h */
#include <linux/iomap.h>
#include <linux/fiemap.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>
#include <linux/blkdev.h>
#include <linux/uio.h>

__rust_helper void
rust_helper_iomap_bio_read_folio(struct folio *folio, const struct iomap_ops *ops)
{
	iomap_bio_read_folio(folio, ops);
}

__rust_helper void
rust_helper_iomap_bio_readahead(struct readahead_control *rac,
				 const struct iomap_ops *ops)
{
	iomap_bio_readahead(rac, ops);
}

__rust_helper ssize_t
rust_helper_iomap_dio_read_simple(struct kiocb *iocb, struct iov_iter *to,
				   iomap_iter_begin_fn begin)
{
	return iomap_dio_read_simple(iocb, to, begin);
}

__rust_helper int
rust_helper_swapfile_activate(struct swap_info_struct *sis, struct file *file,
				     sector_t *span, const struct iomap_ops *ops)
{
	return iomap_swapfile_activate(sis, file, span, ops);
}

__rust_helper loff_t
rust_helper_iomap_last_written_block(struct inode *inode, loff_t pos, ssize_t written)
{
	return iomap_last_written_block(inode, pos, written);
}

__rust_helper bool rust_helper_fiemap_take(struct fiemap_extent_info *fi, u32 flag)
{
	bool set = fi->fi_flags & flag;

	fi->fi_flags &= ~flag;
	return set;
}

__rust_helper void rust_helper_bio_clear_in_task(struct bio *bio)
{
	bio_clear_flag(bio, BIO_COMPLETE_IN_TASK);
}

__rust_helper vm_fault_t rust_helper_vmf_fs_error(int err)
{
	return vmf_fs_error(err);
}

__rust_helper bool rust_helper_may_sleep(void)
{
	return in_task() && !irqs_disabled() && !(IS_ENABLED(CONFIG_PREEMPT_COUNT) && in_atomic());
}

__rust_helper void rust_helper_cond_resched(void)
{
	cond_resched();
}

__rust_helper void
rust_helper_ioend_queue_init(spinlock_t *lock, struct list_head *list,
			      struct list_head *done, struct work_struct *work, work_func_t fn)
{
	spin_lock_init(lock);
	INIT_LIST_HEAD(list);
	INIT_LIST_HEAD(done);
	INIT_WORK(work, fn);
}

__rust_helper void
rust_helper_ioend_queue_add(spinlock_t *lock, struct list_head *list,
			     struct list_head *item, struct workqueue_struct *wq,
			     struct work_struct *work)
{
	guard(spinlock_irqsave)(lock);
	if (list_empty(list))
		queue_work(wq, work);
	list_add_tail(item, list);
}

__rust_helper bool rust_helper_in_task(void)
{
	return in_task();
}

__rust_helper void
rust_helper_ioend_list_add(spinlock_t *lock, struct list_head *list, struct list_head *item)
{
	guard(spinlock_irqsave)(lock);
	list_add_tail(item, list);
}

__rust_helper void
rust_helper_ioend_queue_take(spinlock_t *lock, struct list_head *list,
			      struct list_head *to)
{
	guard(spinlock_irqsave)(lock);
	list_replace_init(list, to);
}

__rust_helper struct iomap_ioend *rust_helper_ioend_pop(struct list_head *list)
{
	struct iomap_ioend *i = list_first_entry_or_null(list, struct iomap_ioend, io_list);

	if (i)
		list_del_init(&i->io_list);
	return i;
}

__rust_helper size_t rust_helper_ioend_count(struct iomap_ioend *i)
{
	return 1 + list_count_nodes(&i->io_list);
}

__rust_helper int rust_helper_ioend_error(struct iomap_ioend *i)
{
	return blk_status_to_errno(i->io_bio.bi_status);
}

__rust_helper void rust_helper_kiocb_clone(struct kiocb *to, struct kiocb *from)
{
	kiocb_clone(to, from, from->ki_filp);
	to->ki_write_stream = from->ki_write_stream;
	to->ki_flags &= ~IOCB_HIPRI;
}

__rust_helper bool rust_helper_is_sync_kiocb(struct kiocb *iocb)
{
	return is_sync_kiocb(iocb);
}

__rust_helper bool rust_helper_iocb_is_dsync(struct kiocb *iocb)
{
	return iocb_is_dsync(iocb);
}

__rust_helper void rust_helper_iov_iter_truncate(struct iov_iter *i, u64 count)
{
	iov_iter_truncate(i, count);
}

__rust_helper bool rust_helper_user_backed_iter(const struct iov_iter *i)
{
	return user_backed_iter(i);
}

__rust_helper unsigned long rust_helper_iov_iter_segs(const struct iov_iter *i)
{
	return iter_is_iovec(i) ? i->nr_segs : 1;
}

__rust_helper void
rust_helper_iov_iter_source(struct iov_iter *i, const struct bio_vec *bv,
			     unsigned long n, size_t count)
{
	iov_iter_bvec(i, ITER_SOURCE, bv, n, count);
}

__rust_helper unsigned int rust_helper_dma_alignment(struct block_device *bdev)
{
	return bdev_dma_alignment(bdev);
}

__rust_helper bool
rust_helper_bvec_is_in(const struct bio_vec *bv, const struct address_space *mapping)
{
	return READ_ONCE(bvec_folio(bv)->mapping) == mapping;
}

__rust_helper void rust_helper_bvec_unpin(const struct bio_vec *bv)
{
	size_t first = bv->bv_offset / PAGE_SIZE;
	size_t last = (bv->bv_offset + bv->bv_len - 1) / PAGE_SIZE;

	unpin_user_folio(bvec_folio(bv), last - first + 1);
}
