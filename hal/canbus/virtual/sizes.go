package virtual

import "time"

// Sizes and times, all in one place.
const (
	// DefaultRingFrames is how far a reader may lag behind the bus before it
	// loses the oldest frames: 16 s of a busy bus of 4,000 frames/s.
	DefaultRingFrames = 1 << 16
	// firstRing is the ring of a bus whose readers keep up; it doubles when needed.
	firstRing = 1 << 10
	// batchFrames is the most frames in one message.
	batchFrames = 512
	// maxReaders bounds the connections of a hub; more are refused.
	maxReaders = 1024
	// maxHistory bounds the attachments that a hub remembers; the oldest ended ones are forgotten.
	maxHistory = 1 << 14
	// socketBuffer is asked for on both ends (macOS gives a unix socket 8 KiB by itself).
	socketBuffer = 256 << 10
	// helloTimeout is how long either end waits for the other's first words.
	helloTimeout = 5 * time.Second
	// farewellTimeout is how long the hub tries to tell a reader why it hangs up.
	farewellTimeout = time.Second
	// farewellBytes is how much more it reads meanwhile, so that its words are not lost to a reset.
	farewellBytes = 1 << 20
	// retryDelay is the pause between two attempts to connect or to accept.
	retryDelay = 50 * time.Millisecond
)
