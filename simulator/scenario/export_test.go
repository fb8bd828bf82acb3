package scenario

// What the tests look at from inside.
var (
	Driven         = driven
	CommitInterval = commitInterval
)
