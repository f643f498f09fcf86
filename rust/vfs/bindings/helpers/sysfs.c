// SPDX-License-Identifier: GPL-2.0
/* include/linux/kobject.h, include/linux/sysfs.h, include/linux/kstrtox.h */
#include <linux/fs.h>
#include <linux/kobject.h>
#include <linux/kstrtox.h>
#include <linux/string.h>
#include <linux/sysfs.h>

__rust_helper struct kobject *rust_helper_fs_kobj(void)
{
	return fs_kobj;
}

__rust_helper void
rust_helper_sysfs_file_init(struct kobj_attribute *file, const char *name, umode_t mode,
			    ssize_t (*show)(struct kobject *, struct kobj_attribute *, char *),
			    ssize_t (*store)(struct kobject *, struct kobj_attribute *,
					     const char *, size_t))
{
	memset(file, 0, sizeof(*file));
	file->attr.name = name;
	file->attr.mode = mode;
	file->show = show;
	file->store = store;
	sysfs_attr_init(&file->attr);
}

__rust_helper int
rust_helper_sysfs_create_file(struct kobject *folder, struct kobj_attribute *file)
{
	return sysfs_create_file(folder, &file->attr);
}

__rust_helper ssize_t rust_helper_sysfs_emit_number(char *page, u64 number)
{
	return sysfs_emit(page, "%llu\n", number);
}

__rust_helper ssize_t
rust_helper_sysfs_emit_text(char *page, const char *text, unsigned int len)
{
	return sysfs_emit(page, "%.*s\n", len, text);
}

__rust_helper int rust_helper_sysfs_number(const char *text, u64 *number)
{
	return kstrtoull(skip_spaces(text), 0, number);
}

__rust_helper void rust_helper_set_sysfs_name(struct super_block *sb)
{
	super_set_sysfs_name_bdev(sb);
}
