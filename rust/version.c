// SPDX-License-Identifier: GPL-2.0
/* The version that modinfo shows: what the macro module! has no field for. */
#include <linux/module.h>
#include <linux/stringify.h>

MODULE_VERSION(__stringify(REXT4_VERSION));
