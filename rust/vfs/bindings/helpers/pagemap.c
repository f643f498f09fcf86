// SPDX-License-Identifier: GPL-2.0
/* include/linux/pagemap.h */
#include <linux/highmem.h>
#include <linux/pagemap.h>
#include <linux/string.h>

__rust_helper void rust_helper_invalidate_lock(struct address_space *m)
{
	filemap_invalidate_lock(m);
}

__rust_helper void rust_helper_invalidate_unlock(struct address_space *m)
{
	filemap_invalidate_unlock(m);
}

__rust_helper void rust_helper_invalidate_lock_shared(struct address_space *m)
{
	filemap_invalidate_lock_shared(m);
}

__rust_helper void rust_helper_invalidate_unlock_shared(struct address_space *m)
{
	filemap_invalidate_unlock_shared(m);
}

__rust_helper void
rust_helper_mapping_set_max_folio_order(struct address_space *m, unsigned int max)
{
	mapping_set_folio_order_range(m, 0, max);
}

__rust_helper loff_t rust_helper_folio_pos(const struct folio *folio)
{
	return folio_pos(folio);
}

__rust_helper size_t rust_helper_folio_size(const struct folio *folio)
{
	return folio_size(folio);
}

__rust_helper struct inode *rust_helper_folio_inode(const struct folio *folio)
{
	return folio->mapping->host;
}

/* Locked and referenced, or NULL. */
__rust_helper struct folio *rust_helper_filemap_lock_folio(struct address_space *m, pgoff_t index)
{
	struct folio *folio = filemap_lock_folio(m, index);

	return IS_ERR(folio) ? NULL : folio;
}

/* Of a folio with a reference. False, and it is neither locked nor referenced: it has left @m. */
__rust_helper bool rust_helper_folio_lock_again(struct folio *folio, struct address_space *m)
{
	folio_lock(folio);
	if (folio->mapping == m)
		return true;
	folio_unlock(folio);
	folio_put(folio);
	return false;
}

__rust_helper bool rust_helper_folio_maybe_dma_pinned(struct folio *folio)
{
	return folio_maybe_dma_pinned(folio);
}

__rust_helper void rust_helper_mapping_set_release_always(struct address_space *m)
{
	mapping_set_release_always(m);
}

__rust_helper void rust_helper_mapping_set_stable_writes(struct address_space *m)
{
	mapping_set_stable_writes(m);
}

__rust_helper struct inode *rust_helper_readahead_inode(const struct readahead_control *rac)
{
	return rac->mapping->host;
}

__rust_helper loff_t rust_helper_readahead_pos(const struct readahead_control *rac)
{
	return readahead_pos(rac);
}

__rust_helper size_t rust_helper_readahead_length(const struct readahead_control *rac)
{
	return readahead_length(rac);
}

__rust_helper bool rust_helper_folio_test_uptodate(const struct folio *folio)
{
	return folio_test_uptodate(folio);
}

__rust_helper void rust_helper_folio_put(struct folio *folio)
{
	folio_put(folio);
}

__rust_helper void rust_helper_folio_unlock_put(struct folio *folio)
{
	folio_unlock(folio);
	folio_put(folio);
}

__rust_helper void
rust_helper_memcpy_to_folio(struct folio *folio, size_t offset, const char *from, size_t len)
{
	memcpy_to_folio(folio, offset, from, len);
}

__rust_helper void
rust_helper_folio_zero_range(struct folio *folio, size_t start, size_t length)
{
	folio_zero_range(folio, start, length);
}

__rust_helper bool rust_helper_folio_is_zero(struct folio *folio, u64 pos, size_t len)
{
	void *p = kmap_local_folio(folio, offset_in_folio(folio, pos));
	bool zero = mem_is_zero(p, len);

	kunmap_local(p);
	return zero;
}
