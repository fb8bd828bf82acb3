//go:build linux

package gpio

import (
	"os"
	"unsafe"
)

// Sizes of the kernel's structures as we have them.
const (
	RequestSize = unsafe.Sizeof(lineRequest{})
	ValuesSize  = unsafe.Sizeof(lineValues{})
	EventSize   = eventSize
)

// NewSupply is a supply of lines whose events and values come from a test.
func NewSupply(cfg Config, lines *os.File, values func() (uint64, error)) *Supply {
	return &Supply{cfg: cfg, lines: lines, values: values}
}

// Request gives flags, number of lines and attributes of what the kernel is asked for.
func Request(c Config) (flags uint64, lines uint32, attr [3]uint64) {
	r := c.request()
	return r.Flags, r.NumLines, [3]uint64{uint64(r.Attrs[0].ID), r.Attrs[0].Value, r.Attrs[0].Mask}
}
