// SPDX-License-Identifier: GPL-2.0
/* include/linux/pagemap.h */
#include <linux/pagemap.h>

void rext4_helper_invalidate_lock(struct address_space *m) { filemap_invalidate_lock(m); }
void rext4_helper_invalidate_unlock(struct address_space *m) { filemap_invalidate_unlock(m); }
void rext4_helper_invalidate_lock_shared(struct address_space *m) { filemap_invalidate_lock_shared(m); }
void rext4_helper_invalidate_unlock_shared(struct address_space *m) { filemap_invalidate_unlock_shared(m); }
void rext4_helper_mapping_set_large_folios(struct address_space *m) { mapping_set_large_folios(m); }
