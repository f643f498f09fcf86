// SPDX-License-Identifier: GPL-2.0
/* include/linux/mbcache.h */
#include <linux/mbcache.h>

__rust_helper int
rust_helper_mb_cache_entry_create(struct mb_cache *cache, u32 key, u64 value)
{
	return mb_cache_entry_create(cache, GFP_NOFS, key, value, true);
}

__rust_helper void
rust_helper_mb_cache_entry_put(struct mb_cache *cache, struct mb_cache_entry *entry)
{
	mb_cache_entry_put(cache, entry);
}

__rust_helper u64 rust_helper_mb_cache_entry_value(const struct mb_cache_entry *entry)
{
	return entry->e_value;
}

__rust_helper void
rust_helper_mb_cache_entry_set_reusable(struct mb_cache_entry *entry, bool reusable)
{
	assign_bit(MBE_REUSABLE_B, &entry->e_flags, reusable);
}
