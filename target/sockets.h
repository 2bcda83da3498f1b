/* SPDX-License-Identifier: GPL-2.0-only
 * Part of the Holdfast backing store, which tgtd loads; see docs/LICENSING.md. */
/* tgtd's connections, with fewer system calls.
 *
 * tgtd makes about ten calls for a command: header and data are read and written one by one, each
 * write is wrapped in three TCP_CORKs, and whether an answer is there to be sent is told to epoll
 * and taken back each time. These functions stand in for the C library's (target/preload.c) and
 * read ahead, gather what is written, and keep what tgtd asks of epoll to themselves, so that a
 * handful of calls serves all the commands that came together.
 *
 * A connection is what TCP_CORK has been set on, by the thread that waits in epoll_wait; any other
 * descriptor, thread or epoll passes through. What tgtd sees stays within what a socket and a
 * level-triggered epoll may do. Each function returns what its namesake does, with errno. tgtd's
 * main thread, but for the pass through. */
#ifndef HF_TARGET_SOCKETS_H
#define HF_TARGET_SOCKETS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define HF_SOCKETS_FDS_MAX   4096u       /* descriptors from here on pass through */
#define HF_SOCKETS_IN_BYTES  (64u << 10) /* read ahead of a connection */
#define HF_SOCKETS_OUT_BYTES (64u << 10) /* written and not yet sent */
#define HF_SOCKETS_TURNS_MAX 16u /* of tgtd's loop without a look at the other descriptors */

int hf_sockets_epoll_ctl(int epoll, int op, int fd, struct epoll_event *event);
int hf_sockets_epoll_wait(int epoll, struct epoll_event *events, int max, int timeout_ms);
ssize_t hf_sockets_read(int fd, void *to, size_t bytes);
ssize_t hf_sockets_write(int fd, const void *from, size_t bytes);
int hf_sockets_setsockopt(int fd, int level, int option, const void *value, socklen_t length);
int hf_sockets_close(int fd);

/* Commands have arrived that tgtd will look at before it waits: what is done once for all of them
 * can wait for them. Not for ever: false at least once in HF_SOCKETS_TURNS_MAX turns. */
bool hf_sockets_more(void);

/* Nothing is taken over from now on (before the first call). */
void hf_sockets_disable(void);

#endif
