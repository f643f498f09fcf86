// SPDX-License-Identifier: GPL-2.0
/* include/linux/dax.h. Without CONFIG_FS_DAX no inode has S_DAX, and nothing of it is called. */
#include <linux/dax.h>
#include <linux/mm.h>
#include <linux/wait_bit.h>

__rust_helper void rust_helper_set_dax(struct inode *inode)
{
	inode->i_flags |= S_DAX;
}

__rust_helper struct dax_device *
rust_helper_dax_of_bdev(struct block_device *bdev, u64 *start)
{
	return fs_dax_get_by_bdev(bdev, start, NULL, NULL);
}

__rust_helper void rust_helper_dax_put(struct dax_device *dax)
{
	fs_put_dax(dax, NULL);
}

__rust_helper int rust_helper_dax_zero_page(struct dax_device *dax, pgoff_t page)
{
	int id = dax_read_lock();
	int ret = IS_ENABLED(CONFIG_FS_DAX) ? dax_zero_page_range(dax, page, 1) : -EOPNOTSUPP;

	dax_read_unlock(id);
	return ret;
}

__rust_helper ssize_t
rust_helper_dax_rw(struct kiocb *iocb, struct iov_iter *iter, const struct iomap_ops *ops)
{
	return IS_ENABLED(CONFIG_FS_DAX) ? dax_iomap_rw(iocb, iter, ops) : -EOPNOTSUPP;
}

__rust_helper int
rust_helper_dax_zero(struct inode *inode, loff_t pos, loff_t len, bool *did_zero,
		     const struct iomap_ops *ops)
{
	return IS_ENABLED(CONFIG_FS_DAX) ? dax_zero_range(inode, pos, len, did_zero, ops) :
					   -EOPNOTSUPP;
}

__rust_helper vm_fault_t
rust_helper_dax_fault(struct vm_fault *vmf, unsigned int order, unsigned long *pfn,
		      const struct iomap_ops *ops)
{
	return IS_ENABLED(CONFIG_FS_DAX) ? dax_iomap_fault(vmf, order, pfn, NULL, ops) :
					   VM_FAULT_SIGBUS;
}

__rust_helper vm_fault_t
rust_helper_dax_sync_fault(struct vm_fault *vmf, unsigned int order, unsigned long pfn)
{
	return IS_ENABLED(CONFIG_FS_DAX) ? dax_finish_sync_fault(vmf, order, pfn) :
					   VM_FAULT_SIGBUS;
}

__rust_helper int
rust_helper_dax_write_back(struct address_space *m, struct dax_device *dax,
			   struct writeback_control *wbc)
{
	return dax_writeback_mapping_range(m, dax, wbc);
}

/* Unmaps the pages, and all that a PMD may map with them. */
__rust_helper void
rust_helper_dax_unmap(struct address_space *m, loff_t start, loff_t last)
{
	pgoff_t first = round_down((u64)start, PMD_SIZE) >> PAGE_SHIFT;
	pgoff_t end = round_up((u64)last + 1, PMD_SIZE) >> PAGE_SHIFT;

	unmap_mapping_pages(m, first, end - first, false);
}

/* Unmaps the pages, too. */
__rust_helper struct page *
rust_helper_dax_busy_page(struct address_space *m, loff_t start, loff_t last)
{
	return IS_ENABLED(CONFIG_FS_DAX) ? dax_layout_busy_page_range(m, start, last) : NULL;
}

__rust_helper void rust_helper_dax_wait_idle(struct page *page)
{
	wait_var_event_timeout(page, dax_page_is_idle(page), HZ / 20);
}

__rust_helper void
rust_helper_dax_forget_range(struct address_space *m, loff_t start, loff_t last)
{
	if (IS_ENABLED(CONFIG_FS_DAX))
		dax_delete_mapping_range(m, start, last);
}

__rust_helper void rust_helper_dax_break_final(struct inode *inode)
{
	dax_break_layout_final(inode);
}

__rust_helper bool
rust_helper_dax_may_map(const struct vm_area_desc *desc, struct dax_device *dax)
{
	return daxdev_mapping_supported(desc, file_inode(desc->file), dax);
}

__rust_helper void rust_helper_dax_map_huge(struct vm_area_desc *desc)
{
	vma_desc_set_flags(desc, VMA_HUGEPAGE_BIT);
}

/* A write that the file is to have, not a private copy. */
__rust_helper bool rust_helper_vmf_is_shared_write(const struct vm_fault *vmf)
{
	return (vmf->flags & FAULT_FLAG_WRITE) && (vmf->vma->vm_flags & VM_SHARED);
}
