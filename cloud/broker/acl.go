package broker

import (
	"strings"

	"telltale.dev/protocol/topics"
)

// mayPublish is the publish side of the access rules, on the resolved topic: a
// device on the up branch of its own vehicle, levels with a device id being its
// own; an operator on documents.
func mayPublish(client Client, t topics.Topic) bool {
	if client.Operator != "" {
		return t.Kind == topics.OpsConfig
	}
	return t.Kind.Up() && t.Vehicle == client.Vehicle && (t.Device == "" || t.Device == client.Device)
}

// subscribeCode is the subscribe side: the QoS granted (0 or 1), or a refusal.
func subscribeCode(client Client, version byte, filter string, qos byte) byte {
	code := filterCode(client, filter)
	switch {
	case code == codeSuccess:
		return min(qos, 1)
	case version < 5:
		return codeUnspecified
	}
	return code
}

func filterCode(client Client, filter string) byte {
	// Depth first: a filter of 30 thousand levels must cost nothing.
	if filter == "" || len(filter) > topics.MaxLength || strings.Count(filter, "/") >= topics.MaxLevels {
		return codeFilterInvalid
	}
	levels := strings.Split(filter, "/")
	switch {
	case levels[0] == "$share":
		return codeSharedNotSupported
	case !wellFormed(levels):
		return codeFilterInvalid
	case client.Operator != "" && operatorReads(client.Operator, levels), client.Device != "" && deviceReads(client, levels):
		return codeSuccess
	}
	return codeNotAuthorized
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

// deviceReads: v1/{vid}/down/config/+ or one document of it, and v1/{vid}/down/fetch.
func deviceReads(client Client, levels []string) bool {
	if len(levels) < 4 || levels[0] != "v1" || levels[1] != string(client.Vehicle) || levels[2] != "down" {
		return false
	}
	return len(levels) == 4 && levels[3] == "fetch" || len(levels) == 5 && levels[3] == "config" && levels[4] != "#"
}

// replyLevel is the third level of topics for answers: v1/ops/reply/{operator}/….
const replyLevel = "reply"

// MayReply says whether an operator may have answers sent to a topic: one below its own
// prefix v1/ops/reply/{operator}, or that itself, without wildcards. The operator is the
// name in its certificate, since anybody may choose any client identifier.
func MayReply(operator, topic string) bool {
	levels := strings.Split(topic, "/")
	return len(topic) <= topics.MaxLength && len(levels) <= topics.MaxLevels && !strings.ContainsAny(topic, "+#\x00") &&
		len(levels) >= 4 && levels[0] == "v1" && levels[1] == "ops" && levels[2] == replyLevel && levels[3] == operator
}

// operatorReads: v1/ops/…, of replies only its own, and v1/{vid or +}/up/… and …/down/….
// What v1/ops/# covers of other operators' replies does not reach it either: see Message.Operator.
func operatorReads(operator string, levels []string) bool {
	if len(levels) < 3 || levels[0] != "v1" || levels[1] == "#" {
		return false
	}
	if levels[1] == "ops" && levels[2] == replyLevel {
		return len(levels) > 3 && levels[3] == operator
	}
	return levels[1] == "ops" || levels[2] == "up" || levels[2] == "down"
}
