// Package virtual is a CAN bus between processes of one machine. It needs no
// root and no kernel module, and works on Linux and macOS.
//
// One process owns a Hub with one or more buses (Wire) and listens on a unix
// socket or on loopback TCP. Others attach by URL with Dial:
//
//	virtual:///tmp/tt/hub.sock?bus=can0
//	virtual://127.0.0.1:4711/can0
//
// Any attached process may send; all others receive its frames in the order
// of the bus. Like a real one, the bus never waits for a reader: a reader that
// lags more than Config.RingFrames loses the oldest frames. The hub knows
// which ones (Attachment.Dropped), and the reader is told how many together
// with the next frame, so that Received+Dropped of its Stats is the number of
// frames that others have put on the bus between its attach and the frame it
// received last.
//
// It is a tool for simulation and tests: there is no arbitration, no bit rate
// and no authentication. Hence it stays on this machine, where every user
// reaches a TCP port, but only its owner a socket (Listen gives it the rights
// 0600; on systems that ignore these, a folder with 0700 closes it).
package virtual
