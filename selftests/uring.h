/* SPDX-License-Identifier: GPL-2.0 */
/* One operation by io_uring at a time, without a library. */
#ifndef MAPPING_ALIAS_URING_H
#define MAPPING_ALIAS_URING_H

#include <errno.h>
#include <unistd.h>
#include <linux/io_uring.h>
#include <sys/mman.h>
#include <sys/syscall.h>

/*
 * Do *@sqe, wait for it and return its result; if there is no io_uring, a
 * negative errno.
 */
static inline int uring(const struct io_uring_sqe *sqe)
{
	struct io_uring_params p = { .flags = 0 };
	struct io_uring_sqe *sqes;
	int fd, result = -EINVAL;
	size_t size;
	char *ring;

	fd = syscall(__NR_io_uring_setup, 1, &p);
	if (fd < 0)
		return -errno;
	/* Since Linux 5.4 (IORING_FEAT_SINGLE_MMAP) one area has both rings. */
	size = p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe);
	ring = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		    IORING_OFF_SQ_RING);
	sqes = mmap(NULL, sizeof(*sqes), PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		    IORING_OFF_SQES);
	if (ring == MAP_FAILED || sqes == MAP_FAILED) {
		result = -errno;
		goto out;
	}

	sqes[0] = *sqe;
	*(__u32 *)(ring + p.sq_off.array) = 0;
	__atomic_store_n((__u32 *)(ring + p.sq_off.tail), 1, __ATOMIC_RELEASE);
	if (syscall(__NR_io_uring_enter, fd, 1, 1, IORING_ENTER_GETEVENTS, NULL,
		    0) != 1)
		result = -errno;
	else if (__atomic_load_n((__u32 *)(ring + p.cq_off.tail),
				 __ATOMIC_ACQUIRE) == 1)
		result = ((struct io_uring_cqe *)(ring + p.cq_off.cqes))->res;
out:
	if (sqes != MAP_FAILED)
		munmap(sqes, sizeof(*sqes));
	if (ring != MAP_FAILED)
		munmap(ring, size);
	close(fd);
	return result;
}

#endif /* MAPPING_ALIAS_URING_H */
