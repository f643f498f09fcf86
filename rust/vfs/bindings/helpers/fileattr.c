// SPDX-License-Identifier: GPL-2.0
/* include/linux/fileattr.h */
#include <linux/fileattr.h>

__rust_helper bool rust_helper_fileattr_has_hints(const struct file_kattr *fa)
{
	return fa->fsx_valid && ((fa->fsx_xflags & ~FS_XFLAG_COMMON) ||
				 fa->fsx_extsize || fa->fsx_cowextsize);
}
