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

// encodeWord gives the form of a text of any kind as one part of a subject: also dots are escaped.
func encodeWord(text string) string {
	var b strings.Builder
	for i := range len(text) {
		if c := text[i]; plainKeyByte(c) {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "=%02X", c)
		}
	}
	return b.String()
}

// decodeKey is the inverse of encodeKey; it refuses what that never writes.
func decodeKey(form string) (string, error) {
	key, err := unescape(form)
	if err != nil {
		return "", err
	}
	if again, err := encodeKey(key); err != nil || again != form {
		return "", fmt.Errorf("key in the bucket is not of this program: %w", ErrInvalid)
	}
	return key, nil
}

// decodeWord is the inverse of encodeWord; it refuses what that never writes.
func decodeWord(form string) (string, error) {
	text, err := unescape(form)
	if err == nil && encodeWord(text) != form {
		err = fmt.Errorf("part of a subject is not of this program: %w", ErrInvalid)
	}
	return text, err
}

func unescape(form string) (string, error) {
	text := make([]byte, 0, len(form))
	for i := 0; i < len(form); i++ {
		if form[i] != '=' {
			text = append(text, form[i])
			continue
		}
		if i+3 > len(form) {
			return "", fmt.Errorf("key ends within an escape: %w", ErrInvalid)
		}
		c, err := hex.DecodeString(form[i+1 : i+3])
		if err != nil {
			return "", fmt.Errorf("key has a malformed escape: %w", ErrInvalid)
		}
		text = append(text, c[0])
		i += 2
	}
	return string(text), nil
}

func plainKeyByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '/'
}
