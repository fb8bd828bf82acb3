package j1939_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"telltale.dev/protocol/can"
	"telltale.dev/protocol/j1939"
)

// feed gives the lines of a log to an Assembler, and what comes out as lines. A line is the time in ms, the identifier and the
// data as candump writes it, or LOST.
func feed(t *testing.T, a *j1939.Assembler, log string) string {
	t.Helper()
	var out []string
	for line := range strings.Lines(log) {
		line = strings.TrimSpace(line)
		if line == "" {
			continue
		}
		if line == "LOST" {
			a.Drop(j1939.FramesLost)
			continue
		}
		ms, text, _ := strings.Cut(line, " ")
		var f can.Frame
		if _, err := can.ParseCandump(fmt.Sprintf("(%s.000000) can0 %s", ms, text), &f); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		f.Time /= 1000
		if m := a.Add(&f); m != nil {
			out = append(out, fmt.Sprintf("%X %02X>%02X %d-%d %X", m.PGN, m.Source, m.Destination, m.First/1000, m.Last/1000, m.Data))
		}
	}
	return strings.Join(out, "\n")
}

// counted gives what is not zero of the counts.
func counted(c j1939.Counts) string {
	return strings.TrimSuffix(fmt.Sprintf("%d whole, %s", c.Complete, c.Trouble()), ", ")
}

// bam is a message of 20 bytes to all from address 00; rts is one of 15 bytes from 00 to 17.
const (
	bam = `0 18ECFF00#20140003FFCAFE00
		50 18EBFF00#0101FF0304050607
		100 18EBFF00#0208090A0B0C0D0E
		150 18EBFF00#030F1011121314FF`
	bamWhole = "FECA 00>FF 0-150 01FF030405060708090A0B0C0D0E0F1011121314"
	rts      = `0 1CEC1700#100F000303CAFE00
		10 1CEC0017#110301FFFFCAFE00`
	rtsWhole = "FECA 00>17 0-50 0102030405060708090A0B0C0D0E0F"
)

func TestAssembler(t *testing.T) {
	tests := []struct{ name, log, want, counts string }{
		{"to all", bam, bamWhole, "1 whole"},
		{"to all, the padding left out", strings.Replace(bam, "1314FF", "1314", 1), bamWhole, "1 whole"},
		{"to one", rts + `
			20 1CEB1700#0101020304050607
			30 1CEB1700#0208090A0B0C0D0E
			50 1CEB1700#030FFFFFFFFFFFFF
			60 1CEC0017#130F0003FFCAFE00`, rtsWhole, "1 whole"},
		{"to one, part by part, with a pause and one part again", `0 1CEC1700#100F000301CAFE00
			10 1CEC0017#110101FFFFCAFE00
			20 1CEB1700#0101020304050607
			30 1CEC0017#1100FFFFFFCAFE00
			1080 1CEC0017#110102FFFFCAFE00
			1100 1CEB1700#0208090A0B0C0D0E
			1120 1CEC0017#110101FFFFCAFE00
			1130 1CEB1700#0101020304050607
			1140 1CEC0017#110203FFFFCAFE00
			1200 1CEB1700#030FFFFFFFFFFFFF`, strings.Replace(rtsWhole, "0-50", "0-1200", 1), "1 whole"},
		{"to one, a part of two again", rts + `
			20 1CEB1700#0101020304050607
			30 1CEB1700#0208090A0B0C0D0E
			35 1CEC0017#110202FFFFCAFE00
			40 1CEB1700#0208090A0B0C0D0E
			50 1CEB1700#030FFFFFFFFFFFFF`, rtsWhole, "1 whole"},
		{"a part again, with other bytes", rts + `
			20 1CEB1700#0101020304050607
			30 1CEC0017#110301FFFFCAFE00
			40 1CEB1700#0101020304050608`, "", "0 whole, 1 incomplete (1 part repeated with other bytes)"},
		{"a frame twice", strings.Replace(bam, "100 ", "60 18EBFF00#0101FF0304050607\n100 ", 1), bamWhole, "1 whole"},
		{"a frame twice, with other bytes", strings.Replace(bam, "100 ", "60 18EBFF00#0101FF0304050608\n100 ", 1), "",
			"0 whole, 1 incomplete (1 part repeated with other bytes), 2 TP.DT frames without a beginning"},
		{"a part left out", strings.Replace(bam, "#02", "#03", 1), "", "0 whole, 1 incomplete (1 part missing or out of order), 1 TP.DT frames without a beginning"},
		{"the first part left out", strings.Replace(bam, "#01", "#02", 1), "", "0 whole, 1 incomplete (1 part missing or out of order), 2 TP.DT frames without a beginning"},
		{"part 0", strings.Replace(bam, "#01", "#00", 1), "", "0 whole, 1 incomplete (1 part missing or out of order), 2 TP.DT frames without a beginning"},
		{"the receiver has more than we", rts + "\n20 1CEC0017#110102FFFFCAFE00", "", "0 whole, 1 incomplete (1 part missing or out of order)"},
		{"acknowledged, but not seen", rts + "\n20 1CEC0017#130F0003FFCAFE00", "", "0 whole, 1 incomplete (1 part missing or out of order)"},
		{"T1 kept", strings.Replace(bam, "150 ", "850 ", 1), strings.Replace(bamWhole, "150", "850", 1), "1 whole"},
		{"T1 passed", strings.Replace(bam, "150 ", "851 ", 1), "", "0 whole, 1 incomplete (1 timeout), 1 TP.DT frames without a beginning"},
		{"T2 passed", rts + "\n1261 1CEB1700#0101020304050607", "", "0 whole, 1 incomplete (1 timeout), 1 TP.DT frames without a beginning"},
		{"T3 passed", "0 1CEC1700#100F000303CAFE00\n1251 1CEC0017#110301FFFFCAFE00", "", "0 whole, 1 incomplete (1 timeout)"},
		{"T4 passed", rts + "\n30 1CEC0017#1100FFFFFFCAFE00\n1081 1CEC0017#110101FFFFCAFE00", "", "0 whole, 1 incomplete (1 timeout)"},
		{"a clock set back", strings.Replace("100000"+strings.TrimPrefix(bam, "0"), "50 18EB", "99000 18EB", 1), "",
			"0 whole, 1 incomplete (1 timeout), 3 TP.DT frames without a beginning"},
		{"another one begins", "0 18ECFF00#20150003FFCBFE00\n10 18EBFF00#01AAAAAAAAAAAAAA\n20" + strings.TrimPrefix(bam, "0"),
			strings.Replace(bamWhole, "0-", "20-", 1), "1 whole, 1 incomplete (1 replaced by the next one)"},
		{"another one begins, which means nothing", "0 18ECFF00#20140003FFCAFE00\n1 18ECFF00#20140004FFCBFE00" + bam[strings.Index(bam, "\n"):], "",
			"0 whole, 1 incomplete (1 replaced by the next one), 1 malformed TP.CM frames, 3 TP.DT frames without a beginning"},
		{"another one begins, in a short frame", "0 18ECFF00#20140003FFCAFE00\n1 18ECFF00#20140003FFCBFE" + bam[strings.Index(bam, "\n"):], "",
			"0 whole, 1 incomplete (1 replaced by the next one), 1 malformed TP.CM frames, 3 TP.DT frames without a beginning"},
		{"aborted by the receiver", rts + "\n20 1CEC0017#FF01FFFFFFCAFE00", "", "0 whole, 1 incomplete (1 aborted)"},
		{"aborted by the sender", rts + "\n20 1CEC1700#FF03FFFFFFCAFE00", "", "0 whole, 1 incomplete (1 aborted)"},
		{"another one aborted", rts + `
			15 1CEC0017#FF01FFFFFFCBFE00
			20 1CEB1700#0101020304050607
			30 1CEB1700#0208090A0B0C0D0E
			50 1CEB1700#030FFFFFFFFFFFFF`, rtsWhole, "1 whole"},
		{"to all and to one at once, and another sender", strings.Join([]string{
			"0 18ECFF00#20140003FFCAFE00", "0 1CEC1700#100F000303CAFE00", "0 18ECFF01#20140003FFCAFE00",
			"20 1CEB1700#0101020304050607", "21 18EBFF00#0101FF0304050607", "22 18EBFF01#01AAAAAAAAAAAAAA",
			"30 1CEB1700#0208090A0B0C0D0E", "31 18EBFF01#02BBBBBBBBBBBBBB", "32 18EBFF00#0208090A0B0C0D0E",
			"50 1CEB1700#030FFFFFFFFFFFFF", "150 18EBFF00#030F1011121314FF", "151 18EBFF01#03CCCCCCCCCCCCFF",
		}, "\n"), rtsWhole + "\n" + bamWhole + "\nFECA 01>FF 0-151 AAAAAAAAAAAAAABBBBBBBBBBBBBBCCCCCCCCCCCC", "3 whole"},
		{"a part too short", strings.Replace(bam, "0208090A0B0C0D0E", "0208090A0B0C0D", 1), "",
			"0 whole, 1 incomplete (1 part too short), 1 TP.DT frames without a beginning"},
		{"a part without a byte", strings.Replace(bam, "0208090A0B0C0D0E", "", 1), "",
			"0 whole, 1 incomplete (1 part too short), 1 TP.DT frames without a beginning"},
		{"frames lost", strings.Replace(bam, "150 ", "LOST\n150 ", 1), "", "0 whole, 1 incomplete (1 frames lost), 1 TP.DT frames without a beginning"},
		{"sizes that cannot be", `0 18ECFF00#20080002FFCAFE00
			0 18ECFF00#20FA06FFFFCAFE00
			0 18ECFF00#20140002FFCAFE00
			0 18ECFF00#20140000FFCAFE00`, "", "0 whole, 4 malformed TP.CM frames"},
		{"groups that cannot be", `0 18ECFF00#20140003FFCAFE04
			0 18ECFF00#20140003FF00EB00
			0 18ECFF00#20140003FF00EC00
			0 18ECFF00#20140003FF01D900`, "", "0 whole, 4 malformed TP.CM frames"},
		{"to all and yet to one", "0 18EC1700#20140003FFCAFE00\n0 18ECFF00#10140003FFCAFE00", "", "0 whole, 2 malformed TP.CM frames"},
		{"CTS of parts that are none", rts + "\n20 1CEC0017#110304FFFFCAFE00\n20 1CEC0017#110300FFFFCAFE00", "", "0 whole, 2 malformed TP.CM frames"},
		{"an unknown control byte", "0 18ECFF00#21140003FFCAFE00", "", "0 whole, 1 malformed TP.CM frames"},
		{"other frames", "0 6EC#20140003FFCAFE00\n0 19ECFF00#20140003FFCAFE00\n0 1AECFF00#20140003FFCAFE00\n0 18ECFF00#R8\n0 18ECFF00##020140003FFCAFE00\n0 18C8FF00#14", "", "0 whole"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var a j1939.Assembler
			if got := feed(t, &a, test.log); got != test.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, test.want)
			}
			if got := counted(a.Counts()); got != test.counts {
				t.Errorf("got %q, want %q", got, test.counts)
			}
		})
	}
}

// TestID: the identifier of a message has its parameter group and addresses.
func TestID(t *testing.T) {
	for _, test := range []struct {
		message j1939.Message
		want    can.ID
	}{
		{j1939.Message{PGN: 0xFECA, Source: 0x17, Destination: j1939.Global}, 0x80FECA17},
		{j1939.Message{PGN: 0xFECA, Source: 0x17, Destination: 0x21}, 0x80FECA17},
		{j1939.Message{PGN: 0x1D900, Source: 0x17, Destination: 0x21}, 0x81D92117},
	} {
		if got := test.message.ID(); got != test.want {
			t.Errorf("%+v: got %X, want %X", test.message, uint32(got), uint32(test.want))
		}
	}
}

// begin is the frame that opens a message from a sender to a receiver, at a time in ms.
func begin(source, destination uint8, ms int64) *can.Frame {
	f := &can.Frame{ID: 0x9CEC0000 | can.ID(destination)<<8 | can.ID(source), Time: ms * 1000, Len: 8}
	copy(f.Data[:], "\x10\xF9\x06\xFF\x01\xCA\xFE\x00")
	return f
}

// TestGreedySender: whoever opens more messages than there is room for pays for it alone.
func TestGreedySender(t *testing.T) {
	var a j1939.Assembler
	for source := range 8 {
		a.Add(begin(uint8(source), 200, 0))
	}
	for destination := range 200 {
		a.Add(begin(99, uint8(destination), 1))
	}
	for source := range 8 {
		a.Add(&can.Frame{ID: 0x9CEBC800 | can.ID(source), Time: 2000, Len: 8, Data: [64]byte{1}})
	}
	if c := a.Counts(); c.Stray != 0 || c.Incomplete[j1939.TooMany] != 200-(j1939.MaxSessions-8) {
		t.Errorf("got %+v, want that all that gave way were of the greedy one", c)
	}
}

// TestSessionsAreBounded: among equal senders the message that began first pays, also to one that is in the middle; memory is that of MaxSessions.
func TestSessionsAreBounded(t *testing.T) {
	var a j1939.Assembler
	flood := func() {
		for source := range 250 {
			a.Add(begin(uint8(source), 1, 0))
		}
	}
	flood()
	if got := a.Counts().Incomplete[j1939.TooMany]; got != 250-j1939.MaxSessions {
		t.Errorf("got %d that gave way, want %d", got, 250-j1939.MaxSessions)
	}
	part := &can.Frame{ID: 0x9CEB0100 | (250 - j1939.MaxSessions - 1), Len: 8, Data: [64]byte{1}}
	a.Add(part)
	part.ID++
	a.Add(part)
	if c := a.Counts(); c.Stray != 1 {
		t.Errorf("got %d strays, want that of the newest message that gave way only", c.Stray)
	}
	if allocs := testing.AllocsPerRun(10, flood); allocs > 0 {
		t.Errorf("got %v allocations, want none", allocs)
	}
	a.Drop(j1939.Unfinished)
	if c := a.Counts(); c.Incomplete[j1939.Unfinished] != j1939.MaxSessions {
		t.Errorf("got %d unfinished, want %d", c.Incomplete[j1939.Unfinished], j1939.MaxSessions)
	}
	// What is late gives way before what is not.
	for source := range j1939.MaxSessions {
		a.Add(begin(uint8(source), 1, int64(1000*(source%2))))
	}
	before := a.Counts().Incomplete[j1939.TooMany]
	a.Add(begin(100, 1, 1500))
	if c := a.Counts(); c.Incomplete[j1939.TooMany] != before || c.Incomplete[j1939.Timeout] != j1939.MaxSessions/2 {
		t.Errorf("got %+v", c)
	}
}

// TestLargest: 1,785 bytes in 255 parts come out as they were sent.
func TestLargest(t *testing.T) {
	var a j1939.Assembler
	want := make([]byte, j1939.MaxSize)
	for i := range want {
		want[i] = byte(i * 31)
	}
	a.Add(begin(3, 4, 0))
	for number := 1; number <= 255; number++ {
		f := &can.Frame{ID: 0x98EB0403, Time: int64(number) * 50_000, Len: 8}
		f.Data[0] = byte(number)
		copy(f.Data[1:8], want[(number-1)*7:])
		m := a.Add(f)
		if (m != nil) != (number == 255) {
			t.Fatalf("part %d: got %v", number, m)
		}
		if m != nil && (!bytes.Equal(m.Data, want) || m.Last != 12_750_000) {
			t.Errorf("got %d bytes at %d, want those that were sent", len(m.Data), m.Last)
		}
	}
}

// FuzzAssembler: whatever frames come, each message that comes out is made of parts that were sent one behind the other to
// its receiver since it began, and everything that began is counted once.
func FuzzAssembler(f *testing.F) {
	f.Add([]byte("\x00\x00\x01\x01\x01\x02\x01\x03"))
	f.Add([]byte("\x04\x00\x10\x00\x05\x01\x05\x02\x05\x03"))
	f.Fuzz(func(t *testing.T, script []byte) {
		var a j1939.Assembler
		var sent []can.Frame
		var began uint64
		now := int64(0)
		for len(script) >= 2 {
			frame := scripted(script[0], script[1])
			script = script[2:]
			now += int64(frame.Data[63]) * 10_000 // 0 to 2.55 s
			frame.Data[63], frame.Time = 0, now
			sent = append(sent, frame)
			m := a.Add(&frame)
			if frame.ID&0xFF0000 == 0xEC0000 && frame.Len == 8 && (frame.Data[0] == 32 || frame.Data[0] == 16) {
				began++
			}
			if m != nil {
				checkSent(t, m, sent)
			}
		}
		a.Drop(j1939.Unfinished)
		c := a.Counts()
		if got := c.Complete + c.Lost(); got > began || got+c.Malformed < began {
			t.Fatalf("%d began, got %s", began, counted(c))
		}
	})
}

// scripted makes a frame of two bytes: what it is, and a number in it.
func scripted(kind, number byte) can.Frame {
	f := can.Frame{ID: 0x98ECFF00 | can.ID(kind>>6), Len: 8}
	if kind&4 != 0 { // to one
		f.ID = f.ID&^0xFF00 | 0x1700
	}
	f.Data[63] = kind >> 3 & 3 * 40
	group := "\xFF\xCA\xFE\x00"
	switch kind & 3 {
	case 0:
		f.Data[0] = 32
		if kind&4 != 0 {
			f.Data[0] = 16
		}
		size := 9 + int(number)%20
		f.Data[1], f.Data[3] = byte(size), byte((size+6)/7)
		copy(f.Data[4:], group)
	case 1:
		f.ID = f.ID&^0xFF0000 | 0xEB0000
		f.Data[0], f.Data[1], f.Data[7] = number&7, number, ^number
		f.Len -= number >> 7
	case 2: // CTS
		f.ID = 0x9CEC0017 | can.ID(kind>>6)<<8
		f.Data[0], f.Data[1], f.Data[2] = 17, number>>4&3, number&7
		copy(f.Data[4:], group)
	case 3:
		f.Data[0] = number
		copy(f.Data[4:], group)
	}
	return f
}

// checkSent looks for the parts of a message among the frames that were sent since it began.
func checkSent(t *testing.T, m *j1939.Message, sent []can.Frame) {
	t.Helper()
	i := len(sent) - 1
	for number := (len(m.Data) + 6) / 7; number > 0; number-- {
		part := m.Data[(number-1)*7 : min(number*7, len(m.Data))]
		for ; i >= 0; i-- {
			f := &sent[i]
			if f.ID&0xFF0000 == 0xEB0000 && uint8(f.ID) == m.Source && uint8(f.ID>>8) == m.Destination && int(f.Data[0]) == number &&
				bytes.Equal(f.Data[1:1+len(part)], part) {
				break
			}
		}
		if i < 0 {
			t.Fatalf("part %d of %+v was not sent", number, m)
		}
	}
	for ; i >= 0 && sent[i].ID&0xFF0000 != 0xEC0000; i-- {
	}
	if i < 0 || m.First > m.Last {
		t.Fatalf("%+v never began", m)
	}
}
