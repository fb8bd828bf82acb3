// Package signal says what signals are, whatever brings them: names, units, how raw values become physical ones, and
// which of them arrive together.
//
// A Catalogue lists the signals of a vehicle by source. A DBC plan gives the one of its buses; a receiver of
// satellite navigation, a program on the vehicle or a diagnostic session gives another, and Join makes one of them.
// Stages after decoding, schema documents and the cloud know this package only, and nothing of frames.
//
// How raw values are found is not the business of this package: for CAN it is protocol/dbc's.
package signal
