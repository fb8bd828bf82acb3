package dbc_test

// forms are texts as real files hold them, and the outline of the file.
var forms = []struct{ name, text, want string }{
	{"plain", "BO_ 1 A: 8 X\n SG_ S : 0|8@1+ (1,0) [0|255] \"km/h\" X,Y\n", "1 A 8; S 0|8@1+(1,0)km/h\n"},
	{"tight", "BO_ 1 A:8 X\nSG_ S:7|8@0-(0.5,-40)[0|0]\"\"X", "1 A 8; S 7|8@0-(0.5,-40)\n"},
	{"loose", "BO_ 1  A : 8 X\n\tSG_ S  : 0 | 8 @ 1 + ( 1 , 0 ) [ 0 | 1 ] \"\"  X , Y ;\n", "1 A 8; S 0|8@1+(1,0)\n"},
	{"one line", `VERSION "" NS_: BS_: BU_: A B BO_ 1 A: 8 X SG_ S : 0|8@1+ (1,0) [0|1] "" X`, "1 A 8; S 0|8@1+(1,0)\n"},
	{"no transmitter, no receiver", "BO_ 1 A: 8\n SG_ S : 0|8@1+ (1,0) [0|1] \"\"\n SG_ T : 8|8@1+ (1,0) [0|1] \"\"\n",
		"1 A 8; S 0|8@1+(1,0); T 8|8@1+(1,0)\n"},
	{"extended identifier", "BO_ 2566834709 A: 8 X", "98FECA15 A 8\n"},
	{"hexadecimal identifier", "BO_ 0x98FEF215 A: 8 X", "98FEF215 A 8\n"},
	{"message without data", "BO_ 1 A: 0 X", "1 A 0\n"},
	{"numbers", "BO_ 1 A: 8 X\n SG_ S : 0|8@1+ (1E-05,-.5) [-1e3|+1.] \"\" X", "1 A 8; S 0|8@1+(1E-05,-.5)\n"},
	{"decimal comma", "BO_ 1 A: 8 X\n SG_ S : 0|8@1+ (0,1,-40,0) [0,0|25,5] \"\" X", "1 A 8; S 0|8@1+(0.1,-40.0)\n"},
	{"CR", "BO_ 1 A: 8 X\r SG_ S : 0|8@1+ (1,0) [0|1] \"\" X\r", "1 A 8; S 0|8@1+(1,0)\n"},
	{"CRLF and mark", "\xEF\xBB\xBFBO_ 1 A: 8 X\r\n SG_ S : 0|8@1+ (1,0) [0|1] \"°C\" X\r\n", "1 A 8; S 0|8@1+(1,0)°C\n"},
	{"Windows-1252", "BO_ 1 A: 8 X\n SG_ S : 0|8@1+ (1,0) [0|1] \"\xB0C \x80 \xB5\" X", "1 A 8; S 0|8@1+(1,0)°C € µ\n"},
	{"mixed encodings", "BO_ 1 A: 8 X\n SG_ S : 0|8@1+ (1,0) [0|1] \"°\" X\n SG_ T : 8|8@1+ (1,0) [0|1] \"\xB0\" X",
		"1 A 8; S 0|8@1+(1,0)°; T 8|8@1+(1,0)°\n"},
	{"UTF-16", "\xFF\xFEB\x00O\x00_\x00 \x001\x00 \x00A\x00:\x008\x00", "1 A 8\n"},
	{"names with minus and dot", "BO_ 1 A-B.c: 8 X\n SG_ S-1.x : 0|8@1+ (1,0) [0|1] \"\" X\nVAL_ 1 S-1.x 0 \"off\" ;",
		"1 A-B.c 8; S-1.x 0|8@1+(1,0) [{0 off}]\n"},
	{"list of new symbols", "NS_ :\n\tNS_DESC_\n\tCM_\n\tBO_\n\tVERSION\n\nBS_:\n\nBU_:\n\nBO_ 1 A: 8 X", "1 A 8\n"},
	{"comments of the C kind", "// a\nBO_ 1 A: 8 X // b\n // SG_ S\n", "1 A 8\n"},
	{"pseudo message", "BO_ 3221225472 VECTOR__INDEPENDENT_SIG_MSG: 0 X\n SG_ S : 0|8@1+ (1,0) [0|1] \"\" X\nVAL_ 3221225472 S 1 \"a\";\nBO_ 1 A: 8 X", "1 A 8\n"},
	{"ignored", "BU_: A B\nBO_TX_BU_ 1 : A,B;\nEV_ E: 0 [0|1] \"\" 0 2 DUMMY_NODE_VECTOR0 A;\nENVVAR_DATA_ E: 5;\nSGTYPE_ T : 8@1+ (1,0) [0|1] \"\" 0;\n" +
		"SIG_GROUP_ 1 G 1 : S;\nBA_DEF_REL_ BU_SG_REL_ \"a-b\" INT 0 1;\nBA_REL_ \"a-b\" BU_SG_REL_ A SG_ 1 S 5;\nBA_DEF_DEF_REL_ \"a-b\" 0;\n" +
		"VAL_ E 0 \"x\";\nBA_ \"n\" BU_ A 1;\nBA_ \"e\" EV_ E 1;\nBA_ \"net\" \"x\";\nCM_ BU_ A \"c\";\nCM_ EV_ E \"c\";\nCM_ \"c\";\nCAT_DEF_ 1 c 2;\nFILTER 1;\nBO_ 1 A: 8 X", "1 A 8\n"},
	{"value table", "VAL_TABLE_ T 1 \"on\" 0 \"off\" ;\nBO_ 1 A: 8 X\n SG_ S : 0|8@1- (1,0) [0|1] \"\" X\n SG_ T : 8|8@1- (1,0) [0|1] \"\" X\n" +
		"VAL_ 1 S T ;\nVAL_ 1 T 3 \"c\" -1 \"a\" 0x2 \"b\" 3.0 \"d\" 18446744073709551615 \"e\";",
		"1 A 8; S 0|8@1-(1,0) [{0 off} {1 on}]; T 8|8@1-(1,0) [{-1 e} {2 b} {3 d}]\n"},
	{"floats", "BO_ 1 A: 12 X\n SG_ S : 0|32@1- (1,0) [0|1] \"\" X\n SG_ T : 32|64@1- (1,0) [0|1] \"\" X\nSIG_VALTYPE_ 1 S : 1;\nSIG_VALTYPE_ 1 T 2;",
		"1 A 12 fd; S 0|32@1-(1,0) float32; T 32|64@1-(1,0) float64\n"},
	{"simple multiplexing", "BO_ 1 A: 8 X\n SG_ M M : 0|8@1+ (1,0) [0|1] \"\" X\n SG_ S m0 : 8|8@1+ (1,0) [0|1] \"\" X\n SG_ T m0x1F: 8|8@1+ (1,0) [0|1] \"\" X",
		"1 A 8; M 0|8@1+(1,0) M; S 8|8@1+(1,0) M[[0 0]]; T 8|8@1+(1,0) M[[31 31]]\n"},
	{"extended multiplexing", "BO_ 1 A: 8 X\n SG_ M M : 0|8@1+ (1,0) [0|1] \"\" X\n SG_ N m0M : 8|8@1+ (1,0) [0|1] \"\" X\n SG_ S m3 : 16|8@1+ (1,0) [0|1] \"\" X\n" +
		"SG_MUL_VAL_ 1 N M 0-0, 2-2;\nSG_MUL_VAL_ 1 S N 5-9, 3 - 4, 12-12, 10-10;",
		"1 A 8; M 0|8@1+(1,0) M; N 8|8@1+(1,0) M M[[0 0] [2 2]]; S 16|8@1+(1,0) N[[3 10] [12 12]]\n"},
	{"ranges", "BO_ 1 A: 8 X\n SG_ M M : 0|8@1+ (1,0) [0|1] \"\" X\n SG_ S m1 : 8|8@1+ (1,0) [0|1] \"\" X\n SG_ T m2 : 8|8@1+ (1,0) [0|1] \"\" X\n" +
		"SG_MUL_VAL_ 1 S M 1-1,5-9,7 -12;\nSG_MUL_VAL_ 1 T M 0x10 - 0x1F,40-18446744073709551615;",
		"1 A 8; M 0|8@1+(1,0) M; S 8|8@1+(1,0) M[[1 1] [5 12]]; T 8|8@1+(1,0) M[[16 31] [40 9223372036854775807]]\n"},
	{"attributes", "BO_ 2566834709 A: 8 X\n SG_ S : 0|8@1+ (1,0) [0|1] \"\" X\nBO_ 1 B: 8 X\nBA_DEF_ BO_ \"VFrameFormat\" ENUM \"StandardCAN\",\"ExtendedCAN\",\"J1939PG\",\"StandardCAN_FD\";\n" +
		"BA_DEF_ BO_ \"GenMsgCycleTime\" INT 0 10000;\nBA_DEF_DEF_ \"VFrameFormat\" \"StandardCAN_FD\";\nBA_DEF_DEF_ \"GenMsgCycleTime\" 20;\n" +
		"BA_ \"VFrameFormat\" BO_ 2566834709 2;\nBA_ \"GenMsgCycleTime\" BO_ 2566834709 100;\nBA_ \"SPN\" SG_ 2566834709 S 190;",
		"98FECA15 A 8 j1939 100ms; S 0|8@1+(1,0) spn190\n1 B 8 fd 20ms\n"},
	{"long names", "BO_ 1 A: 8 X\n SG_ M M : 0|8@1+ (1,0) [0|1] \"\" X\n SG_ S m1 : 8|8@1+ (1,0) [0|1] \"\" X\nBA_ \"SystemMessageLongSymbol\" BO_ 1 \"Long_A\";\n" +
		"BA_ \"SystemSignalLongSymbol\" SG_ 1 M \"Long M\";\nVAL_ 1 M 0 \"x\";", "1 Long_A 8; Long M 0|8@1+(1,0) M [{0 x}]; S 8|8@1+(1,0) Long M[[1 1]]\n"},
	{"text before its message", "CM_ SG_ 1 S \"c\";\nVAL_ 1 S 0 \"x\";\nBO_ 1 A: 8 X\n SG_ S : 0|8@1+ (1,0) [0|1] \"\" X", "1 A 8; S 0|8@1+(1,0) [{0 x}]\n"},
	{"statement over lines", "BO_ 1 A: 8 X\n SG_ S : 0|8@1+ (1,0) [0|1] \"\"\n X,\n Y\nVAL_ 1 S 0 \"x\"\n 1 \"y\"\n;\nCM_\nSG_ 1 S\n\"c\";", "1 A 8; S 0|8@1+(1,0) [{0 x} {1 y}]\n"},
	{"missing semicolon", "BO_ 1 A: 8 X\n SG_ S : 0|8@1+ (1,0) [0|1] \"\" X\nVAL_ 1 S 0 \"x\"\nCM_ SG_ 1 S \"c\"\nBO_ 2 B: 1 X", "1 A 8; S 0|8@1+(1,0) [{0 x}]\n2 B 1\n"},
	{"quotes in quotes", "BO_ 1 A: 8 X\n SG_ S : 0|8@1+ (1,0) [0|1] \"\" X\nCM_ \"C:\\\";\nVAL_ 1 S 0 \"say \\\"x\\\"\" ;", "1 A 8; S 0|8@1+(1,0) [{0 say \"x\"}]\n"},
}

// The text of each fault stands between these, and rest is the outline of what follows it.
const before = "BO_ 1 A: 8 X\n" // line 1
const after = "\nBO_ 2 B: 8 X\n SG_ T : 0|8@1+ (1,0) [0|1] \"\" X\n"
const rest = "2 B 8; T 0|8@1+(1,0)\n"

// faults are statements with errors, the outline of what is used of them, and the problems.
var faults = []struct {
	name, text, want string
	problems         []string
}{
	{"unknown statement", "FOO_ 1 2;", "1 A 8\n", []string{`2: expected a statement such as BO_, SG_ or VAL_, found "FOO_" skipped`}},
	{"start", `SG_ S : x|8@1+ (1,0) [0|1] "" X`, "1 A 8\n", []string{`2: expected a start bit from 0 to 14279, found "x" skipped`}},
	{"far start", `SG_ S : 99999|8@1+ (1,0) [0|1] "" X`, "1 A 8\n", []string{`2: expected a start bit from 0 to 14279, found "99999" skipped`}},
	{"negative start", `SG_ S : -1|8@1+ (1,0) [0|1] "" X`, "1 A 8\n", []string{`2: expected a start bit from 0 to 14279, found "-1" skipped`}},
	{"no length", `SG_ S : 0|0@1+ (1,0) [0|1] "" X`, "1 A 8\n", []string{`2: expected a signal length in bits from 1 to 14280, found "0" skipped`}},
	{"long", "SG_ S : 0|65@1+ (1,0) [0|1] \"\" X", "1 A 8; S 0|65@1+(1,0)\n", []string{
		`2: expected signal "S" within the 8 bytes of message "A", found 9; it is decoded from frames that are long enough`,
		`2: expected at most 64 bits in signal "S" of message "A", found 65; it is not decoded`}},
	{"much too long", `SG_ S : 0|99999@1+ (1,0) [0|1] "" X`, "1 A 8\n", []string{`2: expected a signal length in bits from 1 to 14280, found "99999" skipped`}},
	{"order", `SG_ S : 0|8@2+ (1,0) [0|1] "" X`, "1 A 8\n", []string{`2: expected a byte order and sign such as 1+ or 0-, found "2+" skipped`}},
	{"not a number", `SG_ S : 0|8@1+ (nan,0) [0|1] "" X`, "1 A 8\n", []string{`2: expected a factor and an offset, two finite decimal numbers, found "(nan,0)" skipped`}},
	{"infinite", `SG_ S : 0|8@1+ (1,1e999) [0|1] "" X`, "1 A 8\n", []string{`2: expected a factor and an offset, two finite decimal numbers, found "(1,1e999)" skipped`}},
	{"ambiguous commas", `SG_ S : 0|8@1+ (0,1,0) [0|1] "" X`, "1 A 8\n", []string{`2: expected a factor and an offset, two finite decimal numbers, found "(0,1,0)" skipped`}},
	{"open bracket", `SG_ S : 0|8@1+ (1,0 [0|1] "" X`, "1 A 8\n", []string{`2: expected a closing ) behind the factor and offset skipped`}},
	{"limits", `SG_ S : 0|8@1+ (1,0) [a|1.#INF] "" X`, "1 A 8; S 0|8@1+(1,0)\n", []string{`2: expected a minimum and a maximum, two finite decimal numbers, found "[a|1.#INF]"; none is assumed`}},
	{"no unit", `SG_ S : 0|8@1+ (1,0) [0|1] X`, "1 A 8\n", []string{`2: expected a unit in quotes, found "X" skipped`}},
	{"name with a blank", `SG_ My S : 0|8@1+ (1,0) [0|1] "" X`, "1 A 8\n", []string{`2: expected ":" or a multiplexing indicator such as M, m3 or m3M, found "S" skipped`}},
	{"cut off", "SG_ S : 0|8@1+", "1 A 8\n", []string{`3: expected the factor and offset in (), found "BO_" skipped`}},
	{"beyond the message", `SG_ S : 60|8@1+ (1,0) [0|1] "" X`, "1 A 8; S 60|8@1+(1,0)\n", []string{`2: expected signal "S" within the 8 bytes of message "A", found 9; it is decoded from frames that are long enough`}},
	{"duplicate signal", "SG_ S : 0|8@1+ (1,0) [0|1] \"\" X\n SG_ S : 8|8@1+ (1,0) [0|1] \"\" X", "1 A 8; S@0 0|8@1+(1,0); S@8 8|8@1+(1,0)\n",
		[]string{`3: expected each signal name once in message "A", found "S" again; both are decoded`}},
	{"message identifier", "BO_ x C: 8 X\n SG_ S : 0|8@1+ (1,0) [0|1] \"\" X", "1 A 8\n", []string{`2: expected a message identifier from 0 to 4294967295, found "x" skipped`}},
	{"message without length", "BO_ 3 C: X\n SG_ S : 0|8@1+ (1,0) [0|1] \"\" X\nCM_ SG_ 3 S \"c\";", "1 A 8\n", []string{`2: expected a message length in bytes from 0 to 2147483647, found "X" skipped`}},
	{"too large for 11 bits", "BO_ 2048 C: 8 X", "1 A 8\n80000800 C 8\n", []string{`2: expected bit 31 set in an identifier above 0x7FF, found 0x800; message "C" is taken as extended`}},
	{"too large for 29 bits", "BO_ 4294967295 C: 8 X", "1 A 8\nFFFFFFFF C 8\n", []string{`2: expected an identifier of at most 29 bits and bit 31, found 4294967295; message "C" matches no frame`}},
	{"open quote", "CM_ \"never closed;\nSG_ S : 0|8@1+ (1,0) [0|1] \"m\" X", "1 A 8; S 0|8@1+(1,0)m\n",
		[]string{`2: expected ";" behind a text over several lines, found "m" skipped`}},
	{"junk behind a statement", "VAL_ 1 S 0 \"a\" ] 5;", "1 A 8\n", []string{`2: expected a raw value, found "]" skipped`}},
	{"text of nothing", `CM_ SG_ 1 S "c";`, "1 A 8\n", []string{`2: expected a signal of message "A" behind CM_, found "S"`}},
	{"values of nothing", `VAL_ 9 S 0 "c";`, "1 A 8\n", []string{`2: expected an identifier of a message of this file behind VAL_, found 9`}},
	{"unknown table", "SG_ S : 0|8@1+ (1,0) [0|1] \"\" X\nVAL_ 1 S T;", "1 A 8; S 0|8@1+(1,0)\n", []string{`3: expected raw values with texts or the name of a VAL_TABLE_, found "T" skipped`}},
	{"float of 8 bits", "SG_ S : 0|8@1+ (1,0) [0|1] \"\" X\nSIG_VALTYPE_ 1 S : 1;", "1 A 8\n",
		[]string{`3: expected value type 1 for a signal of 32 bits or 2 for one of 64, found 1 for the 8 bits of "S"; signal "S" is not decoded skipped`}},
	{"multiplexed by nothing", `SG_ S m0 : 0|8@1+ (1,0) [0|1] "" X`, "1 A 8\n", []string{`2: expected a multiplexor (M) in message "A" for signal "S", found none skipped`}},
	{"multiplexed by itself", "SG_ S m0M : 0|8@1+ (1,0) [0|1] \"\" X\nSG_MUL_VAL_ 1 S S 1-1;", "1 A 8\n",
		[]string{`2: expected a multiplexor that is in the frame itself for signal "S" in message "A", found "S" skipped`}},
	{"multiplexed by another message", "SG_ M M : 0|8@1+ (1,0) [0|1] \"\" X\nBO_ 1 B: 8 X\n SG_ S m1 : 8|8@1+ (1,0) [0|1] \"\" X\nSG_MUL_VAL_ 1 S M 1-1;", "1 A 8; M 0|8@1+(1,0) M\n1 B 8\n",
		[]string{`3: expected each identifier once, found 1 again; frames are decoded as message "B"`, `4: expected a multiplexor in message "B" itself for signal "S", found "M" skipped`}},
	{"reversed range", "SG_ M M : 0|8@1+ (1,0) [0|1] \"\" X\n SG_ S m1 : 8|8@1+ (1,0) [0|1] \"\" X\nSG_MUL_VAL_ 1 S M 3-1;", "1 A 8; M 0|8@1+(1,0) M\n",
		[]string{`4: expected a range of selector values that rises, such as 1-3, found only empty ones; signal "S" of message "A" is not decoded skipped`}},
	{"range of none among others", "SG_ M M : 0|8@1+ (1,0) [0|1] \"\" X\n SG_ S m1 : 8|8@1+ (1,0) [0|1] \"\" X\nSG_MUL_VAL_ 1 S M 1-1, 2-1, 5-7;", "1 A 8; M 0|8@1+(1,0) M; S 8|8@1+(1,0) M[[1 1] [5 7]]\n",
		[]string{`4: expected a range of selector values that rises, such as 1-3, found "2-1"; it holds no value`}},
	{"single value", "SG_ M M : 0|8@1+ (1,0) [0|1] \"\" X\n SG_ S m1 : 8|8@1+ (1,0) [0|1] \"\" X\nSG_MUL_VAL_ 1 S M 4;", "1 A 8; M 0|8@1+(1,0) M; S 8|8@1+(1,0) M[[4 4]]\n",
		[]string{`4: expected a range of selector values such as 1-3, found "4"; it is read as this value alone`}},
	{"multiplexor lost", "SG_ M M : 0|8@1+ (1,0) [0|1] \"\" X\n SG_ N m1M : 8|8@7+ (1,0) [0|1] \"\" X\n SG_ S m0 : 16|8@1+ (1,0) [0|1] \"\" X\nSG_MUL_VAL_ 1 N M 1-1;\nSG_MUL_VAL_ 1 S N 3-3;", "1 A 8; M 0|8@1+(1,0) M\n",
		[]string{`3: expected a byte order and sign such as 1+ or 0-, found "7+" skipped`,
			`6: expected an SG_ statement of multiplexor "N" that can be read; signal "S" is not decoded skipped`}},
	{"float of another length", "SG_ S : 0|64@1+ (1,0) [0|1] \"\" X\nSIG_VALTYPE_ 1 S : 1;", "1 A 8; S 0|64@1+(1,0) float64\n",
		[]string{`3: expected value type 1 for a signal of 32 bits or 2 for one of 64, found 1 for the 64 bits of "S"; it is read as a float of 64 bits`}},
	{"namesake lost", "SG_ S : 0|8@1+ (1,0) [0|1] \"\" X\n SG_ S : x|8@1+ (1,0) [0|1] \"\" X", "1 A 8\n",
		[]string{`2: expected each signal name once in message "A", found "S" again, of which one cannot be read; it is not decoded skipped`,
			`3: expected a start bit from 0 to 14279, found "x" skipped`}},
	{"transport protocol", "BO_ 2566834942 Lamps: 20 X\nBA_DEF_ BO_ \"VFrameFormat\" ENUM \"StandardCAN\",\"ExtendedCAN\",\"reserved\",\"J1939PG\";\nBA_ \"VFrameFormat\" BO_ 2566834942 3;", "1 A 8\n98FECAFE Lamps 20 j1939\n",
		nil},
	{"small m", "SG_ M m : 0|8@1+ (1,0) [0|1] \"\" X\n SG_ S m1 : 8|8@1+ (1,0) [0|1] \"\" X", "1 A 8; M 0|8@1+(1,0) M; S 8|8@1+(1,0) M[[1 1]]\n",
		[]string{`2: expected M for a multiplexor or a number behind m, found "m"; signal "M" is taken as the multiplexor`}},
	{"cycle time", `BA_ "GenMsgCycleTime" BO_ 1 -5;`, "1 A 8\n", []string{`1: expected a GenMsgCycleTime in milliseconds for message "A", found "-5"; none is assumed`}},
}
