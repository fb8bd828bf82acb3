package buffer_test

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"telltale.dev/agent/buffer"
	"telltale.dev/protocol"
)

// samples gives records with few and with all fields set.
func samples() []buffer.Record {
	full := record(protocol.CS6, 1<<40, 70_000)
	full.Ordered, full.KeyID, full.TTL = true, "key-1", 0
	full.Evicted = []protocol.SeqRange{{Boot: boot1, From: 1, To: 1 << 60}, {From: 7, To: 7}}
	full.First, full.Last = -5, 1<<62
	many := record(protocol.CS0, 3, 5)
	for i := range uint64(buffer.MaxEvicted) {
		many.Evicted = append(many.Evicted, protocol.SeqRange{Boot: boot1, From: 2*i + 1, To: 2*i + 1})
	}
	return []buffer.Record{{Topic: "t", Priority: protocol.CS1}, full, many, record(protocol.CS3, 1, 0)}
}

func TestEncodingRoundTrip(t *testing.T) {
	for _, want := range samples() {
		chunks := buffer.EncodeRecord(&want)
		for i, c := range chunks {
			if len(c) > 900 || len(c) != 790 && i < len(chunks)-1 {
				t.Errorf("chunk %d of %d has %d bytes", i, len(chunks), len(c))
			}
		}
		got, err := buffer.DecodeRecord(chunks)
		must(t, err)
		wantRecord(t, got, want)
	}
}

func TestEncodingRefusesDamage(t *testing.T) {
	r := record(protocol.CS1, 1, 3000)
	whole := slices.Concat(buffer.EncodeRecord(&r)...)
	for i := range whole {
		broken := bytes.Clone(whole)
		broken[i] ^= 0x10
		if _, err := buffer.DecodeRecord(slices.Collect(slices.Chunk(broken, 790))); err == nil {
			t.Errorf("a bit flipped in byte %d is not noticed", i)
		}
	}
	for n := range whole {
		if _, err := buffer.DecodeRecord(slices.Collect(slices.Chunk(whole[:n], 790))); err == nil {
			t.Errorf("%d of %d bytes are taken for whole", n, len(whole))
		}
	}
}

// TestHeaderRefusesDamage: what names a record is sure by itself, whatever became of its payload: else damage would
// declare other sequences lost than those that are.
func TestHeaderRefusesDamage(t *testing.T) {
	for _, r := range samples() {
		chunks := buffer.EncodeRecord(&r)
		whole := slices.Concat(chunks...)
		head := int(binary.LittleEndian.Uint32(whole[8:]))
		cut := func(b []byte) [][]byte { return slices.Collect(slices.Chunk(b, 790)) }
		for i := 4; i < min(len(whole), 2000); i++ {
			broken := bytes.Clone(whole)
			broken[i] ^= 0x04
			got, err := buffer.DecodeHeader(cut(broken))
			if inHeader := i < 16+head; (err != nil) != inHeader {
				t.Fatalf("a bit flipped in byte %d of a header of %d: got %v and %v", i, 16+head, got.ID, err)
			}
		}
		if _, err := buffer.DecodeHeader(cut(whole[:16+head])); err != nil {
			t.Errorf("without its payload: %v", err)
		}
	}
}

// TestSealRefusesDamage: of an account with a wrong bit nothing is believed.
func TestSealRefusesDamage(t *testing.T) {
	whole := buffer.SealAccount(77, []byte("boots, evicted ranges and the state"))
	if gen, body, err := buffer.Unseal(whole); err != nil || gen != 77 || string(body) != "boots, evicted ranges and the state" {
		t.Fatalf("got %d, %q, %v", gen, body, err)
	}
	for i := range 8 * len(whole) {
		broken := bytes.Clone(whole)
		broken[i/8] ^= 1 << (i % 8)
		if _, _, err := buffer.Unseal(broken); err == nil {
			t.Errorf("bit %d is not noticed", i)
		}
	}
	for n := range whole {
		if _, _, err := buffer.Unseal(whole[:n]); err == nil {
			t.Errorf("%d of %d bytes are taken for whole", n, len(whole))
		}
	}
}

// FuzzRecord: a header that parses encodes to the same bytes, and the record
// around it survives encoding and decoding.
func FuzzRecord(f *testing.F) {
	for _, r := range samples() {
		f.Add(buffer.AppendHeader(nil, &r), r.Payload)
		f.Add(buffer.AppendHeaderAs(nil, &r, 1), r.Payload)
	}
	f.Fuzz(func(t *testing.T, header, payload []byte) {
		r, err := buffer.ParseHeader(header)
		if err != nil {
			return
		}
		form := header[0] // the former one is read and written, too
		if again := buffer.AppendHeaderAs(nil, &r, form); !bytes.Equal(again, header) {
			t.Fatalf("got %x again, want %x", again, header)
		}
		r.Payload = payload[:min(len(payload), buffer.MaxPayload)]
		got, err := buffer.DecodeRecord(buffer.EncodeRecordAs(&r, form))
		if err != nil || !bytes.Equal(got.Payload, r.Payload) || !bytes.Equal(buffer.AppendHeaderAs(nil, &got, form), header) {
			t.Fatalf("record does not come back: %v", err)
		}
	})
}

// FuzzChunks: no bytes make decoding panic or allocate what they only announce.
func FuzzChunks(f *testing.F) {
	for _, r := range samples() {
		f.Add(slices.Concat(buffer.EncodeRecord(&r)...), 790)
		f.Add(slices.Concat(buffer.EncodeRecordAs(&r, 1)...), 790)
	}
	f.Fuzz(func(t *testing.T, data []byte, size int) {
		if size < 1 || size > 900 || len(data) < 16 {
			return
		}
		// Make both checksums right, so that what is behind them is reached.
		if n := binary.LittleEndian.Uint32(data[8:]); n < uint32(len(data)-16) {
			table, base := crc32.MakeTable(crc32.Castagnoli), buffer.Base(data)
			binary.LittleEndian.PutUint32(data[4:], crc32.Update(base, table, data[8:16+n]))
			binary.LittleEndian.PutUint32(data, crc32.Update(base, table, data[4:]))
		}
		r, err := buffer.DecodeRecord(slices.Collect(slices.Chunk(data, size)))
		if err != nil {
			return
		}
		if again := slices.Concat(buffer.EncodeRecordAs(&r, data[16])...); !bytes.Equal(again, data) {
			t.Fatalf("got %x again, want %x", again, data)
		}
	})
}

// FuzzState: an account that parses encodes to bytes that parse to the same.
func FuzzState(f *testing.F) {
	f.Add(buffer.SampleState())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, body []byte) {
		once, err := buffer.ParseState(body)
		if err != nil {
			return
		}
		twice, err := buffer.ParseState(once)
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("got %x, want %x (%v)", twice, once, err)
		}
	})
}

// FuzzCheckFile: a file that passes the check can be opened and read by bbolt
// without a panic; whatever it holds, Open succeeds.
func FuzzCheckFile(f *testing.F) {
	c := buffer.Config{Dir: f.TempDir(), MaxBytes: 1 << 20, SegmentBytes: 64 << 10}
	b, err := buffer.Open(c)
	must(f, err)
	must(f, b.Append([]buffer.Record{record(protocol.CS1, 1, 3000)}, progress(1)))
	must(f, b.Checkpoint(record(protocol.CS1, 2, 100), progress(2)))
	must(f, b.Close())
	whole, err := os.ReadFile(filepath.Join(c.Dir, "cs1-00000001.seg"))
	must(f, err)
	whole = bytes.TrimRight(whole, "\x00")
	f.Add(uint32(0), []byte{1})
	f.Add(uint32(4096*3+8), []byte{1, 0, 1, 0})
	f.Add(uint32(len(whole)-1000), bytes.Repeat([]byte{0xff}, 100))
	f.Fuzz(func(t *testing.T, at uint32, patch []byte) {
		data := append(bytes.Clone(whole), make([]byte, 4096)...)
		copy(data[int(at)%len(whole):], patch)
		dir := memoryDir(t)
		must(t, os.WriteFile(filepath.Join(dir, "VERSION"), []byte("telltale-buffer 2\n"), 0o600))
		must(t, os.WriteFile(filepath.Join(dir, "cs1-00000001.seg"), data, 0o600))
		b := open(t, buffer.Config{Dir: dir})
		for _, class := range b.Classes() {
			for _, e := range all(t, b, class) {
				if e.Record.ID.Seq == 1 {
					wantRecord(t, e.Record, record(protocol.CS1, 1, 3000))
				}
			}
		}
		must(t, b.Close())
	})
}
