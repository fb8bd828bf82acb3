package cloud_test

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"telltale.dev/cloud/campaign"
	"telltale.dev/cloud/ingest"
	"telltale.dev/cloud/state"
	"telltale.dev/cloud/update"
)

// unpack puts an archive into a folder of its own.
func unpack(t *testing.T, name string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	packed, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	for in := tar.NewReader(packed); ; {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return dir
		}
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, filepath.FromSlash(h.Name))
		if h.Typeflag == tar.TypeDir {
			err = os.MkdirAll(path, 0o750)
		} else {
			var data []byte
			if data, err = io.ReadAll(in); err == nil {
				err = os.WriteFile(path, data, 0o640)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestFormerVersion opens the data of a cloud of the version before consumers had checkpoints, as a kill left it while the
// lake's disk was full: a campaign that is active on car1, five batches in the lake, three in the stream and in a part
// that is not committed, and a word on firmware. Nothing is lost, and nothing is there twice, also after another start.
func TestFormerVersion(t *testing.T) {
	cfg := config(unpack(t, filepath.Join("testdata", "former.tar.gz")))
	for range 2 {
		s := start(t, cfg)
		s.eventually(func() string {
			var values []state.Signal
			s.get("/v1/vehicles/car1/state", &values)
			if len(values) != 2 || values[1].Name != "SPEED" || values[1].Value != 8 {
				return fmt.Sprintf("state: got %+v", values)
			}
			var campaigns []campaign.Campaign
			if s.get("/v1/campaigns", &campaigns); len(campaigns) != 1 || campaigns[0].State != "ACTIVE" {
				return fmt.Sprintf("campaigns: got %+v", campaigns)
			}
			var f update.Firmware
			if s.get("/v1/vehicles/car1/update", &f); len(f.Devices) != 1 || f.Devices[0].Version != "1.7" {
				return fmt.Sprintf("firmware: got %+v", f)
			}
			var boots []ingest.Boot
			if s.get("/v1/vehicles/car1/ledger", &boots); len(boots) != 1 || boots[0].Stored != 8 || boots[0].Duplicates != 0 {
				return fmt.Sprintf("ledger: got %+v", boots)
			}
			return ""
		})
		s.stop()
		if got := len(s.lakeRows()); got != 16 {
			t.Errorf("got %d rows in the lake, want 16", got)
		}
	}
}
