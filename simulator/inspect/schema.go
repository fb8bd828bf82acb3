package inspect

import (
	"encoding/hex"

	"telltale.dev/protocol/schemas"
	"telltale.dev/protocol/signal"
)

type (
	schemaView struct {
		Campaign string       `json:"campaign"`
		Rule     string       `json:"rule"`
		TickUS   int64        `json:"tick_us"`
		Mode     string       `json:"mode"`
		Files    []string     `json:"dbc_sha256"`
		Signals  []signalView `json:"signals"`
		Groups   [][]uint32   `json:"groups"`
	}
	signalView struct {
		Bus     string      `json:"bus"`
		Message string      `json:"message"`
		Name    string      `json:"signal"`
		Unit    string      `json:"unit,omitempty"`
		Kind    signal.Kind `json:"kind,omitempty"` // when it is not CAN
		*bitsView
		Signed bool             `json:"signed,omitempty"`
		IEEE   int              `json:"ieee,omitempty"`
		Scale  string           `json:"scale"`
		Offset string           `json:"offset"`
		Values map[int64]string `json:"values,omitempty"`
		VSS    string           `json:"vss,omitempty"`
	}
	bitsView struct {
		ID        uint32 `json:"id"`
		Extended  bool   `json:"extended,omitempty"`
		J1939     bool   `json:"j1939,omitempty"`
		Start     int    `json:"start"`
		Length    int    `json:"length"`
		BigEndian bool   `json:"big_endian,omitempty"`
	}
)

func viewSchema(s *schemas.Schema) schemaView {
	view := schemaView{
		Campaign: string(s.Campaign), Rule: s.Rule, TickUS: s.Tick, Mode: string(s.Mode),
		Files: []string{}, Signals: []signalView{}, Groups: s.Groups,
	}
	for _, hash := range s.Files {
		view.Files = append(view.Files, hex.EncodeToString(hash[:]))
	}
	for i := range s.Signals {
		in := &s.Signals[i]
		v := signalView{
			Bus: in.Bus, Message: in.Message, Name: in.Name, Unit: in.Unit, Kind: in.Kind, Signed: in.Signed, IEEE: in.IEEE,
			Scale: in.Scale, Offset: in.Offset, Values: in.Values, VSS: in.VSS,
		}
		if p := in.CAN; p != nil {
			v.Kind = ""
			v.bitsView = &bitsView{p.ID.Number(), p.ID.IsExtended(), p.J1939, p.Start, p.Length, p.BigEndian}
		}
		view.Signals = append(view.Signals, v)
	}
	return view
}
