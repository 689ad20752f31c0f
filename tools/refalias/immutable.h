/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Step 8, if it is asked for: make what shares immutable, like chattr +i.
 */
#ifndef REFALIAS_IMMUTABLE_H
#define REFALIAS_IMMUTABLE_H

#include "file.h"

/* Make @file immutable, or changeable again; a message if that fails. */
void immutable_set(struct file *file, bool on);

#endif
