// SPDX-License-Identifier: GPL-2.0
/* include/linux/fs.h, include/linux/fs/super.h, include/linux/slab.h */
#include <linux/compat.h>
#include <linux/dcache.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/mount.h>
#include <linux/path.h>
#include <linux/fs_context.h>
#include <linux/freezer.h>
#include <linux/slab.h>
#include <linux/seq_file.h>
#include <linux/iversion.h>
#include <linux/fserror.h>
#include <linux/random.h>
#include <linux/rcupdate.h>
#include <linux/kernel.h>
#include <linux/wait_bit.h>
#include <linux/workqueue.h>

__rust_helper void *
rust_helper_alloc_inode_sb(struct super_block *sb, struct kmem_cache *c)
{
	return alloc_inode_sb(sb, c, GFP_NOFS);
}

/*
 * The end of a mount that failed. What is left of its inodes by now is a leak:
 * someone will never let go of it. generic_shutdown_super() sees to such ones
 * only where there is a root. It leaves them in the hash table, too, where the
 * next super block at the same address would find them.
 */
__rust_helper void rust_helper_poison_inodes(struct super_block *sb)
{
	struct inode *inode;

	if (!CHECK_DATA_CORRUPTION(!list_empty(&sb->s_inodes), NULL,
				   "VFS: Busy inodes after the failed mount of %s (%s)",
				   sb->s_id, sb->s_type->name))
		return;
	/*
	 * The lock of the hash table comes before that of the list, which is not
	 * needed: no inode is made any more, and none goes.
	 */
	list_for_each_entry(inode, &sb->s_inodes, i_sb_list) {
		remove_inode_hash(inode);
		inode->i_op = VFS_PTR_POISON;
		inode->i_sb = VFS_PTR_POISON;
		inode->i_mapping = VFS_PTR_POISON;
	}
}

/*
 * Whether someone never let go of an inode. Its pages stay, and reclaim calls
 * the operations of their mapping: the module stays, too, for good.
 */
__rust_helper bool rust_helper_keep_module_of_inodes(struct super_block *sb)
{
	if (list_empty(&sb->s_inodes))
		return false;
	__module_get(sb->s_type->owner);
	return true;
}

/*
 * Until every task that was preempted just now has gone on and slept. Where the kernel is preempted
 * and has no Tasks RCU, for nothing in it needs that, there is nobody who could tell.
 */
__rust_helper void rust_helper_wait_for_preempted(void)
{
	synchronize_rcu_tasks();
}

__rust_helper struct kmem_cache *
rust_helper_inode_cache(const char *name, unsigned int size, unsigned int align,
			 void (*ctor)(void *))
{
	return kmem_cache_create(name, size, align, SLAB_RECLAIM_ACCOUNT | SLAB_ACCOUNT,
				 ctor);
}

/* inode_dio_wait(), for who may be killed. 0, or -ERESTARTSYS. */
__rust_helper int rust_helper_inode_dio_wait_killable(struct inode *inode)
{
	return wait_var_event_killable(&inode->i_dio_count, inode_dio_finished(inode));
}

__rust_helper void rust_helper_i_size_write(struct inode *inode, loff_t size)
{
	i_size_write(inode, size);
}

__rust_helper void rust_helper_i_uid_write(struct inode *inode, uid_t uid)
{
	i_uid_write(inode, uid);
}

__rust_helper void rust_helper_i_gid_write(struct inode *inode, gid_t gid)
{
	i_gid_write(inode, gid);
}

__rust_helper void
rust_helper_inode_fsuid_set(struct inode *inode, struct mnt_idmap *idmap)
{
	inode_fsuid_set(inode, idmap);
}

__rust_helper void
rust_helper_inode_gid_of(struct inode *inode, const struct inode *dir)
{
	inode->i_gid = dir->i_gid;
}

__rust_helper uid_t rust_helper_i_uid_read(struct inode *inode)
{
	return i_uid_read(inode);
}

__rust_helper gid_t rust_helper_i_gid_read(struct inode *inode)
{
	return i_gid_read(inode);
}

__rust_helper void
rust_helper_inode_set_atime(struct inode *inode, time64_t sec, long nsec)
{
	inode_set_atime(inode, sec, nsec);
}

__rust_helper void
rust_helper_inode_set_mtime(struct inode *inode, time64_t sec, long nsec)
{
	inode_set_mtime(inode, sec, nsec);
}

__rust_helper void
rust_helper_inode_set_ctime(struct inode *inode, time64_t sec, long nsec)
{
	inode_set_ctime(inode, sec, nsec);
}

__rust_helper void
rust_helper_inode_get_atime(struct inode *inode, struct timespec64 *ts)
{
	*ts = inode_get_atime(inode);
}

__rust_helper void
rust_helper_inode_get_mtime(struct inode *inode, struct timespec64 *ts)
{
	*ts = inode_get_mtime(inode);
}

__rust_helper void
rust_helper_inode_get_ctime(struct inode *inode, struct timespec64 *ts)
{
	*ts = inode_get_ctime(inode);
}

__rust_helper void rust_helper_inode_set_mtime_to_ctime(struct inode *inode)
{
	inode_set_mtime_to_ts(inode, inode_set_ctime_current(inode));
}

__rust_helper u64 rust_helper_inode_peek_iversion(const struct inode *inode)
{
	return inode_peek_iversion(inode);
}

__rust_helper void rust_helper_inode_set_iversion(struct inode *inode, u64 v)
{
	inode_set_iversion(inode, v);
}

__rust_helper void rust_helper_inode_set_iversion_queried(struct inode *inode, u64 v)
{
	inode_set_iversion_queried(inode, v);
}

__rust_helper void rust_helper_inode_inc_iversion(struct inode *inode)
{
	inode_inc_iversion(inode);
}

__rust_helper bool rust_helper_inode_is_creating(struct inode *inode)
{
	return inode_state_read_once(inode) & I_CREATING;
}

__rust_helper bool rust_helper_inode_is_new(struct inode *inode)
{
	return inode_state_read_once(inode) & I_NEW;
}

__rust_helper void rust_helper_inode_lock(struct inode *inode)
{
	inode_lock(inode);
}

__rust_helper bool rust_helper_inode_trylock(struct inode *inode)
{
	return inode_trylock(inode);
}

__rust_helper void rust_helper_inode_unlock(struct inode *inode)
{
	inode_unlock(inode);
}

__rust_helper void rust_helper_assert_inode_locked(struct inode *inode)
{
	lockdep_assert_held_write(&inode->i_rwsem);
}

__rust_helper void rust_helper_inode_lock_shared(struct inode *inode)
{
	inode_lock_shared(inode);
}

__rust_helper bool rust_helper_inode_trylock_shared(struct inode *inode)
{
	return inode_trylock_shared(inode);
}

__rust_helper void rust_helper_inode_unlock_shared(struct inode *inode)
{
	inode_unlock_shared(inode);
}

__rust_helper void rust_helper_sb_start_intwrite(struct super_block *sb)
{
	sb_start_intwrite(sb);
}

__rust_helper void rust_helper_sb_end_intwrite(struct super_block *sb)
{
	sb_end_intwrite(sb);
}

__rust_helper bool rust_helper_sb_start_intwrite_trylock(struct super_block *sb)
{
	return sb_start_intwrite_trylock(sb);
}

__rust_helper void rust_helper_sb_start_pagefault(struct super_block *sb)
{
	sb_start_pagefault(sb);
}

__rust_helper void rust_helper_sb_end_pagefault(struct super_block *sb)
{
	sb_end_pagefault(sb);
}

__rust_helper bool rust_helper_sb_active(struct super_block *sb)
{
	return READ_ONCE(sb->s_flags) & SB_ACTIVE;
}

__rust_helper bool rust_helper_sb_rdonly(struct super_block *sb)
{
	return sb_rdonly(sb);
}

__rust_helper bool
rust_helper_dir_emit(struct dir_context *ctx, const char *name, int len, u64 ino,
		      unsigned int type)
{
	return dir_emit(ctx, name, len, ino, type);
}

__rust_helper bool rust_helper_dir_positions_32bit(struct file *file)
{
	if (file->f_mode & FMODE_32BITHASH)
		return true;
	if (file->f_mode & FMODE_64BITHASH)
		return false;
	return BITS_PER_LONG == 32 || in_compat_syscall();
}

__rust_helper void rust_helper_file_accessed(struct file *file)
{
	file_accessed(file);
}

__rust_helper ssize_t rust_helper_generic_write_sync(struct kiocb *iocb, ssize_t n)
{
	return generic_write_sync(iocb, n);
}

__rust_helper bool rust_helper_is_sync(struct inode *inode)
{
	return IS_SYNC(inode);
}

__rust_helper bool rust_helper_is_dirsync(struct inode *inode)
{
	return IS_DIRSYNC(inode);
}

__rust_helper bool rust_helper_is_nosec(struct inode *inode)
{
	return IS_NOSEC(inode);
}

__rust_helper bool rust_helper_is_swapfile(struct inode *inode)
{
	return IS_SWAPFILE(inode);
}

__rust_helper char *rust_helper_mount_point(struct file *f, char *buf, int len)
{
	struct path path = { .mnt = f->f_path.mnt, .dentry = f->f_path.mnt->mnt_root };

	return d_path(&path, buf, len);
}

__rust_helper u32 rust_helper_random_u32(void)
{
	return get_random_u32();
}

__rust_helper void
rust_helper_report_metadata(struct super_block *sb, struct inode *inode, int error)
{
	if (inode)
		fserror_report_file_metadata(inode, error, GFP_NOFS);
	else
		fserror_report_metadata(sb, error, GFP_NOFS);
}

__rust_helper int rust_helper_finish_open_simple(struct file *file)
{
	return finish_open_simple(file, 0);
}

__rust_helper bool rust_helper_file_is_writer(struct file *file)
{
	return file->f_mode & FMODE_WRITE;
}

__rust_helper bool rust_helper_file_is_reader(struct file *file)
{
	return file->f_mode & FMODE_READ;
}

__rust_helper void rust_helper_set_uuid(struct super_block *sb, const u8 *uuid)
{
	super_set_uuid(sb, uuid, 16);
}

__rust_helper void rust_helper_panic(const struct super_block *sb, const char *why)
{
	panic("%s: %s: %s\n", sb->s_type->name, sb->s_id, why);
}

__rust_helper void rust_helper_set_free_link(struct delayed_call *done, void *text)
{
	set_delayed_call(done, kfree_link, text);
}

__rust_helper bool rust_helper_within_module(const void *p, const struct module *mod)
{
	return within_module((unsigned long)p, mod);
}

__rust_helper bool rust_helper_should_return(void)
{
	return fatal_signal_pending(current) || freezing(current);
}

__rust_helper bool rust_helper_fatal_signal_pending(void)
{
	return fatal_signal_pending(current);
}

__rust_helper void rust_helper_logfc(struct fs_context *fc, char level, const void *args)
{
	if (fc->log.log)
		logfc(fc->log.log, fc->log.prefix, level, "%pA", args);
}

__rust_helper void rust_helper_init_work(struct work_struct *work, work_func_t fn)
{
	INIT_WORK(work, fn);
}

__rust_helper bool rust_helper_queue_unbound(struct work_struct *work)
{
	return queue_work(system_dfl_wq, work);
}

__rust_helper bool rust_helper_system_going_down(void)
{
	return system_state == SYSTEM_HALT ||
	       system_state == SYSTEM_POWER_OFF ||
	       system_state == SYSTEM_RESTART;
}
