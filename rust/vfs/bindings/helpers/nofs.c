// SPDX-License-Identifier: GPL-2.0
/* include/linux/sched/mm.h, include/linux/mutex.h */
#include <linux/mutex.h>
#include <linux/sched/mm.h>

__rust_helper unsigned int rust_helper_memalloc_nofs_save(void)
{
	return memalloc_nofs_save();
}

__rust_helper void rust_helper_memalloc_nofs_restore(unsigned int flags)
{
	memalloc_nofs_restore(flags);
}

__rust_helper void rust_helper_memalloc_retry_wait(void)
{
	memalloc_retry_wait(GFP_KERNEL);
}

__rust_helper void rust_helper_mutex_lock_second(struct mutex *lock)
{
	mutex_lock_nested(lock, SINGLE_DEPTH_NESTING);
}
