// SPDX-License-Identifier: GPL-2.0
/* Shims for what the kernel's headers define inline, one file per header. */
#define __rust_helper

#include "helpers/fs.c"
#include "helpers/pagemap.c"
#include "helpers/percpu_rwsem.c"
#include "helpers/iomap.c"
#include "helpers/bh.c"
#include "helpers/blk_crypto.c"
#include "helpers/blkdev.c"
#include "helpers/counter.c"
#include "helpers/cred.c"
#include "helpers/dax.c"
#include "helpers/fileattr.c"
#include "helpers/fscrypt.c"
#include "helpers/jbd2.c"
#include "helpers/mbcache.c"
#include "helpers/nofs.c"
#include "helpers/posix_acl.c"
#include "helpers/security.c"
#include "helpers/sysfs.c"
