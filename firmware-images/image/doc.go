// Package image builds the firmware images of boards: a disk image with two
// slots, the update file for one slot, and a bill of materials.
//
//	disk.img     GPT: [firmware] boot-state slot-a slot-b identity data
//	slot.itb     what a slot holds: a signed FIT with kernel and initramfs
//	update.ttup  the same for the vehicle, signed once more (protocol/firmware)
//	u-boot.bin   Debian's U-Boot, unchanged
//	control.dtb  its device tree, with the public key and the boot script in it
//	sbom.json    what all this is made of (SPDX 2.3)
//	THIRD-PARTY  the licences of what a slot is made of; it is in the slot, too
//
// The chain of trust: U-Boot and its device tree, which a board keeps where only
// its maker can write, start nothing but a FIT whose configuration the key in
// that tree has signed. The initramfs in it holds the agent and the public keys
// of update files. Of what can be written later, only the boot state is read before that check,
// and it can only choose between the slots. The data partition is never executed from.
//
// An ordinary user builds it: no root, no loop mounts, no containers. Same
// sources, keys and packages, same bytes: everything is dated Config.Epoch. It needs
// Go, mkimage, dtc, mke2fs and (for the virtual board's device tree) QEMU.
package image
