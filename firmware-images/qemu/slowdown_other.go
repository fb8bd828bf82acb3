//go:build !linux

package qemu

// Slowdown needs Linux; elsewhere the host counts as idle.
func (m *Machine) Slowdown() (float64, error) { return 1, nil }
