#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: the format's unit tests, golden image included, on a big-endian machine (s390x under qemu-user)

set -euo pipefail
cd "$(dirname "$0")/../.."

for tool in s390x-linux-gnu-gcc qemu-s390x; do
	command -v "$tool" >/dev/null || { echo "$tool is missing; 'make deps' installs it" >&2; exit 69; }
done
cmocka=$(tests/fetch --arch s390x libcmocka0 libcmocka-dev)
libraries=$cmocka/usr/lib/s390x-linux-gnu
program=${TMPDIR:-/tmp}/format-s390x
read -r -a sources < <(sed -n 's/^format_test_SRCS := //p' tests/unit/build.mk)

s390x-linux-gnu-gcc -std=gnu11 -D_GNU_SOURCE -O2 -Wall -Wextra -Werror -Wno-unused-parameter -I. \
	-isystem "$cmocka/usr/include" -o "$program" "${sources[@]}" -L"$libraries" -lcmocka
qemu-s390x -L /usr/s390x-linux-gnu -E LD_LIBRARY_PATH="$libraries" "$program"
