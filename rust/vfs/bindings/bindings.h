/* SPDX-License-Identifier: GPL-2.0 */
/* What bindgen reads beside the kernel crate's own bindings. */
#include <linux/fs.h>
#include <linux/fs_context.h>
#include <linux/fs_parser.h>
#include <linux/buffer_head.h>
#include <linux/exportfs.h>
#include <linux/falloc.h>
#include <linux/fiemap.h>
#include <linux/fserror.h>
#include <linux/iomap.h>
#include <linux/mount.h>
#include <linux/iversion.h>
#include <linux/jbd2.h>
#include <linux/pagemap.h>
#include <linux/percpu-rwsem.h>
#include <linux/percpu_counter.h>
#include <linux/statfs.h>
#include <linux/uio.h>
#include <linux/writeback.h>
#include <linux/fileattr.h>
#include <linux/mpage.h>
#include <linux/rmap.h>
#include <linux/backing-dev.h>
#include <linux/random.h>
#include <linux/huge_mm.h>
#include <linux/crc32c.h>
#include <linux/sched/mm.h>
#include <linux/crc32.h>
#include <linux/dax.h>
#include <linux/workqueue.h>
#include <linux/blkdev.h>
#include <linux/blk-crypto.h>
#include <linux/filelock.h>
#include <linux/xattr.h>
#include <linux/posix_acl.h>
#include <linux/mbcache.h>
#include <linux/security.h>
#include <linux/fsmap.h>
#include <linux/fscrypt.h>
#include <uapi/linux/ext4.h>
#include "helpers.c"

/* Constants whose macros bindgen cannot evaluate. */
const unsigned int RUST_CONST_HELPER_IOCB_NOWAIT = (__force unsigned int)IOCB_NOWAIT;
const unsigned int RUST_CONST_HELPER_IOCB_HIPRI = (__force unsigned int)IOCB_HIPRI;
const unsigned int RUST_CONST_HELPER_IOCB_DSYNC = (__force unsigned int)IOCB_DSYNC;
const unsigned int RUST_CONST_HELPER_IOCB_ATOMIC = (__force unsigned int)IOCB_ATOMIC;
const unsigned int RUST_CONST_HELPER_TASK_KILLABLE = TASK_KILLABLE;
const unsigned int RUST_CONST_HELPER_SB_RDONLY = SB_RDONLY;
const unsigned int RUST_CONST_HELPER_SB_POSIXACL = SB_POSIXACL;
const unsigned int RUST_CONST_HELPER_SB_FORCE = SB_FORCE;
const unsigned int RUST_CONST_HELPER_SB_I_VERSION = SB_I_VERSION;
const unsigned int RUST_CONST_HELPER_SB_INLINECRYPT = SB_INLINECRYPT;
const unsigned int RUST_CONST_HELPER_FS_IOC_GETFSLABEL = FS_IOC_GETFSLABEL;
const unsigned int RUST_CONST_HELPER_FS_IOC_SETFSLABEL = FS_IOC_SETFSLABEL;
const unsigned int RUST_CONST_HELPER_EXT4_IOC_GETFSUUID = EXT4_IOC_GETFSUUID;
const unsigned int RUST_CONST_HELPER_EXT4_IOC_SETFSUUID = EXT4_IOC_SETFSUUID;
const unsigned int RUST_CONST_HELPER_EXT4_IOC_MOVE_EXT = EXT4_IOC_MOVE_EXT;
const unsigned int RUST_CONST_HELPER_FS_IOC_GETFSMAP = FS_IOC_GETFSMAP;
const unsigned int RUST_CONST_HELPER_EXT4_IOC_CHECKPOINT = EXT4_IOC_CHECKPOINT;
const unsigned int RUST_CONST_HELPER_FITRIM = FITRIM;
const unsigned int RUST_CONST_HELPER_EXT4_IOC_RESIZE_FS = EXT4_IOC_RESIZE_FS;
const unsigned int RUST_CONST_HELPER_EXT4_IOC_GROUP_EXTEND = EXT4_IOC_GROUP_EXTEND;
const unsigned int RUST_CONST_HELPER_EXT4_IOC32_GROUP_EXTEND = EXT4_IOC32_GROUP_EXTEND;
const unsigned int RUST_CONST_HELPER_EXT4_IOC_GROUP_ADD = EXT4_IOC_GROUP_ADD;
const unsigned int RUST_CONST_HELPER_FS_IOC_SHUTDOWN = FS_IOC_SHUTDOWN;
const unsigned int RUST_CONST_HELPER_FS_IOC_GETVERSION = FS_IOC_GETVERSION;
const unsigned int RUST_CONST_HELPER_FS_IOC32_GETVERSION = FS_IOC32_GETVERSION;
const unsigned int RUST_CONST_HELPER_FS_IOC_SETVERSION = FS_IOC_SETVERSION;
const unsigned int RUST_CONST_HELPER_FS_IOC32_SETVERSION = FS_IOC32_SETVERSION;
const unsigned int RUST_CONST_HELPER_EXT4_IOC_GETVERSION = EXT4_IOC_GETVERSION;
const unsigned int RUST_CONST_HELPER_EXT4_IOC32_GETVERSION = EXT4_IOC32_GETVERSION;
const unsigned int RUST_CONST_HELPER_EXT4_IOC_SETVERSION = EXT4_IOC_SETVERSION;
const unsigned int RUST_CONST_HELPER_EXT4_IOC32_SETVERSION = EXT4_IOC32_SETVERSION;
const unsigned int RUST_CONST_HELPER_FS_IOC_SET_ENCRYPTION_POLICY = FS_IOC_SET_ENCRYPTION_POLICY;
const unsigned int RUST_CONST_HELPER_FS_IOC_GET_ENCRYPTION_PWSALT = FS_IOC_GET_ENCRYPTION_PWSALT;
const unsigned int RUST_CONST_HELPER_FS_IOC_GET_ENCRYPTION_POLICY = FS_IOC_GET_ENCRYPTION_POLICY;
const unsigned int RUST_CONST_HELPER_FS_IOC_GET_ENCRYPTION_POLICY_EX =
	FS_IOC_GET_ENCRYPTION_POLICY_EX;
const unsigned int RUST_CONST_HELPER_FS_IOC_ADD_ENCRYPTION_KEY = FS_IOC_ADD_ENCRYPTION_KEY;
const unsigned int RUST_CONST_HELPER_FS_IOC_REMOVE_ENCRYPTION_KEY = FS_IOC_REMOVE_ENCRYPTION_KEY;
const unsigned int RUST_CONST_HELPER_FS_IOC_REMOVE_ENCRYPTION_KEY_ALL_USERS =
	FS_IOC_REMOVE_ENCRYPTION_KEY_ALL_USERS;
const unsigned int RUST_CONST_HELPER_FS_IOC_GET_ENCRYPTION_KEY_STATUS =
	FS_IOC_GET_ENCRYPTION_KEY_STATUS;
const unsigned int RUST_CONST_HELPER_FS_IOC_GET_ENCRYPTION_NONCE = FS_IOC_GET_ENCRYPTION_NONCE;
const unsigned int RUST_CONST_HELPER_GFP_NOFAIL = (__force unsigned int)(GFP_KERNEL | __GFP_NOFAIL);
const unsigned int RUST_CONST_HELPER_PMD_ORDER = PMD_ORDER;
const fop_flags_t RUST_CONST_HELPER_FOP_BUFFER_RASYNC = FOP_BUFFER_RASYNC;
const fop_flags_t RUST_CONST_HELPER_FOP_BUFFER_WASYNC = FOP_BUFFER_WASYNC;
const fop_flags_t RUST_CONST_HELPER_FOP_DIO_PARALLEL_WRITE = FOP_DIO_PARALLEL_WRITE;
const fop_flags_t RUST_CONST_HELPER_FOP_DONTCACHE = FOP_DONTCACHE;
const fop_flags_t RUST_CONST_HELPER_FOP_MMAP_SYNC = FOP_MMAP_SYNC;
const vm_fault_t RUST_CONST_HELPER_VM_FAULT_NEEDDSYNC = (__force vm_fault_t)VM_FAULT_NEEDDSYNC;
const fmode_t RUST_CONST_HELPER_FMODE_NOWAIT = (__force unsigned int)FMODE_NOWAIT;
const fmode_t RUST_CONST_HELPER_FMODE_ATOMIC_POS = (__force unsigned int)FMODE_ATOMIC_POS;
const fmode_t RUST_CONST_HELPER_FMODE_CAN_ODIRECT = (__force unsigned int)FMODE_CAN_ODIRECT;
const fmode_t RUST_CONST_HELPER_FMODE_CAN_ATOMIC_WRITE =
	(__force unsigned int)FMODE_CAN_ATOMIC_WRITE;
