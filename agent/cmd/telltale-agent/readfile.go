package main

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// readFile reads a regular file of at most most bytes. Anything else is refused
// before it is opened: a pipe without a writer would keep the agent from starting.
func readFile(path string, most int64) ([]byte, error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return nil, errors.New("expected a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(text)) > most {
		return nil, fmt.Errorf("expected at most %d bytes", most)
	}
	return text, err
}
