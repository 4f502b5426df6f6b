# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# Results, as a table in Markdown.
include "reach";

def short: if . == null then "" elif . >= 100 then round elif . >= 10 then . * 10 | round / 10 else . * 1000 | round / 1000 end | tostring;

"| what | unit | remap | peer | of the peer | more | ratio | to reach | |",
"|---|---|---|---|---|---|---|---|---|",
(.[] | "| \(.what) | \(.unit) | \(.value | short) | \(.peer) | \(.peer_value | short) | "
	+ (if .peer_value then "\(more | short) | \(ratio | short)" else " | " end)
	+ " | \(.reach) | \({"true": "yes", "false": "**no**", "null": ""}[met | tostring]) |")
