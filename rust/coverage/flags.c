// SPDX-License-Identifier: GPL-2.0
/*
 * Which blocks of the Rust code were run (make COVERAGE=1). The compiler keeps a flag for each in a
 * section, flags.lds names its ends, and when the module goes they are appended to a file, as
 * they are. scripts/coverage reads it.
 */
#include <linux/fs.h>
#include <linux/moduleparam.h>
#include <linux/printk.h>

static char *coverage = "/tmp/rext4-coverage";
module_param(coverage, charp, 0444);
MODULE_PARM_DESC(coverage, "the file that the flags are appended to");

extern const char __start___sancov_bools[];
extern const char __stop___sancov_bools[];

/* What the compiler's constructors would call; the kernel does not run those of a module. */
void __sanitizer_cov_bool_flag_init(const char *start, const char *end);
void __sanitizer_cov_pcs_init(const unsigned long *start, const unsigned long *end);

void __sanitizer_cov_bool_flag_init(const char *start, const char *end)
{
}

void __sanitizer_cov_pcs_init(const unsigned long *start, const unsigned long *end)
{
}

void vfs_coverage_write(void);

/* In the task of rmmod, which may sleep. */
void vfs_coverage_write(void)
{
	size_t bytes = __stop___sancov_bools - __start___sancov_bools;
	struct file *file = filp_open(coverage, O_WRONLY | O_CREAT | O_APPEND, 0600);
	loff_t pos = 0;

	if (IS_ERR(file)) {
		pr_err("rext4: coverage: %s: %pe\n", coverage, file);
		return;
	}
	if (kernel_write(file, __start___sancov_bools, bytes, &pos) != bytes)
		pr_err("rext4: coverage: %s is short\n", coverage);
	filp_close(file, NULL);
}
