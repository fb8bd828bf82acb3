package terminal

import (
	"io"
	"os"

	"golang.org/x/term"
)

// Of is what out is when that is standard output on a terminal which understands cursor escapes, else nil.
func Of(out io.Writer) *Terminal {
	f := os.Stdout
	if out != io.Writer(f) || !term.IsTerminal(int(f.Fd())) || !movesCursor(os.Getenv("TERM")) {
		return nil
	}
	return &Terminal{
		Size: func() (columns, rows int) {
			columns, rows, err := term.GetSize(int(f.Fd()))
			if err != nil {
				return 0, 0
			}
			return columns, rows
		},
		Cuts: cutsLines(os.Getenv),
	}
}

// movesCursor says whether a terminal of this kind (TERM) understands cursor escapes; one that tells no kind may not.
func movesCursor(kind string) bool { return kind != "" && kind != "dumb" }

// cutsLines says whether the terminal is one of the few that cut lines off when they become
// narrower: the Linux console, xterm and GNU screen.
func cutsLines(env func(string) string) bool {
	return env("TERM") == "linux" || env("TMUX") == "" && (env("XTERM_VERSION") != "" || env("STY") != "")
}
