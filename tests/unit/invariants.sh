#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: tests/vm/INVARIANTS.md names the tests that say so themselves, and no others

set -euo pipefail

said=$(for file in tests/vm/t/*.sh; do
	name=${file##*/}
	name=${name%.sh}
	read -ra numbers < <(sed -n 's/^# invariants: *//p' "$file") || continue
	printf "%s ${name%.host}\\n" "${numbers[@]}"
done | sort)
listed=$(sed -n 's/^| \([0-9]*\)\. [^|]*| \(.*\) |$/\1 \2/p' tests/vm/INVARIANTS.md |
	while read -r number tests; do
		grep -o '`[^`]*`' <<<"$tests" | tr -d '`' | sed "s/^/$number /" || :
	done | sort)
[[ -n $said ]]
diff <(printf '%s\n' "$said") <(printf '%s\n' "$listed") ||
	{ echo 'FAIL: what tests say of themselves (<) is not what the page says (>)' && exit 1; }
