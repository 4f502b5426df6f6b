# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=bash
#
# Where Debian's packages come from: the mirror that this machine's own apt uses, else deb.debian.org.

# debian_sources SUITE... : prints sources.list lines for the suites.
debian_sources() {
	local mirror=http://deb.debian.org/debian security=http://deb.debian.org/debian-security
	local key=/usr/share/keyrings/debian-archive-keyring.gpg uri label suite

	while read -r uri label; do
		case $label in
		Debian) mirror=${uri%/} ;;
		Debian-Security) security=${uri%/} ;;
		esac
	done < <(apt-get indextargets --format '$(REPO_URI) $(LABEL)' 'Created-By: Packages' 2>/dev/null | sort -u)
	for suite in "$@"; do
		case $suite in
		*-security) printf 'deb [signed-by=%s] %s %s main\n' "$key" "$security" "$suite" ;;
		*) printf 'deb [signed-by=%s] %s %s main\n' "$key" "$mirror" "$suite" ;;
		esac
	done
}
