# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=bash
#
# One disk, one day, twice: with remapd and without. "make demo" tells it to a person, the test ageing-disk asserts it.
# Sourced on the host after machine.sh, with errexit; where the story goes wrong it ends with "FAIL: ..." and status 1.
# What was found out is in with[NAME] and without[NAME]; times are Unix seconds of the guest.

ageing_extents=3	# how many of the disk's extents age
ageing_slow_s=45	# how long they are slow before they die
ageing_files=320
declare -A with=() without=()
DEMO_EXTENTS=

# ageing_part TITLE : before each part. A caller may have its own.
ageing_part() {
	printf '=== %s\n' "$1"
}

ageing_fail() {
	printf 'FAIL: %s\n' "$1"
	exit 1
}

# ageing_inside STEP [ARGUMENT...]
ageing_inside() {
	vm_exec -s "DEMO_COLOUR=${DEMO_COLOUR-} DEMO_LISTEN=${DEMO_LISTEN-127.0.0.1} DEMO_EXTENTS='$DEMO_EXTENTS' \
		exec bash /project/tests/demo/inside $* 2>&1"
}

# ageing_learn ARRAY : what the last step found out.
ageing_learn() {
	local -n learned=$1
	local name value

	while read -r name value; do
		learned["$name"]=$value
	done < <(vm_exec 'cat /tmp/demo/results')
}

# Files of 64 to 704 KiB that nobody can guess, their checksums, and a disk to bring them into the guest.
ageing_make_files() {
	local folder=$VM_DIR/files number name

	mkdir "$folder"
	for ((number = 1; number <= ageing_files; number++)); do
		printf -v name '%s/%03d' "$folder" $number
		head -c $((65536 + RANDOM * 20)) /dev/urandom >"$name"
	done
	(cd "$folder" && sha256sum -- *) >"$VM_DIR/manifest"
	tar -c -f "$VM_DIR/files.img" -C "$folder" .
	rm -r "$folder"
}

ageing_with_remapd() {
	local name letter=$RANDOM$RANDOM

	ageing_part 'A healthy disk'
	ageing_make_files
	vm_start 256M:serial=main 64M:serial=spare 1M:serial=files
	vm_exec 'mkdir /tmp/demo'
	vm_put "$VM_DIR/manifest" /tmp/demo/manifest
	ageing_inside create
	ageing_inside fill $ageing_extents
	ageing_learn with
	DEMO_EXTENTS=${with[extents]}
	# The filesystem is unmounted, and what a guest wrote is in the image at once.
	cp --sparse=always "$VM_DIR/main.img" "$VM_DIR/twin.img"
	ageing_inside watch

	ageing_part 'It ages, and dies'
	ageing_inside slow $ageing_slow_s
	ageing_learn with
	ageing_inside die
	ageing_learn with

	ageing_part 'The module is loaded anew, then the machine is reset'
	ageing_inside reload
	for name in map.before concerned; do
		vm_get /tmp/demo/$name "$VM_DIR/$name"
	done
	ageing_inside write "$letter"
	vm_kill
	# The second run's disk comes with this boot.
	vm_disk 256M:serial=twin 3
	vm_boot
	vm_exec 'mkdir /tmp/demo'
	for name in manifest map.before concerned; do
		vm_put "$VM_DIR/$name" /tmp/demo/$name
	done
	ageing_inside assemble "$letter"
}

ageing_without_remapd() {
	ageing_part 'The same disk, the same day, without remapd'
	ageing_inside twin
	ageing_inside twin_slow $ageing_slow_s
	ageing_learn without
	ageing_inside twin_die
	ageing_learn without
}

# ageing_warning WHAT : how long before its death each extent was suspected, or moved, at the least, in seconds.
ageing_warning() {
	local extent before least=

	for extent in $DEMO_EXTENTS; do
		before=$((${with[dead_at]%.*} - ${with[$1_at_$extent]%.*}))
		if [[ -z $least ]] || ((before < least)); then
			least=$before
		fi
	done
	echo "$least"
}

# What must have come of it.
ageing_judge() {
	with[suspect_s]=$(ageing_warning suspect)
	with[moved_s]=$(ageing_warning moved)
	with[errors]=$((with[slow_errors] + with[dead_errors]))
	without[errors]=$((without[slow_errors] + without[dead_errors]))
	((with[moved_s] > 0)) || ageing_fail 'an extent moved only when it was dead'
	((with[errors] == 0)) || ageing_fail "${with[errors]} reads of files failed with remapd"
	((with[lost] == 0)) || ageing_fail "${with[lost]} files were lost with remapd"
	((without[errors] > 0)) || ageing_fail 'no read of a file failed without remapd'
	((without[lost] > 0)) || ageing_fail 'no file was lost without remapd'
	((without[lost] == with[concerned])) || ageing_fail \
		"without remapd ${without[lost]} files were lost, and ${with[concerned]} had data in the dead extents"
}

ageing_table() {
	local row='%-36s %14s %14s\n'

	# shellcheck disable=SC2059 # the format is above
	{
		printf "$row" '' 'with remapd' 'without'
		printf "$row" 'files on the disk' "${with[files]}" "${with[files]}"
		printf "$row" 'extents that died' $ageing_extents $ageing_extents
		printf "$row" 'extents moved before' "${with[moved]}" -
		printf "$row" 'suspected before death, at least' "${with[suspect_s]} s" -
		printf "$row" 'moved before death, at least' "${with[moved_s]} s" -
		printf "$row" 'slowest read of a file before death' "${with[slow_worst_ms]} ms" "${without[slow_worst_ms]} ms"
		printf "$row" 'reads of files that failed (EIO)' "${with[errors]}" "${without[errors]}"
		printf "$row" 'files lost' "${with[lost]}" "${without[lost]}"
	}
}
