// SPDX-License-Identifier: GPL-2.0
/* include/linux/posix_acl.h */
#include <linux/fs_struct.h>
#include <linux/posix_acl.h>

__rust_helper bool rust_helper_is_posixacl(struct inode *inode)
{
	return IS_POSIXACL(inode);
}

__rust_helper int rust_helper_current_umask(void)
{
	return current_umask();
}

__rust_helper struct posix_acl *rust_helper_posix_acl_alloc(unsigned int count)
{
	return posix_acl_alloc(count, GFP_NOFS);
}

__rust_helper void rust_helper_posix_acl_release(struct posix_acl *acl)
{
	posix_acl_release(acl);
}

__rust_helper unsigned int rust_helper_posix_acl_count(const struct posix_acl *acl)
{
	return acl->a_count;
}

__rust_helper unsigned short
rust_helper_posix_acl_tag(const struct posix_acl *acl, unsigned int n)
{
	return acl->a_entries[n].e_tag;
}

__rust_helper unsigned short
rust_helper_posix_acl_perm(const struct posix_acl *acl, unsigned int n)
{
	return acl->a_entries[n].e_perm;
}

__rust_helper uid_t rust_helper_posix_acl_uid(const struct posix_acl *acl, unsigned int n)
{
	return from_kuid(&init_user_ns, acl->a_entries[n].e_uid);
}

__rust_helper gid_t rust_helper_posix_acl_gid(const struct posix_acl *acl, unsigned int n)
{
	return from_kgid(&init_user_ns, acl->a_entries[n].e_gid);
}

__rust_helper void
rust_helper_posix_acl_set(struct posix_acl *acl, unsigned int n, unsigned short tag,
			  unsigned short perm)
{
	acl->a_entries[n].e_tag = tag;
	acl->a_entries[n].e_perm = perm;
}

__rust_helper void
rust_helper_posix_acl_set_uid(struct posix_acl *acl, unsigned int n, uid_t uid)
{
	acl->a_entries[n].e_uid = make_kuid(&init_user_ns, uid);
}

__rust_helper void
rust_helper_posix_acl_set_gid(struct posix_acl *acl, unsigned int n, gid_t gid)
{
	acl->a_entries[n].e_gid = make_kgid(&init_user_ns, gid);
}

__rust_helper int rust_helper_posix_acl_valid(const struct posix_acl *acl)
{
	return posix_acl_valid(&init_user_ns, acl);
}

__rust_helper int rust_helper_posix_acl_masked(struct posix_acl **acl, umode_t mode)
{
	return __posix_acl_chmod(acl, GFP_KERNEL, mode);
}
