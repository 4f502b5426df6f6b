/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The status page's files, held in the program. */
#ifndef REMAP_PAGE_H
#define REMAP_PAGE_H

#include <stddef.h>

struct page_file {
	const char *path; /* of the URL */
	const char *content_type;
	const char *start;
	const char *end;
};

/* NULL: there is no such file. */
const struct page_file *page_find(const char *path);

#endif
