/* SPDX-License-Identifier: GPL-2.0-or-later */
/* remusctl's arguments: what is typed, and the request it makes or the words that refuse it. */
#include <jansson.h>
#include <sys/socket.h>
#include <sys/un.h>
#include "client.h"
#include "unit.h"
#include "verb.h"

#define WORDS_MAX 24

/* @line is split at spaces; '' is an empty word. */
static int parse(const char *line, struct ctl_call *call, struct remus_error *err)
{
	static char copy[4096];
	char *argv[WORDS_MAX], *save = NULL;
	int argc = 0;

	snprintf(copy, sizeof copy, "%s", line);
	for (char *w = strtok_r(copy, " ", &save); w && argc < WORDS_MAX; w = strtok_r(NULL, " ", &save))
		argv[argc++] = !strcmp(w, "''") ? w + 2 : w;
	const struct ctl_verb *verb = ctl_verb_find(argv[0]);
	CU_ASSERT_FATAL(verb != NULL);
	return ctl_parse(verb, argc, argv, call, err);
}

/* ---- what is right ---- */

static const struct {
	const char *line, *request, *local; /* JSON with ' for ", member order of no matter */
} good[] = {
	{"status", "{'verb':'status'}", "{}"},
	{"status vm1 --json --check", "{'verb':'status','domain':'vm1'}", "{'json':true,'check':true}"},
	{"status /run/gone.qmp", "{'verb':'status','domain':'qemu:/run/gone.qmp'}", "{}"},
	{"list --control /tmp/c --timeout=3", "{'verb':'status'}", "{'control':'/tmp/c','timeout':3}"},
	{"events --follow --since 17", "{'verb':'events','follow':true,'since':17}", "{}"},
	{"unprotect vm1 --force --yes", "{'verb':'unprotect','domain':'vm1','force':true}", "{'yes':true}"},
	{"failover -- --odd", "{'verb':'failover','domain':'--odd'}", "{}"},
	{"failover xen:web", "{'verb':'failover','domain':'xen:web'}", "{}"},
	{"attach qemu:/a --egress tap:tap0 --egress packet:eth0",
	 "{'verb':'attach','domain':'qemu:/a','egress':['tap:tap0','packet:eth0']}", "{}"},
	{"detach vm1", "{'verb':'detach','domain':'vm1'}", "{}"},
	{"check qemu:/a --to b --json", "{'verb':'check','domain':'qemu:/a','to':'b'}", "{'json':true}"},
	{"check web1 --to b --name w --arbiter manual --egress tap:t0 --standby-egress tap:t1 --hold-mib 9 "
	 "--tracking compare",
	 "{'verb':'check','domain':'web1','to':'b','name':'w','arbiter':'manual','egress':['tap:t0'],"
	 "'standby_egress':['tap:t1'],'hold_mib':9,'tracking':'compare'}",
	 "{}"},
	{"protect qemu:/a --to b", "{'verb':'protect','domain':'qemu:/a','to':'b'}", "{}"},
	{"protect vm1 --to b:7000", "{'verb':'protect','domain':'vm1','to':'b:7000'}", "{}"},
	{"protect --to [fe80::1%eth0]:1 qemu:/a --interval=1",
	 "{'verb':'protect','domain':'qemu:/a','to':'[fe80::1%eth0]:1','interval_ms':1}", "{}"},
	{"protect qemu:/a --to [::1] --name web-1 --interval 10000 --arbiter file:/srv/c --on-backup-loss "
	 "hold",
	 "{'verb':'protect','domain':'qemu:/a','to':'[::1]','name':'web-1','interval_ms':10000,"
	 "'arbiter':'file:/srv/c','on_backup_loss':'hold'}",
	 "{}"},
	{"protect qemu:/a --to b --interval 40 --max-interval 40 --on-overload throttle",
	 "{'verb':'protect','domain':'qemu:/a','to':'b','interval_ms':40,'max_interval_ms':40,"
	 "'on_overload':'throttle'}",
	 "{}"},
	{"protect qemu:/a --to b --egress unix:/s,bind=/t --standby-egress unix:/u --cache-mib 64 --hold-mib "
	 "8 "
	 "--tracking soft-dirty --heartbeat 20 --dead 100 --no-wait --arbiter manual",
	 "{'verb':'protect','domain':'qemu:/a','to':'b','egress':['unix:/s,bind=/"
	 "t'],'standby_egress':['unix:/u'],"
	 "'cache_mib':64,'hold_mib':8,'tracking':'soft-dirty','heartbeat_ms':20,'dead_ms':100,'wait':false,"
	 "'arbiter':'manual'}",
	 "{}"},
	{"protect qemu:/a --to b --renew-wait 0",
	 "{'verb':'protect','domain':'qemu:/a','to':'b','renew_wait_ms':0}", "{}"},
	{"protect qemu:/a --to b --interval 25 --interval 25",
	 "{'verb':'protect','domain':'qemu:/a','to':'b','interval_ms':25}", "{}"},
};

static void expect_json(const char *line, const json_t *got, const char *text)
{
	char copy[2048];

	snprintf(copy, sizeof copy, "%s", text);
	for (char *p = copy; *p; p++)
		*p = *p == '\'' ? '"' : *p;
	json_t *want = json_loads(copy, 0, NULL);
	CU_ASSERT_FATAL(want != NULL);
	if (!json_equal(got, want)) {
		char *dump = json_dumps(got, JSON_COMPACT);
		printf("\n    %s\n    made %s\n    not  %s\n", line, dump, copy);
		free(dump);
	}
	CU_ASSERT(json_equal(got, want));
	json_decref(want);
}

static void requests(void)
{
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(good); i++) {
		struct remus_error err = REMUS_ERROR_INIT;
		struct ctl_call call;
		int rc = parse(good[i].line, &call, &err);
		if (rc)
			printf("\n    %s: %s\n", good[i].line, err.message);
		CU_ASSERT_EQUAL(rc, 0);
		if (rc)
			continue;
		CU_ASSERT_EQUAL(err.code, 0);
		expect_json(good[i].line, call.request, good[i].request);
		expect_json(good[i].line, call.local, good[i].local);
		ctl_call_clear(&call);
	}
}

/* ---- what is not: the message names the option and the value ---- */

static const struct {
	const char *line, *word, *word2;
} bad[] = {
	{"protect --to b", "which DOMAIN", ""},
	{"protect qemu:/a", "--to", "takes over"},
	{"protect qemu:/a qemu:/b --to c", "qemu:/b", "one too many"},
	{"protect /no/such/socket --to b", "/no/such/socket", "QMP"},
	{"protect a@b --to b", "a@b", "QMP"},
	{"protect '' --to b", "empty", ""},
	{"protect qemu:/a --to ''", "--to", "empty"},
	{"protect qemu:/a --to", "--to", "needs a value"},
	{"protect qemu:/a --to :1", "--to", "no host"},
	{"protect qemu:/a --to b:", "--to", "port"},
	{"protect qemu:/a --to b:0", "\"0\"", "port"},
	{"protect qemu:/a --to b:65536", "65536", "port"},
	{"protect qemu:/a --to b:ssh", "\"ssh\"", "port"},
	{"protect qemu:/a --to fe80::1", "fe80::1", "brackets"},
	{"protect qemu:/a --to [::1", "[::1", "IPV6"},
	{"protect qemu:/a --to []:1", "[]:1", "IPV6"},
	{"protect qemu:/a --to [::1]7", "[::1]7", "IPV6"},
	{"protect qemu:/a --to tcp://b", "tcp://b", "HOST[:PORT]"},
	{"protect qemu:/a --to b --interval 0", "--interval", "\"0\""},
	{"protect qemu:/a --to b --interval 10001", "1 to 10000", "\"10001\""},
	{"protect qemu:/a --to b --interval 25ms", "--interval", "\"25ms\""},
	{"protect qemu:/a --to b --interval=", "--interval", "\"\""},
	{"protect qemu:/a --to b --interval -5", "--interval", "\"-5\""},
	{"protect qemu:/a --to b --interval 99999999999999999999", "--interval", "99999999999999999999"},
	{"protect qemu:/a --to b --interval 25 --interval 30", "--interval", "twice"},
	{"protect qemu:/a --to b --on-overload pause", "--on-overload", "\"pause\""},
	{"protect qemu:/a --to b --max-interval 9", "10 to 600000", "\"9\""},
	{"protect qemu:/a --to b --interval 100 --max-interval 99", "--max-interval", "100 ms"},
	{"protect qemu:/a --to b --max-interval 24", "--max-interval", "25 ms"},
	{"protect qemu:/a --to b --on-backup-loss pause", "--on-backup-loss", "\"pause\""},
	{"protect qemu:/a --to b --tracking uffd", "--tracking", "\"uffd\""},
	{"protect qemu:/a --to b --arbiter file:claims", "--arbiter", "absolute"},
	{"protect qemu:/a --to b --arbiter /srv/claims", "/srv/claims", "file:DIRECTORY"},
	{"protect qemu:/a --to b --egress eth0", "--egress", "\"eth0\""},
	{"protect qemu:/a --to b --egress tap:", "--egress", "tap:"},
	{"protect qemu:/a --to b --egress unix:s", "unix:s", "absolute"},
	{"protect qemu:/a --to b --egress unix:/s,bind=t", "bind=t", "absolute"},
	{"protect qemu:/a --to b --egress tap:a --standby-egress tap:a --standby-egress tap:b", "2 times",
	 "--egress 1 times"},
	{"protect qemu:/a --to b --name ../x", "--name", "../x"},
	{"protect qemu:/a --to b --name -x", "--name", "-x"},
	{"protect qemu:/a --to b --heartbeat 200", "--dead 300 ms", "200 ms"},
	{"protect qemu:/a --to b --dead 60", "--dead 60 ms", "50 ms"},
	{"protect qemu:/a --to b --cache-mib 0", "--cache-mib", "\"0\""},
	{"protect qemu:/a --to b --no-wait=1", "--no-wait", "\"1\""},
	{"protect qemu:/a --to b --inter 5", "--inter", "no option"},
	{"protect qemu:/a --to b -x", "-x", "no option"},
	{"attach qemu:/a", "--egress", "each NIC"},
	{"list vm1", "vm1", "no argument"},
	{"events --since x", "--since", "\"x\""},
	{"version --json", "--json", "no option"},
	{"version --control /x", "--control", "no option"},
	{"unprotect", "which DOMAIN", ""},
	{"status a b", "\"b\"", "one too many"},
	{"status --control ''", "--control", "empty"},
	{"status a\x1b[2J", "unprintable", ""},
	{"protect qemu:/a --to b\x1b[2J", "--to", "control character"},
	{"protect qemu:/a --to \xff", "--to", "UTF-8"},
};

static void refusals(void)
{
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(bad); i++) {
		struct remus_error err = REMUS_ERROR_INIT;
		struct ctl_call call;
		int rc = parse(bad[i].line, &call, &err);
		if (rc != -EINVAL)
			printf("\n    %s: %d\n", bad[i].line, rc);
		CU_ASSERT_EQUAL(rc, -EINVAL);
		CU_ASSERT_EQUAL(err.code, -EINVAL);
		UNIT_ASSERT_MESSAGE(err, bad[i].word);
		UNIT_ASSERT_MESSAGE(err, bad[i].word2);
		if (!rc)
			ctl_call_clear(&call);
	}
}

static void too_many_nics(void)
{
	char line[512] = "protect qemu:/a --to b";
	struct remus_error err = REMUS_ERROR_INIT;
	struct ctl_call call;

	for (int i = 0; i < 9; i++)
		strcat(line, " --egress=tap:t");
	CU_ASSERT_EQUAL(parse(line, &call, &err), -EINVAL);
	UNIT_ASSERT_MESSAGE(err, "8 NICs");
}

/* A relative path becomes absolute, since remusd works elsewhere; a socket is told from a name. */
static void paths(void)
{
	char dir[] = "/tmp/remus-ctl-args-XXXXXX", back[256], line[128], want[128];
	struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "vm.qmp"};
	static const char *const words[] = {"vm.qmp", "./vm.qmp", "qemu:vm.qmp", "qemu:./vm.qmp"};
	struct ctl_call call;

	CU_ASSERT_PTR_NOT_NULL_FATAL(getcwd(back, sizeof back));
	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(dir));
	CU_ASSERT_EQUAL_FATAL(chdir(dir), 0);
	REMUS_AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	CU_ASSERT_EQUAL_FATAL(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(words); i++) {
		snprintf(line, sizeof line, "protect %s --to b", words[i]);
		snprintf(want, sizeof want, "qemu:%s/vm.qmp", dir);
		CU_ASSERT_EQUAL_FATAL(parse(line, &call, NULL), 0);
		CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(call.request, "domain")), want);
		ctl_call_clear(&call);
	}
	/* For the other verbs a word without a slash is a name, whatever lies around. */
	CU_ASSERT_EQUAL_FATAL(parse("status vm.qmp", &call, NULL), 0);
	CU_ASSERT_STRING_EQUAL(json_string_value(json_object_get(call.request, "domain")), "vm.qmp");
	ctl_call_clear(&call);
	unlink("vm.qmp");
	CU_ASSERT_EQUAL(chdir(back), 0);
	rmdir(dir);
}

static void verb_to_front(void)
{
	char *fine[] = {"remusctl", "--control", "/c", "--timeout=5", "status", "vm1", NULL};
	static const char *const want[] = {"remusctl", "status", "--control", "/c", "--timeout=5", "vm1"};
	char *early[] = {"remusctl", "--json", "status", NULL};
	char *none[] = {"remusctl", "--control", "/c", NULL};
	char *cut[] = {"remusctl", "--control", NULL};
	struct remus_error err = REMUS_ERROR_INIT;

	CU_ASSERT_EQUAL(ctl_verb_to_front(6, fine, &err), 0);
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(want); i++)
		CU_ASSERT_STRING_EQUAL(fine[i], want[i]);
	CU_ASSERT_EQUAL(ctl_verb_to_front(3, early, &err), -EINVAL);
	UNIT_ASSERT_MESSAGE(err, "--json");
	CU_ASSERT_EQUAL(ctl_verb_to_front(3, none, &err), -EINVAL);
	UNIT_ASSERT_MESSAGE(err, "no verb");
	CU_ASSERT_EQUAL(ctl_verb_to_front(2, cut, &err), -EINVAL);
}

static void help_wins(void)
{
	struct ctl_call call;

	CU_ASSERT_EQUAL_FATAL(parse("protect --nonsense --help", &call, NULL), 0);
	CU_ASSERT_TRUE(call.help);
	ctl_call_clear(&call);
}

/* Every verb has what the dispatcher needs, and the help knows every option. */
static void tables(void)
{
	for (size_t i = 0; ctl_verbs[i]; i++) {
		const struct ctl_verb *verb = ctl_verbs[i];
		char *text = NULL;
		size_t size;
		CU_ASSERT_PTR_EQUAL(ctl_verb_find(verb->name), verb);
		CU_ASSERT_TRUE(verb->run && verb->summary);
		CU_ASSERT_TRUE(!verb->request || verb->timeout_s);
		FILE *out = open_memstream(&text, &size);
		ctl_help_verb(out, verb);
		fclose(out);
		for (const struct ctl_option *o = verb->options; o && o->name; o++) {
			CU_ASSERT_TRUE(strstr(text, o->name) && o->help);
			CU_ASSERT_TRUE((o->kind != CTL_TEXT && o->kind != CTL_LIST) || o->check);
			CU_ASSERT_TRUE(o->kind != CTL_WORD || o->words);
		}
		free(text);
	}
	CU_ASSERT_PTR_NULL(ctl_verb_find("reboot"));
}

static void exits(void)
{
	static const struct {
		int code;
		enum ctl_exit status;
	} map[] = {
		{0, CTL_OK},
		{-ENOENT, CTL_NO_DOMAIN},
		{-ESRCH, CTL_NO_DOMAIN},
		{-EOPNOTSUPP, CTL_REFUSED},
		{-EPROTONOSUPPORT, CTL_REFUSED},
		{-ETIMEDOUT, CTL_TIMEOUT},
		{-EIO, CTL_FAILED},
		/* of the peer, not of remusd: not CTL_NO_DAEMON */
		{-ECONNREFUSED, CTL_FAILED},
	};

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(map); i++)
		CU_ASSERT_EQUAL(ctl_exit_of(map[i].code), map[i].status);
}

static const struct unit_case cases[] = {
	{"requests", requests}, {"refusals", refusals},		  {"too many NICs", too_many_nics},
	{"paths", paths},	{"verb to front", verb_to_front}, {"help wins", help_wins},
	{"tables", tables},	{"exit statuses", exits},
};
UNIT_MAIN("ctl-args", cases)
