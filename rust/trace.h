/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Trace events of rext4. None of them is a stable ABI.
 *
 * Names and units, as in fs/xfs/xfs_trace.h where it has one:
 *
 * ino: inode number
 * isize, disize: file size in bytes, in memory and on disk
 * pos: file offset, in bytes
 * bytecount: number of bytes
 * lblk: file offset, in file system blocks
 * pblk: block of the device, 0 where there is none
 * len: number of file system blocks
 * seq: changes of the inode's extent map so far; map_seq: when a mapping was made
 *
 * Numbers that describe space are hexadecimal, counts (seq, nr, reserved) decimal.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM rext4

#if !defined(_REXT4_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _REXT4_TRACE_H

#include <linux/fs.h>
#include <linux/iomap.h>
#include <linux/mm_types.h>
#include <linux/tracepoint.h>

/* Beside the IOMAP_* flags of a request: writeback asks by itself. */
#define REXT4_MAP_WRITEBACK	0x80000000
/* And whether the write is to be durable when it is over. */
#define REXT4_MAP_DSYNC		0x40000000

#define REXT4_MAP_TYPES \
	{ IOMAP_HOLE,		"HOLE" }, \
	{ IOMAP_DELALLOC,	"DELALLOC" }, \
	{ IOMAP_MAPPED,		"MAPPED" }, \
	{ IOMAP_UNWRITTEN,	"UNWRITTEN" }

#define REXT4_MAP_FLAGS \
	{ IOMAP_WRITE,		"WRITE" }, \
	{ IOMAP_ZERO,		"ZERO" }, \
	{ IOMAP_REPORT,		"REPORT" }, \
	{ IOMAP_FAULT,		"FAULT" }, \
	{ IOMAP_DIRECT,		"DIRECT" }, \
	{ IOMAP_NOWAIT,		"NOWAIT" }, \
	{ IOMAP_OVERWRITE_ONLY,	"OVERWRITE_ONLY" }, \
	{ REXT4_MAP_DSYNC,	"DSYNC" }, \
	{ REXT4_MAP_WRITEBACK,	"WRITEBACK" }

#define REXT4_OP_TRUNCATE	0
#define REXT4_OP_ALLOCATE	1
#define REXT4_OP_PUNCH		2
#define REXT4_OP_ZERO		3
#define REXT4_OP_COLLAPSE	4
#define REXT4_OP_INSERT		5
#define REXT4_OP_WRITE_ZEROES	6

#define REXT4_OPS \
	{ REXT4_OP_TRUNCATE,	"TRUNCATE" }, { REXT4_OP_ALLOCATE, "ALLOCATE" }, \
	{ REXT4_OP_PUNCH,	"PUNCH" }, { REXT4_OP_ZERO, "ZERO" }, \
	{ REXT4_OP_COLLAPSE,	"COLLAPSE" }, { REXT4_OP_INSERT, "INSERT" }, \
	{ REXT4_OP_WRITE_ZEROES, "WRITE_ZEROES" }

#define REXT4_STEP_BEGIN	0
#define REXT4_STEP_LOCKED	1
#define REXT4_STEP_DRAINED	2
#define REXT4_STEP_CACHE	3
#define REXT4_STEP_BLOCKS	4
#define REXT4_STEP_END		5

#define REXT4_STEPS \
	{ REXT4_STEP_BEGIN,	"BEGIN" }, \
	{ REXT4_STEP_LOCKED,	"LOCKED" }, \
	{ REXT4_STEP_DRAINED,	"DRAINED" }, \
	{ REXT4_STEP_CACHE,	"CACHE_DROPPED" }, \
	{ REXT4_STEP_BLOCKS,	"BLOCKS_REMOVED" }, \
	{ REXT4_STEP_END,	"END" }

#define REXT4_GATE_CLOSED	0
#define REXT4_GATE_OPENED	1
#define REXT4_GATE_WAIT		2
#define REXT4_GATE_PASSED	3

#define REXT4_GATE_ACTIONS \
	{ REXT4_GATE_CLOSED,	"CLOSED" }, \
	{ REXT4_GATE_OPENED,	"OPENED" }, \
	{ REXT4_GATE_WAIT,	"WAIT" }, \
	{ REXT4_GATE_PASSED,	"PASSED" }

#define REXT4_POINT_REACHED	0
#define REXT4_POINT_RELEASED	1
#define REXT4_POINT_TIMED_OUT	2

#define REXT4_POINT_ACTIONS \
	{ REXT4_POINT_REACHED,	"REACHED" }, \
	{ REXT4_POINT_RELEASED,	"RELEASED" }, \
	{ REXT4_POINT_TIMED_OUT, "TIMED_OUT" }

/* A range of a file, and how often its extent map has changed by then. */
DECLARE_EVENT_CLASS(rext4_range_class,
	TP_PROTO(struct inode *inode, u64 pos, u64 bytecount, u32 seq),
	TP_ARGS(inode, pos, bytecount, seq),
	TP_STRUCT__entry(
		__field(dev_t, dev)
		__field(u64, ino)
		__field(u64, isize)
		__field(u64, pos)
		__field(u64, bytecount)
		__field(u32, seq)
	),
	TP_fast_assign(
		__entry->dev = inode->i_sb->s_dev;
		__entry->ino = inode->i_ino;
		__entry->isize = i_size_read(inode);
		__entry->pos = pos;
		__entry->bytecount = bytecount;
		__entry->seq = seq;
	),
	TP_printk("dev %d:%d ino 0x%llx isize 0x%llx pos 0x%llx bytecount 0x%llx seq %u",
		  MAJOR(__entry->dev), MINOR(__entry->dev),
		  __entry->ino,
		  __entry->isize,
		  __entry->pos,
		  __entry->bytecount,
		  __entry->seq)
);

#define DEFINE_RANGE_EVENT(name) \
DEFINE_EVENT(rext4_range_class, name, \
	TP_PROTO(struct inode *inode, u64 pos, u64 bytecount, u32 seq), \
	TP_ARGS(inode, pos, bytecount, seq))
DEFINE_RANGE_EVENT(rext4_buffered_read);
DEFINE_RANGE_EVENT(rext4_buffered_write);
DEFINE_RANGE_EVENT(rext4_dio_read);
DEFINE_RANGE_EVENT(rext4_dio_write);
DEFINE_RANGE_EVENT(rext4_dio_fall_back);
DEFINE_RANGE_EVENT(rext4_page_mkwrite);
DEFINE_RANGE_EVENT(rext4_zero_tail);
DEFINE_RANGE_EVENT(rext4_writeback_range);
DEFINE_RANGE_EVENT(rext4_writeback_end_io);
DEFINE_RANGE_EVENT(rext4_fsync);

/* A mapping was made; under the extent lock, so in the order of the changes below. */
TRACE_EVENT(rext4_map,
	TP_PROTO(struct inode *inode, u32 flags, const struct iomap *map),
	TP_ARGS(inode, flags, map),
	TP_STRUCT__entry(
		__field(dev_t, dev)
		__field(u64, ino)
		__field(u64, lblk)
		__field(u64, len)
		__field(u64, pblk)
		__field(u32, type)
		__field(u32, flags)
		__field(u32, seq)
	),
	TP_fast_assign(
		__entry->dev = inode->i_sb->s_dev;
		__entry->ino = inode->i_ino;
		__entry->lblk = map->offset >> inode->i_blkbits;
		__entry->len = map->length >> inode->i_blkbits;
		__entry->pblk = map->addr == IOMAP_NULL_ADDR ? 0 : map->addr >> inode->i_blkbits;
		__entry->type = map->type;
		__entry->flags = flags;
		__entry->seq = map->validity_cookie;
	),
	TP_printk("dev %d:%d ino 0x%llx lblk 0x%llx len 0x%llx pblk 0x%llx type %s flags %s seq %u",
		  MAJOR(__entry->dev), MINOR(__entry->dev),
		  __entry->ino,
		  __entry->lblk,
		  __entry->len,
		  __entry->pblk,
		  __print_symbolic(__entry->type, REXT4_MAP_TYPES),
		  __entry->flags ? __print_flags(__entry->flags, "|", REXT4_MAP_FLAGS) : "READ",
		  __entry->seq)
);

/* A mapping was found to be out of date; pos and bytecount are the mapping's. */
DECLARE_EVENT_CLASS(rext4_stale_class,
	TP_PROTO(struct inode *inode, const struct iomap *map, u32 seq),
	TP_ARGS(inode, map, seq),
	TP_STRUCT__entry(
		__field(dev_t, dev)
		__field(u64, ino)
		__field(u64, pos)
		__field(u64, bytecount)
		__field(u32, type)
		__field(u32, map_seq)
		__field(u32, seq)
	),
	TP_fast_assign(
		__entry->dev = inode->i_sb->s_dev;
		__entry->ino = inode->i_ino;
		__entry->pos = map->offset;
		__entry->bytecount = map->length;
		__entry->type = map->type;
		__entry->map_seq = map->validity_cookie;
		__entry->seq = seq;
	),
	TP_printk("dev %d:%d ino 0x%llx pos 0x%llx bytecount 0x%llx type %s map_seq %u seq %u",
		  MAJOR(__entry->dev), MINOR(__entry->dev),
		  __entry->ino,
		  __entry->pos,
		  __entry->bytecount,
		  __print_symbolic(__entry->type, REXT4_MAP_TYPES),
		  __entry->map_seq,
		  __entry->seq)
);

#define DEFINE_STALE_EVENT(name) \
DEFINE_EVENT(rext4_stale_class, name, \
	TP_PROTO(struct inode *inode, const struct iomap *map, u32 seq), \
	TP_ARGS(inode, map, seq))
DEFINE_STALE_EVENT(rext4_write_stale);
DEFINE_STALE_EVENT(rext4_writeback_stale);

/* The extent map changes; type is what the blocks become, seq counts this change already. */
DECLARE_EVENT_CLASS(rext4_extent_class,
	TP_PROTO(struct inode *inode, u32 lblk, u64 len, u64 pblk, u32 type, u32 seq),
	TP_ARGS(inode, lblk, len, pblk, type, seq),
	TP_STRUCT__entry(
		__field(dev_t, dev)
		__field(u64, ino)
		__field(u64, len)
		__field(u64, pblk)
		__field(u32, lblk)
		__field(u32, type)
		__field(u32, seq)
	),
	TP_fast_assign(
		__entry->dev = inode->i_sb->s_dev;
		__entry->ino = inode->i_ino;
		__entry->len = len;
		__entry->pblk = pblk;
		__entry->lblk = lblk;
		__entry->type = type;
		__entry->seq = seq;
	),
	TP_printk("dev %d:%d ino 0x%llx lblk 0x%x len 0x%llx pblk 0x%llx type %s seq %u",
		  MAJOR(__entry->dev), MINOR(__entry->dev),
		  __entry->ino,
		  __entry->lblk,
		  __entry->len,
		  __entry->pblk,
		  __print_symbolic(__entry->type, REXT4_MAP_TYPES),
		  __entry->seq)
);

#define DEFINE_EXTENT_EVENT(name) \
DEFINE_EVENT(rext4_extent_class, name, \
	TP_PROTO(struct inode *inode, u32 lblk, u64 len, u64 pblk, u32 type, u32 seq), \
	TP_ARGS(inode, lblk, len, pblk, type, seq))
DEFINE_EXTENT_EVENT(rext4_extent_insert);
DEFINE_EXTENT_EVENT(rext4_extent_convert);
DEFINE_EXTENT_EVENT(rext4_extent_remove);
DEFINE_EXTENT_EVENT(rext4_extent_free);

/* Of len blocks from lblk on, nr changed; reserved is what the inode has reserved after it. */
DECLARE_EVENT_CLASS(rext4_reserve_class,
	TP_PROTO(struct inode *inode, u32 lblk, u64 len, u32 nr, u32 reserved, u32 seq),
	TP_ARGS(inode, lblk, len, nr, reserved, seq),
	TP_STRUCT__entry(
		__field(dev_t, dev)
		__field(u64, ino)
		__field(u64, len)
		__field(u32, lblk)
		__field(u32, nr)
		__field(u32, reserved)
		__field(u32, seq)
	),
	TP_fast_assign(
		__entry->dev = inode->i_sb->s_dev;
		__entry->ino = inode->i_ino;
		__entry->len = len;
		__entry->lblk = lblk;
		__entry->nr = nr;
		__entry->reserved = reserved;
		__entry->seq = seq;
	),
	TP_printk("dev %d:%d ino 0x%llx lblk 0x%x len 0x%llx nr %u reserved %u seq %u",
		  MAJOR(__entry->dev), MINOR(__entry->dev),
		  __entry->ino,
		  __entry->lblk,
		  __entry->len,
		  __entry->nr,
		  __entry->reserved,
		  __entry->seq)
);

#define DEFINE_RESERVE_EVENT(name) \
DEFINE_EVENT(rext4_reserve_class, name, \
	TP_PROTO(struct inode *inode, u32 lblk, u64 len, u32 nr, u32 reserved, u32 seq), \
	TP_ARGS(inode, lblk, len, nr, reserved, seq))
DEFINE_RESERVE_EVENT(rext4_reserve_take);
DEFINE_RESERVE_EVENT(rext4_reserve_use);
DEFINE_RESERVE_EVENT(rext4_reserve_release);

/* How far truncate or fallocate has come. */
TRACE_EVENT(rext4_step,
	TP_PROTO(struct inode *inode, u32 op, u32 step, u64 pos, u64 bytecount, u32 seq),
	TP_ARGS(inode, op, step, pos, bytecount, seq),
	TP_STRUCT__entry(
		__field(dev_t, dev)
		__field(u64, ino)
		__field(u64, isize)
		__field(u64, pos)
		__field(u64, bytecount)
		__field(u32, op)
		__field(u32, step)
		__field(u32, seq)
	),
	TP_fast_assign(
		__entry->dev = inode->i_sb->s_dev;
		__entry->ino = inode->i_ino;
		__entry->isize = i_size_read(inode);
		__entry->pos = pos;
		__entry->bytecount = bytecount;
		__entry->op = op;
		__entry->step = step;
		__entry->seq = seq;
	),
	TP_printk("dev %d:%d ino 0x%llx isize 0x%llx pos 0x%llx bytecount 0x%llx op %s step %s seq %u",
		  MAJOR(__entry->dev), MINOR(__entry->dev),
		  __entry->ino,
		  __entry->isize,
		  __entry->pos,
		  __entry->bytecount,
		  __print_symbolic(__entry->op, REXT4_OPS),
		  __print_symbolic(__entry->step, REXT4_STEPS),
		  __entry->seq)
);

/* A direct write is on disk, or failed; the second invalidation is still to come. */
TRACE_EVENT(rext4_dio_end_io,
	TP_PROTO(struct inode *inode, u64 pos, u64 bytecount, int error, bool unwritten, u32 seq),
	TP_ARGS(inode, pos, bytecount, error, unwritten, seq),
	TP_STRUCT__entry(
		__field(dev_t, dev)
		__field(u64, ino)
		__field(u64, isize)
		__field(u64, pos)
		__field(u64, bytecount)
		__field(int, error)
		__field(bool, unwritten)
		__field(u32, seq)
	),
	TP_fast_assign(
		__entry->dev = inode->i_sb->s_dev;
		__entry->ino = inode->i_ino;
		__entry->isize = i_size_read(inode);
		__entry->pos = pos;
		__entry->bytecount = bytecount;
		__entry->error = error;
		__entry->unwritten = unwritten;
		__entry->seq = seq;
	),
	TP_printk("dev %d:%d ino 0x%llx isize 0x%llx pos 0x%llx bytecount 0x%llx error %d unwritten %d seq %u",
		  MAJOR(__entry->dev), MINOR(__entry->dev),
		  __entry->ino,
		  __entry->isize,
		  __entry->pos,
		  __entry->bytecount,
		  __entry->error,
		  __entry->unwritten,
		  __entry->seq)
);

TRACE_EVENT(rext4_page_mkwrite_done,
	TP_PROTO(struct inode *inode, u64 pos, u64 bytecount, u32 result, u32 seq),
	TP_ARGS(inode, pos, bytecount, result, seq),
	TP_STRUCT__entry(
		__field(dev_t, dev)
		__field(u64, ino)
		__field(u64, isize)
		__field(u64, pos)
		__field(u64, bytecount)
		__field(u32, result)
		__field(u32, seq)
	),
	TP_fast_assign(
		__entry->dev = inode->i_sb->s_dev;
		__entry->ino = inode->i_ino;
		__entry->isize = i_size_read(inode);
		__entry->pos = pos;
		__entry->bytecount = bytecount;
		__entry->result = result;
		__entry->seq = seq;
	),
	TP_printk("dev %d:%d ino 0x%llx isize 0x%llx pos 0x%llx bytecount 0x%llx result %s seq %u",
		  MAJOR(__entry->dev), MINOR(__entry->dev),
		  __entry->ino,
		  __entry->isize,
		  __entry->pos,
		  __entry->bytecount,
		  __print_flags(__entry->result, "|", VM_FAULT_RESULT_TRACE),
		  __entry->seq)
);

/* A file size changes. */
DECLARE_EVENT_CLASS(rext4_size_class,
	TP_PROTO(struct inode *inode, u64 old_size, u64 new_size),
	TP_ARGS(inode, old_size, new_size),
	TP_STRUCT__entry(
		__field(dev_t, dev)
		__field(u64, ino)
		__field(u64, old_size)
		__field(u64, new_size)
	),
	TP_fast_assign(
		__entry->dev = inode->i_sb->s_dev;
		__entry->ino = inode->i_ino;
		__entry->old_size = old_size;
		__entry->new_size = new_size;
	),
	TP_printk("dev %d:%d ino 0x%llx old_size 0x%llx new_size 0x%llx",
		  MAJOR(__entry->dev), MINOR(__entry->dev),
		  __entry->ino,
		  __entry->old_size,
		  __entry->new_size)
);

#define DEFINE_SIZE_EVENT(name) \
DEFINE_EVENT_CONDITION(rext4_size_class, name, \
	TP_PROTO(struct inode *inode, u64 old_size, u64 new_size), \
	TP_ARGS(inode, old_size, new_size), \
	TP_CONDITION(old_size != new_size))
DEFINE_SIZE_EVENT(rext4_isize);
DEFINE_SIZE_EVENT(rext4_disize);

/* The gate between a direct write and those who add pages to the page cache. */
TRACE_EVENT(rext4_gate,
	TP_PROTO(struct inode *inode, u64 pos, u64 bytecount, u32 action, u32 seq),
	TP_ARGS(inode, pos, bytecount, action, seq),
	TP_STRUCT__entry(
		__field(dev_t, dev)
		__field(u64, ino)
		__field(u64, pos)
		__field(u64, bytecount)
		__field(u32, action)
		__field(u32, seq)
	),
	TP_fast_assign(
		__entry->dev = inode->i_sb->s_dev;
		__entry->ino = inode->i_ino;
		__entry->pos = pos;
		__entry->bytecount = bytecount;
		__entry->action = action;
		__entry->seq = seq;
	),
	TP_printk("dev %d:%d ino 0x%llx pos 0x%llx bytecount 0x%llx action %s seq %u",
		  MAJOR(__entry->dev), MINOR(__entry->dev),
		  __entry->ino,
		  __entry->pos,
		  __entry->bytecount,
		  __print_symbolic(__entry->action, REXT4_GATE_ACTIONS),
		  __entry->seq)
);

/* A named place where a thread can be made to wait. */
TRACE_EVENT(rext4_point,
	TP_PROTO(struct inode *inode, const char *name, u32 action, u64 pos, u64 bytecount,
		 u32 seq),
	TP_ARGS(inode, name, action, pos, bytecount, seq),
	TP_STRUCT__entry(
		__field(dev_t, dev)
		__field(u64, ino)
		__field(u64, pos)
		__field(u64, bytecount)
		__field(u32, action)
		__field(u32, seq)
		__string(name, name)
	),
	TP_fast_assign(
		__entry->dev = inode->i_sb->s_dev;
		__entry->ino = inode->i_ino;
		__entry->pos = pos;
		__entry->bytecount = bytecount;
		__entry->action = action;
		__entry->seq = seq;
		__assign_str(name);
	),
	TP_printk("dev %d:%d ino 0x%llx pos 0x%llx bytecount 0x%llx point %s action %s seq %u",
		  MAJOR(__entry->dev), MINOR(__entry->dev),
		  __entry->ino,
		  __entry->pos,
		  __entry->bytecount,
		  __get_str(name),
		  __print_symbolic(__entry->action, REXT4_POINT_ACTIONS),
		  __entry->seq)
);

#endif /* _REXT4_TRACE_H */

/* Kbuild gives the folder to trace_points.c, which defines the tracepoints. */
#undef TRACE_INCLUDE_PATH
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_PATH .
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
