// SPDX-License-Identifier: GPL-2.0
/* include/linux/percpu-rwsem.h */
#include <linux/percpu-rwsem.h>

static struct lock_class_key rext4_start_key;

__rust_helper int rext4_helper_percpu_init_start(struct percpu_rw_semaphore *sem)
{
	return __percpu_init_rwsem(sem, "rext4_start", &rext4_start_key);
}

__rust_helper void rext4_helper_percpu_down_read(struct percpu_rw_semaphore *sem)
{
	percpu_down_read(sem);
}

__rust_helper void rext4_helper_percpu_up_read(struct percpu_rw_semaphore *sem)
{
	percpu_up_read(sem);
}
