// SPDX-License-Identifier: GPL-2.0
/* include/linux/percpu_counter.h */
#include <linux/percpu_counter.h>

__rust_helper int rust_helper_percpu_counter_init(struct percpu_counter *c, s64 amount)
{
	return percpu_counter_init(c, amount, GFP_KERNEL);
}

__rust_helper void rust_helper_percpu_counter_destroy(struct percpu_counter *c)
{
	percpu_counter_destroy(c);
}

__rust_helper void rust_helper_percpu_counter_set(struct percpu_counter *c, s64 amount)
{
	percpu_counter_set(c, amount);
}

__rust_helper void rust_helper_percpu_counter_add(struct percpu_counter *c, s64 amount)
{
	percpu_counter_add(c, amount);
}

__rust_helper s64 rust_helper_percpu_counter_sum(struct percpu_counter *c)
{
	return percpu_counter_sum(c);
}

__rust_helper s64 rust_helper_percpu_counter_read_positive(struct percpu_counter *c)
{
	return percpu_counter_read_positive(c);
}

__rust_helper u64 rust_helper_percpu_counter_slack(void)
{
	return (u64)READ_ONCE(percpu_counter_batch) * nr_cpu_ids;
}
