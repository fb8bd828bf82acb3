// Package storage is the word that a machine's start leaves for the agent when
// the data partition was lost: a note, in a file that does not outlive the start.
//
//	storage: recreated
//	reason: superblock: expected an ext4 file system
//	boot: 0f6b1c5e-9a0c-4f0e-8a71-1d2f0c9c5a10
//
// No file means that nothing was lost. Checking and mounting partitions is not its business.
package storage

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"

	"telltale.dev/hal/durable"
	"telltale.dev/protocol"
	"telltale.dev/protocol/events"
)

// ErrNote is wrapped by every error about a note that is not as it should be.
var ErrNote = errors.New("malformed note")

// maxNote bounds the file, in bytes.
const maxNote = 4 << 10

// Note says that what a device had stored is gone.
type Note struct {
	State  events.StorageState // recreated or memory-only
	Reason string              // one line without paths, as Plain gives it; may be empty
	// Boot tells apart this start of the machine and others, an identifier; may be empty.
	Boot string
	// Written is when the file was, by the machine's clock; String leaves it out.
	Written time.Time
}

// Loss names the loss: the same each time this note is read, and another one after another start.
func (n Note) Loss() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s%d", n, n.Written.UnixNano()))
	return hex.EncodeToString(sum[:8])
}

// String is the content of the file.
func (n Note) String() string {
	text := "storage: " + string(n.State) + "\n"
	if n.Reason != "" {
		text += "reason: " + n.Reason + "\n"
	}
	if n.Boot != "" {
		text += "boot: " + n.Boot + "\n"
	}
	return text
}

// Write leaves a note, whose reason may be any error's text.
func Write(path string, n Note) error {
	n.Reason = Plain(n.Reason)
	return os.WriteFile(path, []byte(n.String()), 0o644)
}

// Read gives the note, or nil when there is none. The error wraps ErrNote, or
// comes from the file system; it names no folder.
func Read(path string) (*Note, error) {
	text, info, err := durable.ReadRegular(path, maxNote)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case errors.Is(err, durable.ErrNotRegular), errors.Is(err, durable.ErrTooLarge):
		return nil, fmt.Errorf("%s: %w: %w", filepath.Base(path), err, ErrNote)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", filepath.Base(path), durable.Bare(err))
	}
	n, err := Parse(string(text))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	n.Written = info.ModTime()
	return &n, nil
}

// Parse reads the content of a note. The error says which line is wrong and wraps ErrNote.
func Parse(text string) (n Note, err error) {
	if len(text) > maxNote {
		return n, fmt.Errorf("expected at most %d bytes: %w", maxNote, ErrNote)
	}
	seen := map[string]bool{}
	for i, line := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		key, value, ok := strings.Cut(line, ":")
		if !ok || seen[key] {
			return Note{}, fmt.Errorf("line %d: expected storage, reason or boot, each once, a colon and a value: %w", i+1, ErrNote)
		}
		seen[key] = true
		value = strings.TrimSpace(value)
		switch key {
		case "storage":
			n.State = events.StorageState(value)
		case "reason":
			n.Reason = Plain(value)
		case "boot":
			if _, err := protocol.ParseDeviceID(value); err != nil { // made of the same characters
				return Note{}, fmt.Errorf("line %d: boot: expected letters, digits, - and _: %w", i+1, ErrNote)
			}
			n.Boot = value
		default:
			return Note{}, fmt.Errorf("line %d: expected storage, reason or boot: %w", i+1, ErrNote)
		}
	}
	if !n.State.Lost() {
		return Note{}, fmt.Errorf("storage: expected recreated or memory-only: %w", ErrNote)
	}
	return n, nil
}

// Plain makes a reason fit to be sent: one printable line of at most
// events.MaxStorageReason bytes, with paths left out.
func Plain(text string) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	words := strings.Fields(text)
	for i, word := range words {
		if at := pathIn(word); at >= 0 {
			end := len(word)
			if strings.HasSuffix(word, ":") {
				end--
			}
			words[i] = word[:at] + "(path)" + word[end:]
		}
	}
	text = strings.Join(words, " ")
	text = text[:min(len(text), events.MaxStorageReason)]
	return strings.TrimSpace(strings.ToValidUTF8(text, ""))
}

// pathIn says where in a word a path begins, or -1. "input/output" is none.
func pathIn(word string) int {
	for i, c := range []byte(word) {
		if c != '/' {
			continue
		}
		before := i - 1
		for before >= 0 && (word[before] == '.' || word[before] == '~') { // ../x, ~/x
			before--
		}
		if before != i-1 || i == 0 || !alphanumeric(word[i-1]) {
			return before + 1
		}
	}
	return -1
}

func alphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}
