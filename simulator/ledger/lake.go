package ledger

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/parquet-go/parquet-go"
)

// Row is one sample as the lake holds it: the columns that the account needs.
type Row struct {
	Time    int64   `parquet:"time"` // µs since the Unix epoch
	VID     string  `parquet:"vid"`
	DID     string  `parquet:"did"`
	Boot    string  `parquet:"boot"`
	Seq     int64   `parquet:"seq"`
	Bus     string  `parquet:"bus"`
	Message string  `parquet:"message"`
	Signal  string  `parquet:"signal"`
	Value   float64 `parquet:"value,optional"`    // 0 when Quality says that there is none
	Raw     int64   `parquet:"raw,optional"`      // 0 when the integer or float is in Bits
	Bits    uint64  `parquet:"raw_bits,optional"` // 0 when it is in Raw
	Quality string  `parquet:"quality,optional"`  // why there is no value; empty: there is one
}

// OnBus gives the bits that the sample had on the bus, an integer's extended to 64 bits.
func (r *Row) OnBus() int64 { return r.Raw | int64(r.Bits) }

// readRows is how many rows are read at a time.
const readRows = 4096

// ScanLake calls each for every row of every Parquet file below dir. Names that
// begin with a dot are files under way and not part of the lake.
func ScanLake(dir string, each func(file string, r *Row) error) error {
	files, err := ParquetFiles(dir)
	if err != nil {
		return err
	}
	for _, name := range files {
		if err := scanFile(name, each); err != nil {
			return fmt.Errorf("lake: %s: %w", filepath.Base(name), err)
		}
	}
	return nil
}

// ParquetFiles lists the lake's files by name.
func ParquetFiles(dir string) ([]string, error) {
	var files []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case path != dir && strings.HasPrefix(d.Name(), "."):
			if d.IsDir() {
				return filepath.SkipDir
			}
		case !d.IsDir() && strings.HasSuffix(d.Name(), ".parquet"):
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("lake: %w", err)
	}
	return files, nil
}

func scanFile(name string, each func(string, *Row) error) (err error) {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	file, err := parquet.OpenFile(f, info.Size()) // the reader would panic on a damaged one
	if err != nil {
		return err
	}
	reader := parquet.NewGenericReader[Row](file)
	defer func() { err = errors.Join(err, reader.Close()) }()
	rows := make([]Row, readRows)
	for {
		n, err := reader.Read(rows)
		for i := range rows[:n] {
			if err := each(name, &rows[i]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
