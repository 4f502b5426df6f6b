// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#include "exporter/page.h"

#include <string.h>

/* The assembler searches the include paths, so names are from the top of the tree. */
#define EMBED(name, file)                                                      \
	extern const char name##_start[], name##_end[];                        \
	__asm__(".pushsection .rodata\n" #name "_start:\n.incbin \"" file "\"\n" \
		#name "_end:\n.popsection\n")

EMBED(page_index, "exporter/page/index.html");
EMBED(page_style, "exporter/page/style.css");
EMBED(page_app, "exporter/page/app.js");

static const struct page_file files[] = {
	{ "/", "text/html; charset=utf-8", page_index_start, page_index_end },
	{ "/style.css", "text/css; charset=utf-8", page_style_start, page_style_end },
	{ "/app.js", "text/javascript; charset=utf-8", page_app_start, page_app_end },
};

const struct page_file *page_find(const char *path)
{
	size_t i;

	for (i = 0; i < sizeof(files) / sizeof(*files); i++)
		if (!strcmp(files[i].path, path))
			return &files[i];
	return NULL;
}
