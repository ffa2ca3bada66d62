/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Answers as short texts: tables, alarms, events, progress. The block about one domain is in show-domain.c. */
#include "show.h"

#include <stdlib.h>
#include <string.h>
#include "human.h"
#include "remus/util.h"

bool ctl_is_protected(const json_t *domain)
{
	return json_is_true(json_object_get(domain, "protected"));
}

bool ctl_is_overloaded(const json_t *domain)
{
	return ctl_is_protected(domain) && json_is_true(ctl_get(domain, "overload.now"));
}

static bool one_of(const char *word, const char *const *words)
{
	for (; *words; words++)
		if (!strcmp(word, *words))
			return true;
	return false;
}

/* The guest isn't here any more, by agreement or by a lost claim; whoever runs it answers for it. */
static bool is_over(const json_t *domain)
{
	static const char *const over[] = {"ended", "discarded", "dropped", NULL};

	return one_of(ctl_get_text(domain, "state"), over);
}

bool ctl_should_be_protected(const json_t *domain)
{
	return !is_over(domain) && strcmp(ctl_get_text(domain, "role"), "relay") &&
	       strcmp(ctl_get_text(domain, "state"), "unprotecting");
}

static const char *state_word(const json_t *domain)
{
	return ctl_is_protected(domain) || is_over(domain) ? ctl_get_word(domain, "state") : "UNPROTECTED";
}

static char *cell(const char *text)
{
	return strdup(text[0] ? text : "-");
}

static char *cell_count(uint64_t count)
{
	char *text = NULL;

	return asprintf(&text, "%llu", (unsigned long long)count) < 0 ? NULL : text;
}

static char *cell_pause(const json_t *domain)
{
	char p50[CTL_NUMBER_TEXT], p99[CTL_NUMBER_TEXT], *text = NULL;

	if (!ctl_get_count(domain, "pause_us.p99"))
		return cell("-");
	ctl_us(p50, ctl_get_count(domain, "pause_us.p50"));
	ctl_us(p99, ctl_get_count(domain, "pause_us.p99"));
	return asprintf(&text, "%s/%s", ctl_squeeze(p50), ctl_squeeze(p99)) < 0 ? NULL : text;
}

static char *cell_held(const json_t *domain)
{
	char bytes[CTL_NUMBER_TEXT], *text = NULL;
	uint64_t packets = ctl_get_count(domain, "egress.held_packets");

	if (!packets)
		return cell(ctl_get(domain, "egress.held_packets") ? "0" : "-");
	ctl_bytes(bytes, ctl_get_count(domain, "egress.held_bytes"));
	return asprintf(&text, "%llu/%s", (unsigned long long)packets, ctl_squeeze(bytes)) < 0 ? NULL : text;
}

static char *cell_lag(const json_t *domain)
{
	char lag[CTL_NUMBER_TEXT];

	if (!ctl_is_protected(domain))
		return cell("-");
	ctl_us(lag, ctl_get_ms(domain, "lag_ms"));
	return cell(ctl_squeeze(lag));
}

void ctl_show_table(FILE *out, struct ctl_screen screen, const json_t *domains)
{
	static const struct ctl_column column[] = {
		{.title = "NAME", .min = 8},
		{.title = "ROLE"},
		{.title = "STATE"},
		{.title = "PEER", .min = 9, .spared = 4},
		{.title = "EPOCH", .right = true, .spared = 2},
		{.title = "LAG", .right = true, .spared = 1},
		{.title = "PAUSE p50/p99", .spared = 3},
		{.title = "HELD", .spared = 5},
	};
	enum { COLUMNS = REMUS_ARRAY_SIZE(column) };
	size_t rows = json_array_size(domains);
	char **cells = calloc(rows * COLUMNS + 1, sizeof *cells);

	for (size_t r = 0; cells && r < rows; r++) {
		const json_t *domain = json_array_get(domains, r);
		char **row = cells + r * COLUMNS;
		row[0] = cell(ctl_get_text(domain, "name"));
		row[1] = cell(ctl_get_text(domain, "role"));
		row[2] = cell(state_word(domain));
		row[3] = cell(ctl_get_text(domain, "peer"));
		row[4] = cell_count(ctl_get_count(domain, "epochs.committed"));
		row[5] = cell_lag(domain);
		row[6] = cell_pause(domain);
		row[7] = cell_held(domain);
	}
	if (cells)
		ctl_table_print(out, screen, column, COLUMNS, (const char *const *)cells, rows);
	for (size_t i = 0; cells && i < rows * COLUMNS; i++)
		free(cells[i]);
	free(cells);
}

/* "vm1 is UNPROTECTED (syncing): why" */
static void show_alarm(FILE *out, const json_t *domain)
{
	const char *reason = ctl_get_text(domain, "reason");

	ctl_print_clean(out, ctl_get_word(domain, "name"));
	fputs(" is UNPROTECTED (", out);
	ctl_print_clean(out, ctl_get_word(domain, "state"));
	fputs("): ", out);
	if (!reason[0])
		reason = strcmp(ctl_get_text(domain, "role"), "relay")
				 ? "remusd gives no reason"
				 : "only its network is forwarded (remusctl attach)";
	ctl_print_clean(out, reason);
	fputc('\n', out);
}

static void show_overload(FILE *out, const json_t *domain)
{
	ctl_print_clean(out, ctl_get_word(domain, "name"));
	fprintf(out,
		" is protected, but OVERLOADED: a checkpoint takes %.0f ms, more than the %llu that it may "
		"(policy ",
		ctl_get_real(domain, "overload.interval_ms"),
		(unsigned long long)ctl_get_count(domain, "overload.max_interval_ms"));
	ctl_print_clean(out, ctl_get_word(domain, "overload.policy"));
	fputs(")\n", out);
}

void ctl_show_alarms(FILE *out, const json_t *domains)
{
	size_t i;
	json_t *domain;

	json_array_foreach(domains, i, domain)
	{
		if (!ctl_is_protected(domain) && !is_over(domain))
			show_alarm(out, domain);
		if (ctl_is_overloaded(domain))
			show_overload(out, domain);
	}
}

void ctl_show_host(FILE *out, const json_t *host)
{
	const char *listen = ctl_get_text(host, "listen"), *arbiter = ctl_get_text(host, "arbiter");

	fputs("remusd ", out);
	ctl_print_clean(out, ctl_get_word(host, "version"));
	fprintf(out, " (pid %llu) ", (unsigned long long)ctl_get_count(host, "pid"));
	fputs(listen[0] ? "listens on " : "takes no standby (--no-listen)", out);
	ctl_print_clean(out, listen);
	if (listen[0] && ctl_get_text(host, "link")[0]) {
		fputs(", link: ", out);
		ctl_print_clean(out, ctl_get_text(host, "link"));
	}
	if (arbiter[0]) {
		fputs(", arbiter ", out);
		ctl_print_clean(out, arbiter);
	}
	fputc('\n', out);
}

void ctl_show_event(FILE *out, const json_t *event)
{
	static const char *const members[] = {"time", "level", "domain", "kind"};

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(members); i++) {
		ctl_print_clean(out, ctl_get_word(event, members[i]));
		fputs(i + 1 < REMUS_ARRAY_SIZE(members) ? " " : ": ", out);
	}
	ctl_print_clean(out, ctl_get_word(event, "message"));
	fputc('\n', out);
}

void ctl_show_progress(FILE *out, const json_t *domain)
{
	char sent_text[CTL_NUMBER_TEXT], total_text[CTL_NUMBER_TEXT];
	uint64_t sent = ctl_get_count(domain, "sync.pages_sent"),
		 total = ctl_get_count(domain, "sync.pages_total");
	uint64_t round = ctl_get_count(domain, "sync.round");
	const char *reason = ctl_get_text(domain, "reason");

	ctl_print_clean(out, ctl_get_word(domain, "name"));
	fputs(": ", out);
	ctl_print_clean(out, ctl_get_word(domain, "state"));
	if (!strcmp(ctl_get_text(domain, "state"), "syncing") && total) {
		ctl_bytes(sent_text, sent * 4096u);
		ctl_bytes(total_text, total * 4096u);
		if (round <= 1 && sent <= total)
			fprintf(out, ", round %llu: %llu of %llu pages sent (%s of %s, %u %%)",
				(unsigned long long)round, (unsigned long long)sent,
				(unsigned long long)total, sent_text, total_text,
				(unsigned)(100.0 * (double)sent / (double)total));
		else /* later rounds send pages again: more than the guest has */
			fprintf(out, ", round %llu: %llu pages sent (%s), the guest has %llu",
				(unsigned long long)round, (unsigned long long)sent, sent_text,
				(unsigned long long)total);
	} else if (reason[0] && !ctl_is_protected(domain)) {
		fputs(": ", out);
		ctl_print_clean(out, reason);
	}
}

void ctl_show_protected(FILE *out, const json_t *domain)
{
	const char *note = ctl_get_text(domain, "tracking_note");
	const json_t *warning;
	size_t i;

	if (!ctl_is_protected(domain)) {
		show_alarm(out, domain);
		return;
	}
	ctl_print_clean(out, ctl_get_word(domain, "name"));
	fputs(" is protected by ", out);
	ctl_print_clean(out, ctl_get_word(domain, "peer"));
	fprintf(out, ": a checkpoint every %llu ms, dirty tracking by ",
		(unsigned long long)ctl_get_count(domain, "interval_ms"));
	ctl_print_clean(out, ctl_get_word(domain, "tracking"));
	fputs(", link: ", out);
	ctl_print_clean(out, ctl_get_word(domain, "link.security"));
	fputs(", arbiter ", out);
	ctl_print_clean(out, ctl_get_word(domain, "arbiter"));
	fputs(strcmp(ctl_get_text(domain, "on_backup_loss"), "hold")
		      ? "; should the backup be lost, the guest goes on alone\n"
		      : "; should the backup be lost, the guest's output is held until an operator decides\n",
	      out);
	json_array_foreach(ctl_get(domain, "warnings"), i, warning)
	{
		fputs("warning: ", out);
		ctl_print_clean(out, ctl_get_word(warning, "text"));
		fputc('\n', out);
	}
	if (ctl_get(domain, "agent") && !json_is_true(ctl_get(domain, "agent.present"))) {
		fputs("note on the guest: no agent answers in it (remus-agent(8)): ", out);
		ctl_print_clean(out, ctl_get_text(domain, "agent.not_guaranteed"));
		fputc('\n', out);
	}
	if (note[0]) {
		fputs("note on tracking: ", out);
		ctl_print_clean(out, note);
		fputc('\n', out);
	}
}

void ctl_show_json(FILE *out, const json_t *value)
{
	json_dumpf(value, out, JSON_COMPACT | JSON_ENSURE_ASCII | JSON_ENCODE_ANY);
	fputc('\n', out);
}
