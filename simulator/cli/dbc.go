package cli

import (
	"fmt"

	"telltale.dev/protocol/dbc"
	"telltale.dev/simulator/scenario"
)

type DBC struct {
	Check dbcCheckCommand `cmd:"" help:"Say what is in DBC files and what is wrong with them."`
}

type dbcCheckCommand struct {
	Files []string `arg:"" help:"DBC files."`
}

// Run prints one line for each file and one for each problem. It is an error when a file cannot be read at all, or
// when statements were skipped and no message is left.
func (c *dbcCheckCommand) Run() error {
	unreadable, empty := 0, 0
	for _, name := range c.Files {
		text, err := scenario.ReadDBC(name)
		var file *dbc.File
		var problems []dbc.Problem
		if err == nil {
			file, problems, err = dbc.Parse(name, text)
		}
		if err != nil {
			fmt.Println(err)
			unreadable++
			continue
		}
		signals := 0
		for _, m := range file.Messages {
			signals += len(m.Signals)
		}
		fmt.Printf("%s: %d messages, %d signals, %d statements skipped\n", name, len(file.Messages), signals, file.Skipped)
		_, compiled, err := dbc.Compile([]dbc.Source{{Bus: "can0", Files: []*dbc.File{file}}})
		if err != nil {
			return err
		}
		for _, p := range append(problems, compiled...) {
			fmt.Println(p)
		}
		if file.Skipped > 0 && len(file.Messages) == 0 {
			fmt.Printf("%s: no message is left; expected BO_ statements that can be read\n", name)
			empty++
		}
	}
	if unreadable > 0 {
		return fmt.Errorf("%d of %d files cannot be read", unreadable, len(c.Files))
	}
	if empty > 0 {
		return fmt.Errorf("%d of %d files have no message that can be read", empty, len(c.Files))
	}
	return nil
}
