package backbone

// What the tests of parsing and of the queue's bounds need from inside.
const (
	QueueMessages = queueMessages
	QueueBytes    = queueBytes
	BatchMessages = batchMessages
)

func EncodeKey(key string) (string, error)  { return encodeKey(key) }
func DecodeKey(form string) (string, error) { return decodeKey(form) }
func Redact(text string) string             { return redact(text) }
