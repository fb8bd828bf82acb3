package drive_test

import (
	"bytes"
	"os"
	"testing"

	"github.com/klauspost/compress/zstd"

	"telltale.dev/simulator/drive"
)

func BenchmarkReader(b *testing.B) {
	plain := unpacked(b)
	var asc bytes.Buffer
	r, _ := drive.NewReader("x", bytes.NewReader(plain))
	frames, _ := readAll(b, r)
	writeASC(&asc, frames, false, false)
	packed, err := os.ReadFile(recordings + "rav4.log.zst")
	if err != nil {
		b.Fatal(err)
	}
	batch := make([]drive.Recorded, 512)
	for name, text := range map[string][]byte{"candump": plain, "candump zstd": packed, "asc": asc.Bytes()} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			lines := 0
			for b.Loop() {
				r, err := drive.NewReader("x", bytes.NewReader(text))
				if err != nil {
					b.Fatal(err)
				}
				for err == nil {
					_, err = r.Next(batch)
				}
				lines += r.Counts().Lines
				r.Close()
			}
			b.ReportMetric(float64(lines)/b.Elapsed().Minutes()/1e6, "Mlines/min")
		})
	}
}

func unpacked(t testing.TB) []byte {
	packed, err := os.ReadFile(recordings + "rav4.log.zst")
	if err != nil {
		t.Fatal(err)
	}
	d, err := zstd.NewReader(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	plain, err := d.DecodeAll(packed, nil)
	if err != nil {
		t.Fatal(err)
	}
	return plain
}
