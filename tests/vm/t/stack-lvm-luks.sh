#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: ext4 on LUKS on LVM: no error while the disk dies in a hundred places; fstrim spares what is mapped
# invariants: 1 2 3 6 9
# disks: 160M:serial=main 64M:serial=spare
# timeout: 240

. /project/tests/vm/lib.sh
. /project/tests/vm/target.sh
. /project/tests/vm/stacks.sh

need dm-crypt cryptsetup lvm
# The kernel's self-tests of its ciphers take longer in emulation than dm-crypt waits for them.
modprobe cryptomgr
echo Y >/sys/module/cryptomgr/parameters/notests
# The disk below has the same signature as the remap device: LVM must look at that alone.
export LVM_SYSTEM_DIR=/tmp/lvm
mkdir /tmp/lvm /tmp/mnt
cat >/tmp/lvm/lvm.conf <<'CONF'
devices {
	filter = [ "a|^/dev/mapper/r$|", "r|.*|" ]
	obtain_device_list_from_udev = 0
	use_devicesfile = 0
}
activation {
	udev_sync = 0
	udev_rules = 0
	monitoring = 0
}
CONF
head -c 32 /dev/urandom >/tmp/key

open_stack() {
	lvm vgchange --quiet --activate y vault
	cryptsetup open --allow-discards --key-file /tmp/key /dev/vault/data secret
	mount /dev/mapper/secret /tmp/mnt
}

close_stack() {
	umount /tmp/mnt
	e2fsck -fn /dev/mapper/secret
	cryptsetup close secret
	lvm vgchange --quiet --activate n vault
}

load_remap
dying_disk lower /dev/main 128 "${1:-1}"
remap_create r /dev/mapper/lower /dev/spare format
lvm pvcreate --quiet /dev/mapper/r
lvm vgcreate --quiet vault /dev/mapper/r
lvm lvcreate --quiet --name data --extents 90%FREE vault
cryptsetup luksFormat --batch-mode --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 --key-file /tmp/key \
	/dev/vault/data
cryptsetup open --key-file /tmp/key /dev/vault/data secret
mkfs.ext4 -q /dev/mapper/secret
cryptsetup close secret
open_stack
log_mark

under_load lower r files_load /tmp/mnt
files_right /tmp/mnt
all_saved r
close_stack
again r /dev/mapper/lower /dev/spare
open_stack
files_right /tmp/mnt

# A disk that takes no writes takes no discards, and whoever trims is told. Here it takes them again; what moved stays
# where it is.
dying_table lower 0 | swap_table lower
listed=$(runs_of r)
rm /tmp/mnt/direct* /tmp/mnt/buffered*
kernel_name=$(realpath /dev/main)
discards() { awk '{ print $12 }' "/sys/class/block/${kernel_name##*/}/stat"; }
before=$(discards)
fstrim -v /tmp/mnt
(($(discards) > before)) || fail 'no discard reached the disk'
is 'the list' "$(runs_of r)" "$listed"
files_right /tmp/mnt
files_load /tmp/mnt 1000
files_right /tmp/mnt
close_stack
again r /dev/mapper/lower /dev/spare
open_stack
files_right /tmp/mnt
close_stack
expect_status r mode=rw unread_sectors=0 lost_sectors=0
nothing_reported
