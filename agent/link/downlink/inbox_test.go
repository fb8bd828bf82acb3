package downlink_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"telltale.dev/agent/link/downlink"
)

// TestDamagedInbox: what cannot be read is removed and counted, and the rest is taken.
func TestDamagedInbox(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := run(t, dir, func(_ *rig, c *downlink.Config) {
			c.Routes[2].Take = func(ctx context.Context, _ downlink.Message) { <-ctx.Done() }
		})
		for _, text := range []string{"a", "b", "c", "d", "e"} {
			r.send(unlock, text)
		}
		synctest.Wait()
		r.stop()
		all := files(t, dir)
		flip := func(path string, at int) {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			data[(at+len(data))%len(data)] ^= 1
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		flip(all[0], 0)
		flip(all[1], -1)
		flip(all[2], 15)
		if err := os.WriteFile(all[3], nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(all[4]+".tmp", []byte("cut"), 0o600); err != nil {
			t.Fatal(err)
		}
		r = run(t, dir, nil)
		r.send(unlock, "f")
		synctest.Wait()
		equal(t, "taken", r.took(), []string{"e", "f"})
		if got := r.Stats().Damaged; got != 4 {
			t.Errorf("damaged: got %d, want 4", got)
		}
		r.stop()
		equal(t, "inbox", files(t, dir), nil)
	})
}

// TestUnreadableInbox: whatever stands in the place of a message, or of the inbox, the agent starts and takes what comes.
func TestUnreadableInbox(t *testing.T) {
	for name, spoil := range map[string]func(dir string) error{
		"a dangling link": func(dir string) error {
			return os.Symlink("nowhere", filepath.Join(dir, "00000000000000000005.message"))
		},
		"a loop of links": func(dir string) error {
			return os.Symlink("00000000000000000005.message", filepath.Join(dir, "00000000000000000005.message"))
		},
		"a number of another length": func(dir string) error { return os.WriteFile(filepath.Join(dir, "5.message"), nil, 0o600) },
		"the number 0": func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "00000000000000000000.message"), nil, 0o600)
		},
		"no folder": func(dir string) error { return errors.Join(os.Remove(dir), os.WriteFile(dir, nil, 0o600)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := spoil(dir); err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				r := run(t, dir, nil)
				r.send(campaigns, "new")
				synctest.Wait()
				equal(t, "taken", r.took(), []string{"new"})
				r.stop()
				if _, err := os.Lstat(filepath.Join(dir, "00000000000000000005.message")); strings.HasSuffix(name, "links") && err != nil {
					t.Errorf("what could not be read: got %v, want it left", err)
				}
				if _, err := os.Lstat(filepath.Join(dir, "5.message")); err == nil {
					t.Error("a file of another name is left")
				}
			})
		})
	}
}

// TestHalfWritten: a message whose file is there though writing it failed is refused, and nobody takes it at the next start.
func TestHalfWritten(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r := run(t, dir, func(_ *rig, c *downlink.Config) {
			c.Write = func(path string, data []byte) error {
				return errors.Join(os.WriteFile(path, data, 0o600), errors.New("the folder cannot be synced"))
			}
		})
		r.send(unlock, "refused")
		synctest.Wait()
		equal(t, "answers", r.answered(), []answer{{"refused", 0x80}})
		r.stop()
		equal(t, "inbox", files(t, dir), nil)
	})
}
