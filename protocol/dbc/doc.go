// Package dbc turns DBC files into a decoding plan: frames to raw integers, and
// raw integers to physical values with units and texts.
//
// Parse reads one file, statement by statement: a statement that is wrong is
// skipped and named in a Problem with file and line, and the rest is read, but
// for the signals that would mean something else without it (lost.go).
// Compile lays the messages of all buses out as a Plan, and Plan.Decode takes
// the signals out of a frame without allocating and without a Go map.
//
// Plan.Catalogue gives the signals to those who need not know of frames, as one
// source of protocol/signal's catalogue.
//
// The package reads no files and no buses, writes no DBC and reassembles no
// transport protocol: Plan.DecodeLong takes J1939 messages that protocol/j1939
// has put together, and ISO-TP is not known; campaigns and columns are the
// business of other packages.
//
// # Where a signal's bits are
//
// A DBC file numbers the bits of a frame so that bit 8·i+j is bit j of byte i,
// where bit 0 is the least significant one (the "sawtooth"):
//
//	          bit 7                    bit 0
//	byte 0  |  7   6   5   4   3   2   1   0 |
//	byte 1  | 15  14  13  12  11  10   9   8 |
//	byte 2  | 23  22  21  20  19  18  17  16 |
//
// An Intel signal (little endian, "@1") starts at its least significant bit and
// grows to higher numbers. 4|10@1+ takes these bits, 0 being its lowest:
//
//	byte 0  |  3   2   1   0   .   .   .   . |
//	byte 1  |  .   .   9   8   7   6   5   4 |
//
// A Motorola signal (big endian, "@0") starts at its most significant bit and
// grows along the reading direction: to lower bits of the byte, then to bit 7
// of the next. 4|10@0+ takes these bits, 9 being its highest:
//
//	byte 0  |  .   .   .   9   8   7   6   5 |
//	byte 1  |  4   3   2   1   0   .   .   . |
//
// # Where its value is
//
// The raw value is the integer in those bits, sign-extended when the signal is
// signed; an unsigned 64-bit raw is kept as two's complement. A signal of
// SIG_VALTYPE_ 1 or 2 is an IEEE 754 number; its raw value is the bit pattern
// of the number as a float64, for both widths. Physical = raw·factor + offset,
// never clamped to the minimum and maximum that the file states.
package dbc
