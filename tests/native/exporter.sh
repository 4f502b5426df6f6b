#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: remap-exporter: metrics and page, with remapd there, away, mute and talking nonsense
# timeout: 120

set -euo pipefail

state=tests/unit/data/state.json
socket=$TMPDIR/remapd.sock
pids=()
server=
loop=
trap end_all EXIT
end_all() {
	[[ -z $server ]] || kill -TERM -- "-$server" 2>/dev/null || :
	[[ ${#pids[@]} -eq 0 ]] || kill "${pids[@]}" 2>/dev/null || :
	wait
	[[ -z $loop ]] || losetup --detach "$loop" || :
}

fail() {
	printf 'FAIL: %s\n' "$1" >&2
	exit 1
}

# wait_for SECONDS COMMAND... : until the command succeeds.
wait_for() {
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		((SECONDS < end)) || fail "waited too long for: $*"
		sleep 0.05
	done
}

# serve COMMAND : a remapd of that socket that runs a shell command for each connection. end_serving ends it.
serve() {
	# In a file of its own: socat has its own meaning for commas and quotes.
	printf '%s\n' "$1" >"$TMPDIR/answer.sh"
	setsid socat "UNIX-LISTEN:$socket,fork,unlink-early" "EXEC:bash $TMPDIR/answer.sh" 2>/dev/null &
	server=$!
	wait_for 10 test -S "$socket"
}
end_serving() {
	kill -TERM -- "-$server" 2>/dev/null || :
	wait "$server" || :
	server=
	rm -f "$socket"
}

get() {
	curl --silent --show-error --max-time 10 "$@"
}

for program in socat curl jq; do
	command -v "$program" >/dev/null || {
		echo "skip: no $program here"
		exit 77
	}
done

"$BUILD/remap-exporter" --web.listen-address=127.0.0.1:0 --socket="$socket" 2>"$TMPDIR/exporter.log" &
exporter=$!
pids+=("$exporter")
wait_for 10 grep -q 'listening on port' "$TMPDIR/exporter.log"
url=http://127.0.0.1:$(sed -n 's/.*listening on port \([0-9]*\),.*/\1/p' "$TMPDIR/exporter.log")

# --- remapd is away ------------------------------------------------------------------------------------------------

# only_down WHAT : a scrape answers 200, within the time of a scrape, and says nothing but that remapd is down.
only_down() {
	local before=$SECONDS
	[[ $(get --output "$TMPDIR/scrape" --write-out '%{http_code}' "$url/metrics") == 200 ]] || fail "$1: not 200"
	((SECONDS - before < 6)) || fail "$1: a scrape took $((SECONDS - before)) s"
	grep -v '^#' "$TMPDIR/scrape" | diff - <(echo 'remapd_up 0') || fail "$1: more than remapd_up 0"
}
only_down 'no socket'
[[ $(get --output "$TMPDIR/answer" --write-out '%{http_code}' "$url/api/state") == 503 ]] || fail 'api/state is not 503'
jq -e '.ok == false and (.error | test("not running"))' "$TMPDIR/answer" >/dev/null || fail 'api/state gives no reason'

serve 'read -r request; printf "%s\n" nonsense'
only_down 'no JSON'
end_serving
serve 'read -r request; printf "%s" "{\"version\":1,\"ok\":true"'
only_down 'an answer cut off'
end_serving
serve 'read -r request; printf "%s\n" "{\"version\":2,\"ok\":true}"'
only_down 'another version'
end_serving
serve 'read -r request; printf "%s\n" "[]"'
only_down 'an array'
end_serving
serve 'read -r request; sleep 30'
only_down 'a remapd that hangs'
end_serving
serve 'read -r request; printf "%s\n" "{\"version\":1,\"ok\":true,\"devices\":[7,null,{\"device\":{}}]}"'
grep -qx 'remapd_up 1' <(get "$url/metrics") || fail 'odd devices'
end_serving

# --- a recorded state ----------------------------------------------------------------------------------------------

jq -c . "$state" >"$TMPDIR/state.line"
serve "read -r request; cat $TMPDIR/state.line"
get --dump-header "$TMPDIR/headers" "$url/metrics" >"$TMPDIR/metrics"
grep -qi '^content-type: text/plain; version=0.0.4' "$TMPDIR/headers" || fail 'content type of metrics'
grep -qx 'remapd_extents{device="data0",state="suspect"} 2' "$TMPDIR/metrics" || fail 'a metric is missing'
tests/promtool check metrics <"$TMPDIR/metrics" || fail 'promtool check metrics'
get --header 'Accept: application/openmetrics-text; version=1.0.0' --dump-header "$TMPDIR/headers" "$url/metrics" \
	>"$TMPDIR/openmetrics"
grep -qi '^content-type: application/openmetrics-text' "$TMPDIR/headers" || fail 'content type of OpenMetrics'
[[ $(tail -n 1 "$TMPDIR/openmetrics") == '# EOF' ]] || fail 'OpenMetrics has no end'
get "$url/api/state" | jq -e '.devices[0].device == "data0"' >/dev/null || fail 'api/state'
for _ in {1..20}; do
	get --output /dev/null "$url/metrics" &
	gets+=("$!")
done
wait "${gets[@]}" || fail 'scrapes at the same time'
end_serving

# --- HTTP ----------------------------------------------------------------------------------------------------------

# status WANTED CURL-ARGUMENT...
status() {
	local wanted=$1 got
	shift
	got=$(get --path-as-is --output /dev/null --write-out '%{http_code}' "$@")
	[[ $got == "$wanted" ]] || fail "$*: $got, not $wanted"
}
status 200 "$url/-/healthy"
status 200 --head "$url/metrics"
status 404 "$url/nothing"
status 404 "$url/../../etc/passwd"
status 405 --data x=y "$url/metrics"
status 405 --request DELETE "$url/"
status 400 "$url/api/extents"
status 400 "$url/api/extents?device=%ff"
status 400 "$url/api/explain?device=x&extent=-1"
status 503 "$url/api/explain?device=x&extent=1"
get --dump-header "$TMPDIR/headers" "$url/" >"$TMPDIR/page"
grep -qi "^content-security-policy: default-src 'none'" "$TMPDIR/headers" || fail 'no Content-Security-Policy'
if grep -E 'https?://|style=|onclick=|<script>' "$TMPDIR/page"; then
	fail 'the page asks for what its policy forbids'
fi
for file in style.css app.js; do
	grep -q "\"$file\"" "$TMPDIR/page" || fail "the page does not name $file"
	get "$url/$file" | cmp - "exporter/page/$file" || fail "$file is not what was built"
done

# --- a real remapd -------------------------------------------------------------------------------------------------

if "$BUILD/remapd" --version >/dev/null 2>&1 && [[ -r /sys/kernel/btf/vmlinux ]]; then
	truncate -s 64M "$TMPDIR/disk"
	loop=$(losetup --find --show "$TMPDIR/disk")
	cat >"$TMPDIR/policy.yaml" <<-YAML
		version: 1
		mode: observe
		devices:
		  - match: {kernel_name: "${loop#/dev/}"}
		    mode: observe
	YAML
	"$BUILD/remapd" --socket "$socket" --policy "$TMPDIR/policy.yaml" --state-dir "$TMPDIR" \
		--pin-dir "/sys/fs/bpf/dm-remap-test-$$" >"$TMPDIR/remapd.log" 2>&1 &
	pids+=("$!")
	wait_for 30 test -S "$socket"
	wait_for 30 eval 'dd if="$loop" of=/dev/null bs=64k iflag=direct status=none;
		get "$url/metrics" >"$TMPDIR/real"
		grep -q "^remapd_read_latency_seconds_count{device=\"${loop#/dev/}\"} [1-9]" "$TMPDIR/real"'
	get "$url/metrics" >"$TMPDIR/real"
	tests/promtool check metrics <"$TMPDIR/real" || fail "promtool check metrics on a real remapd's state"
	for name in remapd_build_info remapd_device_info remapd_read_errors_total remapd_extents remapd_policy_mode \
		remapd_bpf_dropped_events_total remapd_would_relocate_total; do
		grep -q "^${name}[{ ]" "$TMPDIR/real" || fail "a real remapd gives no $name"
	done
	(($(grep -c "{device=\"${loop#/dev/}\"" "$TMPDIR/real") <= 120)) || fail 'more than 120 series'
	get "$url/api/extents?device=${loop#/dev/}" | jq -e '.ok and (.cells | length > 0)' >/dev/null || fail 'api/extents'
	get "$url/api/explain?device=${loop#/dev/}&extent=1" | jq -e '.ok and (.text | length > 0)' >/dev/null ||
		fail 'api/explain'
	status 404 "$url/api/explain?device=nothing&extent=1"
	"$BUILD/remapctl" --socket "$socket" status --json | jq -e '.version == 1 and .source == "remapd"' >/dev/null ||
		fail 'remapctl status --json'
	"$BUILD/remapctl" --socket "$socket" explain "${loop#/dev/}" 1 || fail 'remapctl explain'
	"$BUILD/remapctl" --socket "$socket" events --json | jq -e '.events | type == "array"' >/dev/null ||
		fail 'remapctl events'
	kill "${pids[1]}"
	wait "${pids[1]}" || fail "remapd ended with $?"
	unset 'pids[1]'
	"$BUILD/remapd" --pin-dir "/sys/fs/bpf/dm-remap-test-$$" --unpin || :
	losetup --detach "$loop"
	loop=
	only_down 'after remapd'
else
	echo 'remapd can not run here: its real output was not tried'
fi

kill "$exporter"
wait "$exporter" || fail "the exporter ended with $?"
pids=()
echo 'ok'
