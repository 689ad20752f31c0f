// SPDX-License-Identifier: GPL-2.0
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "file.h"
#include "msg.h"
#include "work.h"

struct queue {
	size_t n;
	atomic_size_t next;
	void (*job)(size_t i, void *data);
	void *data;
};

static void *take(void *arg)
{
	struct queue *queue = arg;
	size_t i;

	while (!interrupted && (i = atomic_fetch_add(&queue->next, 1)) < queue->n)
		queue->job(i, queue->data);
	return NULL;
}

void work(size_t n, size_t threads, void (*job)(size_t i, void *data), void *data)
{
	struct queue queue = { .n = n, .job = job, .data = data };
	pthread_t thread[WORK_MOST_THREADS];
	size_t started = 0;

	threads = threads < n ? threads : n;
	threads = files_may_open(threads < WORK_MOST_THREADS ? threads : WORK_MOST_THREADS);
	while (started + 1 < threads && !pthread_create(&thread[started], NULL, take, &queue))
		started++;
	take(&queue);
	while (started)
		pthread_join(thread[--started], NULL);
}

size_t work_processors(void)
{
	cpu_set_t set;

	/* With more than that can tell, there are enough. */
	return sched_getaffinity(0, sizeof(set), &set) < 0 ? CPU_SETSIZE : (size_t)CPU_COUNT(&set);
}
