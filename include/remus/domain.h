/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a hypervisor must offer to be protected (domain_ops, on the primary) and to stand by (standby_ops, on
 * the backup). Backends: domain/qemu, domain/fake; domain/xen where its libraries are. The engine knows
 * nothing else of a hypervisor.
 *
 * All calls of one object come from one thread. Every call has a deadline inside (stated per backend, at most
 * a few seconds): none blocks for ever on a hung hypervisor. After any failure the guest runs or can be made
 * to run by resume() (I8).
 */
#ifndef REMUS_DOMAIN_H
#define REMUS_DOMAIN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "remus/clock.h"
#include "remus/error.h"
#include "remus/findings.h"
#include "remus/track.h"

#define REMUS_NICS_MAX 8
#define REMUS_TEXT_MAX 256

/* A guest network interface and where its egress can be taken from. */
struct remus_nic {
	uint8_t mac[6];
	enum { REMUS_NIC_DGRAM, REMUS_NIC_TAP, REMUS_NIC_VIF } kind;
	char guest_path[108]; /* DGRAM: the socket the hypervisor binds (we send there) */
	char host_path[108];  /* DGRAM: the socket the hypervisor sends to (we bind it) */
	char interface[32];   /* TAP, VIF: the host's interface */
};

/* How a pause was spent, microseconds. Backends fill what they know; the engine adds the rest. */
struct remus_pause_parts {
	uint64_t stop, save, scan, copy, resume;
};

enum remus_domain_event {
	REMUS_DOMAIN_NONE = 0,
	REMUS_DOMAIN_SHUTDOWN, /* the guest ended by its own will or the operator's (ACPI, poweroff, reboot with
				  -no-reboot, quit): must not be resurrected */
	REMUS_DOMAIN_LOST,     /* its hypervisor died or cannot be reached: the backup should take over */
};

struct remus_domain_config {
	enum remus_track_method tracking;
	const char *run_dir; /* private directory of this session, exists; for sockets and the like */
};

struct remus_domain {
	const struct remus_domain_ops *ops;
};
struct remus_standby;

/*
 * The way to the agent in a guest (renewal.h): lines out, bytes in, both of which may get lost. It belongs to the domain
 * or standby that gave it, and is good as long as that. The guest is at its other end: nothing of what comes is to be
 * trusted, and nothing of it may be shown outside before its epoch is committed (I1).
 */
struct remus_channel {
	const struct remus_channel_ops *ops;
};
struct remus_channel_ops {
	/* Poll this for reading; -1 = none now. Opens again, now and then, what was lost. */
	int (*fd)(struct remus_channel *);
	/* What came, at most @size bytes; 0 = nothing now, or it was lost. Never blocks. */
	size_t (*receive)(struct remus_channel *, void *buffer, size_t size);
	/* One line, newline included. Never blocks: what can't be sent at once is lost. */
	void (*send)(struct remus_channel *, const char *line, size_t bytes);
};

/* What a check learns of a guest, as far as it could be learned. */
struct remus_domain_view {
	char *description; /* malloc'ed, as describe() gives it; NULL = it can't be made */
	uint64_t pages;	   /* 0 = unknown */
	struct remus_nic nic[REMUS_NICS_MAX];
	int nics;
};
/* Who in this process has the guest open already, for hypervisors that talk to one at a time; else NULL. */
struct remus_held {
	struct remus_domain *domain;
	struct remus_standby *standby; /* activated */
};

struct remus_domain_ops {
	const char *backend; /* "qemu" */

	/*
	 * Attach to a running domain. @locator is what follows the colon of "qemu:LOCATOR". Refuses, with the
	 * reason and before anything is changed, whatever could not be failed over. The guest is not paused.
	 */
	int (*open)(const char *locator, const struct remus_domain_config *config, struct remus_domain **out,
		    struct remus_error *err);
	/*
	 * Everything that open() would refuse, all of it, with what is good too; and what describe() and nics() would
	 * say. Attaches to nothing: the guest isn't paused, tracked or changed. open() refuses by the first fatal
	 * finding of the same code.
	 */
	void (*check)(const char *locator, const struct remus_domain_config *config,
		      const struct remus_held *held, struct remus_domain_view *out,
		      struct remus_report *report);
	/* A name for people, e.g. QEMU's -name or the socket's file name (owned by the domain). */
	const char *(*name)(struct remus_domain *);
	uint64_t (*pages)(struct remus_domain *); /* guest memory, 4 KiB pages; constant */
	/* JSON (malloc'ed) that lets the other side build an equal domain and check that it is equal. */
	int (*describe)(struct remus_domain *, char **json, struct remus_error *err);
	/* Up to @max interfaces; returns how many. */
	int (*nics)(struct remus_domain *, struct remus_nic *out, int max, struct remus_error *err);

	/*
	 * Optional (NULL = every page): set the bits of the pages that have content, for the first full copy. For
	 * backends whose page numbers are sparse; a page that gets content later must show as dirty.
	 */
	int (*populated)(struct remus_domain *, uint64_t *map, struct remus_error *err);

	/* Dirty tracking: start marks all clean; fetch as remus_track_fetch(), of a paused domain; stop is idempotent.
	 * Tracking ends with the process that started it, however that ends (I13). */
	int (*track_start)(struct remus_domain *, struct remus_error *err);
	const char *(*track_name)(struct remus_domain *);
	const char *(*track_note)(struct remus_domain *);
	int (*track_fetch)(struct remus_domain *, uint64_t *dirty, uint64_t *count, struct remus_error *err);
	/*
	 * Optional: of the pages that the last fetch added, so many differed from what the backup has. For backends that
	 * may go on to report a page that was written once as long as that is cheaper than to protect it anew. A fetch
	 * that this isn't told of is followed by one that protects all of them.
	 */
	void (*track_changed)(struct remus_domain *, uint64_t changed);
	void (*track_stop)(struct remus_domain *);

	/*
	 * Optional, all or none, for guests that take a while to stop. prepare_pause() asks for a stop ahead of pause(),
	 * which then waits only for the rest; best called pause_lead() µs before. It may stop the guest any time after
	 * that. false: the guest isn't ready to be asked, try again some milliseconds later. The backend calls it off by
	 * itself when no pause() follows (track_stop(), close(), or soon after: next_event()).
	 * pause_began(): when the guest of the last pause() began to stand still (remus_now_us()), 0 = as it was called.
	 * *reckoned: nobody saw that, it is an estimate from the times that were seen; false before the call.
	 * went_on(): when that of the last resume() went on, which may be well before that returned.
	 */
	uint64_t (*pause_lead)(struct remus_domain *);
	bool (*prepare_pause)(struct remus_domain *);
	uint64_t (*pause_began)(struct remus_domain *, bool *reckoned);
	uint64_t (*went_on)(struct remus_domain *);
	/* Stop the vCPUs; on return no guest instruction runs and no device writes guest memory or sends. */
	int (*pause)(struct remus_domain *, struct remus_error *err);
	/* Let the guest run. Idempotent: also right for a domain that already runs. */
	int (*resume)(struct remus_domain *, struct remus_error *err);
	/* Device and vCPU state of the paused domain: *out is owned by the domain, valid until the next call. */
	int (*save_state)(struct remus_domain *, const uint8_t **out, size_t *bytes, struct remus_error *err);
	/* Optional: what is known of the paused guest's clocks; cheap, and cannot fail. */
	void (*clock)(struct remus_domain *, struct remus_guest_clock *out);
	/* Copy @count pages to dst + i*4096. Right for a paused domain; of a running one a page may be torn (it is
	 * then dirty and will be fetched). */
	int (*copy)(struct remus_domain *, const uint64_t *pfn, size_t count, void *dst,
		    struct remus_error *err);

	/* Optional: the way to the agent in it. NULL = this guest has none, the reason in @why. */
	struct remus_channel *(*agent)(struct remus_domain *, char why[REMUS_TEXT_MAX]);
	pid_t (*pid)(struct remus_domain *); /* of the hypervisor process, 0 = none */
	/* poll(2) this; then call next_event. -1 = the backend has none. */
	int (*event_fd)(struct remus_domain *);
	/* What happened since the last call; never blocks. */
	enum remus_domain_event (*next_event)(struct remus_domain *, char why[REMUS_TEXT_MAX]);

	/* Kill the domain for good (a lost claim, a completed hand-over). Idempotent. */
	int (*destroy)(struct remus_domain *, struct remus_error *err);
	/* Stop tracking, leave the guest as it is (running or paused), free. */
	void (*close)(struct remus_domain *);
};

struct remus_standby_config {
	const char *run_dir; /* private directory of this standby, exists */
	const char *name;    /* the domain's name, for messages and the hypervisor */
	/*
	 * A copy for a drill: cut off from the network and from every disk that can be written to, under another name than
	 * the guest's, and it ends with the thread that created it, however that ends (I13).
	 */
	bool mortal;
	const atomic_bool
		*given_up; /* of a copy: true = calls that wait are to end soon, by -ECANCELED; or NULL */
};

struct remus_standby {
	const struct remus_standby_ops *ops;
};

struct remus_standby_ops {
	const char *backend;
	/*
	 * Everything that create() would refuse before it builds anything, all of it, with what is good too, and the
	 * interfaces that the standby would have. Makes nothing. create() refuses by the first fatal finding of the
	 * same code.
	 */
	void (*check)(const char *description, const struct remus_standby_config *config,
		      struct remus_nic nic[REMUS_NICS_MAX], int *nics, struct remus_report *report);
	/*
	 * Build a domain that waits for its memory and state. Everything that can be checked now is: versions,
	 * files, options (refused by name), memory. Never runs a guest instruction before activate().
	 */
	int (*create)(const char *description, const struct remus_standby_config *config,
		      struct remus_standby **out, struct remus_error *err);
	uint64_t (*pages)(struct remus_standby *);
	/* The standby's image of a page: 4096 readable and writable bytes. Zero for a page never written. */
	uint8_t *(*page)(struct remus_standby *, uint64_t pfn);
	/* The image is now exactly @epoch with this device state (copied). */
	int (*commit)(struct remus_standby *, uint64_t epoch, const uint8_t *state, size_t bytes,
		      struct remus_error *err);
	/*
	 * Optional (NULL = no copy can be made): give @copy, a mortal standby of the same description that was given
	 * nothing yet, the last committed epoch; *@epoch is its number. Called between two epochs, by the thread of the
	 * standby that is copied, while the copy's own stands still: acknowledgements wait, so it must not wait for
	 * anything. From then on the copy is its thread's alone, and that epoch, whatever is committed or closed here.
	 */
	int (*copy_into)(struct remus_standby *, struct remus_standby *copy, uint64_t *epoch,
			 struct remus_error *err);
	/*
	 * Optional, called right before each activate(): set what the guest's wall clock is made from, where the
	 * hypervisor has a say in it, so that it will read @truth or less, and no less than shown_ns if that can be.
	 * @guest: what the activated epoch says of its clocks. On failure the guest is run all the same.
	 */
	int (*set_time)(struct remus_standby *, const struct remus_truth *truth,
			const struct remus_guest_clock *guest, struct remus_error *err);
	/* Run the guest from the last committed epoch. On failure nothing runs; may be tried again. */
	int (*activate)(struct remus_standby *, struct remus_error *err);
	/* A VIF exists only once the guest runs here: the engine opens it after activate(). */
	int (*nics)(struct remus_standby *, struct remus_nic *out, int max, struct remus_error *err);
	/* The locator by which the activated domain can be protected in its turn: "qemu:/run/...". */
	const char *(*locator)(struct remus_standby *);
	/* Optional: the way to the agent in the activated guest. NULL = this guest has none, the reason in @why. */
	struct remus_channel *(*agent)(struct remus_standby *, char why[REMUS_TEXT_MAX]);
	pid_t (*pid)(
		struct remus_standby *); /* of the hypervisor process, 0 = none: for the supervisor's sweep */
	int (*event_fd)(struct remus_standby *);
	enum remus_domain_event (*next_event)(struct remus_standby *, char why[REMUS_TEXT_MAX]);
	/* Kill and remove. For an activated standby too. Idempotent. */
	void (*destroy)(struct remus_standby *);
	/* Let go of an *activated* domain without touching it (destroys it if not activated). Frees. */
	void (*close)(struct remus_standby *);
	/*
	 * End what a standby that never ran left when its processes were killed. @mark: what create() wrote into
	 * RUN_DIR/standby, a short line that names the domain, after "BACKEND ". Up to @patience_ms are given to those
	 * who may be ending it already. NULL: of this backend nothing can be left but the process that pid() tells.
	 */
	int (*sweep)(const char *mark, int patience_ms, struct remus_error *err);
};
#define REMUS_STANDBY_MARK "standby" /* the file's name */
#define REMUS_STANDBY_CONSOLE \
	"serial0.log" /* in RUN_DIR: what the guest wrote to its first serial port, if that is kept */

/* copy_into() for backends whose page() is all there is to an image: copies all of it now, and commits @state. */
int remus_standby_copy_image(struct remus_standby *from, struct remus_standby *copy, uint64_t epoch,
			     const uint8_t *state, size_t bytes, struct remus_error *err);

/* The backends that this build has, NULL-terminated, and look-ups by name (NULL = not built in). */
const struct remus_domain_ops *remus_domain_backend(const char *name);
const struct remus_standby_ops *remus_standby_backend(const char *name);
/* sweep() of the backend that wrote @line, the first of a file RUN_DIR/standby. For a process that may end with it. */
int remus_standby_sweep(const char *line, int patience_ms, struct remus_error *err);

extern const struct remus_domain_ops remus_qemu_domain_ops;
extern const struct remus_standby_ops remus_qemu_standby_ops;
extern const struct remus_domain_ops remus_xen_domain_ops; /* where built: --with-xen */
extern const struct remus_standby_ops remus_xen_standby_ops;
extern const struct remus_domain_ops remus_fake_domain_ops;
extern const struct remus_standby_ops remus_fake_standby_ops;

#endif
