# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# What is to be reached, "more <= 120, ratio <= 1.02", held against a result.

def more: .value - .peer_value;
def ratio: .value / .peer_value;

# true, false, or null where nothing is to be reached.
def met:
	. as $result
	| if .reach == "" then null
	  else [.reach | split(", ")[] | capture("^(?<what>[a-z]+) (?<sign><=|>=) (?<limit>[0-9.]+)$")
		| (if .what == "more" then $result | more elif .what == "ratio" then $result | ratio else $result.value end) as $is
		| if .sign == "<=" then $is <= (.limit | tonumber) else $is >= (.limit | tonumber) end] | all
	  end;
