package ledger

// Of Gather, for tests without a cloud.
var (
	Behind    = behind
	Evictions = evictions
)
