package schemas

import (
	"strings"

	"telltale.dev/protocol"
	"telltale.dev/protocol/signal"
)

// Of makes the schema of a campaign's rule on a vehicle. The given groups
// of the catalogue become groups of the schema, in that order, each with those of its
// signals for which selected is true; a group without any is left out. The
// second result gives for each group of the schema the positions of its signals in the
// raw values of the catalogue's. Signals are in the schema once, in the order of their
// first group.
func Of(catalogue *signal.Catalogue, campaign protocol.CampaignID, rule string, mode protocol.Mode,
	groups []int, selected func(signal int) bool) (*Schema, [][]int) {
	s := &Schema{
		Version: Version1, Campaign: campaign, Rule: rule, Tick: DefaultTick, Mode: mode, Files: catalogue.Files(),
	}
	index := make(map[int32]uint32) // by position in the catalogue
	var rows [][]int
	for _, g := range groups {
		var members []uint32
		var positions []int
		for at, n := range catalogue.Groups[g].Signals {
			if !selected(int(n)) {
				continue
			}
			i, ok := index[n]
			if !ok {
				i = uint32(len(s.Signals))
				index[n] = i
				s.Signals = append(s.Signals, shortened(&catalogue.Signals[n]))
				if s.Signals[i].CAN == nil {
					s.Version = Version2
				}
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

// shortened gives the signal with text that is no longer than a schema allows.
func shortened(in *signal.Signal) signal.Signal {
	out := *in
	out.Name, out.Unit, out.Message, out.Bus, out.VSS = cut(in.Name), cut(in.Unit), cut(in.Message), cut(in.Bus), cut(in.VSS)
	for _, text := range in.Values {
		if cut(text) != text {
			out.Values = make(map[int64]string, len(in.Values))
			for raw, text := range in.Values {
				out.Values[raw] = cut(text)
			}
			break
		}
	}
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
