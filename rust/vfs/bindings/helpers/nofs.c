// SPDX-License-Identifier: GPL-2.0
/* include/linux/sched/mm.h */
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
