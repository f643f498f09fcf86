// SPDX-License-Identifier: GPL-2.0
/* include/linux/pagemap.h */
#include <linux/highmem.h>
#include <linux/pagemap.h>
#include <linux/string.h>

void rext4_helper_invalidate_lock(struct address_space *m) { filemap_invalidate_lock(m); }
void rext4_helper_invalidate_unlock(struct address_space *m) { filemap_invalidate_unlock(m); }
void rext4_helper_invalidate_lock_shared(struct address_space *m) { filemap_invalidate_lock_shared(m); }
void rext4_helper_invalidate_unlock_shared(struct address_space *m) { filemap_invalidate_unlock_shared(m); }
void rext4_helper_mapping_set_large_folios(struct address_space *m) { mapping_set_large_folios(m); }
bool rext4_helper_folio_is_zero(struct folio *folio, u64 pos, size_t len) { void *p = kmap_local_folio(folio, offset_in_folio(folio, pos)); bool zero = mem_is_zero(p, len); kunmap_local(p); return zero; }
