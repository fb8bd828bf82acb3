package signal

import "strings"

// phrases are how value tables name what is no measurement: words that follow each other, in lower case. The last word
// of a phrase may go on where it ends with *.
var phrases = map[Validity][][]string{
	NotAvailable: {
		{"not", "avail*"}, {"notavail*"}, {"unavail*"}, {"n", "a"}, {"not", "supported"},
		{"don", "t", "care"}, {"dont", "care"}, {"no", "action"},
	},
	Faulty: {{"err*"}, {"fault*"}, {"invalid*"}},
}

// speaksOf says whether a name in a value table is that of a value of this kind. Whole words count: "default" is no
// fault, and "terrain" no error. Nor is "no error", or "error free".
func speaksOf(v Validity, name string) bool {
	before := ""
	for word, rest := cutWord(name); word != ""; word, rest = cutWord(rest) {
		next, _ := cutWord(rest)
		denied := v == Faulty && (isWord(before, "no") || isWord(before, "not") || isWord(before, "without") || isWord(next, "free"))
		for _, phrase := range phrases[v] {
			if !denied && begins(word, rest, phrase) {
				return true
			}
		}
		before = word
	}
	return false
}

// begins says whether a phrase is made of word and what comes after it.
func begins(word, rest string, phrase []string) bool {
	for _, want := range phrase {
		if !isWord(word, want) {
			return false
		}
		word, rest = cutWord(rest)
	}
	return true
}

// isWord compares regardless of case; want may end with *.
func isWord(word, want string) bool {
	if prefix, ok := strings.CutSuffix(want, "*"); ok {
		return len(word) >= len(prefix) && strings.EqualFold(word[:len(prefix)], prefix)
	}
	return strings.EqualFold(word, want)
}

// cutWord gives the first word of a name, empty when there is none, and what comes after it. A word is made of letters
// and digits, and ends before the capital that begins the next one: NotAvailable, ADCError, Sensor2Error.
func cutWord(name string) (word, rest string) {
	start := 0
	for start < len(name) && !isLetter(name[start]) {
		start++
	}
	end := start
	for end < len(name) && isLetter(name[end]) {
		if end > start && isUpper(name[end]) {
			if !isUpper(name[end-1]) || end+1 < len(name) && isLower(name[end+1]) {
				break
			}
		}
		end++
	}
	return name[start:end], name[end:]
}

func isUpper(c byte) bool { return c >= 'A' && c <= 'Z' }

func isLower(c byte) bool { return c >= 'a' && c <= 'z' }

// isLetter takes digits, and what is not ASCII, for letters too.
func isLetter(c byte) bool { return isUpper(c) || isLower(c) || c >= '0' && c <= '9' || c >= 0x80 }
