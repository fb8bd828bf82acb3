package drive_test

import (
	"strings"
	"testing"
	"time"

	"telltale.dev/protocol/can"
	"telltale.dev/simulator/drive"
)

// TestCandumpView reads the screen of candump -ta and -tA, with and without -x.
func TestCandumpView(t *testing.T) {
	const text = ` (1700000000.100000)  can0       0C9   [2]  01 02
 (1700000000.200000)  can0  RX - -  0C9   [2]  01 02
 (1700000000.300000)  can0  20000004   [8]  00 08 00 00 00 00 00 00   ERRORFRAME
	controller-problem{tx-error-warning}
 (1700000000.400000)  can1  TX B E  18FEF100  [12]  00 01 02 03 04 05 06 07 08 09 0A 0B
 (1700000000.500000)  can1  RX - -  18FEF100  [01]  7F
 (1700000000.600000)  can0  0C9   [4]  remote request
DROPCOUNT: dropped 3 CAN frames on 'can0' socket (total drops 3)
 (2024-01-06 08:30:00.100000)  can0  0C9   [4]  41 42 43 20   'ABC '
 (1700000000.700000)  can0  0C9   {C}  00 01 02 03 04 05 06 07
 (1700000000.800000)  can0  0C9   [0]
`
	const want = `(1700000000.100000) can0 0C9#0102
(1700000000.200000) can0 0C9#0102
(1700000000.300000) can0 20000004#0008000000000000
(1700000000.400000) can1 18FEF100##3000102030405060708090A0B
(1700000000.500000) can1 18FEF100##07F
(1700000000.600000) can0 0C9#R4
(1704529800.100000) can0 0C9#41424320
(1700000000.700000) can0 0C9#0001020304050607
(1700000000.800000) can0 0C9#
`
	got, r := read(t, text)
	if text := shown(got); text != want || r.Format() != drive.CandumpView || r.Counts().Bad != 0 {
		t.Errorf("got %s\n%s%s\nwant\n%s", r.Format(), text, problems(r.Problems()), want)
	}
}

// TestCandumpViewBadLines: nothing is guessed.
func TestCandumpViewBadLines(t *testing.T) {
	const good = " (1700000000.100000)  can0  0C9   [1]  01\n"
	for line, want := range map[string]string{
		" (000.100000)  can0  0C9   [1]  01":               "column 1: expected a time since 1970 or a date, as candump -ta or -tA shows it",
		" can0  0C9   [1]  01":                             "column 1: expected a time since 1970 or a date, as candump -ta or -tA shows it",
		" (1700000000.1)  can0  8C9   [1]  01":             "column 24: expected an identifier of 3 or 8 hexadecimal digits",
		" (1700000000.1)  can0  0C9   [2]  01":             "column 38: expected two hexadecimal digits for each of the bytes in brackets",
		" (1700000000.1)  can0  0C9   [1]  01 02":          "column 38: expected no more bytes than the brackets say",
		" (1700000000.1)  can0  0C9   [9]  01":             "column 30: expected 0 to 8 bytes, or 12, 16, 20, 24, 32, 48 or 64 of a CAN FD frame",
		" (1700000000.1)  can0  123   [0012] (51|1) 00 01": "column 30: expected the number of bytes in brackets, such as [8]",
		" (2024-13-06 08:30:00.1)  can0  0C9   [1]  01":    "column 2: expected a time or a date in parentheses",
		" (1700000000.1":                                   "column 2: expected a time or a date in parentheses",
		" (1700000000.1)  can0  RX X -  0C9   [1]  01":     "column 27: expected B or -",
	} {
		_, r := read(t, good+line+"\n")
		if got := problems(r.Problems()); got != "x.log:2: "+want {
			t.Errorf("%s: got %s, want %s", line, got, want)
		}
	}
}

// TestNow: frames that come as they are received, without a time, get that of their arrival.
func TestNow(t *testing.T) {
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)
	for _, text := range []string{"  can0  123   [2]  11 22\n", " (000.000000)  can0  123   [2]  11 22\n"} {
		r, err := drive.Options{Now: func() time.Time { return at }}.NewReader("-", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		got, err := readAll(t, r)
		if err != nil || len(got) != 1 || !got[0].At().Equal(at) {
			t.Errorf("got %+v, %v", got, err)
		}
	}
}

// trcMessages are like those of PEAK's format description, in its versions.
var trcMessages = []struct{ version, text, want string }{
	{"1.0", `;##########################################################################
;   C:\TraceFile.trc
;    Start time: 11.09.2002 16:00:20.682
;----+-   ---+---  ----+---  +  -+ -- -- ...
     1)      1841      0001  8  00 00 00 00 00 00 00 00
     2)      1842      0008  4  ERROR 00 19 08 08
     3)      1843  FFFFFFFF  4  00 00 00 04 -- -- -- --  BUSLIGHT
     4)      1844      0100  3  RTR
     5)      1845  00000100  1  7F
`, "(1031760022.523000) can0 001#0000000000000000\n(1031760022.524000) can0 20000080#0000000000000000\n(1031760022.526000) can0 100#R3\n(1031760022.527000) can0 00000100#7F\n"},
	{"1.1", `;$FILEVERSION=1.1
;$STARTTIME=37704.5364870833
;   Start time: 24.03.2003 12:52:32.484
     1)      1059.9  Rx         0300  7  00 00 00 00 04 00 00
     3)      1298.9  Tx         0400  2  00 00
     5)      1346.8  Warng  FFFFFFFF  4  00 00 00 04  BUSLIGHT
     6)      1349.2  Error      0008  4  00 19 08 08
     7)      1352.7  Rx         0100  3  RTR
`, "(1048510353.543897) can0 300#00000000040000\n(1048510353.782897) can0 400#0000\n(1048510353.833197) can0 20000080#0000000000000000\n(1048510353.836697) can0 100#R3\n"},
	{"1.2", `;$FILEVERSION=1.2
;$STARTTIME=39878.6772258947;
     1)      1059.900  1  Rx         0300  7  00 00 00 00 04 00 00
     5)      1346.834  1  Warng  FFFFFFFF  4  00 00 00 04  BUSLIGHT
     6)      1349.222  2  Error      0008  4  00 19 08 08
     7)      1352.743  2  Rx         0100  3  RTR
`, "(1236356113.377202) can0 300#00000000040000\n(1236356113.666524) can1 20000080#0000000000000000\n(1236356113.670045) can1 100#R3\n"},
	{"1.3", `;$FILEVERSION=1.3
;$STARTTIME=40023.5245451516
     1)      1059.900 1  Rx        0300 -  7    00 00 00 00 04 00 00
     5)      1346.834 1  Warng FFFFFFFF -  4    00 00 00 04  BUSLIGHT
     6)      1349.222 1  Error     0008 -  4    00 19 08 08
     7)      1352.743 1  Rx        0100 -  3    RTR
`, "(1248870921.760998) can0 300#00000000040000\n(1248870922.050320) can0 20000080#0000000000000000\n(1248870922.053841) can0 100#R3\n"},
	{"2.0", `;$FILEVERSION=2.0
;$STARTTIME=42209.4075997106
;$COLUMNS=N,O,T,I,d,l,D
      1      1059.900 DT     0300 Rx 7  00 00 00 00 04 00 00
      3      1298.945 DT     0400 Tx 2  00 00
      5      1334.416 FD     0500 Tx 12 01 02 03 04 05 06 07 08 09 0A 0B 0C
      6      1334.522 ER          Rx    04 00 02 00 00
      7      1334.531 ST          Rx    00 00 00 08
      8      1334.643 EC          Rx    02 02
      9      1335.156 DT 18EFC034 Tx 8  01 02 03 04 05 06 07 08
     10      1336.543 RR     0100 Rx 3
`, "(1437731217.674896) can0 300#00000000040000\n(1437731217.913941) can0 400#0000\n(1437731217.949412) can0 500##00102030405060708090A0B0C\n(1437731217.949518) can0 20000080#0000000000000000\n" +
		"(1437731217.950152) can0 18EFC034#0102030405060708\n(1437731217.951539) can0 100#R3\n"},
	{"2.1", `;$FILEVERSION=2.1
;$STARTTIME=41766.4648963872
;$COLUMNS=N,O,T,B,I,d,R,L,D
      1      1059.900 DT 1      0300 Rx -  7    00 00 00 00 04 00 00
      5      1334.416 FD 1      0500 Tx -  9    01 02 03 04 05 06 07 08 09 0A 0B 0C
      6      1334.222 ER 1         - Rx -  5    04 00 02 00 00
      7      1334.224 EV 1  User-defined event for bus 1
      8      1334.225 EV -  User-defined event for all busses
      9      1334.231 ST 1         - Rx -  4    00 00 00 08
     11      1334.643 EC 1         - Rx -  2    02 02
     12      1335.156 DT 2  18EFC034 Tx -  8    01 02 03 04 05 06 07 08
     13      1336.543 RR 1      0100 Rx -  3
     14      1337.000 BI 1      0500 Tx -  1    7F
     15      1337.001 FB 1      0500 Tx -  0
     16      1337.002 FE 1  00000500 Tx -  2    00 01
`, "(1399460968.107754) can0 300#00000000040000\n(1399460968.382270) can0 500##00102030405060708090A0B0C\n(1399460968.382076) can0 20000080#0000000000000000\n" +
		"(1399460968.383010) can1 18EFC034#0102030405060708\n(1399460968.384397) can0 100#R3\n(1399460968.384854) can0 500##37F\n(1399460968.384855) can0 500##1\n(1399460968.384856) can0 00000500##20001\n"},
	{"1.0 without a header", "     1)      1841      0001  1  7F\n", "(1.841000) can0 001#7F\n"},
}

// TestTRC reads the examples of PEAK's format description in every version.
func TestTRC(t *testing.T) {
	for _, c := range trcMessages {
		t.Run(c.version, func(t *testing.T) {
			for _, text := range []string{c.text, strings.ReplaceAll(c.text, "\n", " \r\n")} {
				got, r := read(t, text)
				if text := shown(got); text != c.want || r.Format() != drive.TRC || r.Counts().Bad != 0 {
					t.Errorf("got %s\n%s%s\nwant\n%s", r.Format(), text, problems(r.Problems()), c.want)
				}
			}
		})
	}
}

// TestTRCBadLines: bad lines are counted and named, and what would give wrong times or columns ends the log.
func TestTRCBadLines(t *testing.T) {
	const head = ";$FILEVERSION=2.1\n;$STARTTIME=41766.5\n;$COLUMNS=N,O,T,B,I,d,R,L,D\n 1 1.000 DT 1 0300 Rx - 1 00\n"
	for line, want := range map[string]string{
		" x 1.000 DT 1 0300 Rx - 1 00":     "column 2: expected the number of the message",
		" 2 1,000 DT 1 0300 Rx - 1 00":     "column 4: expected a time in ms since the start, such as 1059.900",
		" 2 1.000 XX 1 0300 Rx - 1 00":     "column 10: expected a type such as DT, FD, FB, RR or Rx",
		" 2 1.000 DT 0 0300 Rx - 1 00":     "column 13: expected a bus of 1 to 255",
		" 2 1.000 DT 1 0800 Rx - 1 00":     "column 15: expected an identifier of 4 or 8 hexadecimal digits",
		" 2 1.000 DT 1 0300 Xx - 1 00":     "column 20: expected Rx or Tx",
		" 2 1.000 DT 1 0300 Rx - 2 00":     "column 29: expected byte 2 of 2 of the data, in hexadecimal digits",
		" 2 1.000 DT 1 0300 Rx - 9 00":     "column 25: expected 0 to 8 bytes, or up to 64 of a CAN FD frame; J1939 packets that were joined are not read",
		" 2 1.000 DT 1 0300 Rx - 1785 00":  "column 25: expected 0 to 8 bytes, or up to 64 of a CAN FD frame; J1939 packets that were joined are not read",
		" 2 1.000 DT 1 0300 Rx - sixty 00": "column 25: expected the number of bytes or a data length code",
	} {
		got, r := read(t, head+line+"\n")
		if text := problems(r.Problems()); len(got) != 1 || text != "x.log:5: "+want {
			t.Errorf("%s: got %s, want %s", line, text, want)
		}
	}
	for text, want := range map[string]string{
		";$FILEVERSION=3.7\n 1 1.000 DT 1 0300 Rx - 1 00\n":                         `x.log:1: PEAK TRC version "3.7", expected 1.0 to 1.3, 2.0 or 2.1`,
		";$FILEVERSION=2.1\n;$STARTTIME=yesterday\n 1 1.000 DT 1 0300 Rx - 1 00\n":  `x.log:2: the date "yesterday" is not understood`,
		";$FILEVERSION=2.1\n;$STARTTIME=1e9\n 1 1.000 DT 1 0300 Rx - 1 00\n":        `x.log:2: the date "1e9" is not understood`,
		";$FILEVERSION=2.1\n;$COLUMNS=N,O,T,B\n 1 1.000 DT 1 0300 Rx - 1 00\n":      "x.log:2: columns N,O,T,B, expected O, I and D among them",
		";   Start time: 45660 days, 8:30:00\n     1)      1841      0001  1  7F\n": `x.log:1: the date "45660 days, 8:30:00" is not understood`,
	} {
		r, err := drive.NewReader("x.log", strings.NewReader(text))
		if err == nil {
			_, err = readAll(t, r)
		}
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// TestGVRET reads both versions of SavvyCAN's own form.
func TestGVRET(t *testing.T) {
	const header = "Time Stamp,ID,Extended,Dir,Bus,LEN,D1,D2,D3,D4,D5,D6,D7,D8\n"
	for _, c := range []struct{ name, text, want, problems string }{
		{"with directions", header + "166064000,0000021A,false,Rx,0,8,FE,36,12,FE,69,05,07,AD,\n1700000000000001,18FEF100,true,Tx,1,1,7F,\n166064002,0000021A,false,Rx,0,0,\n",
			"(166.064000) can0 21A#FE361 2FE690507AD\n(1700000000.000001) can1 18FEF100#7F\n(166.064002) can0 21A#\n", ""},
		{"first version", "Time Stamp,ID,Extended,Bus,LEN,D1,D2,D3,D4,D5,D6,D7,D8\r\n1000,0000021A,False,0,2,FE,36,\r\n", "(0.001000) can0 21A#FE36\n", ""},
		{"CAN FD, 0x and padding", header + "1000,0x0000021A,0,Rx,2,12,00,01,02,03,04,05,06,07,08,09,0A,0B\n1001,0x21A, true, Rx, 2, 1, 0x7F, 0x00\n",
			"(0.001000) can2 21A##0000102030405060708090A0B\n(0.001001) can2 0000021A#7F\n", ""},
		{"bad rows", header + "1000,21A,false,Rx,0,0\nsoon,21A,false,Rx,0,0\n1000,XYZ,false,Rx,0,0\n1000,21A,perhaps,Rx,0,0\n1000,18FEF100,false,Rx,0,0\n1000,21A,false,Rx,0,2,00\n",
			"(0.001000) can0 21A#\n", "x.log:3: column 1: expected a time in µs; x.log:4: column 6: expected an identifier in hexadecimal digits; " +
				"x.log:5: column 10: expected true or false for an identifier of 29 bits; x.log:6: column 15: expected true, as the identifier has more than 11 bits; " +
				"x.log:7: column 25: expected byte 2 of 2 of the data, in hexadecimal digits"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, r := read(t, c.text)
			want := strings.ReplaceAll(c.want, "1 2", "12")
			if text := shown(got); text != want || r.Format() != drive.GVRET {
				t.Errorf("got %s\n%swant\n%s", r.Format(), text, want)
			}
			if text := problems(r.Problems()); text != c.problems {
				t.Errorf("got\n%s\nwant\n%s", text, c.problems)
			}
		})
	}
}

// TestSavvyCANFlexible: its candump form of CAN FD frames.
func TestSavvyCANFlexible(t *testing.T) {
	got, r := read(t, "(0000001700.123456) vcan0 0C9#000102030405060708090A0B\n(0000001701.123456) vcan0 0C9#0001\n")
	if want := "(1700.123456) vcan0 0C9##0000102030405060708090A0B\n(1701.123456) vcan0 0C9#0001\n"; shown(got) != want || r.Counts().Bad != 0 {
		t.Errorf("got\n%s%s\nwant\n%s", shown(got), problems(r.Problems()), want)
	}
}

// TestStart: the first frame gets the start that was given, in every form.
func TestStart(t *testing.T) {
	start := time.Date(2025, 1, 6, 8, 30, 0, 0, time.UTC)
	for _, text := range []string{
		"(5.000000) can0 123#00\n(6.500000) can0 123#01\n(4.000000) can0 123#02\n",
		"base hex timestamps absolute\n-5.0 1 123 Rx d 1 00\n-3.5 1 123 Rx d 1 01\n-6.0 1 123 Rx d 1 02\n",
		"     1)      5000      0123  1  00\n     2)      6500      0123  1  01\n     3)      4000      0123  1  02\n",
		"Time Stamp,ID,Extended,Dir,Bus,LEN,D1\n5000000,123,false,Rx,0,1,00,\n6500000,123,false,Rx,0,1,01,\n4000000,123,false,Rx,0,1,02,\n",
	} {
		r, err := drive.Options{Start: start}.NewReader("x", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		got, err := readAll(t, r)
		if err != nil {
			t.Fatal(err)
		}
		if want := "(1736152200.000000) can0 123#00\n(1736152201.500000) can0 123#01\n(1736152199.000000) can0 123#02\n"; shown(got) != want {
			t.Errorf("got\n%swant\n%s", shown(got), want)
		}
	}
	_, r := read(t, "base hex timestamps absolute\n1.0 1 123 Rx d 1 00\n-3.5 1 123 Rx d 1 01\n")
	if text := problems(r.Problems()); text != "x.log:3: column 1: expected a time from 1970 to 2262" {
		t.Errorf("before the start of a log without a date: got %q", text)
	}
}

// FuzzForms checks that every frame read from any form could be on a bus and means the same in candump's form.
func FuzzForms(f *testing.F) {
	for _, c := range trcMessages {
		f.Add(c.text)
	}
	f.Add(" (1700000000.400000)  can1  TX B E  18FEF100  [12]  00 01 02 03 04 05 06 07 08 09 0A 0B\n (2024-01-06 08:30:00.1)  can0  0C9   [4]  remote request\n")
	f.Add("Time Stamp,ID,Extended,Dir,Bus,LEN,D1\n5000000,123,false,Rx,0,1,00,\n1,0x18FEF100,true,Tx,1,12,1,2,3,4,5,6,7,8,9,A,B,C\n")
	f.Add("date 2025年1月6日 上午 08:30:00 +01:00\n1.0 1 123 Rx d 0\n")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := drive.NewReader("f", strings.NewReader(text))
		if err != nil {
			return
		}
		frames, _ := readAll(t, r)
		c := r.Counts()
		if int(c.Frames)+c.Bad+c.Other != c.Lines || int(c.Frames) != len(frames) {
			t.Fatalf("got %+v and %d frames", c, len(frames))
		}
		for i := range frames {
			var again can.Frame
			line := can.AppendCandump(nil, frames[i].Bus, &frames[i].Frame)
			if bus, err := can.ParseCandump(line, &again); err != nil || again != frames[i].Frame || string(bus) != frames[i].Bus {
				t.Fatalf("%s: got %+v, %v, want %+v", line, again, err, frames[i].Frame)
			}
		}
	})
}
