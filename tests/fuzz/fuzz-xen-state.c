/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A PVH or HVM guest's state in the DEVICE section: what is understood of it stays the same when written anew. */
#include "fuzz.h"

#include "replicator/domain/xen/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct remus_xen_param params[REMUS_XEN_PARAMS_MAX], again_params[REMUS_XEN_PARAMS_MAX];
	struct remus_xen_state state, again;
	struct remus_error err = REMUS_ERROR_INIT;
	struct remus_xen_buffer out = {0};

	int rc = remus_xen_state_decode(data, size, &state, params, &err);
	fuzz_check_error(rc, &err);
	if (rc)
		return 0;
	FUZZ_CHECK(state.context > data && state.context_bytes <= (size_t)(data + size - state.context));
	remus_xen_state_encode(&out, &state);
	FUZZ_CHECK(!out.failed &&
		   remus_xen_state_decode(out.data, out.bytes, &again, again_params, &err) == 0);
	FUZZ_CHECK(state.params == again.params &&
		   (!state.params || !memcmp(params, again_params, state.params * sizeof *params)));
	FUZZ_CHECK(state.context_bytes == again.context_bytes &&
		   !memcmp(state.context, again.context, state.context_bytes));
	FUZZ_CHECK(state.tsc.mode == again.tsc.mode && state.tsc.khz == again.tsc.khz &&
		   state.tsc.nsec == again.tsc.nsec && state.tsc.incarnation == again.tsc.incarnation);
	remus_xen_buffer_free(&out);
	return 0;
}

static void seed(const char *name, unsigned params, size_t context, size_t less)
{
	static uint8_t bytes[256];
	struct remus_xen_param param[REMUS_XEN_PARAMS_MAX + 1] = {{5, 6}};
	struct remus_xen_buffer out = {0};

	remus_xen_state_encode(&out, &(struct remus_xen_state){.tsc = {1, 2000000, 0, 12345},
							       .context = bytes,
							       .context_bytes = context,
							       .param = param,
							       .params = params});
	FUZZ_CHECK(!out.failed);
	fuzz_seed(name, out.data, out.bytes - less);
	remus_xen_buffer_free(&out);
}

void fuzz_seeds(void)
{
	seed("whole", 12, 200, 0);
	seed("padded", 0, 9, 0);
	seed("cut", 1, 100, 20);
	seed("cut-padding", 1, 97, 4);
	seed("cut-by-one", 1, 96, 1);
	seed("no-context", 1, 0, 0);
	seed("incomplete", 1, 0, 8);
	seed("many-params", REMUS_XEN_PARAMS_MAX + 1, 8, 0);
	fuzz_seed("magic", "RXS2\3\0\0\0", 8);
	fuzz_seed("parts", "RXS1\4\0\0\0", 8);
	fuzz_seed("unknown", "RXS1\3\0\0\0\x7f\0\0\0\0\0\0\0", 16);
	fuzz_seed("hostile", "RXS1\3\0\0\0\3\0\0\0\xff\xff\xff\xff", 16);
}
