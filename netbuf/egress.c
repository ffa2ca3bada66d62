// SPDX-License-Identifier: GPL-2.0-or-later
/* From an egress URI to an egress, and the checks that interfaces share. */
#include "config.h"
#include "egress.h"
#include "remus/util.h"

#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

static const struct egress_ops *const kinds[] = {&egress_packet, &egress_tap, &egress_unix};

/* The kind of @uri, and what follows the colon. */
static const struct egress_ops *kind_of(const char *uri, const char **rest, struct remus_error *err)
{
	char forms[128];
	size_t n = 0, word = strcspn(uri ? uri : "", ":");

	for (size_t i = 0; i < REMUS_ARRAY_SIZE(kinds); i++) {
		n += (size_t)snprintf(forms + n, sizeof forms - n, "%s%s", i ? ", " : "", kinds[i]->form);
		if (!uri || !uri[word] || strlen(kinds[i]->scheme) != word ||
		    memcmp(kinds[i]->scheme, uri, word) != 0)
			continue;
		*rest = uri + word + 1;
		return kinds[i];
	}
	remus_fail(err, -EINVAL, "egress \"%.200s\": no such kind; this build has %s", uri ? uri : "", forms);
	return NULL;
}

int egress_check(const char *uri, struct remus_error *err)
{
	const char *rest;
	const struct egress_ops *kind = kind_of(uri, &rest, err);
	int rc = kind ? kind->check(rest, err) : -EINVAL;

	if (kind && rc < 0)
		remus_error_prefix(err, "egress \"%.200s\"", uri);
	return rc;
}

int egress_open(const char *uri, struct egress **out, struct remus_error *err)
{
	const char *rest;
	const struct egress_ops *kind = kind_of(uri, &rest, err);

	if (!kind)
		return -EINVAL;
	int rc = kind->check(rest, err);
	if (rc == 0)
		rc = kind->open(rest, out, err);
	if (rc < 0)
		remus_error_prefix(err, "egress \"%.200s\"", uri);
	else
		snprintf((*out)->name, sizeof(*out)->name, "%s", uri);
	return rc;
}

int egress_interface(const char *name, struct remus_error *err)
{
	struct ifreq ask = {0};

	if (!*name || strlen(name) >= sizeof ask.ifr_name || strchr(name, '/'))
		return remus_fail(err, -EINVAL, "an interface name has 1 to %zu bytes",
				  sizeof ask.ifr_name - 1);
	strcpy(ask.ifr_name, name);
	REMUS_AUTO_CLOSE int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return remus_fail_errno(err, "socket");
	if (ioctl(fd, SIOCGIFFLAGS, &ask) < 0)
		return errno == ENODEV
			       ? remus_fail(err, -ENODEV,
					    "no interface %s in this network namespace (`ip link` lists "
					    "them); make it or name another egress",
					    name)
			       : remus_fail_errno(err, "interface %s: SIOCGIFFLAGS", name);
	if (!(ask.ifr_flags & IFF_UP))
		return remus_fail(err, -ENETDOWN, "interface %s is down: run `ip link set %s up`", name,
				  name);
	if (ioctl(fd, SIOCGIFHWADDR, &ask) < 0)
		return remus_fail_errno(err, "interface %s: SIOCGIFHWADDR", name);
	if (ask.ifr_hwaddr.sa_family != ARPHRD_ETHER)
		return remus_fail(err, -EINVAL, "interface %s is no Ethernet interface (hardware type %d)",
				  name, ask.ifr_hwaddr.sa_family);
	return 0;
}
