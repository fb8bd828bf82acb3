package drive_test

import (
	"strings"
	"testing"
	"time"

	"telltale.dev/protocol/can"
	"telltale.dev/simulator/drive"
)

// shown is how a test writes down a frame: in candump's form.
func shown(frames []drive.Recorded) string {
	var text strings.Builder
	for i := range frames {
		text.Write(can.AppendCandump(nil, frames[i].Bus, &frames[i].Frame))
		text.WriteByte('\n')
	}
	return text.String()
}

// problems joins what was found in the lines of a log.
func problems(list []drive.Problem) string {
	var text []string
	for _, p := range list {
		text = append(text, p.String())
	}
	return strings.Join(text, "; ")
}

// TestASCBlocks: the times of a block count from its own date.
func TestASCBlocks(t *testing.T) {
	const lines = "base hex  timestamps absolute\ninternal events logged\n"
	for _, c := range []struct{ name, text, want, warnings string }{
		{"the header is the day of a conversion", "date Tue Jun 9 14:02:11.20 2026\n" + lines +
			"Begin Triggerblock Sun Feb 2 08:30:00.0 2025\n 0.000000 Start of measurement\n 0.000000 1 2A0 Rx d 1 11\n 1.500000 1 2A0 Rx d 1 12\nEnd TriggerBlock\n",
			"(1738485000.000000) can0 2A0#11\n(1738485001.500000) can0 2A0#12\n",
			"x.log:4: the times count from the block's date 2025-02-02 08:30:00; the header has another, 2026-06-09 14:02:11"},
		{"two blocks", "date Mon Jan 6 08:30:00.000 am 2025\n" + lines +
			"Begin Triggerblock Mon Jan 6 08:30:00.000 am 2025\n 0.0 1 2A0 Rx d 1 01\n 5.0 1 2A0 Rx d 1 02\nEnd TriggerBlock\n" +
			"Begin Triggerblock Mon Jan 6 09:30:00.000 am 2025\n 0.0 1 2A0 Rx d 1 03\n 5.0 1 2A0 Rx d 1 04\nEnd TriggerBlock\n",
			"(1736152200.000000) can0 2A0#01\n(1736152205.000000) can0 2A0#02\n(1736155800.000000) can0 2A0#03\n(1736155805.000000) can0 2A0#04\n", ""},
		{"relative times start again in each block", "date Mon Jan 6 08:30:00.000 am 2025\nbase dec  timestamps relative\n" +
			"Begin Triggerblock Mon Jan 6 08:30:00.000 am 2025\n 1.0 1 672 Rx d 1 10\n 1.0 1 672 Rx d 1 11\nEnd TriggerBlock\n" +
			"Begin Triggerblock Mon Jan 6 09:30:00.000 am 2025\n 1.0 1 672 Rx d 1 12\n 1.0 1 Statistic: D 0\n 1.0 1 672 Rx d 1 13\nEnd TriggerBlock\n",
			"(1736152201.000000) can0 2A0#0A\n(1736152202.000000) can0 2A0#0B\n(1736155801.000000) can0 2A0#0C\n(1736155803.000000) can0 2A0#0D\n", ""},
		{"a block without a date has the header's", "date Mon Jan 6 08:30:00.000 am 2025\n" + lines +
			"Begin Triggerblock Mon Jan 6 09:30:00.000 am 2025\n 0.0 1 2A0 Rx d 1 01\nEnd TriggerBlock\nBegin TriggerBlock\n 7200.0 1 2A0 Rx d 1 02\nEnd TriggerBlock\n",
			"(1736155800.000000) can0 2A0#01\n(1736159400.000000) can0 2A0#02\n", ""},
		{"no date at all", lines + "Begin TriggerBlock\n 1.0 1 2A0 Rx d 1 01\n", "(1.000000) can0 2A0#01\n", ""},
		{"a header that nobody understands does no harm where the block has a date", "date xyz uvw 6 08:30:00 2025\n" + lines +
			"Begin Triggerblock Mon Jan 6 08:30:00 2025\n 1.0 1 2A0 Rx d 1 01\n", "(1736152201.000000) can0 2A0#01\n", ""},
		{"before the trigger", "date Mon Jan 6 08:30:00.000 am 2025\n" + lines + "-0.500000 1 2A0 Rx d 1 01\n 0.25 1 2A0 Rx d 1 02\n",
			"(1736152199.500000) can0 2A0#01\n(1736152200.250000) can0 2A0#02\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, r := read(t, c.text)
			if text := shown(got); text != c.want {
				t.Errorf("got\n%swant\n%s", text, c.want)
			}
			if text := problems(r.Warnings()); text != c.warnings {
				t.Errorf("got warning %q, want %q", text, c.warnings)
			}
		})
	}
}

// TestASCNames: ID = tells the identifier of a line with a name, always in
// decimal digits; without it a word of hexadecimal letters is a number, until names have been seen.
func TestASCNames(t *testing.T) {
	const tail = "  Length = 124000 BitCount = 66 ID = "
	for _, c := range []struct{ name, text, want, problems string }{
		{"names", "base hex  timestamps absolute\n0.01 1 Pump_Status Rx d 2 11 22" + tail + "672\n0.02 1 2A1 Rx d 2 11 22" + tail + "673\n0.03 1 DC Rx d 2 11 22" + tail +
			"674\n0.04 1 Fan_Command Rx d 1 11" + tail + "218103809x\n0.05 1 A1 Tx r 8" + tail + "675\n0.06 CANFD 1 B1 Rx 1 0 d 1 1 11" + tail + "676\n",
			"(0.010000) can0 2A0#1122\n(0.020000) can0 2A1#1122\n(0.030000) can0 2A2#1122\n(0.040000) can0 0D000001#11\n(0.050000) can0 2A3#R8\n(0.060000) can0 2A4##111\n", ""},
		{"decimal", "base dec  timestamps absolute\n0.01 1 Pump_Status Rx d 2 11 22" + tail + "672\n0.02 1 673 Rx d 2 11 22" + tail + "673\n0.03 1 DC Rx d 1 10 ID=674\n",
			"(0.010000) can0 2A0#0B16\n(0.020000) can0 2A1#0B16\n(0.030000) can0 2A2#0A\n", ""},
		{"letters that are a number", "base hex  timestamps absolute\n0.01 1 C9 Rx d 0\n0.02 1 DC Rx d 0\n0.03 1 dc Rx d 0" + tail + "220\n0.04 1 FF Rx d 0\n",
			"(0.010000) can0 0C9#\n(0.020000) can0 0DC#\n(0.030000) can0 0DC#\n(0.040000) can0 0FF#\n", ""},
		{"nobody knows", "base hex  timestamps absolute\n0.01 1 Pump Rx d 0" + tail + "672\n0.02 1 DC Rx d 0\n0.03 1 Pump Rx d 0" + tail + "0x2A0\n0.04 CANFD 1 Rx DC 1 0 1 1 11\n0.05 CANFD 1 Rx Pump 1 0 1 1 11\n0.06 1 0DC Rx d 0\n",
			"(0.010000) can0 2A0#\n(0.060000) can0 0DC#\n",
			"x.log:3: column 8: expected an identifier that starts with a digit, or ID = behind the data, as names have stood in this column; " +
				"x.log:4: column 56: expected an identifier in decimal digits, with x behind it if it has 29 bits; " +
				"x.log:5: column 17: expected an identifier that starts with a digit, or ID = behind the data, as names have stood in this column; " +
				"x.log:6: column 17: expected an identifier that starts with a digit, or ID = behind the data, as names have stood in this column"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, r := read(t, c.text)
			if text := shown(got); text != c.want {
				t.Errorf("got\n%swant\n%s", text, c.want)
			}
			if text := problems(r.Problems()); text != c.problems {
				t.Errorf("got\n%s\nwant\n%s", text, c.problems)
			}
		})
	}
}

// TestASCForms: lines of other programs and versions; none of them is a bad line.
func TestASCForms(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"CAN FD before version 8.1", "base hex  timestamps absolute\n// version 7.6.0\n" +
			"0.01 CANFD 1  2A0 Rx   1 0 d 2 2 11 22  Length = 209000 BitCount = 128 ID = 672\n" +
			"0.02 CANFD 1  D000001x Rx   0 1 d 9 12 11 22 33 44 55 66 77 88 99 AA BB CC  Length = 278000 BitCount = 140 ID = 218103809x\n" +
			"0.03 CANFD 2  2A1 Tx   1 0 r 8  Length = 138000 BitCount = 57 ID = 673\n0.04 CANFD 2  2A1 TxRq   1 0 d 0 0\n0.05 CANFD 1 ErrorFrame\n",
			"(0.010000) can0 2A0##11122\n(0.020000) can0 0D000001##2112233445566778899AABBCC\n(0.030000) can1 2A1#R8\n(0.050000) can0 20000080#0000000000000000\n"},
		{"remote frames among CAN FD", "base hex  timestamps absolute\n0.1 CANFD 2 Rx 123  Name 0 0 5 0   140000  73   200010 7a60\n0.2 CANFD 1 Rx C9 0 0 0 0 0 0 1000 0\n0.3 1 C9 Rx r 8\n0.4 1 C9 Rx r\n",
			"(0.100000) can1 123#R5\n(0.200000) can0 0C9##0\n(0.300000) can0 0C9#R8\n(0.400000) can0 0C9#R\n"},
		{"neither frames nor faults", "date Mon Jan 6 08:30:00.000 am 2025\nbase hex  timestamps absolute\nno internal events logged\n// version 9.0.0\n// Measurement UUID: 9e029d63\n" +
			"Begin Triggerblock Mon Jan 6 08:30:00.000 am 2025\n 0.000000 Start of measurement\n 0.000000 CANFD   Start of measurement\n 0.000000 CANFD Status:chip status error active\n" +
			" 0.015991 CAN 1 Status:chip status error passive - TxErr: 132 RxErr: 0\n 1.0 1  Statistic: D 0 R 0 XD 0 XR 0 E 0 O 0 B 0.00%\n 1.0 1  J1939TP FEE3p 6 0 0 - Rx d 23 A0\n" +
			" 1.0 1  OverloadFrame\n 1.0 L1 3C Rx 8 00 01\n 1.0 Li Wake up\n 1.0 Fr RMSG  0 0 1 1 5 0 Rx 0 1\n 1.0 ETH 1 Rx 6c:006008\n 1.0 // comment\n 1.0 SV: 3 0 1 ::x = 1\n" +
			" 1.0 log trigger event\n 1.0 TriggerEvent: 7\n 1.0 WLAN 1 Rx 3:\n 1.5 1  2A0             Rx   d 1 11\nEnd TriggerBlock\n",
			"(1736152201.500000) can0 2A0#11\n"},
		{"BUSMASTER", "date Mon Jan 6 08:30:00 am 2025\nbase hex  no internal events logged\n// version 7.1.0\n30600.500000 1 2A0 Rx d 2 11 22 \n30601.500000 1 0D000001x Rx d 2 11 22 \nEnd TriggerBlock\n",
			"(1736182800.500000) can0 2A0#1122\n(1736182801.500000) can0 0D000001#1122\n"},
		{"SavvyCAN", "date Wed, 08 Nov 2023 21:19:34 GMT\nbase hex  timestamps absolute\ninternal events logged\n0.001 1 2A0 Rx d 1 00\n0.002 0 2A1 Rx d 12 00 01 02 03 04 05 06 07 08 09 0A 0B\n0.003 0 2A1x Tx d 1 07\n",
			"(1699478374.001000) can1 2A0#00\n(1699478374.002000) can0 2A1##0000102030405060708090A0B\n(1699478374.003000) can0 000002A1#07\n"},
		{"data length codes above 8", "base hex timestamps absolute\n0.1 1 2A0 Rx d C 00 01 02 03 04 05 06 07 Length = 1\n0.2 1 2A0 Rx d 12 00 01 02 03 04 05 06 07 Length = 1\n0.3 1 2A0 Rx d 16" + strings.Repeat(" 7F", 16) + "\n0.4 1 2A0 Rx d 64" + strings.Repeat(" 01", 64) + " Length = 1\n",
			"(0.100000) can0 2A0#0001020304050607\n(0.200000) can0 2A0#0001020304050607\n(0.300000) can0 2A0##0" + strings.Repeat("7F", 16) + "\n(0.400000) can0 2A0##0" + strings.Repeat("01", 64) + "\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, r := read(t, c.text)
			if text := shown(got); text != c.want || r.Counts().Bad != 0 {
				t.Errorf("got\n%s%s\nwant\n%s", text, problems(r.Problems()), c.want)
			}
		})
	}
}

// TestDateWords: dates in the languages and forms in which they are found.
func TestDateWords(t *testing.T) {
	months := []string{
		1:  "lun gen 6 08:30:00.250 2025; lun ene 6 08:30:00.250 2025; seg jan 6 08:30:00.250 2025; ma jan 6 08:30:00.250 2025; ti tammi 6 08:30:00.250 2025; pon sty 6 08:30:00.250 2025; Pzt Oca 6 08:30:00.250 2025",
		2:  "gio feb 6 08:30:00.250 2025; qui fev 6 08:30:00.250 2025; qui Fev. 06 08:30:00.250 2025",
		3:  "gio mar 6 08:30:00.250 2025; do mrt 6 08:30:00.250 2025; tor mars 6 08:30:00.250 2025; qui março 6 08:30:00.250 2025; Do M\xe4r 6 08:30:00.250 2025",
		4:  "mar abr 6 08:30:00.250 2025; mar apr 6 08:30:00.250 2025; dim. avr. 6 08:30:00.250 2025",
		5:  "ma mei 6 08:30:00.250 2025; mar mag 6 08:30:00.250 2025; tis maj 6 08:30:00.250 2025; ter mai 6 08:30:00.250 2025; mar may 6 08:30:00.250 2025",
		6:  "ven giu 6 08:30:00.250 2025; vr jun 6 08:30:00.250 2025; fre juni 6 08:30:00.250 2025; ven. juin 6 08:30:00.250 2025",
		7:  "dom lug 6 08:30:00.250 2025; dim. juil. 6 08:30:00.250 2025",
		8:  "mer ago 6 08:30:00.250 2025; ons aug 6 08:30:00.250 2025; mer. ao\xfbt 6 08:30:00.250 2025",
		9:  "sab set 6 08:30:00.250 2025; s\xe1b sept 6 08:30:00.250 2025; Sa Sep 6 08:30:00.250 2025",
		10: "lun ott 6 08:30:00.250 2025; seg out 6 08:30:00.250 2025; mån okt 6 08:30:00.250 2025; lun oct 6 08:30:00.250 2025",
		11: "ven nov 6 08:30:00.250 2025; to marras 6 08:30:00.250 2025",
		12: "sab dic 6 08:30:00.250 2025; s\xe1b dez 6 08:30:00.250 2025; lør des 6 08:30:00.250 2025; so. grudnia 6 08:30:00.250 2025",
	}
	months[1] += "; 2025-01-06 08:30:00.250; 2025-01-06T08:30:00.250Z; 2025-01-06T09:30:00.250+01:00; 2025/01/06 08:30:00.25; 06.01.2025 08:30:00.250; 6.1.2025 8:30:00.250 am" +
		"; Mon, 06 Jan 2025 08:30:00.250 GMT; Mon, 06 Jan 2025 03:30:00.250 -0500; 6 de enero de 2025 08:30:00.250" +
		"; 周一 1月 6 08:30:00.250 2025; 星期一 一月 6 08:30:00.250 上午 2025; 2025年1月6日 08:30:00.250; 월 1월 6 오전 08:30:00.250 2025; \xd6\xdc\xd2\xbb 1\xd4\xc2 6 08:30:00.250 2025; \xd6\xdc\xd2\xbb \xd2\xbb\xd4\xc2 6 08:30:00.250 2025; 06.01.2025 08:30:00.250.0"
	for month, list := range months {
		for _, words := range strings.Split(list, "; ") {
			if words == "" {
				continue
			}
			got, r := read(t, "date "+words+"\nbase hex  timestamps absolute\n0.0 1 2A0 Rx d 1 11\n")
			want := time.Date(2025, time.Month(month), 6, 8, 30, 0, 250_000_000, time.UTC)
			if len(got) != 1 || !got[0].At().Equal(want) || r.Counts().Bad != 0 {
				t.Errorf("%q: got %v, want %v", words, got[0].At(), want)
			}
		}
	}
}

// TestDatesNobodyKnows: a log whose date is not understood is refused, with the words, unless its start is given.
func TestDatesNobodyKnows(t *testing.T) {
	start := time.Date(2025, 1, 6, 8, 30, 0, 0, time.UTC)
	for _, words := range []string{
		"lun xyz 6 08:30:00 2025", "01/06/2025 08:30:00", "Mon 01 06 08:30:00 2025", "pon lip 6 08:30:00 2025", "Mon Jan 32 08:30:00 2025", "Mon Feb 30 08:30:00 2025",
		"Mon Jan 6 25:30:00 2025", "Mon Jan 6 08:30:00 CEST 2025", "Mon Jan 6 2025", "Jan 6 08:30:00", "6.1.25 08:30:00", "gibberish", "2025-13-06 08:30:00", "45660 days, 8:30:00",
	} {
		text := "date " + words + "\nbase hex  timestamps absolute\n1.5 1 2A0 Rx d 1 11\n2.0 1 2A0 Rx d 1 12\n"
		r, err := drive.NewReader("x.asc", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		got, err := readAll(t, r)
		if len(got) != 0 || err == nil || !strings.HasPrefix(err.Error(), `x.asc:1: the date "`+words+`" is not understood`) || !strings.Contains(err.Error(), "--start") {
			t.Errorf("%q: got %d frames and %v", words, len(got), err)
		}
		r, err = drive.Options{Start: start}.NewReader("x.asc", strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		got, err = readAll(t, r)
		if err != nil || len(got) != 2 || !got[0].At().Equal(start) || !got[1].At().Equal(start.Add(500*time.Millisecond)) || r.Counts().Bad != 0 {
			t.Errorf("%q with a start: got %d frames, %v, %s", words, len(got), err, problems(r.Problems()))
		}
	}
}

// TestStartOfTheFirstBlock: a given start says nothing about a second block whose date is not understood.
func TestStartOfTheFirstBlock(t *testing.T) {
	text := "base hex  timestamps absolute\nBegin Triggerblock lun xyz 6 08:30:00 2025\n1.0 1 2A0 Rx d 1 11\nBegin Triggerblock lun xyz 6 09:30:00 2025\n1.0 1 2A0 Rx d 1 12\n"
	r, err := drive.Options{Start: time.Unix(1736152200, 0)}.NewReader("x.asc", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	got, err := readAll(t, r)
	if len(got) != 1 || err == nil || !strings.HasPrefix(err.Error(), `x.asc:4: nobody knows how long after "lun xyz 6 08:30:00 2025"`) {
		t.Errorf("got %d frames and %v", len(got), err)
	}
}
