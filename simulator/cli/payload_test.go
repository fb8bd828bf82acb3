package cli

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/fxamacker/cbor/v2"
	"github.com/klauspost/compress/zstd"
)

// pieces cuts all of b, handed over in chunks of the given size, as inspect does.
func pieces(t *testing.T, b []byte, chunk int) (list []piece) {
	t.Helper()
	var waiting []byte
	for {
		n := min(chunk, len(b))
		waiting, b = append(waiting, b[:n]...), b[n:]
		for ended := len(b) == 0; len(waiting) > 0; {
			p, size := cut(waiting, ended)
			if size == 0 && ended {
				t.Fatalf("nothing was cut off %x at its end", waiting)
			}
			if size == 0 {
				break
			}
			if len(bytes.TrimSpace(p.payload)) > 0 || p.topic != "" {
				list = append(list, piece{p.topic, bytes.Clone(p.payload)})
			}
			waiting = waiting[size:]
		}
		if len(b) == 0 {
			return list
		}
	}
}

func compressed(t testing.TB, data []byte, options ...zstd.EOption) []byte {
	t.Helper()
	enc, err := zstd.NewWriter(nil, options...)
	if err != nil {
		t.Fatal(err)
	}
	defer enc.Close()
	return enc.EncodeAll(data, nil)
}

// streamed is a frame without its content's size in the header.
func streamed(t testing.TB, data []byte, options ...zstd.EOption) []byte {
	t.Helper()
	var out bytes.Buffer
	enc, err := zstd.NewWriter(&out, options...)
	if err != nil {
		t.Fatal(err)
	}
	for len(data) > 0 { // several blocks
		n := min(len(data), 40_000)
		if _, err := enc.Write(data[:n]); err != nil {
			t.Fatal(err)
		}
		if err := enc.Flush(); err != nil {
			t.Fatal(err)
		}
		data = data[n:]
	}
	if err := enc.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func array(t testing.TB, values ...any) []byte {
	t.Helper()
	b, err := cbor.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestCut(t *testing.T) {
	batch := array(t, 1, []byte("12345678"), "tcu", "a line\nand another\n", nil)
	small := compressed(t, bytes.Repeat([]byte("telltale\n"), 500))
	yaml := "# mine\napiVersion: campaigns.v1\nkind: Campaign\n"
	for _, c := range []struct {
		name, input string
		want        []piece
	}{
		{"nothing", "", nil},
		{"empty lines", "\n\n\n", nil},
		{"raw payloads", string(batch) + "\n" + string(small) + "\n" + string(batch), []piece{{"", batch}, {"", small}, {"", batch}}},
		{"raw payloads without newlines", string(small) + string(batch) + string(small), []piece{{"", small}, {"", batch}, {"", small}}},
		{"topic and raw payload", "v1/a/up/x " + string(batch) + "\nv1/a/up/y " + string(small) + "\n", []piece{{"v1/a/up/x", batch}, {"v1/a/up/y", small}}},
		{"topic and hexadecimal", "v1/a/up/x a0\nv1/a/up/y B1ff", []piece{{"v1/a/up/x", []byte("a0\n")}, {"v1/a/up/y", []byte("B1ff")}}},
		{"topic and nothing", "v1/a/up/x \nv1/a/up/y \n", []piece{{"v1/a/up/x", []byte("\n")}, {"v1/a/up/y", []byte("\n")}}},
		{"hexadecimal", "a0\r\nb1\n", []piece{{"", []byte("a0\r\n")}, {"", []byte("b1\n")}}},
		{"JSON", `{"a": "}\n{"}` + "\n" + "{\n  \"b\": [1,\n2]\n}\n[3]\n", []piece{{"", []byte(`{"a": "}\n{"}`)}, {"", []byte("{\n  \"b\": [1,\n2]\n}")}, {"", []byte("[3]")}}},
		{"topic and JSON", `v1/ops/x {"a":1}` + "\nv1/ops/y {}\n", []piece{{"v1/ops/x", []byte(`{"a":1}`)}, {"v1/ops/y", []byte("{}")}}},
		{"no JSON", "{a\na0\n", []piece{{"", []byte("{a\n")}, {"", []byte("a0\n")}}},
		{"a campaign", yaml, []piece{{"", []byte(yaml)}}},
		{"topic and campaign", "v1/ops/x " + yaml + "\nv1/ops/y a0\n", []piece{{"v1/ops/x", []byte(yaml + "\n")}, {"v1/ops/y", []byte("a0\n")}}},
		{"cut off", string(small[:20]), []piece{{"", small[:20]}}},
		{"cut off behind its topic", "v1/a/up/x " + string(batch[:9]), []piece{{"v1/a/up/x", batch[:9]}}},
		{"a topic alone", "v1/a/up/x", []piece{{"", []byte("v1/a/up/x")}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, chunk := range []int{1, 2, 7, 1 << 20} {
				same(t, pieces(t, []byte(c.input), chunk), c.want)
			}
		})
	}
}

func same(t *testing.T, got, want []piece) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("got %d pieces, want %d", len(got), len(want))
	}
	for i := range got {
		if got[i].topic != want[i].topic || !bytes.Equal(got[i].payload, want[i].payload) {
			t.Errorf("piece %d: got %q %.200q, want %q %.200q", i, got[i].topic, got[i].payload, want[i].topic, want[i].payload)
		}
	}
}

// TestZstdSize holds the walk through a frame against the encoder, with every header that it makes.
func TestZstdSize(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 300_000)
	for i := range noise {
		noise[i] = byte(random.Uint32())
	}
	text := []byte(strings.Repeat("time speed torque angle ", 20_000))
	options := map[string][]zstd.EOption{
		"plain":       {zstd.WithEncoderCRC(false)},
		"checksum":    {zstd.WithEncoderCRC(true)},
		"single":      {zstd.WithSingleSegment(true)},
		"window":      {zstd.WithSingleSegment(false), zstd.WithWindowSize(64 << 10)},
		"best":        {zstd.WithEncoderLevel(zstd.SpeedBestCompression)},
		"dictionary":  {zstd.WithEncoderDictRaw(0x1234, text[:4000])},
		"long number": {zstd.WithEncoderDictRaw(0x12345678, text[:4000])},
	}
	for name, opts := range options {
		for _, data := range [][]byte{{}, {1}, text[:255], text[:256], text[:65_000], text, noise[:1000], noise, make([]byte, 200_000)} {
			for _, frame := range [][]byte{compressed(t, data, opts...), streamed(t, data, opts...)} {
				if len(frame) == 0 { // nothing at all is written for nothing at all
					continue
				}
				for _, behind := range []string{"", "\n", "\x28\xb5\x2f\xfd", "\xff\xff\xff\xff"} {
					if got := zstdSize(append(bytes.Clone(frame), behind...)); got != len(frame) {
						t.Errorf("%s, %d bytes and %x behind: got %d, want %d", name, len(data), behind, got, len(frame))
					}
				}
				for _, n := range []int{4, 5, 6, 7, len(frame) / 2, len(frame) - 1} {
					if n < len(frame) && zstdSize(frame[:n]) != 0 {
						t.Errorf("%s, %d of %d bytes: got %d, want 0", name, n, len(frame), zstdSize(frame[:n]))
					}
				}
			}
		}
	}
}

// FuzzCut makes a stream of payloads in every form that inspect reads, and
// cuts it again: in chunks of any size, the same payloads must come out.
func FuzzCut(f *testing.F) {
	f.Add([]byte("telltale"), uint16(7), uint8(0))
	f.Add([]byte("{\n}[]"), uint16(1), uint8(1))
	f.Add(bytes.Repeat([]byte{0}, 300), uint16(100), uint8(7))
	f.Add([]byte("\xfd\x2f\xb5\x28v1/"), uint16(3), uint8(2))
	f.Fuzz(func(t *testing.T, data []byte, chunk uint16, form uint8) {
		data = data[:min(len(data), 2048)]
		item, frame := array(t, data, string(bytes.ToValidUTF8(data, nil))), compressed(t, data, zstd.WithEncoderCRC(form&1 == 0), zstd.WithSingleSegment(form&2 == 0))
		if len(frame) == 0 {
			frame = item
		}
		var input []byte
		var want []piece
		add := func(topic, text string, payload []byte) {
			input, want = append(input, text...), append(want, piece{topic, payload})
		}
		for range 3 {
			add("", string(item), item)
			add("", string(frame)+"\n", frame)
			add("v1/a/up/x", "v1/a/up/x "+string(frame)+"\n", frame)
			line := []byte(hex.EncodeToString(item) + "\n")
			add("v1/a/up/y", "v1/a/up/y "+string(line), line)
			add("", string(line), line)
		}
		same(t, pieces(t, input, int(chunk)+1), want)
		pieces(t, data, int(chunk)+1) // anything at all ends
	})
}
