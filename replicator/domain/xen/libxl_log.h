/* SPDX-License-Identifier: GPL-2.0-or-later */
/* libxl's words in our log. */
#ifndef REMUS_XEN_LIBXL_LOG_H
#define REMUS_XEN_LIBXL_LOG_H

#include <xentoollog.h>

/* A logger that writes with remus_log(); its warnings and errors keep their level, all else is debug. Static. */
xentoollog_logger *remus_xen_libxl_log(void);

#endif
