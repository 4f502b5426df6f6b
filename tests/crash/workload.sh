#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
#
# tests/crash/workload.sh SEED BOOT ROUNDS OPERATIONS end|on
#
# Inside the guest: a target on the recorded disks main and spare. In boot 0 it is formatted, and scenes follow in which
# each thing that can move, free or heal a block happens by itself; another BOOT came after the machine was killed. Then
# ROUNDS times so many random operations, each ended by a power cut; then the end, or more of them until the machine is
# killed. SEED is that of the data and of the random operations.

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh

seed=$1 boot=$2 rounds=$3 operations=$4 then=$5
# In sectors. The last block is short, and the spare has three groups of which only the first is formatted.
length=8187
header=2048
group_sectors=(2432 816 816)

# load : the commands on standard input.
load() {
	crash-load -s "$seed" /tmp/counter /dev/marks
}

remap_on() {
	dmsetup create r --table "0 $length remap /dev/main 0 $1 0 ${*:2}"
}

# activate : as after a boot. With too much of the spare failing it can't be; then nothing fails any more. One copy of a
# metadata block that could not be written and the other one torn by the power cut are two faults, and no map is left:
# whether it was so, the judge sees.
activate() {
	if ! remap_on /dev/spare 2 retry_ms 0 || status_is r mode failed; then
		dmsetup remove --retry r || true
		load <<<'good all'
		remap_on /dev/spare 2 retry_ms 0
		if status_is r mode failed; then
			note 'the map is gone, and with it the load'
			load <<<complete
			exit 0
		fi
	fi
	load <<<active
}

# slot_of SECTOR : where on the spare the block is.
slot_of() {
	dmsetup message r 0 list "$1" 1 | awk '{ print $3 }'
}

# meta_of INDEX COPY
meta_of() {
	spare-edit /dev/spare where | awk -v index_="$1" -v copy="$2" '$1 == "meta" && $2 == index_ && $3 == copy { print $4 }'
}

# --- scenes -------------------------------------------------------------------------------------------------------

scenes() {
	load <<-END
		target $length
		scene formatting
	END
	dmsetup create small --table "0 $((header + group_sectors[0])) linear /dev/spare 0"
	remap_on /dev/mapper/small 3 format retry_ms 0
	load <<<active
	dmsetup remove r small
	spare-edit /dev/spare super 'segment[1].start_sector' $((header + group_sectors[0]))
	spare-edit /dev/spare super 'segment[1].nr_sectors' "${group_sectors[1]}"
	spare-edit /dev/spare super 'segment[2].start_sector' $((header + group_sectors[0] + group_sectors[1]))
	spare-edit /dev/spare super 'segment[2].nr_sectors' "${group_sectors[2]}"
	spare-edit /dev/spare super nr_segments 3
	activate

	load <<-END
		scene filling
		write 0 2048
		write 2048 2048
		write 4096 2048
		write 6144 2043
		flush
		scene rescue of two blocks, parts of which are not read
		bad 0 main 100 6 rw
		write 98 4
		write 102 12
		scene salvage and healing
		bad 1 main 203 2 r
		try read 200 8
		write 203 1
		flush
		fua 204 1
		scene moved, written, released, and the slots used again
		remap 400 64
		write 400 30
		flush
		write 420 10
		release 400 64
		fua 404 2
		remap 800 64
		write 800 64
		write 400 10
		flush
		scene a slot fails: one sector of it is lost and written again
		remap 1000 8
		write 1000 8
		flush
	END
	load <<-END
		bad 2 spare $(($(slot_of 1000) + 2)) 2 rw
		write 1002 1
		flush
		write 1003 1
		flush
	END

	a=$(meta_of 0 0) b=$(meta_of 0 1)
	load <<-END
		scene a copy of a metadata block can't be written
		bad 3 spare $b 8 w
		remap 1200 8
		write 1200 8
		flush
		remap 1208 8
		good 3
		scene the metadata that frees a slot can't be written
		remap 2048 2040
		write 2048 8
		flush
	END
	# The block lives in a slot of the first metadata block; the next free slot is of the second.
	load <<-END
		bad 4 spare $(slot_of 2048) 8 rw
		bad 5 spare $a 8 w
		bad 6 spare $b 8 w
		write 2050 2
		try flush
		try write 2051 3
		try flush
		good all
		write 2052 3
		flush
		scene a rescue that can't be committed
		bad 4 main 3500 2 rw
	END
	m=$(meta_of 1 0) n=$(meta_of 1 1)
	load <<-END
		release 3400 200
		bad 5 spare $a 8 w
		bad 6 spare $b 8 w
		bad 7 spare $m 8 w
		bad 8 spare $n 8 w
		try write 3499 4
		try write 3499 4
		try flush
		try write 3496 8
		good 5
		good 6
		good 7
		good 8
		write 3499 4
		flush
		good all
		scene the first use of further groups
		remap 4096 1500
		write 4096 256
		flush
		scene a full spare: slots are used again as soon as they are free
		try remap 0 $length
		release 0 128
		remap 6400 128
		write 6400 128
		flush
		scene everything goes back
		release 0 $length
		flush
	END
}

# --- random operations --------------------------------------------------------------------------------------------

# random_places : where the spare may fail: superblocks, metadata blocks, slots.
random_places() {
	local at=$header group

	echo 'spot 0 8'
	echo 'spot 2040 8'
	for ((group = 0; group < ${#group_sectors[@]}; group++)); do
		echo "spot $at 8"
		echo "spot $((at + group_sectors[group] - 8)) 8"
		echo "spot $((at + 16)) $((group_sectors[group] - 32))"
		echo "spot $((at + 16)) $((group_sectors[group] - 32))"
		at=$((at + group_sectors[group]))
	done
}

# operate WHEN COMMAND : random operations.
operate() {
	{
		echo "scene random operations, $1"
		random_places
		echo "$2"
	} | load
}

# again NUMBER : the target after a power cut. Sometimes it begins with what failed still failing.
again() {
	load <<<on
	(($1 % 2)) || load <<<'good all'
	activate
	load <<-END
		scene what is read after a power cut
		see
	END
}

load_remap
# In each boot generations have numbers of their own.
perl -e 'print pack("Q", shift() << 20)' "$boot" >/tmp/counter
if ((boot)); then
	load <<<"cut $((seed + boot))"
	again "$boot"
else
	scenes
fi
for ((round = 0; round < rounds; round++)); do
	operate "round $round" "run $operations 3 $((seed + round))"
	dmsetup remove r
	again "$round"
done
if [[ $then == on ]]; then
	echo 'ready to be killed'
	operate "until the machine is killed, boot $boot" 'run 1000000 3'
	fail 'nobody killed it'
fi
load <<-END
	scene the end
	good all
	flush
	see
	complete
END
dmsetup status r
