package agent

// Queues between the stages, in blocks. A full queue blocks the stage before
// it; the bus driver, which never waits, counts what it then drops.
const (
	framesQueue = 64 // blocks of up to frames.BlockFrames frames
	rowsQueue   = 16
)
