package socketcan

import (
	"sync"

	"golang.org/x/sys/unix"

	"telltale.dev/hal/canbus"
	"telltale.dev/protocol/can"
)

// errorCounters counts error frames by class.
type errorCounters struct {
	mu  sync.Mutex // guards all
	all canbus.Errors
}

func (c *errorCounters) sum() canbus.Errors {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all
}

// controllerBits are those of data[1] that errorCounters looks at.
const controllerBits = unix.CAN_ERR_CRTL_RX_OVERFLOW | unix.CAN_ERR_CRTL_TX_OVERFLOW |
	unix.CAN_ERR_CRTL_RX_WARNING | unix.CAN_ERR_CRTL_TX_WARNING |
	unix.CAN_ERR_CRTL_RX_PASSIVE | unix.CAN_ERR_CRTL_TX_PASSIVE | unix.CAN_ERR_CRTL_ACTIVE

// count classifies one error frame (linux/can/error.h): the class bits are in
// its identifier, the controller's state is in data[1].
func (c *errorCounters) count(id uint32, data *[can.MaxClassic]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known := false
	add := func(counter *uint64, is bool) {
		if is {
			*counter++
			known = true
		}
	}
	class := func(bits uint32) bool { return id&bits != 0 }
	controller := func(bits byte) bool { return class(unix.CAN_ERR_CRTL) && data[1]&bits != 0 }
	a := &c.all
	add(&a.BusOff, class(unix.CAN_ERR_BUSOFF))
	add(&a.Restarted, class(unix.CAN_ERR_RESTARTED))
	add(&a.Passive, controller(unix.CAN_ERR_CRTL_RX_PASSIVE|unix.CAN_ERR_CRTL_TX_PASSIVE))
	add(&a.Warning, controller(unix.CAN_ERR_CRTL_RX_WARNING|unix.CAN_ERR_CRTL_TX_WARNING))
	add(&a.Active, controller(unix.CAN_ERR_CRTL_ACTIVE))
	add(&a.Overflow, controller(unix.CAN_ERR_CRTL_RX_OVERFLOW|unix.CAN_ERR_CRTL_TX_OVERFLOW))
	add(&a.ArbitrationLost, class(unix.CAN_ERR_LOSTARB))
	add(&a.NoAck, class(unix.CAN_ERR_ACK))
	add(&a.BusError, class(unix.CAN_ERR_PROT|unix.CAN_ERR_BUSERROR))
	add(&a.Transceiver, class(unix.CAN_ERR_TRX))
	add(&a.Timeout, class(unix.CAN_ERR_TX_TIMEOUT))
	add(&a.Other, !known || class(unix.CAN_ERR_CRTL) && data[1]&controllerBits == 0)
}
