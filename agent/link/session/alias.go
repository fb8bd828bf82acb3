package session

// aliases maps topics to the topic aliases of one connection [MQTT-3.3.2.3.4].
// Owned by the one writer: an alias means what the last packet that carried it
// with a topic said, so the order of lookups must be that of packets.
type aliases struct {
	max     uint16 // the server's maximum, at most ours
	entries []aliasEntry
	clock   uint64
}

type aliasEntry struct {
	topic string
	used  uint64
}

func newAliases(server uint16) aliases { return aliases{max: min(server, maxAliases)} }

// of gives the alias to send for topic, and whether the server knows it, so that
// the topic may stay empty. Alias 0 means none. When all are taken the one that
// was not used for longest is given away.
func (a *aliases) of(topic string) (alias uint16, known bool) {
	if a.max == 0 {
		return 0, false
	}
	a.clock++
	oldest := 0
	for i := range a.entries {
		if a.entries[i].topic == topic {
			a.entries[i].used = a.clock
			return uint16(i + 1), true
		}
		if a.entries[i].used < a.entries[oldest].used {
			oldest = i
		}
	}
	if len(a.entries) < int(a.max) {
		a.entries = append(a.entries, aliasEntry{topic, a.clock})
		return uint16(len(a.entries)), false
	}
	a.entries[oldest] = aliasEntry{topic, a.clock}
	return uint16(oldest + 1), false
}
