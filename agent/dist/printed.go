package dist

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
)

// printed is what a command of the program prints, built for this machine: what it says of itself is the same for all.
func (p product) printed(version, command string) ([]byte, error) {
	cmd := exec.Command("go", append([]string{"run", "-trimpath", "-buildvcs=false", "-ldflags", stamp(version), p.pkg}, strings.Fields(command)...)...)
	cmd.Env = arch{env: []string{"GOOS=" + runtime.GOOS, "GOARCH=" + runtime.GOARCH}}.environment()
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w\n%s", p.name, command, err, said.Bytes())
	}
	return out, nil
}

// compressed is the text in a gzip file without name and time: the same text gives the same bytes.
func compressed(text []byte) ([]byte, error) {
	var out bytes.Buffer
	w, err := gzip.NewWriterLevel(&out, gzip.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(text); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
