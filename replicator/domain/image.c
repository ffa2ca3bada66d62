/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A copy of a whole image, for backends that keep it where page() points (domain.h, copy_into()). */
#include <string.h>

#include "remus/domain.h"
#include "remus/pages.h"

/* The copy's memory is zero yet. */
int remus_standby_copy_image(struct remus_standby *from, struct remus_standby *copy, uint64_t epoch,
			     const uint8_t *state, size_t bytes, struct remus_error *err)
{
	uint64_t pages = from->ops->pages(from);

	if (copy->ops->pages(copy) != pages)
		return remus_fail(err, -EPROTO, "the copy has %llu pages of memory, the standby %llu",
				  (unsigned long long)copy->ops->pages(copy), (unsigned long long)pages);
	for (uint64_t pfn = 0; pfn < pages; pfn++) {
		const uint8_t *page = from->ops->page(from, pfn);
		if (!remus_page_is_zero(page))
			memcpy(copy->ops->page(copy, pfn), page, REMUS_PAGE_SIZE);
	}
	return copy->ops->commit(copy, epoch, state, bytes, err);
}
