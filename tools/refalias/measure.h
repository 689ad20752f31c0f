/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Step 6 of a scan: what sharing would save.
 */
#ifndef REFALIAS_MEASURE_H
#define REFALIAS_MEASURE_H

#include "donor.h"

/*
 * Bytes of the page cache that @team would not need at this moment if its
 * members, those without a reason, used their donor's; @unknown counts the
 * files of which the caller may not know what is resident.
 */
uint64_t measure(const struct team *team, size_t *unknown);

#endif
