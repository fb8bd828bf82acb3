package supervisor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// ErrReload is the cause of a context that ended since SIGHUP asks for the configuration to be read again.
var ErrReload = errors.New("the configuration is read again")

// HangupReloads says what SIGHUP means: without a terminal it is the word of a supervisor to read the configuration again
// (systemctl reload); with one it says that the terminal goes, and the process ends.
func HangupReloads() bool {
	terminal, err := os.Open("/dev/tty")
	if err != nil {
		return true
	}
	terminal.Close()
	return false
}

// Reloadable gives a context that ends with ctx, or with the cause ErrReload when SIGHUP reloads, comes and check finds nothing
// wrong with what is there to be read. What is wrong goes to the log, and the process goes on as before.
func Reloadable(ctx context.Context, check func() error, log *slog.Logger) (context.Context, context.CancelFunc) {
	ctx, end := context.WithCancelCause(ctx)
	stop := func() { end(context.Canceled) }
	if !HangupReloads() {
		return ctx, stop
	}
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, syscall.SIGHUP)
	go func() {
		for {
			select {
			case <-ctx.Done():
				return
			case <-asked:
			}
			err := check()
			if err == nil {
				log.Info("configuration is read again")
				end(ErrReload)
				return
			}
			log.Error("configuration is not taken; the one that was read before stays", "error", err)
		}
	}()
	return ctx, stop
}

// Restart starts this program again in the same process, with the same command line: what the supervisor knows of it stays
// true. It returns only when that cannot be done. The caller has closed what it had open.
func Restart() error {
	program, err := os.Executable()
	if err == nil {
		signal.Ignore(syscall.SIGHUP) // until Reloadable listens again, it must not end the process
		err = syscall.Exec(program, os.Args, os.Environ())
	}
	return fmt.Errorf("start again: %w", err)
}
