# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=bash
#
# For the tests of the harness, which run a test with a known end and look at what the harness makes of it.

# verdict SCRIPT STATUS REGEX [REGEX...] : tests/vm/run must end with the status and say all of that.
verdict() {
	local script=tests/vm/selftest/$1.sh wanted=$2 status=0 output regex

	output=$(VM_PATIENCE=1 TEST_LOGS=$VM_DIR tests/vm/run "$script" 2>&1) || status=$?
	printf '%s: status %s\n%s\n' "$1" "$status" "$output"
	if [[ $status -ne $wanted ]]; then
		printf 'FAIL: %s ended with %s, not %s\n' "$1" "$status" "$wanted"
		exit 1
	fi
	for regex in "${@:3}"; do
		if ! grep -qE "$regex" <<<"$output"; then
			printf 'FAIL: %s does not say "%s"\n' "$1" "$regex"
			exit 1
		fi
	done
}
