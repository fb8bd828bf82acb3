//go:build linux && !virtualboard

package boot

import (
	"context"
	"errors"
)

var errReal = errors.New("only a virtual board has it; expected board.yaml to say that this is one")

func cable(context.Context, func(string, ...any), string, string) error { return errReal }

func startTPM(string) error { return errReal }
