package cloud

import (
	"maps"
	"slices"
	"strings"

	"telltale.dev/cloud/ingest"
)

// explain says why publishes are refused with a code now.
func (c *Cloud) explain(code byte) string {
	switch code {
	case ingest.CodeQuotaExceeded, ingest.CodeInternal:
		refusals := c.backbone.Refusals()
		var why []string
		for _, what := range slices.Sorted(maps.Keys(refusals)) {
			why = append(why, what+": "+refusals[what])
		}
		if text := strings.Join(why, "; "); text != "" {
			return strings.ToValidUTF8(text[:min(len(text), maxReason)], "")
		}
		if code == ingest.CodeInternal {
			return "not stored, try again"
		}
		return "more than the vehicle's quota, or the cloud is busy; try again later"
	case ingest.CodeNotAuthorized:
		return "not for this client, or the vehicle may not send now"
	case ingest.CodeTopicInvalid:
		return "the topic is not in the topic tree"
	case ingest.CodePayloadInvalid:
		return "the payload is not what the topic says"
	}
	return ""
}

// maxReason bounds a Reason String, in bytes.
const maxReason = 256
