// Package socketcan is a CAN bus of the Linux kernel: CAN_RAW sockets, without cgo.
//
// A bus is named by a URL (ParseURL), in short form by the interface alone:
//
//	can0
//	socketcan:can0?bitrate=500000&dbitrate=2000000&fd=on&listen-only=on&send=0x123
//
// Wakeups cost more than system calls. While frames come closely, Receive
// sleeps for a tick of 4 ms and then takes what has come, 64 frames a system
// call; while they are rare it blocks until the next one. The descriptor is
// not in Go's poller, which would be woken by each frame. Time stamps are the
// kernel's, taken when the frame came from the interface, so the tick does not show in
// them, and every reader of the interface sees the same. They may go back: when the
// clock is set, and by some milliseconds when frames that different processors took
// overtake one another. What is sent on a virtual interface does so, too, but for InOrder. (In the first milliseconds of the first such socket of a
// machine the kernel stamps frames when they are read.)
//
// Frames that find the socket's buffer full are lost; the kernel counts them
// (SO_RXQ_OVFL), and so does Stats, with the frame behind the gap. What the
// controller or the kernel loses before the socket is in Link.Lost only.
//
// Error frames are counted by class (Errors) and not handed out. When the
// interface goes down or away, Receive says so and the bus is to be opened
// again; Open fails until the interface is up.
//
// The package sets bit rate and mode of an interface when the URL asks for
// them, which needs CAP_NET_ADMIN; it speaks neither ISO-TP nor J1939.
package socketcan
