# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=bash
#
# Where Debian's packages come from: the mirrors that this machine's own apt uses.

# debian_sources SUITE... : prints sources.list lines for the suites.
debian_sources() {
	local mirror='' security='' key=/usr/share/keyrings/debian-archive-keyring.gpg uri release suite

	# By release, not by label: that is known even before the first "apt-get update".
	while read -r uri release; do
		case $release in
		bookworm | stable) mirror=${uri%/} ;;
		bookworm-security | stable-security) security=${uri%/} ;;
		esac
	done < <(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' 2>/dev/null | sort -u)
	if [[ -z $mirror || -z $security ]]; then
		echo "apt's sources name no mirror of Debian 12 (bookworm and bookworm-security): add them to /etc/apt" >&2
		return 69
	fi
	for suite in "$@"; do
		case $suite in
		*-security) printf 'deb [signed-by=%s] %s %s main\n' "$key" "$security" "$suite" ;;
		*) printf 'deb [signed-by=%s] %s %s main\n' "$key" "$mirror" "$suite" ;;
		esac
	done
}

# private_apt DIR SUITE... : makes apt-get and apt-cache work on a state of their own in DIR: only these suites,
# nothing shared with the machine, no root needed. For this shell and its children, until APT_CONFIG is unset.
# ARCHITECTURE=s390x before it: another one than amd64.
private_apt() {
	local aptdir=$1
	shift

	mkdir -p "$aptdir"/{lists/partial,archives/partial}
	: >"$aptdir/status"
	debian_sources "$@" >"$aptdir/sources.list" || return
	cat >"$aptdir/apt.conf" <<-CONF
		Dir::Etc::SourceList "$aptdir/sources.list";
		Dir::Etc::SourceParts "/dev/null";
		Dir::State::Lists "$aptdir/lists";
		Dir::State::status "$aptdir/status";
		Dir::Cache::archives "$aptdir/archives";
		Dir::Cache::pkgcache "";
		Dir::Cache::srcpkgcache "";
		APT::Architecture "${ARCHITECTURE:-amd64}";
		APT::Architectures { "${ARCHITECTURE:-amd64}"; };
		APT::Sandbox::User "";
		Acquire::Check-Valid-Until "false";
		Acquire::Languages "none";
		Acquire::Retries "3";
		APT::Update::Error-Mode "any";
	CONF
	export APT_CONFIG=$aptdir/apt.conf
}
