// Package update changes the device's firmware when the cloud asks for it, and
// tells the truth about it at every step.
//
//	document ─▶ DELIVERED ─▶ DOWNLOADING ─▶ VERIFIED ─▶ INSTALLING ─▶ REBOOTING ─▶ CONFIRMED
//	            slots? room?  Range, fsync   signature,   other slot    exit, boot    healthy and
//	                          resume         board,       read back     loader tries  connected,
//	                                         release,                                 else back
//	                                         SHA-256
//
// Each step is in a journal on disk before it is told, and what is told goes
// through the agent's buffer. After a start the slots say which firmware runs,
// and the journal says what was meant to happen; settle brings the two together,
// so that a cut at any moment ends in a state that is true. Nothing is
// written to a slot before the whole file is verified.
//
// A restart of the machine is asked for by ErrRestart, which Run returns: the
// program then ends in order and exits with slots.ExitRestart (77), by which who
// supervises it (the first process of the firmware images, or a systemd unit)
// restarts the machine.
//
// A slot on trial is confirmed when it is healthy and connected. A confirmed slot stays so, also
// when the boot loader had to start the other one at this start: the vehicle then says that the
// update was ROLLED_BACK with BOOT_FAILED, and which slot should run, and does not confirm what runs
// instead. Once the confirmed one runs again, it says CONFIRMED again.
//
// It is not the place that knows a boot loader (hal/slots does) or a file's format
// (protocol/firmware does).
package update
