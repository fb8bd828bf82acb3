package broker

import (
	"strings"

	"telltale.dev/cloud/access"
	"telltale.dev/protocol/topics"
)

// refusedCode is the reason code of a rule that does not allow: 0x90 when nobody would
// read what may be published, else 0x87.
func refusedCode(rule *access.Rule) byte {
	if rule.Answer == access.Unread {
		return codeTopicInvalid
	}
	return codeNotAuthorized
}

// subscribeCode is the answer to one filter: the QoS granted (0 or 1), or a refusal.
func (b *Broker) subscribeCode(c *connection, filter string, qos byte) byte {
	code := filterCode(filter)
	if code == codeSuccess && !b.mayRead(c.client, filter) {
		code = codeNotAuthorized
	}
	switch {
	case code == codeSuccess:
		return min(qos, 1)
	case c.version < 5:
		return codeUnspecified
	}
	return code
}

// mayRead says whether a client may subscribe a filter now.
func (b *Broker) mayRead(client Client, filter string) bool {
	return b.cfg.Access(client.Principal, access.Subscribe, filter).Allowed()
}

// filterCode says whether a filter is one that this broker serves, whoever asks.
func filterCode(filter string) byte {
	// Depth first: a filter of 30 thousand levels must cost nothing.
	if filter == "" || tooDeep(filter) {
		return codeFilterInvalid
	}
	levels := strings.Split(filter, "/")
	switch {
	case levels[0] == "$share":
		return codeSharedNotSupported
	case !wellFormed(levels):
		return codeFilterInvalid
	}
	return codeSuccess
}

// tooDeep says whether a topic is longer or deeper than those of our tree.
func tooDeep(topic string) bool {
	return len(topic) > topics.MaxLength || strings.Count(topic, "/") >= topics.MaxLevels
}

// wellFormed: a wildcard is a whole level, and # is the last one [MQTT-4.7.1-1] [MQTT-4.7.1-2].
func wellFormed(levels []string) bool {
	for i, level := range levels {
		if level != "+" && level != "#" && strings.ContainsAny(level, "+#\x00") || level == "#" && i < len(levels)-1 {
			return false
		}
	}
	return true
}
