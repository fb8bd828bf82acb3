package backbone

// What the tests of parsing and of the queue's bounds need from inside.
const (
	QueueMessages = queueMessages
	QueueBytes    = queueBytes
	BatchMessages = batchMessages
)

// WithFree makes a backbone believe that so much of its disk is free.
func WithFree(cfg Config, free func(string) (int64, error)) Config {
	cfg.free = free
	return cfg
}

func EncodeKey(key string) (string, error)  { return encodeKey(key) }
func DecodeKey(form string) (string, error) { return decodeKey(form) }
func Redact(text string) string             { return redact(text) }
