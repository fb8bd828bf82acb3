package drive

import "telltale.dev/protocol/dbc"

// Parameter groups of the transport protocol, which brings J1939 messages longer than 8 bytes in parts (SAE J1939-21, 5.10).
const (
	connectionManagement = 0xEC00 // TP.CM
	dataTransfer         = 0xEB00 // TP.DT
)

// Parts counts the data frames of a log that belong to the transport protocol of J1939, on the buses where plan has
// J1939 messages: elsewhere the same identifiers mean something else.
func Parts(l *Log, plan *dbc.Plan) (n uint64) {
	j1939 := map[string]bool{}
	for _, m := range plan.Messages() {
		if m.J1939 {
			j1939[plan.Buses()[m.Bus]] = true
		}
	}
	for _, bus := range l.Buses {
		if !j1939[bus.Name] {
			continue
		}
		for id, frames := range bus.IDs {
			if pgn := id.PGN(); id.IsExtended() && (pgn == connectionManagement || pgn == dataTransfer) {
				n += frames
			}
		}
	}
	return n
}
