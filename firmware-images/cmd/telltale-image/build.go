package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"telltale.dev/firmware-images/image"
)

type buildCommand struct {
	Board   string `arg:"" help:"The board: a folder below firmware-images, or the path of another one."`
	Root    string `type:"path" default:"." placeholder:"DIR" help:"The repository's root folder."`
	Out     string `type:"path" placeholder:"DIR" help:"Where the result goes. Default: .cache/images/BOARD."`
	Keys    string `type:"path" placeholder:"DIR" help:"Signing keys; development keys are made there when missing. Default: .cache/keys."`
	Cache   string `type:"path" placeholder:"DIR" help:"Debian's packages. Default: .cache/debian."`
	Vendor  string `type:"path" placeholder:"DIR" help:"Files that only the board's maker gives out, see the board's README."`
	Version string `help:"Version for people. Default: of the last commit."`
	Release uint64 `help:"Number that counts up with each firmware given out. Default: the last commit's time."`
	Quiet   bool   `help:"Print the result only."`
}

// Run builds the image and names the files.
func (c *buildCommand) Run(ctx context.Context) error {
	cfg, err := c.config(ctx)
	if err != nil {
		return err
	}
	if !c.Quiet {
		cfg.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	result, err := image.Build(ctx, cfg)
	if err != nil {
		return err
	}
	for _, path := range []string{result.Disk, result.Slot, result.Update, result.UBoot, result.Control, result.SBOM, result.Notices} {
		if path == "" {
			continue
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		fmt.Printf("%12d  %s\n", info.Size(), path)
	}
	if len(result.Missing) > 0 {
		fmt.Printf("the firmware partition lacks %s: expected in --vendor; without them the board does not start\n", strings.Join(result.Missing, ", "))
	}
	return nil
}

// config fills in what the flags leave out.
func (c *buildCommand) config(ctx context.Context) (image.Config, error) {
	board := c.Board
	if !strings.ContainsRune(board, os.PathSeparator) {
		board = filepath.Join(c.Root, "firmware-images", board)
	}
	or := func(path string, parts ...string) string {
		if path != "" {
			return path
		}
		return filepath.Join(append([]string{c.Root, ".cache"}, parts...)...)
	}
	cfg := image.Config{
		Root: c.Root, Board: board, Out: or(c.Out, "images", filepath.Base(board)), Keys: or(c.Keys, "keys"),
		Cache: or(c.Cache, "debian"), Version: c.Version, Release: c.Release, Vendor: c.Vendor,
	}
	commit, seconds, err := image.LastCommit(ctx, c.Root)
	if err != nil {
		return cfg, err
	}
	cfg.Epoch = time.Unix(seconds, 0)
	if cfg.Version == "" {
		cfg.Version = commit
	}
	if cfg.Release == 0 {
		cfg.Release = uint64(seconds)
	}
	return cfg, nil
}
