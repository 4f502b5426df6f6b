# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# shellcheck shell=bash
# title: a power cut at any moment of a recorded load leaves what was acknowledged, as user space and the kernel judge it
# invariants: 1 2 3 4 8
# timeout: 600

# tests/crash/README.md says what is judged. Arguments ask for more of it; the log of a run that failed stays in
# build/test-logs.
seed=${1:-301} rounds=${2:-20} operations=${3:-150} states=${4:-20000} kernel_states=${5:-104} kills=${6:-20}
image_mib=4
echo "seed $seed"

# Paths of sockets have to be short.
socket=$(mktemp -d)
vm_at_exit 'rm -rf "$socket"'
# The spare holds old data: no sector of it may ever be seen.
truncate -s ${image_mib}M "$VM_DIR/main"
perl -e 'srand(shift); print pack("L*", map { int(rand(2 ** 32)) } 1 .. 3670016 / 4)' "$seed" >"$VM_DIR/spare"
setpriv --pdeathsig TERM nbdkit --foreground --unix "$socket/nbd" build/tests/crash/recorder.so \
	log="$VM_DIR/log" main="$VM_DIR/main" spare="$VM_DIR/spare" &
recorder=$!
until [[ -S $socket/nbd ]]; do
	kill -0 "$recorder"
	vm_pause 0.05
done

url=nbd:unix:$socket/nbd:exportname
images=$((kernel_states * image_mib))M
vm_start "0:serial=main:url=$url=main" "0:serial=spare:url=$url=spare" "0:serial=marks:url=$url=marks" \
	"$images:serial=mains" "$images:serial=spares"
workload="exec bash /project/tests/crash/workload.sh $seed"

# load_got_to COMMAND... : waits until it succeeds, while the load runs. False: the load has ended.
load_got_to() {
	until "$@"; do
		if [[ -e $VM_DIR/job.$VM_JOB.status ]]; then
			vm_wait -s "$VM_JOB" || exit 1
			return 1
		fi
		vm_pause 0.05
	done
}

log_bytes() {
	stat -c %s "$VM_DIR/log"
}

is_longer() {
	(($(log_bytes) > $1))
}

# The machine itself is killed, after so much of the load as the dice say.
RANDOM=$seed
then=on
for ((boot = 0; boot <= kills; boot++)); do
	((boot < kills)) || then=end
	vm_exec_bg "$workload $boot $rounds $operations $then 2>&1"
	rounds=0
	load_got_to grep -q 'ready to be killed' "$VM_DIR/job.$VM_JOB.out" || break
	load_got_to is_longer $(($(log_bytes) + 16 * RANDOM)) || break
	vm_reset
done
build/tests/crash/judge -s "$seed" -n "$states" -k "$kernel_states" -o "$VM_DIR" "$VM_DIR/log" | tee "$VM_DIR/judged" || {
	cp "$VM_DIR/log" build/test-logs/crash-points.recorded
	echo "FAIL: the recorded log is build/test-logs/crash-points.recorded"
	exit 1
}
# Did it meet what it is for?
for word in mapped pairs differing fenced retired unread lost groups unformatted; do
	grep -qE "^met:.* [1-9][0-9]* $word" "$VM_DIR/judged" || { echo "FAIL: no state with '$word'" && exit 1; }
done
vm_exec -s -t 1200 "exec bash /project/tests/crash/kernel.sh $seed /project/${VM_DIR#"$VM_TOP"/} 2>&1"
