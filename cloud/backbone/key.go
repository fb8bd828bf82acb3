package backbone

import (
	"encoding/hex"
	"fmt"
	"strings"
)

// MaxKey is the longest key, in bytes.
const MaxKey = 256

// Keys become parts of NATS subjects, which allow [A-Za-z0-9_/=.-] and no empty
// part between dots. "=" is not used by our identifiers and marks a byte written
// as two upper-case hexadecimal digits. Every key has exactly one such form:
//
//	v1/ops/config   v1/ops/config
//	up..raw.        up.=2Eraw=2E

// encodeKey gives the form of key in a subject.
func encodeKey(key string) (string, error) {
	if key == "" || len(key) > MaxKey {
		return "", fmt.Errorf("key has %d bytes, expected 1 to %d: %w", len(key), MaxKey, ErrInvalid)
	}
	var b strings.Builder
	for i := range len(key) {
		if c := key[i]; plainKeyByte(c) || c == '.' && i > 0 && i < len(key)-1 && key[i-1] != '.' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "=%02X", c)
		}
	}
	return b.String(), nil
}

// decodeKey is the inverse; it refuses what encodeKey never writes.
func decodeKey(form string) (string, error) {
	key := make([]byte, 0, len(form))
	for i := 0; i < len(form); i++ {
		if form[i] != '=' {
			key = append(key, form[i])
			continue
		}
		if i+3 > len(form) {
			return "", fmt.Errorf("key in the bucket ends within an escape: %w", ErrInvalid)
		}
		c, err := hex.DecodeString(form[i+1 : i+3])
		if err != nil {
			return "", fmt.Errorf("key in the bucket has a malformed escape: %w", ErrInvalid)
		}
		key = append(key, c[0])
		i += 2
	}
	if again, err := encodeKey(string(key)); err != nil || again != form {
		return "", fmt.Errorf("key in the bucket is not of this program: %w", ErrInvalid)
	}
	return string(key), nil
}

func plainKeyByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '/'
}
