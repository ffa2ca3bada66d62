#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The unit tests of the lab's pure Python parts. Needs no privileges, no Xen, no QEMU, no network.
here=$(cd "$(dirname "$0")" && pwd) || exit 1
python=/usr/bin/python3
[ -x "$python" ] || python=$(command -v python3) || { echo "SKIP: no python3"; exit 77; }
PYTHONPATH="$here/../../tools/lab:$here/../../tools/drill" exec "$python" -B -m unittest discover -s "$here" -p 'test_*.py'
