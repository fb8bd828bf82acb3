package socketcan

// Descriptors gives the open files of a bus.
func Descriptors(b *Bus) []int { return []int{b.fd, b.wake} }

// SetMTU sets the longest frame of a virtual interface: 16 is classic, 72 CAN FD.
func SetMTU(name string, mtu uint32) error {
	index, err := indexOf(name)
	if err != nil {
		return err
	}
	return setMTU(index, mtu)
}

// Index gives the kernel's number of an interface, 0 when there is none.
func Index(name string) int {
	index, _ := indexOf(name)
	return index
}
