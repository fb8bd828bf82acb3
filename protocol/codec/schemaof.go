package codec

import (
	"strings"

	"telltale.dev/protocol"
	"telltale.dev/protocol/dbc"
)

// SchemaOf makes the schema of a campaign's rule on a vehicle. The given
// layouts of the plan become groups, in that order, each with those of its
// signals for which selected is true; a layout without any is left out. The
// second result gives for each group the positions of its signals in the
// layout's raw values. Signals are in the schema once, in the order of their
// first group.
func SchemaOf(plan *dbc.Plan, campaign protocol.CampaignID, rule string, mode protocol.Mode, dbcHashes [][32]byte,
	layouts []int, selected func(signal int) bool) (*Schema, [][]int) {
	s := &Schema{
		Version: SchemaVersion, Campaign: campaign, Rule: rule, Tick: DefaultTick, Mode: mode, DBC: dbcHashes,
	}
	all, infos := plan.Layouts(), plan.Signals()
	index := make(map[int32]uint32) // by global signal
	var rows [][]int
	for _, l := range layouts {
		var members []uint32
		var positions []int
		for at, signal := range all[l].Signals {
			if !selected(int(signal)) {
				continue
			}
			i, ok := index[signal]
			if !ok {
				i = uint32(len(s.Signals))
				index[signal] = i
				s.Signals = append(s.Signals, signalOf(&infos[signal]))
			}
			members = append(members, i)
			positions = append(positions, at)
		}
		if len(members) > 0 {
			s.Groups = append(s.Groups, members)
			rows = append(rows, positions)
		}
	}
	return s, rows
}

// signalOf copies what a schema keeps of a signal of a DBC file. Text that is
// longer than a schema allows is cut.
func signalOf(in *dbc.SignalInfo) Signal {
	out := Signal{
		Name: cut(in.Name), Unit: cut(in.Unit), Message: cut(in.Message), Bus: cut(in.Bus), ID: in.Frame, J1939: in.J1939,
		Start: in.Start, Length: in.Length, BigEndian: in.BigEndian, Signed: in.Signed, IEEE: in.IEEE,
		Scale: in.Scale, Offset: in.Offset,
	}
	if len(in.Values) > 0 {
		out.Values = make(map[int64]string, len(in.Values))
		for _, v := range in.Values {
			out.Values[v.Raw] = cut(v.Text)
		}
	}
	out.prepare()
	return out
}

// cut shortens text to what a schema allows, and replaces what is not UTF-8.
func cut(text string) string {
	text = strings.ToValidUTF8(text, "\uFFFD")
	if len(text) <= maxName {
		return text
	}
	return strings.ToValidUTF8(text[:maxName], "")
}
