// SPDX-License-Identifier: GPL-2.0
/* include/linux/cred.h, include/linux/uidgid.h, include/linux/capability.h, include/linux/fs.h */
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/fs.h>
#include <linux/uidgid.h>

__rust_helper bool rust_helper_may_use_reserved(uid_t uid, gid_t gid)
{
	if (uid_eq(make_kuid(&init_user_ns, uid), current_fsuid()))
		return true;
	if (gid && in_group_p(make_kgid(&init_user_ns, gid)))
		return true;
	return capable(CAP_SYS_RESOURCE);
}

__rust_helper bool rust_helper_file_is_owned(const struct file *file)
{
	return inode_owner_or_capable(file_mnt_idmap(file), file_inode(file));
}

__rust_helper bool rust_helper_capable_resource(void)
{
	return capable(CAP_SYS_RESOURCE);
}

__rust_helper bool rust_helper_capable_admin(void)
{
	return capable(CAP_SYS_ADMIN);
}
