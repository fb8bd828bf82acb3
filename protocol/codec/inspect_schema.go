package codec

import "encoding/hex"

type (
	schemaView struct {
		Campaign string       `json:"campaign"`
		Rule     string       `json:"rule"`
		TickUS   int64        `json:"tick_us"`
		Mode     string       `json:"mode"`
		DBC      []string     `json:"dbc_sha256"`
		Signals  []signalView `json:"signals"`
		Groups   [][]uint32   `json:"groups"`
	}
	signalView struct {
		Bus       string           `json:"bus"`
		Message   string           `json:"message"`
		Name      string           `json:"signal"`
		Unit      string           `json:"unit,omitempty"`
		ID        uint32           `json:"id"`
		Extended  bool             `json:"extended,omitempty"`
		J1939     bool             `json:"j1939,omitempty"`
		Start     int              `json:"start"`
		Length    int              `json:"length"`
		BigEndian bool             `json:"big_endian,omitempty"`
		Signed    bool             `json:"signed,omitempty"`
		IEEE      int              `json:"ieee,omitempty"`
		Scale     string           `json:"scale"`
		Offset    string           `json:"offset"`
		Values    map[int64]string `json:"values,omitempty"`
		VSS       string           `json:"vss,omitempty"`
	}
)

func viewSchema(s *Schema) schemaView {
	view := schemaView{
		Campaign: string(s.Campaign), Rule: s.Rule, TickUS: s.Tick, Mode: string(s.Mode),
		DBC: []string{}, Signals: []signalView{}, Groups: s.Groups,
	}
	for _, hash := range s.DBC {
		view.DBC = append(view.DBC, hex.EncodeToString(hash[:]))
	}
	for i := range s.Signals {
		in := &s.Signals[i]
		view.Signals = append(view.Signals, signalView{
			Bus: in.Bus, Message: in.Message, Name: in.Name, Unit: in.Unit, ID: in.ID.Number(), Extended: in.ID.IsExtended(),
			J1939: in.J1939, Start: in.Start, Length: in.Length, BigEndian: in.BigEndian, Signed: in.Signed, IEEE: in.IEEE,
			Scale: in.Scale, Offset: in.Offset, Values: in.Values, VSS: in.VSS,
		})
	}
	return view
}
