#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: MariaDB whose tables and log die in 64 places under sysbench fails no statement and loses no row
# invariants: 1 2 3
# disks: 128M:serial=main 64M:serial=spare
# timeout: 300

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh
. /project/tests/vm/stacks.sh

need mariadbd mariadb-install-db mariadb-check sysbench
socket=/tmp/socket
size=10000
rows=0
server=
# The smallest cache that there is, and changed pages are written soon: most of what it does, it does on the disk. Where it judges
# by the clock, it gets more time than a slow machine with a fast clock can need.
options=(--no-defaults --user=root --datadir=/tmp/mnt/data --innodb-buffer-pool-size=6M --innodb-log-file-size=4M
	--innodb-flush-method=O_DIRECT --innodb-max-dirty-pages-pct=0 --connect-timeout=36000 --net-read-timeout=36000
	--net-write-timeout=36000 --innodb-lock-wait-timeout=36000 --innodb-fatal-semaphore-wait-threshold=36000)

ask() {
	mariadb --no-defaults --socket=$socket --batch --skip-column-names --execute="$1"
}

answers() {
	ask 'SELECT 1' >/dev/null 2>&1
}

start_server() {
	mariadbd "${options[@]}" --socket=$socket --skip-networking --pid-file=/tmp/pid >>/tmp/server.log 2>&1 &
	server=$!
	# It ends if it can't start; how long a start takes is no matter, the test's own limit holds.
	until answers; do
		kill -0 "$server" || fail "the server ended: $(tail -n 5 /tmp/server.log)"
		sleep 0.1
	done
}

# kill_server : without a word.
kill_server() {
	kill -KILL "$server"
	wait "$server" 2>/dev/null || true
	rm -f $socket
}

# sb DATABASE ARGUMENT... : sysbench. Without the signal there is no limit to the time that its threads need to begin.
sb() {
	env --block-signal=ALRM sysbench --db-driver=mysql --mysql-socket=$socket --mysql-user=root --mysql-db="$1" \
		--table-size=$size --threads=4 "${@:2}" >/tmp/sysbench 2>&1 || fail "sysbench: $(tail -n 5 /tmp/sysbench)"
}

# load DATABASE SCRIPT EVENTS : the number of events done must be what was asked for.
load() {
	sb "$1" --time=0 --events="$3" "$2" run
	grep -q "total number of events: *$3\$" /tmp/sysbench || fail "events are missing: $(cat /tmp/sysbench)"
}

bench() {
	load changed oltp_read_write 60
	load grown oltp_insert 200
	((rows += 200))
}

rows_right() {
	empty_caches
	eq 'rows that were added' "$(ask 'SELECT COUNT(*) FROM grown.sbtest1')" "$((size + rows))"
	eq 'rows that were changed' "$(ask 'SELECT COUNT(*) FROM changed.sbtest1')" "$size"
	mariadb-check --no-defaults --socket=$socket --check --extended --all-databases >/tmp/check
	! grep -v 'OK$' /tmp/check || fail 'a table is damaged'
}

load_remap
dying_disk lower /dev/main 64 "${1:-1}"
remap_create r /dev/mapper/lower /dev/spare format
mkfs.ext4 -q /dev/mapper/r
mkdir /tmp/mnt
mount /dev/mapper/r /tmp/mnt
mariadb-install-db "${options[@]}" --auth-root-authentication-method=normal --skip-test-db >/tmp/install.log 2>&1 ||
	fail "mariadb-install-db: $(tail -n 5 /tmp/install.log)"
at_exit '[[ -z $server ]] || kill_server'
start_server
for database in changed grown; do
	ask "CREATE DATABASE $database"
	sb $database oltp_insert prepare
done
extents_of /tmp/mnt/data/{ibdata1,ib_logfile0,{changed,grown}/sbtest1.ibd} | regions_in lower 64 "${1:-1}"
log_mark

under_load lower r bench
contents=$(ask 'CHECKSUM TABLE changed.sbtest1, grown.sbtest1')
all_saved r

# It is killed, the module goes, and it recovers from what is on the disks.
kill_server
umount /tmp/mnt
again r /dev/mapper/lower /dev/spare
mount /dev/mapper/r /tmp/mnt
start_server
is 'what the tables hold' "$(ask 'CHECKSUM TABLE changed.sbtest1, grown.sbtest1')" "$contents"
rows_right
bench
rows_right
kill -TERM "$server"
wait "$server"
server=
umount /tmp/mnt
e2fsck -fn /dev/mapper/r
expect_status r mode=rw unread_sectors=0 lost_sectors=0
! grep -E '\[ERROR\]' /tmp/server.log || fail 'the server met errors'
nothing_reported
