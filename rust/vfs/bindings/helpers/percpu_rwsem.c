// SPDX-License-Identifier: GPL-2.0
/* include/linux/percpu-rwsem.h */
#include <linux/percpu-rwsem.h>

__rust_helper int
rust_helper_percpu_init_rwsem(struct percpu_rw_semaphore *sem, const char *name,
			      struct lock_class_key *key)
{
	return __percpu_init_rwsem(sem, name, key);
}

__rust_helper void rust_helper_percpu_down_read(struct percpu_rw_semaphore *sem)
{
	percpu_down_read(sem);
}

__rust_helper void rust_helper_percpu_up_read(struct percpu_rw_semaphore *sem)
{
	percpu_up_read(sem);
}
