package schemas_test

import (
	"telltale.dev/protocol"
	"telltale.dev/protocol/can"
	"telltale.dev/protocol/schemas"
	"telltale.dev/protocol/signal"
)

// schemaOf makes a schema with groups of the given widths.
func schemaOf(mode protocol.Mode, widths ...int) *schemas.Schema {
	s := &schemas.Schema{
		Version: 1, Campaign: "everything", Rule: "all", Tick: 1000, Mode: mode, Files: [][32]byte{{1}, {2}},
	}
	for g, width := range widths {
		var members []uint32
		for i := range width {
			members = append(members, uint32(len(s.Signals)))
			s.Signals = append(s.Signals, signal.Signal{
				Name: "speed", Unit: "km/h", Message: "SPEED", Bus: "can0", CAN: &signal.Bits{ID: can.ID(g) | can.Extended, Start: 8 * i, Length: 8}, Scale: "0.1", Offset: "-3", Values: map[int64]string{0: "off", -1: "on"},
			})
		}
		s.Groups = append(s.Groups, members)
	}
	return s
}
