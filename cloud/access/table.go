package access

import "telltale.dev/protocol/principal"

// table has the rules of each kind of principal. The first one that fits decides, so exceptions
// stand before what they are exceptions from. A message is allowed when its row names who reads it;
// a room that begins to read a kind of message changes that row, and the test of all kinds in
// package cloud then wants to see the reader.
var table = [...][]Rule{
	principal.Device:   devices[:],
	principal.Operator: operators[:],
	principal.Service:  nil, // nothing yet
	principal.Local:    locals[:],
}

// A device acts on the branch of its own vehicle, and on levels with a device only as itself.
var devices = [...]Rule{
	{principal.Device, Connect, "{did}", Allow, ""},
	{principal.Device, Connect, "#", Refuse, "client identifier is not the one of the certificate"},
	{principal.Device, Will, "v1/{vid}/up/presence/{did}", Allow, "presence"},

	{principal.Device, Publish, "v1/{vid}/up/telemetry/+", Allow, "lake, state and live events"},
	{principal.Device, Publish, "v1/{vid}/up/schema/+", Allow, "schema store"},
	{principal.Device, Publish, "v1/{vid}/up/presence/{did}", Allow, "presence"},
	{principal.Device, Publish, "v1/{vid}/up/config/campaigns/status", Allow, "campaigns"},
	{principal.Device, Publish, "v1/{vid}/up/config/+/status", Unread, "no reader: of documents only campaigns have a status here; an update is answered by its feedback"},
	{principal.Device, Publish, "v1/{vid}/up/update/{did}/feedback", Allow, "updates"},
	{principal.Device, Publish, "v1/{vid}/up/event/storage", Allow, "registry and live events"},
	{principal.Device, Publish, "v1/{vid}/up/event/+", Unread, "no reader: of events only those of type storage are taken"},
	{principal.Device, Publish, "v1/{vid}/up/state", Unread, "no reader: the last known state is made from telemetry"},
	{principal.Device, Publish, "v1/{vid}/up/health/{did}", Unread, "no reader: health is not taken yet"},
	{principal.Device, Publish, "v1/{vid}/up/checkin/{did}", Unread, "no reader: check-ins are not taken yet"},
	{principal.Device, Publish, "v1/{vid}/up/security/{did}", Unread, "no reader: security events are not taken yet"},
	{principal.Device, Publish, "v1/{vid}/up/object/+", Unread, "no reader: objects are not taken yet"},
	{principal.Device, Publish, "v1/{vid}/up/command/+/+/status", Unread, "no reader: there are no commands yet"},
	{principal.Device, Publish, "v1/{vid}/up/workload/+/state", Unread, "no reader: there are no workloads yet"},

	{principal.Device, Subscribe | Deliver, "v1/{vid}/down/config/+", Allow, ""},
	{principal.Device, Subscribe | Deliver, "v1/{vid}/down/fetch", Allow, ""},

	{principal.Device, Download, "/v1/files/+", Allow, ""},
}

// Operators read all vehicles, and what becomes of their own requests.
var operators = [...]Rule{
	{principal.Operator, Connect, "#", Allow, ""},

	{principal.Operator, Publish, "v1/ops/config/campaign/+", Allow, "campaigns"},
	{principal.Operator, Publish, "v1/ops/config/+/+", Unread, "no reader: of documents only those of kind campaign are taken"},

	{principal.Operator, Subscribe | Deliver | Reply, "v1/ops/reply/{name}/#", Allow, ""},
	{principal.Operator, Subscribe | Deliver | Reply, "v1/ops/reply/#", Refuse, "replies are for the operator who asked"},
	{principal.Operator, Subscribe | Deliver, "v1/ops/#", Allow, ""}, // replies of others that it covers are not delivered
	{principal.Operator, Subscribe | Deliver, "v1/+/up/#", Allow, ""},
	{principal.Operator, Subscribe | Deliver, "v1/+/down/#", Allow, ""},

	{principal.Operator, Download, "#", Refuse, "update files are for devices"},
}

// The API asks nobody for a name yet, and listens on loopback only.
var locals = [...]Rule{
	{principal.Local, Read | Change, "#", Allow, ""},
}
