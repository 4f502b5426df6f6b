#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: manual pages and completion know every option and command of the programs
# timeout: 60

set -euo pipefail
failures=0
fail() {
	printf 'FAIL: %s\n' "$1" >&2
	failures=$((failures + 1))
}

command -v mandoc >/dev/null || { echo 'skip: no mandoc here'; exit 77; }
for page in docs/man/*.[58]; do
	# Ours begin with examples.
	found=$(mandoc -T lint -W warning "$page" | grep -v 'sections out of conventional order: Sh' || :)
	[[ -z $found ]] || fail "$found"
done

# options PROGRAM ARGUMENT... : the long options that its help names.
options() {
	local program=$1
	shift
	"$BUILD/$program" "$@" --help | grep -oE '(^|[ ,])--[a-z][a-z.-]+' | tr -d ' ,' | grep -vxE -e '--(help|usage|version)' | sort -u
}

completion=loader/remapctl.bash-completion
for program in remapctl remapd remap-exporter; do
	[[ -x $BUILD/$program ]] || { fail "$program is not built"; continue; }
	page=$(mandoc -T ascii "docs/man/$program.8" | col -b)
	commands=
	if [[ $program == remapctl ]]; then
		commands=$("$BUILD/remapctl" --help | sed -n '/^Commands/,/^$/s/^  \([a-z]*\) .*/\1/p')
		[[ $(wc -w <<<"$commands") -ge 9 ]] || fail 'remapctl --help names too few commands'
	fi
	for command in '' $commands; do
		own=docs/man/$program-$command.8
		about=$page
		[[ ! -f $own ]] || about=$(mandoc -T ascii "$own" | col -b)
		for option in $(options "$program" ${command:+"$command"}); do
			grep -q -e "$option" <<<"$about" || fail "no manual page of $program $command knows $option"
			[[ $program != remapctl ]] || grep -q -e "$option" "$completion" ||
				fail "the completion does not know $option"
		done
		[[ -z $command ]] || grep -q "^ *$command\b" <<<"$page" || fail "$program.8 does not know $command"
		[[ -z $command ]] || grep -q "words='create\b.*\|words='.* $command\b" "$completion" || fail "the completion does not know $command"
	done
done

# --- the completion does complete ----------------------------------------------------------------------------------

. "$completion"
completes() {
	COMP_WORDS=("${@:2}")
	COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
	COMPREPLY=()
	_remapctl remapctl "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
	[[ "${COMPREPLY[*]}" == "$1" ]] || fail "completion of '${*:2}': '${COMPREPLY[*]}', not '$1'"
}
completes 'create' remapctl cr
completes 'check' remapctl ch
completes '--output' remapctl dump --json --ou
completes 'remove remap release repair restore' remapctl re
completes '--release' remapctl remove --rel
completes '--force' remapctl --json create --fo
completes 'check' remapctl policy ''
completes "$completion" remapctl policy check loader/remapctl.b
completes '' remapctl create --main-id ''

((failures == 0)) || exit 1
echo ok
