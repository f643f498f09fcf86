// SPDX-License-Identifier: GPL-2.0
/* include/linux/jbd2.h */
#include <linux/jbd2.h>

__rust_helper struct jbd2_journal_handle *rust_helper_jbd2_current_handle(void)
{
	return journal_current_handle();
}

__rust_helper struct jbd2_journal_handle *
rust_helper_jbd2_start(struct journal_s *j, int blocks, int revokes)
{
	return jbd2__journal_start(j, blocks, 0, revokes, GFP_NOFS, 0, 0);
}

__rust_helper struct block_device *rust_helper_jbd2_fs_dev(struct journal_s *j)
{
	return j->j_fs_dev;
}

__rust_helper unsigned int rust_helper_jbd2_blocksize(struct journal_s *j)
{
	return j->j_blocksize;
}

__rust_helper bool rust_helper_jbd2_is_aborted(struct journal_s *j)
{
	return is_journal_aborted(j);
}

__rust_helper bool rust_helper_jbd2_needs_recovery(struct journal_s *j)
{
	return j->j_tail != 0;
}

__rust_helper int rust_helper_jbd2_stored_errno(struct journal_s *j)
{
	return j->j_errno;
}

__rust_helper bool rust_helper_jbd2_has_fast_commit(struct journal_s *j)
{
	return jbd2_has_feature_fast_commit(j);
}

__rust_helper void rust_helper_jbd2_lock_state(struct journal_s *j)
{
	write_lock(&j->j_state_lock);
}

__rust_helper void rust_helper_jbd2_unlock_state(struct journal_s *j)
{
	write_unlock(&j->j_state_lock);
}

__rust_helper void rust_helper_jbd2_set_barrier(struct journal_s *j, bool on)
{
	j->j_flags = on ? j->j_flags | JBD2_BARRIER : j->j_flags & ~JBD2_BARRIER;
}

__rust_helper void rust_helper_jbd2_skip_numbers(struct journal_s *j)
{
	j->j_tail_sequence += j->j_total_len;
}

__rust_helper void rust_helper_jbd2_forget_head(struct journal_s *j)
{
	if (!j->j_superblock->s_head)
		return;
	lock_buffer(j->j_sb_buffer);
	j->j_superblock->s_head = 0;
	unlock_buffer(j->j_sb_buffer);
	jbd2_journal_update_sb_errno(j);
}

__rust_helper void
rust_helper_jbd2_set_commit_seconds(struct journal_s *j, unsigned int seconds)
{
	j->j_commit_interval = (unsigned long)seconds * HZ;
}

__rust_helper int rust_helper_jbd2_max_credits(struct journal_s *j)
{
	return j->j_max_transaction_buffers - j->j_transaction_overhead_buffers;
}

__rust_helper unsigned int
rust_helper_jbd2_revoke_blocks(struct journal_s *j, unsigned int n)
{
	return DIV_ROUND_UP(n, j->j_revoke_records_per_block);
}

__rust_helper void
rust_helper_jbd2_set_private(struct journal_s *j, void *private)
{
	j->j_private = private;
}

__rust_helper void *rust_helper_jbd2_private(struct journal_s *j)
{
	return j->j_private;
}

__rust_helper void
rust_helper_jbd2_set_commit_callback(struct journal_s *j,
				      void (*callback)(struct journal_s *,
						       struct transaction_s *))
{
	j->j_commit_callback = callback;
}

__rust_helper struct inode *rust_helper_jbd2_inode(struct journal_s *j)
{
	return j->j_inode;
}

__rust_helper void
rust_helper_jbd2_set_bmap(struct journal_s *j, int (*bmap)(struct journal_s *, sector_t *))
{
	j->j_bmap = bmap;
}

__rust_helper u32 rust_helper_jbd2_transaction_tid(struct transaction_s *t)
{
	return t->t_tid;
}

__rust_helper u32 rust_helper_jbd2_latest_tid(struct journal_s *j)
{
	return jbd2_get_latest_transaction(j);
}

__rust_helper u32 rust_helper_jbd2_handle_tid(struct jbd2_journal_handle *h)
{
	return h->h_transaction->t_tid;
}

__rust_helper int rust_helper_jbd2_handle_credits(struct jbd2_journal_handle *h)
{
	return jbd2_handle_buffer_credits(h);
}

__rust_helper int rust_helper_jbd2_handle_revokes(struct jbd2_journal_handle *h)
{
	return h->h_revoke_credits;
}

__rust_helper void rust_helper_jbd2_handle_set_sync(struct jbd2_journal_handle *h)
{
	h->h_sync = 1;
}

__rust_helper bool rust_helper_jbd2_handle_is_aborted(struct jbd2_journal_handle *h)
{
	return is_handle_aborted(h);
}

__rust_helper u32 rust_helper_jbd2_task_pid(struct journal_s *j)
{
	return task_pid_vnr(j->j_task);
}
