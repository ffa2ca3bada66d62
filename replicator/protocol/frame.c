/* SPDX-License-Identifier: GPL-2.0-or-later */
/* placeholder of the frame codec; see include/remus/wire.h */
#include "remus/wire.h"
