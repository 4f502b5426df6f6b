#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: PostgreSQL whose tables and log die in 64 places under pgbench fails no transaction and loses no row
# invariants: 1 2 3
# disks: 200M:serial=main 64M:serial=spare
# timeout: 300

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh
. /project/tests/vm/stacks.sh

PATH=/usr/lib/postgresql/15/bin:$PATH
need initdb pgbench pg_amcheck pg_checksums
data=/tmp/mnt/data
transactions=0
export PGHOST=/tmp PGDATABASE=postgres

# It refuses to run as root.
as_postgres() {
	setpriv --reuid=postgres --regid=postgres --clear-groups "$@"
}

server() {
	as_postgres pg_ctl --pgdata=$data --silent --wait --timeout=36000 --log=/tmp/log/server "$@"
}

ask() {
	as_postgres psql --quiet --no-align --tuples-only --command="$1"
}

bench() {
	as_postgres pgbench --no-vacuum --client=4 --transactions=60 >/tmp/pgbench 2>&1 ||
		fail "pgbench: $(tail -n 5 /tmp/pgbench)"
	grep -q 'processed: 240/240$' /tmp/pgbench || fail "not all transactions succeeded: $(cat /tmp/pgbench)"
	((transactions += 240))
}

# Each transaction of pgbench adds one row to its history, and the same amount to an account, a teller and a branch.
rows_right() {
	ask CHECKPOINT
	empty_caches
	eq 'rows in the history' "$(ask 'SELECT count(*) FROM pgbench_history')" "$transactions"
	eq 'accounts' "$(ask 'SELECT count(*) FROM pgbench_accounts')" 100000
	is 'the sums' "$(ask 'SELECT (SELECT sum(delta) FROM pgbench_history) = ALL (ARRAY[
		(SELECT sum(abalance) FROM pgbench_accounts), (SELECT sum(tbalance) FROM pgbench_tellers),
		(SELECT sum(bbalance) FROM pgbench_branches)])')" t
}

load_remap
dying_disk lower /dev/main 64 "${1:-1}"
remap_create r /dev/mapper/lower /dev/spare format
mkfs.ext4 -q /dev/mapper/r
mkdir /tmp/mnt
mount /dev/mapper/r /tmp/mnt
install -d -o postgres -g postgres $data /tmp/log
as_postgres initdb --pgdata=$data --data-checksums --auth=trust --locale=C --wal-segsize=1 --no-instructions >/tmp/initdb
cat >>$data/postgresql.conf <<-CONF
	listen_addresses = ''
	unix_socket_directories = '/tmp'
	shared_buffers = 4MB
	min_wal_size = 8MB
	max_wal_size = 8MB
	authentication_timeout = 600
	autovacuum = off
	jit = off
CONF
at_exit '[[ ! -f $data/postmaster.pid ]] || server stop --mode=immediate'
server start
as_postgres pgbench --initialize --scale=1 --quiet >/tmp/pgbench 2>&1
ask 'CREATE EXTENSION amcheck'
tables=$(ask "SELECT '$data/' || pg_relation_filepath(oid) FROM pg_class WHERE relname LIKE 'pgbench%'")
mapfile -t tables <<<"$tables"
extents_of $data/pg_wal/0* "${tables[@]}" | regions_in lower 64 "${1:-1}"
log_mark

under_load lower r bench
rows_right
bench
all_saved r

# It ends without a word, the module too, and it recovers from what is on the disks.
server stop --mode=immediate
umount /tmp/mnt
again r /dev/mapper/lower /dev/spare
mount /dev/mapper/r /tmp/mnt
server start
rows_right
bench
rows_right
as_postgres pg_amcheck --heapallindexed --parent-check postgres
server stop --mode=fast
as_postgres pg_checksums --check --pgdata=$data
umount /tmp/mnt
e2fsck -fn /dev/mapper/r
expect_status r mode=rw unread_sectors=0 lost_sectors=0
! grep -E 'ERROR|PANIC|could not' /tmp/log/server || fail 'the server met errors'
nothing_reported
