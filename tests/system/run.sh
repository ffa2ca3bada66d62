#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Run one file of system tests, FILE [TEST...]: automake's PY_LOG_COMPILER. Needs no privileges; what a machine
# lacks makes a test skip, with the reason.
here=$(cd "$(dirname "$0")" && pwd) || exit 1
python=/usr/bin/python3
[ -x "$python" ] || python=$(command -v python3) || { echo "SKIP: no python3"; exit 77; }
REMUS_BUILD=${REMUS_BUILD:-$PWD} PYTHONPATH="$here" exec "$python" -B "$@"
