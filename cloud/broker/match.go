package broker

import "strings"

// Match says whether a topic matches a subscription's filter [MQTT-5.0, 4.7].
func Match(filter, topic string) bool {
	for {
		want, moreWanted, wants := strings.Cut(filter, "/")
		level, moreLevels, has := strings.Cut(topic, "/")
		switch {
		case want == "#":
			return true
		case want != "+" && want != level:
			return false
		case !wants || !has:
			return !has && (!wants || moreWanted == "#")
		}
		filter, topic = moreWanted, moreLevels
	}
}
