package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"

	"telltale.dev/agent/settings"
	"telltale.dev/hal/slots"
	"telltale.dev/protocol/firmware"
)

type slotCommand struct {
	Status   slotStatusCommand   `cmd:"" help:"Which slot runs, and which the boot loader starts next."`
	Install  slotInstallCommand  `cmd:"" help:"Verify an update file and write it into the slot that does not run."`
	Confirm  slotConfirmCommand  `cmd:"" help:"Keep the slot that runs: it is first, with all its tries."`
	Rollback slotRollbackCommand `cmd:"" help:"Make the other slot the first."`
}

// onSlots are the flags of every command about slots.
type onSlots struct {
	settings.FromFile `embed:""`
	settings.Firmware `embed:""`
}

func (c *onSlots) open() (slots.Slots, error) {
	s, err := openSlots(c.Slots)
	if err == nil && s == nil {
		err = errors.New("expected the firmware slots, such as uboot")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.At("slots", ""), err)
	}
	return s, nil
}

type slotStatusCommand struct {
	onSlots `embed:""`
	JSON    bool `name:"json" nofile:"" help:"As JSON."`
}

// slotStatus is the answer as JSON.
type slotStatus struct {
	Booted    slots.Slot         `json:"booted"`
	Next      slots.Slot         `json:"next"` // what the boot loader starts next; empty: nothing
	Order     []slots.Slot       `json:"order"`
	Left      map[slots.Slot]int `json:"left"`
	Trial     bool               `json:"trial"`
	Confirmed slots.Slot         `json:"confirmed,omitempty"` // what is to run when none is on trial; empty: unknown
	Problem   string             `json:"problem,omitempty"`
	Board     string             `json:"board,omitempty"`
	Version   string             `json:"version,omitempty"`
	Release   uint64             `json:"release,omitempty"`
}

// Run shows the status.
func (c *slotStatusCommand) Run() error {
	s, err := c.open()
	if err != nil {
		return err
	}
	st, err := s.Status()
	if err != nil {
		return err
	}
	out := slotStatus{
		Booted: st.Booted, Order: st.Order, Left: st.Left, Trial: st.Trial, Problem: st.Problem,
		Board: c.UpdateBoard, Version: c.UpdateVersion, Release: c.UpdateRelease,
		Confirmed: st.Confirmed(), Next: st.Next(),
	}
	if c.JSON {
		return json.NewEncoder(os.Stdout).Encode(out)
	}
	out.print()
	return nil
}

func (s *slotStatus) print() {
	said := func(slot slots.Slot) string {
		if slot == "" {
			return "unknown"
		}
		return string(slot)
	}
	fmt.Printf("runs     %s", said(s.Booted))
	if s.Trial {
		fmt.Print("  on trial: not confirmed yet")
	} else if s.Confirmed != "" && s.Booted != "" && s.Confirmed != s.Booted {
		fmt.Printf("  although slot %s is confirmed: the boot loader could not start it", s.Confirmed)
	}
	fmt.Println()
	if s.Next == "" {
		fmt.Println("next     none: no slot has a start left")
	} else {
		fmt.Printf("next     %s\n", s.Next)
	}
	for _, slot := range slots.All() {
		fmt.Printf("slot %s   %d of %d starts left\n", slot, s.Left[slot], slots.Tries)
	}
	if s.Board != "" {
		fmt.Println(strings.TrimSpace(fmt.Sprintf("board    %s  %s  release %d", s.Board, s.Version, s.Release)))
	}
	if s.Problem != "" {
		fmt.Printf("problem  %s\n", s.Problem)
	}
}

type slotInstallCommand struct {
	onSlots        `embed:""`
	AllowDowngrade bool   `nofile:"" help:"Take a release older than the one running."`
	File           string `arg:"" type:"path" help:"The update file."`
}

// Run verifies the whole file before it writes anything, and once more while it writes.
func (c *slotInstallCommand) Run(ctx context.Context) error {
	s, err := c.open()
	if err != nil {
		return err
	}
	keys, err := c.Trusted()
	if err != nil {
		return fmt.Errorf("%s: %w", c.At("update-keys", ""), err)
	}
	file, err := os.Open(c.File)
	if err != nil {
		return err
	}
	defer file.Close()
	policy := firmware.Policy{Keys: keys, Board: c.UpdateBoard, Release: c.UpdateRelease, AllowDowngrade: c.AllowDowngrade}
	if _, err := firmware.Verify(file, policy); err != nil {
		return err
	}
	if _, err := file.Seek(0, 0); err != nil {
		return err
	}
	u, err := firmware.Open(file, policy)
	if err != nil {
		return err
	}
	m := u.Header.Manifest
	header, err := u.Header.Bytes()
	if err != nil {
		return err
	}
	if err := s.Install(ctx, slots.SignedImage{Reader: u.Payload(), Header: header}, m.Size); err != nil {
		return err
	}
	st, err := s.Status()
	if err != nil {
		return err
	}
	fmt.Printf("%s (release %d) is in slot %s; it runs after the next restart\n", m.Version, m.Release, st.Booted.Other())
	return nil
}

type slotConfirmCommand struct {
	onSlots `embed:""`
}

// Run confirms.
func (c *slotConfirmCommand) Run() error {
	s, err := c.open()
	if err != nil {
		return err
	}
	return s.Confirm()
}

type slotRollbackCommand struct {
	onSlots `embed:""`
}

// Run rolls back.
func (c *slotRollbackCommand) Run() error {
	s, err := c.open()
	if err != nil {
		return err
	}
	return s.Rollback()
}
