// SPDX-License-Identifier: GPL-2.0
/* include/linux/security.h */
#include <linux/security.h>
#include <linux/xattr.h>

__rust_helper int
rust_helper_inode_init_security(struct inode *inode, struct inode *dir, struct dentry *dentry,
				initxattrs collect, void *list)
{
	return security_inode_init_security(inode, dir, dentry ? &dentry->d_name : NULL,
					    collect, list);
}
