#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: dashboards, rules and alerts: promtool, and that everything they name exists
# timeout: 60

set -euo pipefail

dashboards=(dashboards/grafana/*.json)
rules=(dashboards/prometheus/*.yml)
tests=(dashboards/prometheus/tests/*.yml)
alerts=dashboards/prometheus/alerts.yml
failures=0

fail() {
	printf 'FAIL: %s\n' "$1" >&2
	failures=$((failures + 1))
}

# --- promtool ------------------------------------------------------------------------------------------------------

status=0
tests/promtool --version >/dev/null || status=$?
[[ $status -ne 77 ]] || { echo 'skip: no promtool here'; exit 77; }
# Lint only knows errors of the whole: a duplicate rule is one for us.
tests/promtool check rules --lint=all --lint-fatal "${rules[@]}" || fail 'promtool check rules'
tests/promtool test rules "${tests[@]}" || fail 'promtool test rules'

# --- each alert is tested firing and silent, and has a place in the runbook ----------------------------------------

mapfile -t names < <(sed -n 's/^ *- alert: //p' "$alerts")
[[ ${#names[@]} -gt 10 ]] || fail "only ${#names[@]} alerts found"
for name in "${names[@]}"; do
	cases=$(cat "${tests[@]}" | grep -A 2 "alertname: $name\$") || { fail "$name has no test"; continue; }
	grep -q 'exp_labels' <<<"$cases" || fail "no test sees $name fire"
	grep -q 'exp_alerts: \[\]' <<<"$cases" || [[ $name == RemapSpareFilling ]] || fail "no test sees $name silent"
	anchor=docs/runbook.md#${name,,}
	grep -q "runbook_url: $anchor\$" "$alerts" || fail "$name has no runbook_url"
	grep -qix "## $name" docs/runbook.md || fail "the runbook has no section $name"
done
while read -r section; do
	grep -q "^ *- alert: $section\$" "$alerts" || fail "the runbook's section $section is no alert"
done < <(sed -n 's/^## \(Remap[A-Za-z]*\)$/\1/p' docs/runbook.md)

# --- each metric that is used is exported --------------------------------------------------------------------------

exported=$(grep -hoE '"remapd_[a-z_0-9]+", TYPE_[A-Z]+' exporter/metrics.c | tr -d '",' | while read -r name type; do
	case $type in
	TYPE_COUNTER) echo "${name}_total" ;;
	TYPE_HISTOGRAM) printf '%s\n' "${name}"{_bucket,_sum,_count} ;;
	*) echo "$name" ;;
	esac
done | sort -u)
recorded=$(sed -n 's/^ *- record: //p' "${rules[@]}" | sort -u)
used=$({
	jq -r '.. | .expr?, .definition? | strings' "${dashboards[@]}"
	sed '/^ *\(summary\|description\|runbook_url\|- record\|- alert\|#\)/d' "${rules[@]}"
} | grep -oE '(device:)?remapd_[a-z_0-9]+(:[a-z_0-9]+)?' | sort -u)
[[ $(wc -l <<<"$used") -gt 15 ]] || fail 'too few metrics found in dashboards and rules'
missing=$(comm -23 <(echo "$used") <(printf '%s\n%s\n' "$exported" "$recorded" | sort -u))
[[ -z $missing ]] || fail "used and not exported: $missing"
unused=$(comm -13 <(echo "$used") <(echo "$exported" | grep -v '_sum$\|_last_relocation'))
[[ -z $unused ]] || fail "exported and in no dashboard or alert: $unused"

# --- the dashboard linter's rules ----------------------------------------------------------------------------------

# lint WHAT FILTER : the filter gives the panels that are at fault.
lint() {
	local found
	found=$(jq -r "def panels: [.. | objects | select(.type? and .gridPos? and .type != \"row\")]; $2" "$dashboard") ||
		fail "$dashboard: $1: not readable"
	[[ -z $found ]] || fail "$dashboard: $1: $found"
}
for dashboard in "${dashboards[@]}"; do
	lint 'no stable uid' 'select((.uid // "") == "") | .title'
	lint 'no title' 'panels[] | select((.title // "") == "") | .id'
	lint 'no description' 'panels[] | select((.description // "") == "") | .title'
	lint 'no unit' 'panels[] | select((.fieldConfig.defaults.unit // "") == "") | .title'
	lint 'datasource not templated' 'panels[] | select(.datasource.uid != "${datasource}" or
		any(.targets[]; .datasource.uid != "${datasource}")) | .title'
	lint 'rate over another interval' '.. | .expr? | strings | select(test("rate\\([^\\[]*\\[(?!\\$__rate_interval\\])"))'
	lint 'no job or instance' '.. | .expr? | strings | select((test("job=~\"\\$job\"") and
		test("instance=~\"\\$instance\"")) | not)'
	lint 'no heat map over _bucket' 'if any(panels[]; .type == "heatmap" and
		(.targets[0].expr | test("_bucket"))) then empty else "none" end'
	lint 'panel id twice' '[panels[].id] | group_by(.)[] | select(length > 1) | .[0]'
	for variable in datasource job instance; do
		lint "no variable $variable" "if any(.templating.list[]; .name == \"$variable\") then empty else \"none\" end"
	done
	if grep -nE 'https?://' "$dashboard"; then
		fail "$dashboard names a host"
	fi
done

((failures == 0)) || exit 1
echo "ok: ${#names[@]} alerts, $(wc -l <<<"$used") metrics used"
