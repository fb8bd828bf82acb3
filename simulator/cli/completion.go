package cli

import (
	_ "embed"
	"fmt"
	"io"
	"os"

	"github.com/alecthomas/kong"
	"github.com/willabides/kongplete"
)

// What each shell reads. All three ask the program that is on the line what may come next: it finds the line in COMP_LINE.
var (
	//go:embed completion.bash
	completionBash string
	//go:embed completion.zsh
	completionZsh string
	//go:embed completion.fish
	completionFish string
)

type Completion struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// Help says how to use what is printed.
func (*Completion) Help() string {
	return "bash: source <(telltale completion bash)\nzsh: source <(telltale completion zsh)\nfish: telltale completion fish | source"
}

// Run prints the shell's script.
func (c *Completion) Run(app *kong.Kong) error {
	scripts := map[string]string{"bash": completionBash, "zsh": completionZsh, "fish": completionFish}
	_, err := io.WriteString(app.Stdout, scripts[c.Shell])
	return err
}

// Complete answers a shell that asks what may come next on its line. It says whether one asked; the program has nothing else to do then.
func Complete(parser *kong.Kong) (asked bool, err error) {
	if os.Getenv("COMP_LINE") == "" {
		return false, nil
	}
	kongplete.Complete(parser,
		kongplete.WithExitFunc(func(int) {}),
		kongplete.WithErrorHandler(func(cause error) { err = fmt.Errorf("completion: %w", cause) }))
	return true, err
}
