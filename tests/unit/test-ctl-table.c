/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What remusctl prints: tables of a width, blocks, events, alarms; and that nothing unprotected looks well. */
#include <jansson.h>
#include "human.h"
#include "show.h"
#include "table.h"
#include "unit.h"

static const struct ctl_screen plain = {0, false}, narrow = {80, true}, wide = {120, true},
			       ascii = {40, false};

/* Print through @code into `text`, freed by the caller. */
#define CAPTURE(text, code)                                \
	char *text = NULL;                                 \
	do {                                               \
		size_t size_;                              \
		FILE *out = open_memstream(&text, &size_); \
		code;                                      \
		fclose(out);                               \
	} while (0)

static json_t *parse(const char *text)
{
	char copy[4096];

	snprintf(copy, sizeof copy, "%s", text);
	for (char *p = copy; *p; p++)
		*p = *p == '\'' ? '"' : *p;
	json_t *value = json_loads(copy, 0, NULL);
	CU_ASSERT_FATAL(value != NULL);
	return value;
}

static size_t widest(const char *text)
{
	char copy[16384], *save = NULL;
	size_t most = 0;

	snprintf(copy, sizeof copy, "%s", text);
	for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		most = ctl_text_width(line) > most ? ctl_text_width(line) : most;
	return most;
}

static void expect(const char *text, const char *word)
{
	if (!strstr(text, word))
		printf("\n    \"%s\" lacks \"%s\"\n", text, word);
	CU_ASSERT(strstr(text, word) != NULL);
}

static void expect_exactly(const char *text, const char *want)
{
	if (strcmp(text, want))
		printf("\n--- got\n%s--- wanted\n%s", text, want);
	CU_ASSERT_STRING_EQUAL(text, want);
}

static const struct ctl_column column[] = {
	{.title = "NAME", .min = 8},
	{.title = "N", .right = true},
	{.title = "EXTRA", .spared = 1},
};

static void table_plain(void)
{
	static const char *const cells[] = {
		"a", "1", "x", "a-name-that-is-much-longer-than-any-column-ought-to-be", "22", NULL};

	CAPTURE(text, ctl_table_print(out, plain, column, 3, cells, 2));
	expect_exactly(text, "NAME                                                     N  EXTRA\n"
			     "a                                                        1  x\n"
			     "a-name-that-is-much-longer-than-any-column-ought-to-be  22  -\n");
	free(text);
}

static void table_cut(void)
{
	static const char *const cells[] = {"a-name-that-is-much-longer-than-any-column-ought-to-be",
					    "1",
					    "x",
					    "h\u00e9-h\u00e9-h\u00e9-h\u00e9-h\u00e9-h\u00e9-h\u00e9-h\u00e9-"
					    "h\u00e9-h\u00e9-h\u00e9-h\u00e9-h\u00e9",
					    "2",
					    "y"};

	CAPTURE(cut, ctl_table_print(out, (struct ctl_screen){32, true}, column, 3, cells, 2));
	CU_ASSERT_EQUAL(widest(cut), 32);
	expect(cut, "a-name-that-is-much-l\u2026  1  x\n");
	expect(cut, "h\u00e9-h\u00e9-h\u00e9-h\u00e9-h\u00e9-h\u00e9-h\u00e9-\u2026  2  y\n");
	free(cut);
	CAPTURE(dots, ctl_table_print(out, (struct ctl_screen){32, false}, column, 3, cells, 1));
	expect(dots, "a-name-that-is-much...  1  x\n");
	free(dots);
	/* Too narrow even so: the spared column goes, the others stay. */
	CAPTURE(less, ctl_table_print(out, (struct ctl_screen){12, true}, column, 3, cells, 1));
	expect_exactly(less, "NAME      N\na-name-\u2026  1\n");
	free(less);
	CAPTURE(none, ctl_table_print(out, narrow, column, 3, NULL, 0));
	expect_exactly(none, "NAME  N  EXTRA\n");
	free(none);
}

static const char healthy[] =
	"{'domain':'qemu:/run/"
	"vm1.qmp','name':'vm1','role':'primary','state':'protected','protected':true,'reason':'',"
	"'peer':'10.0.0.2:7368','arbiter':'file:/srv/"
	"claims','session':'00ff','generation':1,'interval_ms':25,"
	"'on_backup_loss':'solo','tracking':'soft-dirty','tracking_note':'uffd-wp needs Linux 6.7',"
	"'memory_mib':256,'sync':{'round':3,'pages_sent':70000,'pages_total':65536},"
	"'epochs':{'sent':10,'committed':9,'aborted':2},"
	"'pause_us':{'p50':900,'p99':1500,'max':2000,'stop':300,'save':400,'scan':60,'copy':100,'resume':101}"
	","
	"'commit_us':{'p50':1501,'p99':3000,'max':4000},'lag_ms':12.34,'dirty_pages':{'last':150,'mean':143."
	"5},"
	"'wire':{'bytes':1024,'raw_bytes':30720,'ratio':30.0},"
	"'egress':{'state':'holding','held_packets':2,'held_bytes':128,'held_total':500,'dropped':3,'"
	"released':498,"
	"'discarded':4},'memory':{'cache_bytes':1048576,'cache_cap':134217728,'staging_bytes':5,'guest_image_"
	"bytes':0},"
	"'link':{'security':'tls1.3 psk "
	"remus','rtt_us':60,'clock_offset_us':-12,'silent_ms':3,'bytes_sent':1,'bytes_received':1},"
	"'pause_share':7.25,'steal_share':9.5,'clock':{'policy':'step','synchronised':true,'peer_"
	"synchronised':false,'offset_"
	"us':"
	"-5000123,'error_us':45},'warnings':[{'subject':'clock','text':'the clock of the other host is not "
	"synchronised'}],"
	"'failover':{'detect_ms':0.0,'claim_ms':0.0,'activate_ms':0.0},'pid':4242,'guest_pid':4000}";

static void domain_table(void)
{
	json_t *domain = parse(healthy), *domains = json_pack("[o]", domain);

	CAPTURE(text, ctl_show_table(out, plain, domains));
	expect_exactly(text,
		       "NAME  ROLE     STATE      PEER           EPOCH     LAG  PAUSE p50/p99  HELD\n"
		       "vm1   primary  protected  10.0.0.2:7368      9  12.3ms  900us/1.50ms   2/128B\n");
	free(text);

	json_object_set_new(domain, "name", json_string("a-guest-with-a-name-of-forty-characters-"));
	json_object_set_new(domain, "peer", json_string("[2001:db8:1234:5678:9abc:def0:1234:5678]:7368"));
	json_object_set_new(domain, "protected", json_false());
	CAPTURE(at80, ctl_show_table(out, narrow, domains));
	CU_ASSERT(widest(at80) <= 80);
	expect(at80, "\u2026");
	expect(at80, "UNPROTECTED");
	expect(at80, "HELD");
	free(at80);
	CAPTURE(at120, ctl_show_table(out, wide, domains));
	CU_ASSERT(widest(at120) <= 120);
	expect(at120, "UNPROTECTED");
	free(at120);
	CAPTURE(at40, ctl_show_table(out, ascii, domains));
	CU_ASSERT(widest(at40) <= 40);
	expect(at40, "UNPROTECTED");
	free(at40);
	json_decref(domains);
}

/* An agent that is there, one that isn't, and what one did: nothing that isn't guaranteed may look as if it were. */
static void agents(void)
{
	static const struct {
		const char *agent, *lines[3], *never;
	} table[] = {
		{"{'present':true,'version':'0.1.0','why':''}", {"present, version 0.1.0"}, "NONE"},
		{"{'present':false,'version':'','why':'it has no port','not_guaranteed':'nothing renews it'}",
		 {"NONE, it has no port: nothing renews it"},
		 "present, version"},
		{"{'present':true,'version':'1','why':'','last':{'renewed':true,'took_ms':14.25,'reseeded':"
		 "true,"
		 "'bits':512,'clock':'stepped','offset_ms':312.5,'step_ms':312.5,'slew_ms':0.0,'error_ms':0."
		 "25,"
		 "'hooks':{'ran':2,'failed':1,'first_failed':'10-chrony'}}}",
		 {"random numbers reseeded, clock stepped", "off by -312.500 ms",
		  "2 programs run in the guest, 1 failed, "
		  "first 10-chrony"},
		 "numbers NOT"},
		{"{'present':true,'version':'1','why':'','last':{'renewed':true,'took_ms':1.0,'reseeded':"
		 "false,"
		 "'bits':0,'clock':'failed','offset_ms':0.0,'step_ms':0.0,'slew_ms':0.0,'error_ms':0.0}}",
		 {"random numbers NOT reseeded, clock failed"},
		 "numbers reseeded"},
		{"{'present':true,'version':'1','why':'','last':{'renewed':false}}",
		 {"NO: the agent has not answered"},
		 "reseeded"},
	};

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(table); i++) {
		for (int relay = 0; relay < 2; relay++) {
			json_t *domain = parse(healthy);
			json_object_set_new(domain, "agent", parse(table[i].agent));
			if (relay)
				json_object_set_new(domain, "role", json_string("relay"));
			CAPTURE(text, ctl_show_domain(out, plain, domain));
			for (int k = 0; k < 3 && table[i].lines[k]; k++)
				expect(text, table[i].lines[k]);
			CU_ASSERT(!strstr(text, table[i].never));
			free(text);
			json_decref(domain);
		}
	}
	json_t *domain = parse(healthy);
	json_object_set_new(domain, "agent", parse(table[1].agent));
	CAPTURE(text, ctl_show_protected(out, domain));
	expect(text, "no agent answers in it (remus-agent(8)): nothing renews it");
	free(text);
	json_decref(domain);
}

/* The words that may stand in STATE, for every state there is and with members missing. */
static void never_looks_healthy(void)
{
	static const struct {
		const char *domain, *shown;
		bool alarm, should;
	} table[] = {
		{"{'name':'n','role':'primary','state':'protected','protected':true}", " protected ", false,
		 true},
		{"{'name':'n','role':'backup','state':'standby','protected':true}", " standby ", false, true},
		{"{'name':'n','role':'primary','state':'protected','protected':false}", "UNPROTECTED", true,
		 true},
		{"{'name':'n','role':'primary','state':'protected'}", "UNPROTECTED", true, true},
		{"{'name':'n','role':'primary','state':'protected','protected':1}", "UNPROTECTED", true,
		 true},
		{"{'name':'n','role':'primary','state':'protected','protected':'true'}", "UNPROTECTED", true,
		 true},
		{"{'name':'n','role':'primary','state':'syncing','protected':false}", "UNPROTECTED", true,
		 true},
		{"{'name':'n','role':'primary','state':'solo','protected':false}", "UNPROTECTED", true, true},
		{"{'name':'n','role':'primary','state':'claiming','protected':false}", "UNPROTECTED", true,
		 true},
		{"{'name':'n','role':'backup','state':'active','protected':false}", "UNPROTECTED", true,
		 true},
		{"{'name':'n','role':'primary','state':'unprotecting','protected':false}", "UNPROTECTED",
		 true, false},
		{"{'name':'n','role':'relay','state':'relay','protected':false}", "UNPROTECTED", true, false},
		{"{'name':'n','role':'primary','state':'discarded','protected':false}", "discarded", false,
		 false},
		{"{'name':'n','role':'backup','state':'dropped','protected':false}", "dropped", false, false},
		{"{}", "UNPROTECTED", true, true},
	};

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(table); i++) {
		json_t *domain = parse(table[i].domain), *domains = json_pack("[O]", domain);
		CU_ASSERT_EQUAL(ctl_should_be_protected(domain), table[i].should);
		CAPTURE(line, ctl_show_table(out, plain, domains));
		expect(line, table[i].shown);
		CAPTURE(alarm, ctl_show_alarms(out, domains));
		CU_ASSERT_EQUAL(strstr(alarm, "UNPROTECTED") != NULL, table[i].alarm);
		CAPTURE(block, ctl_show_domain(out, narrow, domain));
		CU_ASSERT_EQUAL(strstr(block, "UNPROTECTED") != NULL, !ctl_is_protected(domain));
		free(line);
		free(alarm);
		free(block);
		json_decref(domains);
		json_decref(domain);
	}
}

static void domain_block(void)
{
	static const char *const words[] = {
		"vm1 (qemu:/run/vm1.qmp)",
		"protected; this host is the primary",
		"9 committed, 10 sent, 2 aborted; one every 25 ms",
		"12.3 ms",
		"p50 900 us, p99 1.50 ms, max 2 ms; on average stop 300 us, save 400 us, scan 60 us, copy "
		"100 us, "
		"resume 101 us",
		"p50 1.50 ms, p99 3 ms, max 4 ms",
		"150 pages in the last epoch (600 KiB), 143.5 on average",
		"1 KiB for 30 KiB of pages, ratio 30.0",
		"holding: 2 packets (128 B) held now, 500 in all; 498 released, 3 dropped, 4 discarded",
		"7.2 % of the last minute",
		"9.5 % of the last minute by the guest's own count",
		"here synchronised, there NOT synchronised; the other host's is -5000.123 ms from this "
		"one's, give or "
		"take 0.045 ms",
		"warning     the clock of the other host is not synchronised",
		"10.0.0.2:7368",
		"round trip 60 us, last sign of life 3 ms ago, clock offset -12 us",
		"file:/srv/claims",
		"the guest goes on alone (solo)",
		"soft-dirty; uffd-wp needs Linux 6.7",
		"256 MiB\n",
		"cache 1 MiB of 128 MiB, staging 5 B",
		"00ff, generation 1",
		"engine 4242, guest 4000",
	};
	json_t *domain = parse(healthy);

	CAPTURE(text, ctl_show_domain(out, plain, domain));
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(words); i++)
		expect(text, words[i]);
	CU_ASSERT_PTR_NULL(strstr(text, "UNPROTECTED"));
	free(text);
	CAPTURE(wrapped, ctl_show_domain(out, narrow, domain));
	CU_ASSERT(widest(wrapped) <= 80);
	free(wrapped);

	json_object_set_new(domain, "protected", json_false());
	json_object_set_new(domain, "state", json_string("solo"));
	json_object_set_new(domain, "reason", json_string("backup lost: no sign of life for 300 ms"));
	json_object_set_new(domain, "since", json_string("2026-01-01T00:00:00Z"));
	CAPTURE(solo, ctl_show_domain(out, plain, domain));
	expect(solo, "UNPROTECTED: solo since 2026-01-01T00:00:00Z");
	expect(solo, "backup lost: no sign of life for 300 ms");
	free(solo);
	json_decref(domain);
}

static void one_liners(void)
{
	json_t *event = parse("{'seq':1,'time':'2026-01-01T00:00:00.000Z','domain':'vm1','level':'warning',"
			      "'kind':'backup-lost','message':'no sign of life'}");
	json_t *domain = parse(healthy);

	CAPTURE(line, ctl_show_event(out, event));
	expect_exactly(line, "2026-01-01T00:00:00.000Z warning vm1 backup-lost: no sign of life\n");
	free(line);
	json_object_set_new(event, "message",
			    json_string("\x1b[2J\nfake \xc2\x9b"
					"1m"));
	CAPTURE(clean, ctl_show_event(out, event));
	expect(clean, "backup-lost: ?[2J?fake ??1m\n");
	free(clean);
	CAPTURE(json, ctl_show_json(out, event));
	CU_ASSERT_PTR_NULL(strpbrk(json, "\x1b\xc2"));
	free(json);

	CAPTURE(summary, ctl_show_protected(out, domain));
	expect(summary,
	       "vm1 is protected by 10.0.0.2:7368: a checkpoint every 25 ms, dirty tracking by soft-dirty, "
	       "link: tls1.3 psk remus, arbiter file:/srv/claims; should the backup be lost, the guest goes "
	       "on alone\n");
	expect(summary, "uffd-wp needs Linux 6.7");
	free(summary);
	json_object_set_new(domain, "protected", json_false());
	CAPTURE(not, ctl_show_protected(out, domain));
	expect(not, "vm1 is UNPROTECTED");
	free(not );
	json_decref(event);
	json_decref(domain);
}

static void progress(void)
{
	static const struct {
		const char *domain, *text;
	} table[] = {
		{"{'name':'vm1','state':'connecting'}", "vm1: connecting"},
		{"{'name':'vm1','state':'syncing','sync':{'round':1,'pages_sent':16384,'pages_total':65536}}",
		 "vm1: syncing, round 1: 16384 of 65536 pages sent (64 MiB of 256 MiB, 25 %)"},
		{"{'name':'vm1','state':'syncing','sync':{'round':2,'pages_sent':70000,'pages_total':65536}}",
		 "vm1: syncing, round 2: 70000 pages sent (273 MiB), the guest has 65536"},
		{"{'name':'vm1','state':'syncing'}", "vm1: syncing"},
		{"{'name':'vm1','state':'ended','protected':false,'reason':'refused'}",
		 "vm1: ended: refused"},
		{"{}", "-: -"},
	};

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(table); i++) {
		json_t *domain = parse(table[i].domain);
		CAPTURE(text, ctl_show_progress(out, domain));
		expect_exactly(text, table[i].text);
		free(text);
		json_decref(domain);
	}
}

static void numbers(void)
{
	static const struct {
		uint64_t n;
		const char *bytes, *us;
	} table[] = {
		{0, "0 B", "0 us"},
		{9994, "9.8 KiB", "9.99 ms"},
		{9996, "9.8 KiB", "10.0 ms"},
		{999, "999 B", "999 us"},
		{1000, "1000 B", "1 ms"},
		{1023, "1023 B", "1.02 ms"},
		{1024, "1 KiB", "1.02 ms"},
		{1536, "1.5 KiB", "1.54 ms"},
		{25000, "24.4 KiB", "25 ms"},
		{1048575, "1 MiB", "1.05 s"}, /* not 1024.0 KiB */
		{268435456, "256 MiB", "268 s"},
		{UINT64_MAX, "16384 PiB", "18446744073710 s"},
	};

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(table); i++) {
		char text[CTL_NUMBER_TEXT];
		expect_exactly(ctl_bytes(text, table[i].n), table[i].bytes);
		expect_exactly(ctl_us(text, table[i].n), table[i].us);
	}
}

/* Members of wrong types, huge or negative, are nothing to trip over. */
static void hostile_members(void)
{
	json_t *domain =
		parse("{'name':7,'state':[],'peer':{},'epochs':{'committed':-5,'sent':1e300},'lag_ms':'x',"
		      "'pause_us':3,'egress':{'held_packets':9223372036854775807},'protected':true}");
	json_t *domains = json_pack("[O{}sn]", domain, "text");

	CU_ASSERT_EQUAL(ctl_get_count(domain, "epochs.committed"), 0);
	CU_ASSERT_EQUAL(ctl_get_count(domain, "pause_us.p50"), 0);
	CU_ASSERT_EQUAL(ctl_get_count(NULL, "a.b"), 0);
	expect_exactly(ctl_get_word(domain, "name"), "-");
	CAPTURE(text, {
		ctl_show_table(out, narrow, domains);
		ctl_show_alarms(out, domains);
		ctl_show_domain(out, narrow, domain);
		ctl_show_domain(out, narrow, NULL);
		ctl_show_host(out, domain);
		ctl_show_table(out, narrow, NULL);
	});
	free(text);
	json_decref(domains);
	json_decref(domain);
}

static const struct unit_case cases[] = {
	{"table, piped", table_plain},
	{"table, cut", table_cut},
	{"table of domains", domain_table},
	{"agents", agents},
	{"never looks healthy", never_looks_healthy},
	{"block of a domain", domain_block},
	{"one-liners", one_liners},
	{"progress", progress},
	{"numbers", numbers},
	{"hostile members", hostile_members},
};
UNIT_MAIN("ctl-table", cases)
