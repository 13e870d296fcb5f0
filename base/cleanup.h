/* SPDX-License-Identifier: Apache-2.0
 * Cleanup by scope: a variable marked CLEANUP(fn) has fn(&variable) called when its scope ends, on every path.
 * Every free function of this project takes a pointer to the owner's pointer (or to the value), so it fits as fn. */
#ifndef BASE_CLEANUP_H
#define BASE_CLEANUP_H

#define CLEANUP(fn) __attribute__((cleanup(fn)))

/* Number of elements of an array (never of a pointer). */
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

#endif
