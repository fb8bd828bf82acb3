// Package j1939 puts J1939 messages of 9 to 1,785 bytes together, which come in parts of seven bytes by the transport
// protocol (SAE J1939-21, 5.10).
//
// An Assembler is given the frames of one bus in their order and listens only: it neither answers nor asks for a part
// again. Both ways of sending are known:
//
//	to all (BAM)          TP.CM BAM, TP.DT 1, TP.DT 2, …
//	to one (RTS/CTS)      TP.CM RTS, then for some parts at a time TP.CM CTS by the receiver and TP.DT by the sender,
//	                      at the end TP.CM EndOfMsgAck by the receiver; TP.CM Abort by either ends it
//
// A message comes out with its last part. One that is not complete gives nothing, and is counted with its Reason: no
// byte comes out that was not sent in this place of this message.
//
// Not known are the extended transport protocol (ETP, messages of more than 1,785 bytes), the transport of J1939-22
// over CAN FD, fast packets of NMEA 2000, and ISO-TP.
//
// The package does no input or output and asks no clock: a frame brings its time.
package j1939
