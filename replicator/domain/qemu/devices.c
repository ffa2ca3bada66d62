/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which devices a protected guest may have, and which properties of them. The rule: all of the device's state
 * is in QEMU's saved state or in guest memory, its only way to the outside world can be held, and no property
 * names a file.
 */
#include <stdio.h>

#include "remus/renewal.h"
#include "remus/util.h"
#include "walk.h"

#define BUS    "driver id bus addr "
#define VIRTIO BUS "event_idx indirect_desc packed any_layout notify_on_empty iommu_platform queue_reset "
#define VIRTIO_PCI \
	VIRTIO "disable-legacy disable-modern vectors multifunction ats page-per-vq rombar ioeventfd "
#define NET                                                                                                  \
	"netdev mac csum guest_csum gso guest_tso4 guest_tso6 guest_ecn guest_ufo guest_announce host_tso4 " \
	"host_tso6 host_ecn host_ufo mrg_rxbuf status ctrl_vq ctrl_rx ctrl_vlan ctrl_rx_extra "              \
	"ctrl_mac_addr "                                                                                     \
	"ctrl_guest_offloads mq rss hash guest_rsc_ext rsc_interval rx_queue_size tx_queue_size host_mtu "   \
	"speed "                                                                                             \
	"duplex x-txtimer x-txburst tx bootindex romfile "
#define RNG    "rng max-bytes period "
#define SERIAL "max_ports emergency-write "
#define PORT   "driver id bus chardev nr name "
#define BLOCK                                                                                               \
	"drive bootindex serial logical_block_size physical_block_size min_io_size opt_io_size num-queues " \
	"queue-size seg-max-adjust write-cache share-rw config-wce scsi discard write-zeroes "

#define PASSTHROUGH "a device of the host can't be replicated"
#define VHOST	    "vhost backends write guest memory where dirty tracking doesn't see it"
#define VIDEO	    "video memory isn't replicated; use a serial console"
#define MEMORY	    "memory outside the guest's one memory backend isn't replicated"
#define GATED	    "its packets can't be held yet: use virtio-net-pci or virtio-net-device"

static const struct {
	const char *driver; /* a trailing '*' stands for any ending */
	const char *keys;   /* NULL = refused */
	const char *why;
} devices[] = {
	{"virtio-net-device", VIRTIO NET, NULL},
	{"virtio-net-pci", VIRTIO_PCI NET, NULL},
	{"virtio-rng-device", VIRTIO RNG, NULL},
	{"virtio-rng-pci", VIRTIO_PCI RNG, NULL},
	{"vmgenid", "driver id guid ", NULL},
	{"virtio-serial-device", VIRTIO SERIAL, NULL},
	{"virtio-serial-pci", VIRTIO_PCI SERIAL, NULL},
	{"virtserialport", PORT, NULL},
	{"virtconsole", PORT, NULL},
	{"virtio-blk-device", VIRTIO BLOCK, NULL},
	{"virtio-blk-pci", VIRTIO_PCI BLOCK, NULL},
	{"pcie-root-port", BUS "port chassis slot multifunction hotplug", NULL},
	{"isa-debug-exit", NULL, "the guest could end its QEMU by it"},
	{"virtio-balloon*", NULL,
	 "the balloon discards guest memory where dirty tracking doesn't see it; start the guest without it"},
	{"virtio-mem*", NULL, MEMORY},
	{"virtio-pmem*", NULL, MEMORY},
	{"pc-dimm", NULL, MEMORY},
	{"nvdimm", NULL, MEMORY},
	{"ivshmem*", NULL, MEMORY},
	{"vhost*", NULL, VHOST},
	{"vfio*", NULL, PASSTHROUGH},
	{"pci-assign", NULL, PASSTHROUGH},
	{"usb-host", NULL, PASSTHROUGH},
	{"usb-*", NULL, "USB isn't supported yet"},
	{"e1000*", NULL, GATED},
	{"rtl8139", NULL, GATED},
	{"VGA", NULL, VIDEO},
	{"qxl*", NULL, VIDEO},
	{"virtio-vga*", NULL, VIDEO},
	{"virtio-gpu*", NULL, VIDEO},
	{"bochs-display", NULL, VIDEO},
};

static int find(const char *driver)
{
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(devices); i++) {
		size_t n = strcspn(devices[i].driver, "*");
		if (devices[i].driver[n] ? !strncmp(driver, devices[i].driver, n)
					 : !strcmp(driver, devices[i].driver))
			return (int)i;
	}
	return -1;
}

static bool parse_mac(const char *text, uint8_t mac[6])
{
	int end = 0;
	return sscanf(text, "%2hhx:%2hhx:%2hhx:%2hhx:%2hhx:%2hhx%n", &mac[0], &mac[1], &mac[2], &mac[3],
		      &mac[4], &mac[5], &end) == 6 &&
	       !text[end] && end == 17;
}

static int note_card(struct remus_qemu_walk *w, const struct remus_keyval *kv, struct remus_error *err)
{
	const char *mac = remus_keyval_get(kv, "mac"), *netdev = remus_keyval_get(kv, "netdev");

	if (w->cards == REMUS_NICS_MAX)
		return remus_fail(err, -E2BIG, "more than %d network cards", REMUS_NICS_MAX);
	if (!netdev || strlen(netdev) >= sizeof w->card[0].netdev)
		return remus_fail(err, -EINVAL, "a network card needs netdev=ID");
	if (!mac || !parse_mac(mac, w->card[w->cards].mac))
		return remus_fail(err, -EINVAL,
				  "a network card needs mac=xx:xx:xx:xx:xx:xx, so that both hosts "
				  "agree on it");
	strcpy(w->card[w->cards++].netdev, netdev);
	return 0;
}

/* The port of the guest's agent, of which there is one; what stands behind it is seen to by backends.c. */
static int note_port(struct remus_qemu_walk *w, const struct remus_keyval *kv, struct remus_error *err)
{
	const char *name = remus_keyval_get(kv, "name");

	if (!name || strcmp(name, REMUS_AGENT_PORT))
		return 0;
	return w->agents++ ? remus_fail(err, -ENOTSUP, "a second port named " REMUS_AGENT_PORT) : 0;
}

static int check_device(struct remus_qemu_walk *w, const struct remus_keyval *kv, struct remus_error *err)
{
	const char *driver = remus_keyval_get(kv, "driver"), *romfile = remus_keyval_get(kv, "romfile");
	if (!driver)
		return remus_fail(err, -EINVAL, "names no driver");
	int i = find(driver);
	if (i < 0 || !devices[i].keys)
		return remus_fail(err, -ENOTSUP, "device %s: %s", driver,
				  i >= 0 ? devices[i].why
					 : "isn't on the list of devices that a standby may be started with");
	int rc = remus_qemu_check_keys(kv, devices[i].keys, err);
	if (rc == 0 && romfile && *romfile)
		rc = remus_fail(err, -ENOTSUP, "romfile must be empty or absent");
	if (rc == 0 && !strncmp(driver, "virtio-net-", 11))
		rc = note_card(w, kv, err);
	if (rc == 0 && !strcmp(driver, "virtserialport"))
		rc = note_port(w, kv, err);
	if (rc)
		remus_error_prefix(err, "device %s", driver);
	return rc;
}

/* A generation id says which copy of the guest this is, so each QEMU makes up its own: the guest that an incoming state
 * wakes up finds another id than it had, and reseeds (I12). */
static void emit_generation(struct remus_qemu_walk *w, const struct remus_keyval *kv)
{
	const char *id = remus_keyval_get(kv, "id");

	remus_args_add(&w->guest->args, "-device");
	remus_args_add(&w->guest->args, "vmgenid,guid=auto");
	if (id)
		remus_args_append(&w->guest->args, "id", id);
}

int remus_qemu_take_device(struct remus_qemu_walk *w, const char *name, const char *value, const char *text,
			   struct remus_error *err)
{
	struct remus_keyval kv;
	int rc = remus_keyval_parse(value, "driver", &kv, err);
	if (rc)
		return rc;
	rc = check_device(w, &kv, err);
	if (rc == 0 && !strcmp(remus_keyval_get(&kv, "driver"), "vmgenid"))
		emit_generation(w, &kv);
	else if (rc == 0)
		remus_qemu_emit(w, name, &kv, "driver");
	remus_keyval_free(&kv);
	return rc;
}

/* Defaults of drivers: those of the devices above that could be given with -device, and a few of the machine. */
static bool global_allowed(const char *driver, const char *property)
{
	static const struct {
		const char *driver, *properties;
	} more[] = {
		{"migration", "send-configuration"},   {"ICH9-LPC", "disable_s3 disable_s4"},
		{"PIIX4_PM", "disable_s3 disable_s4"}, {"kvm-pit", "lost_tick_policy"},
		{"mc146818rtc", "lost_tick_policy"},
	};
	for (size_t i = 0; i < REMUS_ARRAY_SIZE(more); i++)
		if (!strcmp(driver, more[i].driver))
			return remus_word_in(more[i].properties, property);
	int i = find(driver);
	return i >= 0 && devices[i].keys && remus_word_in(devices[i].keys, property) &&
	       !remus_word_in("driver id bus addr netdev mac chardev drive rng romfile", property);
}

int remus_qemu_take_global(struct remus_qemu_walk *w, const char *name, const char *value, const char *text,
			   struct remus_error *err)
{
	char driver[64], property[64], setting[64];
	int end = 0;

	/* driver.property=value; the longer form driver=..,property=..,value=.. is rare and refused below. */
	if (sscanf(value, "%63[A-Za-z0-9_-].%63[A-Za-z0-9_-]=%63[A-Za-z0-9_.:-]%n", driver, property, setting,
		   &end) != 3 ||
	    value[end])
		return remus_fail(err, -EINVAL,
				  "\"%s\": driver.property=value, in plain words, is understood", value);
	if (!global_allowed(driver, property))
		return remus_fail(err, -ENOTSUP,
				  "%s.%s isn't on the list of what a standby may be started with", driver,
				  property);
	if (!strcmp(driver, "migration") && !strcmp(property, "send-configuration"))
		w->no_configuration = remus_word_in("off no false n", setting);
	remus_args_add(&w->guest->args, "-global");
	remus_args_add(&w->guest->args, "%s.%s=%s", driver, property, setting);
	return 0;
}

int remus_qemu_join_nics(struct remus_qemu_walk *w, struct remus_error *err)
{
	for (int i = 0; i < w->cards; i++) {
		int n = 0;
		while (n < w->netdevs && strcmp(w->netdev[n].id, w->card[i].netdev))
			n++;
		if (n == w->netdevs)
			return remus_fail(err, -EINVAL,
					  "the guest's network card %d uses the netdev \"%s\", which isn't "
					  "on QEMU's command line",
					  i, w->card[i].netdev);
		struct remus_nic *nic = &w->guest->nic[w->guest->nics++];
		memcpy(nic->mac, w->card[i].mac, sizeof nic->mac);
		nic->kind = REMUS_NIC_DGRAM;
		strcpy(nic->guest_path, w->netdev[n].local);
		strcpy(nic->host_path, w->netdev[n].remote);
	}
	return 0;
}
