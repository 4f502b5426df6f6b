# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=bash
#
# One virtual machine, driven from the host. tests/vm/run sources this before a test (*.host.sh); so may a person:
#
#	VM_DIR=$(mktemp -d) . tests/vm/machine.sh
#	vm_start 256M 64M:serial=spare
#	vm_exec 'dmsetup targets'
#
# A disk is SIZE[:option...]; the options:
#	serial=NAME	its name: /dev/NAME in the guest (disk0, disk1, ... unless told)
#	lbs=BYTES	logical block size; the physical one follows unless pbs= is given
#	pbs=BYTES	physical block size
#	bus=scsi	a SCSI disk (/dev/sdX, in the guest still /dev/NAME) where virtio-blk is the default
#	discard=off	takes no discards
#	url=SPEC	what QEMU opens in place of a file of ours ("nbd:unix:/path", "blkdebug:...")
#
# Images are files of the host with cache=writeback: a write that the guest saw completed is in the host's page
# cache, so it survives vm_kill and vm_reset whether or not it was flushed. Those are a machine's reset, then, not
# a disk's loss of power: order and flushes are judged with a recording disk (url=), never by resetting.

: "${VM_DIR:?a directory for the machine must be named}"
VM_TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
VM_CACHE=${XDG_CACHE_HOME:-$HOME/.cache}/dm-remap
VM_KERNEL=${VM_KERNEL:-6.1}
VM_MEM=${VM_MEM:-1024}			# MiB
VM_CPUS=${VM_CPUS:-2}
VM_FORWARD=${VM_FORWARD-}		# host ports of the loopback, HOST:GUEST; set, even to "none", gives a network
VM_APPEND=${VM_APPEND-}			# further words for the kernel's command line
VM_BOOT_TIMEOUT=${VM_BOOT_TIMEOUT:-$((40 * ${VM_PATIENCE:-3}))}	# seconds
VM_EXEC_TIMEOUT=${VM_EXEC_TIMEOUT:-300}	# seconds, for one vm_exec without -t
VM_CONSOLE=$VM_DIR/console
VM_PID=
VM_DISKS=()				# QEMU arguments of the disks, kept for vm_boot
VM_JOBS=0
VM_STATUS_NO_BOOT=123			# the machine did not come up in time
VM_STATUS_LOST=125			# the machine went away under a command
exec {VM_TICK}<> <(:)			# never readable: "read -t" on it is a pause without a process

vm_say() {
	printf '%s\n' "vm: $*" >&2
}

# vm_pause SECONDS: only ever used between two looks at a condition.
vm_pause() {
	read -r -t "$1" -u "$VM_TICK" _ || :
}

vm_running() {
	[[ -n $VM_PID ]] && kill -0 "$VM_PID" 2>/dev/null
}

# vm_accel : prints the accelerator.
# KVM is used where a guest really boots under it; /dev/kvm alone says nothing. The answer is kept until the
# next boot of the host. VM_ACCEL overrides it.
vm_accel() {
	local key file answer=tcg,thread=multi

	if [[ -n ${VM_ACCEL-} ]]; then
		printf '%s\n' "$VM_ACCEL"
		return
	fi
	key=$(cat /proc/sys/kernel/random/boot_id)-$(qemu-system-x86_64 --version | sha256sum | cut -c 1-8)
	file=$VM_CACHE/accel
	if [[ -f $file && $(<"$file") == "$key "* ]]; then
		sed 's/^[^ ]* //' "$file"
		return
	fi
	if [[ -r /dev/kvm && -w /dev/kvm ]]; then
		local parts said
		parts=$("$VM_TOP/tests/vm/kernel" "$VM_KERNEL")
		said=$(
			eval "$parts"
			timeout -k 1 20 qemu-system-x86_64 -accel kvm -cpu host -smp 2 -m 512 -nodefaults -display none \
				-serial stdio -no-reboot -kernel "$KERNEL_IMAGE" \
				-initrd "$("$VM_TOP/tests/vm/initramfs" "$VM_KERNEL")" \
				-append 'console=ttyS0 quiet panic=-1 guest.probe' </dev/null 2>/dev/null
		) || :
		[[ $said == *'guest probe passed'* ]] && answer=kvm
	fi
	printf '%s %s\n' "$key" "$answer" >"$file.$$" && mv "$file.$$" "$file"
	printf '%s\n' "$answer"
}

# vm_disk SPEC INDEX : makes the image if there is none yet, appends to VM_DISKS.
vm_disk() {
	local spec=$1 index=$2 size option serial=disk$2 lbs=512 pbs= bus=virtio discard=unmap url=
	local -a options

	IFS=: read -r -a options <<<"${spec%%:url=*}"
	[[ $spec == *:url=* ]] && url=${spec#*:url=}
	size=${options[0]}
	for option in "${options[@]:1}"; do
		case $option in
		serial=*) serial=${option#*=} ;;
		lbs=*) lbs=${option#*=} ;;
		pbs=*) pbs=${option#*=} ;;
		bus=virtio | bus=scsi) bus=${option#*=} ;;
		discard=off) discard=ignore ;;
		*) vm_say "unknown option '$option' of disk '$spec'"; return 64 ;;
		esac
	done
	local drive=if=none,id=drive$index,format=raw,cache=writeback,discard=$discard,detect-zeroes=off
	if [[ -n $url ]]; then
		drive+=,file=$url
	else
		local file=$VM_DIR/$serial.img
		[[ -f $file ]] || truncate -s "$size" "$file"
		drive+=,file=$file,aio=threads
	fi
	VM_DISKS+=(-drive "$drive")
	local shape=serial=$serial,drive=drive$index,logical_block_size=$lbs,physical_block_size=${pbs:-$lbs}
	if [[ $bus == scsi ]]; then
		[[ " ${VM_DISKS[*]} " == *' virtio-scsi-pci,id=scsi '* ]] || VM_DISKS+=(-device virtio-scsi-pci,id=scsi)
		VM_DISKS+=(-device "scsi-hd,bus=scsi.0,$shape")
	else
		VM_DISKS+=(-device "virtio-blk-pci,$shape")
	fi
}

# vm_start [DISK...] : a new machine with these disks, ready for vm_exec.
vm_start() {
	local disk index=0

	VM_DISKS=()
	for disk in "$@"; do
		vm_disk "$disk" "$index"
		index=$((index + 1))
	done
	vm_boot
}

# vm_command CONSOLE-ARGUMENTS... : fills the array QEMU. The words after guest.kernel= come from VM_APPEND.
vm_command() {
	local parts accel root initramfs forward khz
	# "Enhanced" string instructions move byte by byte here, so a kernel that trusts in them copies many times slower.
	local cpu=max,-erms,-fsrm

	parts=$("$VM_TOP/tests/vm/kernel" "$VM_KERNEL") || return
	root=$("$VM_TOP/tests/vm/root") || return
	initramfs=$("$VM_TOP/tests/vm/initramfs" "$VM_KERNEL") || return
	accel=$(vm_accel) || return
	[[ $accel == kvm* ]] && cpu=host
	eval "$parts"
	local append="console=ttyS0 quiet panic=-1 oops=panic mitigations=off rcupdate.rcu_cpu_stall_timeout=120"
	append+=" no_timer_check tsc=reliable guest.kernel=$VM_KERNEL"
	[[ " ${VM_DISKS[*]} " == *' virtio-scsi-pci,id=scsi '* ]] && append+=" guest.scsi"
	QEMU=("$KERNEL_QEMU" -name remap-guest -accel "$accel" -cpu "$cpu" -smp "$VM_CPUS" -m "$VM_MEM"
		-nodefaults -no-user-config -display none -no-reboot
		-kernel "$KERNEL_IMAGE" -initrd "$initramfs"
		-drive "if=none,id=root,format=raw,readonly=on,file=$root"
		-device virtio-blk-pci,drive=root,serial=guest-root
		-drive "if=none,id=modules,format=raw,readonly=on,file=$KERNEL_MODULES"
		-device virtio-blk-pci,drive=modules,serial=guest-modules
		-virtfs "local,path=$VM_TOP,mount_tag=project,security_model=none,readonly=on,multidevs=remap"
		"${VM_DISKS[@]}")
	if [[ -n $VM_FORWARD ]]; then
		local net=user,id=net
		for forward in $VM_FORWARD; do
			[[ $forward == none ]] || net+=,hostfwd=tcp:127.0.0.1:${forward%:*}-:${forward#*:}
		done
		QEMU+=(-netdev "$net" -device virtio-net-pci,netdev=net,romfile=)
		append+=" guest.net"
	fi
	if [[ -n ${VM_ICOUNT-} ]]; then
		# The guest's clock counts instructions: bench/target.
		QEMU+=(-icount "$VM_ICOUNT")
	elif [[ $accel == tcg* && -x $VM_TOP/build/tests/vm/tsc-khz ]]; then
		# Its counter is the host's; a kernel that has to gauge it on a busy host may have a wrong clock all its life.
		khz=$("$VM_TOP/build/tests/vm/tsc-khz") && [[ -n $khz ]] && append+=" tsc_early_khz=$khz"
	fi
	QEMU+=(-append "$append $VM_APPEND" "$@")
}

# vm_where : what the emulator says of its processors, twice, so that one can see which of them run.
vm_where() {
	local i

	for i in 1 2; do
		# Opened both ways, or it would wait for an emulator that never opened its end.
		printf 'info registers -a\n' 1<>"$VM_DIR/monitor.in"
		vm_pause 1
	done
	timeout 2 cat "$VM_DIR/monitor.out" | tr -d '\r' | grep -aE '^CPU#|RIP=|EIP=' >&2 || :
}

# vm_boot : boots the machine (again) on the disks that it has.
vm_boot() {
	local status=0 before

	before=$(stat -c %s "$VM_CONSOLE" 2>/dev/null) || before=0
	vm_boot_once || status=$?
	# Seen once in some hundreds of boots. Where no program of this project has run yet, none can be the reason.
	if ((status == VM_STATUS_NO_BOOT)) && ! tail -c +$((before + 1)) "$VM_CONSOLE" | grep -q '^boot: the kernel is up'; then
		vm_say 'its kernel never came up; once more'
		vm_boot_once
		return
	fi
	return "$status"
}

vm_boot_once() {
	local -a QEMU
	local port=$VM_DIR/agent end

	if vm_running; then
		vm_say 'the machine runs already'
		return 64
	fi
	vm_command -chardev "file,id=serial,path=$VM_CONSOLE,append=on" -serial chardev:serial \
		-device virtio-serial-pci -chardev "pipe,id=agent,path=$port" \
		-device virtserialport,chardev=agent,name=agent \
		-chardev "pipe,id=monitor,path=$VM_DIR/monitor" -mon chardev=monitor,mode=readline || return
	rm -f "$port".in "$port".out "$VM_DIR"/monitor.{in,out} "$VM_DIR"/job.*
	mkfifo "$port.in" "$port.out" "$VM_DIR"/monitor.{in,out}
	printf '=== boot %s ===\n' "$(date -u +%FT%TZ)" >>"$VM_CONSOLE"
	# It dies with this shell, however that ends.
	setpriv --pdeathsig KILL "${QEMU[@]}" </dev/null >>"$VM_DIR/qemu.log" 2>&1 &
	VM_PID=$!
	perl "$VM_TOP/tests/vm/receive" "$VM_DIR" <"$port.out" >>"$VM_DIR/qemu.log" 2>&1 &
	exec {VM_PORT}<>"$port.in"

	end=$((SECONDS + VM_BOOT_TIMEOUT))
	until [[ -e $VM_DIR/job.ready.status ]]; do
		if ! vm_running; then
			vm_say "the machine ended while booting: $(tail -n 3 "$VM_DIR/qemu.log" "$VM_CONSOLE" 2>&1 | tr '\n' ' ')"
			return $VM_STATUS_LOST
		fi
		if ((SECONDS >= end)); then
			vm_say "the machine did not boot within $VM_BOOT_TIMEOUT s; its console ends with:"
			tail -n 5 "$VM_CONSOLE" >&2
			vm_where
			vm_kill
			return $VM_STATUS_NO_BOOT
		fi
		vm_pause 0.05
	done
}

# vm_exec_bg COMMAND : starts it in the guest; its number for vm_wait is left in VM_JOB.
vm_exec_bg() {
	if ! vm_running; then
		vm_say "no machine to run: $1"
		return $VM_STATUS_LOST
	fi
	VM_JOBS=$((VM_JOBS + 1))
	VM_JOB=$BASHPID.$VM_JOBS
	local LC_ALL=C
	: >"$VM_DIR/job.$VM_JOB.out"
	: >"$VM_DIR/job.$VM_JOB.err"
	printf 'run %s %d\n%s' "$VM_JOB" "${#1}" "$1" >&"$VM_PORT"
}

# vm_wait [-s] [-t SECONDS] JOB : waits for its end, prints what it printed (with -s as it comes), returns its
# status; 124 after the time limit, 125 when the machine ended under it.
vm_wait() {
	local limit=$VM_EXEC_TIMEOUT job end status stream= out ticks=0

	while [[ $1 == -* ]]; do
		case $1 in
		-s) stream=yes ;;
		-t) limit=$2 && shift ;;
		esac
		shift
	done
	job=$VM_DIR/job.$1
	exec {out}<"$job.out"
	end=$((SECONDS + limit))
	status=
	until [[ -e $job.status ]]; do
		if ! vm_running; then
			# It may have ended just before the machine.
			vm_pause 0.2
			[[ -e $job.status ]] && break
			status=$VM_STATUS_LOST
			break
		fi
		if ((SECONDS >= end)); then
			status=124
			break
		fi
		vm_pause 0.03
		ticks=$((ticks + 1))
		if [[ -n $stream ]] && ((ticks % 10 == 0)); then
			cat <&"$out"
		fi
	done
	cat <&"$out"
	cat "$job.err" >&2
	exec {out}<&-
	case $status in
	'')
		status=$(<"$job.status")
		rm -f "$job".*
		;;
	124) vm_say "a command did not end within $limit s" ;;
	*) vm_say 'the machine ended while a command ran' ;;
	esac
	return "$status"
}

# vm_exec [-s] [-t SECONDS] COMMAND : runs it in the guest (bash -c, as root, no input); its output and its status.
vm_exec() {
	vm_exec_bg "${@: -1}" || return
	vm_wait "${@:1:$#-1}" "$VM_JOB"
}

# vm_put FILE GUEST-PATH, vm_get GUEST-PATH FILE : for files of up to a few MiB.
vm_put() {
	local piece

	vm_exec ": >'$2'" || return
	# A command is one argument of bash in the guest, and those have a limit of 128 KiB.
	while read -r piece; do
		vm_exec "base64 -d >>'$2' <<<$piece" || return
	done < <(base64 -w 90000 "$1")
}

vm_get() {
	vm_exec "cat '$1'" >"$2"
}

# vm_kill : as if the plug had been pulled.
vm_kill() {
	if vm_running; then
		kill -KILL "$VM_PID"
	fi
	if [[ -n $VM_PID ]]; then
		wait "$VM_PID" 2>/dev/null || :
	fi
	VM_PID=
	if [[ -n ${VM_PORT-} ]]; then
		exec {VM_PORT}>&-
		VM_PORT=
	fi
}

# vm_reset : pulls the plug and boots again on the same disks.
vm_reset() {
	vm_kill
	vm_boot
}

# vm_stop : ends the machine in good order.
vm_stop() {
	local end

	if vm_running; then
		vm_exec 'sync; (echo o >/proc/sysrq-trigger) &' || :
		end=$((SECONDS + 20))
		while vm_running && ((SECONDS < end)); do
			vm_pause 0.05
		done
	fi
	vm_kill
}

# vm_console : prints what the kernel said so far, over all boots of this machine.
vm_console() {
	cat "$VM_CONSOLE"
}

# vm_check_log [EXPECTED-REGEX] : prints the lines of the kernel's log that no test may cause; returns 1 if any.
vm_check_log() {
	local bad='\<BUG|WARNING|Oops|KASAN|KFENCE|UBSAN|KCSAN|kernel panic|general protection|soft lockup|hard LOCKUP'
	bad+='|blocked for more than|possible circular locking|possible recursive|possible irq lock inversion'
	bad+='|suspicious RCU usage|detected stalls?|self-detected stall|bad page state|list_(add|del) corruption'
	bad+='|unable to handle|kmemleak|refcount_t:|held lock freed|inconsistent lock state|scheduling while atomic'
	local found

	[[ -f $VM_CONSOLE ]] || return 0
	found=$(tr -d '\r' <"$VM_CONSOLE" | grep -aiE "$bad" | grep -avE "${1:-^ *$}" | head -n 20) || :
	if [[ -n $found ]]; then
		printf '%s\n' "$found"
		return 1
	fi
}

# vm_check_leaks : asks the guest what was left behind and prints it; returns 1 if anything was.
vm_check_leaks() {
	vm_running || return 0
	vm_exec -t 60 "VM_EXPECT_LOG=${1:+yes} bash /project/tests/vm/inside/leaks" 2>&1
}
