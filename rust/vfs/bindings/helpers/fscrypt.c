// SPDX-License-Identifier: GPL-2.0
/*
 * include/linux/fscrypt.h, where the functions are inline if the kernel was
 * configured without encryption.
 */
#include <linux/dcache.h>
#include <linux/fs_parser.h>
#include <linux/fscrypt.h>
#include <linux/ratelimit.h>

/* Most of fs/crypto looks at the operations, whether anything is encrypted or not. */
static bool has_crypt(const struct super_block *sb)
{
#ifdef CONFIG_FS_ENCRYPTION
	return sb->s_cop;
#else
	return false;
#endif
}

__rust_helper bool rust_helper_has_crypt(const struct super_block *sb)
{
	return has_crypt(sb);
}

__rust_helper void rust_helper_set_crypt(struct super_block *sb, const void *ops)
{
	fscrypt_set_ops(sb, ops);
	generic_set_sb_d_ops(sb);
}

__rust_helper bool rust_helper_has_crypt_key(const struct inode *inode)
{
	return has_crypt(inode->i_sb) && fscrypt_has_encryption_key(inode);
}

__rust_helper int rust_helper_crypt_drop_inode(struct inode *inode)
{
	return inode_generic_drop(inode) ||
	       (has_crypt(inode->i_sb) && fscrypt_drop_inode(inode));
}

__rust_helper void rust_helper_crypt_end_inode(struct inode *inode)
{
	if (has_crypt(inode->i_sb))
		fscrypt_put_encryption_info(inode);
}

__rust_helper int
rust_helper_crypt_new_inode(struct inode *dir, struct inode *inode, bool *encrypted)
{
	return has_crypt(dir->i_sb) ? fscrypt_prepare_new_inode(dir, inode, encrypted) : 0;
}

__rust_helper int rust_helper_fscrypt_set_context(struct inode *inode, void *fs_data)
{
	return fscrypt_set_context(inode, fs_data);
}

__rust_helper int
rust_helper_crypt_name(struct inode *dir, const struct dentry *dentry, bool lookup,
		       struct fscrypt_name *name)
{
	if (!lookup && fscrypt_is_nokey_name(dentry))
		return -ENOKEY;
	return fscrypt_setup_filename(dir, &dentry->d_name, lookup, name);
}

__rust_helper int
rust_helper_fscrypt_prepare_lookup(struct inode *dir, struct dentry *dentry,
				   struct fscrypt_name *name)
{
	return fscrypt_prepare_lookup(dir, dentry, name);
}

__rust_helper void rust_helper_fscrypt_free_filename(struct fscrypt_name *name)
{
	fscrypt_free_filename(name);
}

__rust_helper bool
rust_helper_fscrypt_match_name(const struct fscrypt_name *name, const u8 *other, u32 len)
{
	return fscrypt_match_name(name, other, len);
}

__rust_helper int rust_helper_fscrypt_prepare_readdir(struct inode *dir)
{
	return fscrypt_prepare_readdir(dir);
}

__rust_helper int
rust_helper_fscrypt_fname_alloc_buffer(u32 max_len, struct fscrypt_str *buffer)
{
	return fscrypt_fname_alloc_buffer(max_len, buffer);
}

__rust_helper void rust_helper_fscrypt_fname_free_buffer(struct fscrypt_str *buffer)
{
	fscrypt_fname_free_buffer(buffer);
}

__rust_helper int
rust_helper_fscrypt_fname_disk_to_usr(const struct inode *dir, u32 hash, u32 minor_hash,
				      const struct fscrypt_str *disk,
				      struct fscrypt_str *shown)
{
	return fscrypt_fname_disk_to_usr(dir, hash, minor_hash, disk, shown);
}

__rust_helper int
rust_helper_fscrypt_prepare_setattr(struct dentry *dentry, struct iattr *attr)
{
	return fscrypt_prepare_setattr(dentry, attr);
}

__rust_helper int rust_helper_crypt_file_open(struct inode *inode, struct file *file)
{
	return has_crypt(inode->i_sb) ? fscrypt_file_open(inode, file) : 0;
}

/* A file is looked at when it is opened. */
__rust_helper bool rust_helper_crypt_may_find(struct inode *dir, struct inode *inode)
{
	if (!IS_ENCRYPTED(dir) || !(S_ISDIR(inode->i_mode) || S_ISLNK(inode->i_mode)))
		return true;
	return fscrypt_has_permitted_context(dir, inode);
}

/* Whether one more of a kind that any program can ask for may be told. */
__rust_helper bool rust_helper_crypt_may_tell(void)
{
	static DEFINE_RATELIMIT_STATE(state, DEFAULT_RATELIMIT_INTERVAL,
				      DEFAULT_RATELIMIT_BURST);

	return __ratelimit(&state);
}

__rust_helper int
rust_helper_fscrypt_prepare_link(struct dentry *old, struct inode *dir, struct dentry *dentry)
{
	return fscrypt_prepare_link(old, dir, dentry);
}

__rust_helper int
rust_helper_fscrypt_prepare_rename(struct inode *old_dir, struct dentry *old_dentry,
				   struct inode *new_dir, struct dentry *new_dentry,
				   unsigned int flags)
{
	return fscrypt_prepare_rename(old_dir, old_dentry, new_dir, new_dentry, flags);
}

__rust_helper int
rust_helper_crypt_link_len(struct inode *dir, const char *target, unsigned int len,
			   unsigned int max_len, u32 *disk_len)
{
	struct fscrypt_str disk = FSTR_INIT(NULL, len + 1);
	int err = 0;

	if (has_crypt(dir->i_sb))
		err = fscrypt_prepare_symlink(dir, target, len, max_len, &disk);
	else if (disk.len > max_len)
		err = -ENAMETOOLONG;
	*disk_len = disk.len;
	return err;
}

__rust_helper int
rust_helper_crypt_link(struct inode *inode, const char *target, unsigned int len,
		       unsigned char *out, u32 out_len)
{
	struct fscrypt_str disk = FSTR_INIT(out, out_len);

	return __fscrypt_encrypt_symlink(inode, target, len, &disk);
}

__rust_helper const char *
rust_helper_fscrypt_get_symlink(struct inode *inode, const void *target, unsigned int len,
				struct delayed_call *done)
{
	return fscrypt_get_symlink(inode, target, len, done);
}

__rust_helper int
rust_helper_fscrypt_symlink_getattr(const struct path *path, struct kstat *stat)
{
	return fscrypt_symlink_getattr(path, stat);
}

/* To be freed by kfree(). */
__rust_helper const void *rust_helper_new_dummy_policy(const char *version)
{
#ifdef CONFIG_FS_ENCRYPTION
	struct fscrypt_dummy_policy dummy = {};
	const struct fs_parameter param = {
		.type = fs_value_is_string,
		.string = (char *)version,
	};
	int err = fscrypt_parse_test_dummy_encryption(&param, &dummy);

	return err ? ERR_PTR(err) : dummy.policy;
#else
	return ERR_PTR(-EOPNOTSUPP);
#endif
}

__rust_helper int
rust_helper_fscrypt_ioctl_set_policy(struct file *file, void __user *arg)
{
	return fscrypt_ioctl_set_policy(file, arg);
}

__rust_helper int rust_helper_fscrypt_ioctl_get_policy(struct file *file, void __user *arg)
{
	return fscrypt_ioctl_get_policy(file, arg);
}

__rust_helper int rust_helper_fscrypt_ioctl_get_policy_ex(struct file *file, void __user *arg)
{
	return fscrypt_ioctl_get_policy_ex(file, arg);
}

__rust_helper int rust_helper_fscrypt_ioctl_add_key(struct file *file, void __user *arg)
{
	return fscrypt_ioctl_add_key(file, arg);
}

__rust_helper int rust_helper_fscrypt_ioctl_remove_key(struct file *file, void __user *arg)
{
	return fscrypt_ioctl_remove_key(file, arg);
}

__rust_helper int
rust_helper_fscrypt_ioctl_remove_key_all_users(struct file *file, void __user *arg)
{
	return fscrypt_ioctl_remove_key_all_users(file, arg);
}

__rust_helper int rust_helper_fscrypt_ioctl_get_key_status(struct file *file, void __user *arg)
{
	return fscrypt_ioctl_get_key_status(file, arg);
}

__rust_helper int rust_helper_fscrypt_ioctl_get_nonce(struct file *file, void __user *arg)
{
	return fscrypt_ioctl_get_nonce(file, arg);
}
