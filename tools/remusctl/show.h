/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * remusd's answers as text. Pure: JSON in, FILE out. The rule that stands above all others here: what isn't
 * protected never looks as if it were (I7). Only a literal "protected":true counts; anything else, an absent
 * member included, is UNPROTECTED in upper case, with the reason.
 */
#ifndef REMUSCTL_SHOW_H
#define REMUSCTL_SHOW_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>
#include "table.h"

bool ctl_is_overloaded(const json_t *domain);
bool ctl_is_protected(const json_t *domain);
/* Must somebody be woken? Not for a guest that isn't here (any more) nor for one whose operator wanted it so. */
bool ctl_should_be_protected(const json_t *domain);

/* One line a domain. @domains: the array of an answer to "status". */
void ctl_show_table(FILE *out, struct ctl_screen screen, const json_t *domains);
/* Below it: "vm1 is UNPROTECTED (syncing): why", for each that should be protected and isn't. */
void ctl_show_alarms(FILE *out, const json_t *domains);
/* "remusd 0.1.0 (pid 1) listens on [::]:7368, arbiter file:..." */
void ctl_show_host(FILE *out, const json_t *host);
/* Everything about one domain. */
void ctl_show_domain(FILE *out, struct ctl_screen screen, const json_t *domain);
/* "2026-01-01T00:00:00.000Z warning vm1 backup-lost: message" */
void ctl_show_event(FILE *out, const json_t *event);
/* "vm1 is protected: ..." once the full copy is done, with the tracking method's note. */
void ctl_show_protected(FILE *out, const json_t *domain);
/* How far the full copy is, in one line without a newline: "vm1: syncing, round 1, ..." */
void ctl_show_progress(FILE *out, const json_t *domain);

/* For --json: @value on one line, pure ASCII (no terminal can be driven by it). */
void ctl_show_json(FILE *out, const json_t *value);

#endif
