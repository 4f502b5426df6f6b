#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
# title: a main under LVM, LUKS, md, swap or with partitions is not activated, opened or read by itself, and comes back whole
# disks: 32M:serial=main 32M:serial=spare 32M:serial=original 32M:serial=stale
# timeout: 200
# invariants: 1
# expect-log: SGI XFS with

. /project/tests/vm/lib.sh
. /project/tests/vm/stale.sh
load_remap
need cryptsetup mdadm dm_crypt raid1 sgdisk

disk=/dev/main
kernel_disk=$(readlink -f $disk)
# The copies are no second disk.
printf 'devices { global_filter = [ "r|^/dev/(original|stale|%s|%s)$|" ] }\n' \
	"$(readlink /dev/original)" "$(readlink /dev/stale)" >/etc/lvm/lvmlocal.conf
pass=(--batch-mode --key-file /tmp/key)
echo 'a passphrase' >/tmp/key

# under_remap: the disk gets its target and loses it; assembled: after what was tried on it; back: it is released.
under_remap() {
	kept $disk /dev/original
	remapctl create r $disk /dev/spare --force --yes >/tmp/out
	remapctl remove r 2>/dev/null
	shows_stamp $disk
	not_mounted $disk
	kept $disk /dev/stale
}

assembled() {
	same $disk /dev/stale
	remapctl assemble r $disk /dev/spare >/tmp/out
	same /dev/mapper/r /dev/original
}

back() {
	kept /dev/mapper/r /dev/original
	remapctl remove r --release
	same $disk /dev/original
	has_no_stamp $disk
}

note 'LVM'
pvcreate -q --metadatacopies 2 $disk >/dev/null
vgcreate -q vg $disk >/dev/null
lvcreate -q --yes --size 20M --name lv vg >/dev/null
mkfs.ext4 -q /dev/vg/lv
filled /dev/vg/lv
vgchange -q -an vg >/dev/null
under_remap
is 'what pvs finds' "$(pvs --noheadings $disk 2>/dev/null || :)" ''
is 'what pvscan finds' "$(pvscan --cache $disk 2>&1 | grep -c 'PV .* online' || :)" 0
fails_on vgs vg
fails_on vgchange -ay vg
fails_on pvck $disk
fails_on pvcreate $disk
assembled
vgchange -q -ay vg >/dev/null
files_are_good /dev/vg/lv
vgchange -q -an vg >/dev/null
back
vgchange -q -ay vg >/dev/null
files_are_good /dev/vg/lv
vgchange -q -an vg >/dev/null
wipefs -q -a $disk

# cryptsetup mends a bad first header from the second by itself.
note 'LUKS'
cryptsetup luksFormat "${pass[@]}" --type luks2 --pbkdf pbkdf2 --pbkdf-force-iterations 1000 $disk
cryptsetup open "${pass[@]}" $disk crypt
mkfs.ext4 -q /dev/mapper/crypt
filled /dev/mapper/crypt
cryptsetup close crypt
under_remap
fails_on cryptsetup isLuks $disk
fails_on cryptsetup luksDump $disk
fails_on cryptsetup repair "${pass[@]}" $disk
fails_on cryptsetup open "${pass[@]}" $disk crypt
assembled
cryptsetup open "${pass[@]}" /dev/mapper/r crypt
files_are_good /dev/mapper/crypt
cryptsetup close crypt
back
cryptsetup open "${pass[@]}" $disk crypt
files_are_good /dev/mapper/crypt
cryptsetup close crypt
wipefs -q -a $disk

for metadata in 0.90 1.0 1.2; do
	note "md $metadata"
	mdadm --quiet --create /dev/md0 --run --force --metadata=$metadata --level=1 --raid-devices=1 $disk
	dd if=/dev/urandom of=/dev/md0 bs=1M count=2 oflag=direct status=none
	data=$(head -c 2M /dev/md0 | sha256sum)
	mdadm --quiet --stop /dev/md0
	under_remap
	fails_on mdadm --examine $disk
	fails_on mdadm --assemble --run --force --update=resync /dev/md0 $disk
	assembled
	mdadm --quiet --assemble --run /dev/md0 /dev/mapper/r
	is 'data on md' "$(head -c 2M /dev/md0 | sha256sum)" "$data"
	mdadm --quiet --stop /dev/md0
	back
	mdadm --quiet --zero-superblock $disk
done

note 'swap'
mkswap -L swapped $disk >/dev/null
under_remap
fails_on swapon $disk
assembled
swapon /dev/mapper/r
swapoff /dev/mapper/r
back
wipefs -q -a $disk

note 'partitions'
sgdisk --new=1:2048:+16M --new=2:0:0 $disk >/dev/null
blockdev --rereadpt $disk
wait_until 10 test -b "${kernel_disk}1"
mkfs.ext4 -q "${kernel_disk}1"
filled "${kernel_disk}1"
under_remap
[[ ! -e ${kernel_disk}1 && ! -e ${kernel_disk}2 ]] || fail 'the kernel still knows partitions'
blockdev --rereadpt $disk
[[ ! -e ${kernel_disk}1 ]] || fail 'the kernel finds partitions again'
sgdisk --verify $disk >/tmp/said 2>&1 || :
grep -qi 'main.*GPT\|backup.*GPT' /tmp/said && fail "sgdisk finds a table: $(cat /tmp/said)"
assembled
[[ ! -e ${kernel_disk}1 ]] || fail 'main shows partitions'
files_are_good /dev/mapper/r -o "loop,offset=$((2048 * 512))"
back
wait_until 10 test -b "${kernel_disk}1"
files_are_good "${kernel_disk}1"
