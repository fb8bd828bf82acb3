//go:build linux

// Package boot is the life of a board after its kernel has started: it joins the rooms below it,
// and ends with a restart.
//
//	modules ─▶ buses ─▶ identity ─▶ data partition ─▶ agent ─▶ supervise ─▶ restart
//	     └───▶ watchdog, network (beside the others)
//
// It decides nothing about updates: the agent confirms a slot or gives it up.
// What it cannot do it says and goes on without, as far as the agent can start at all. Built with
// the tag virtualboard it has what only QEMU's board needs.
package boot

import (
	"context"
	"errors"
	"fmt"
	"os"

	"telltale.dev/firmware-images/boot/buses"
	"telltale.dev/firmware-images/boot/machine"
	"telltale.dev/firmware-images/boot/network"
	"telltale.dev/firmware-images/boot/partitions"
	"telltale.dev/firmware-images/boot/process"
	"telltale.dev/firmware-images/settings"
	"telltale.dev/hal/power"
	"telltale.dev/hal/slots"
	"telltale.dev/protocol"
)

// configPath is where the board's settings lie in the image.
const configPath = "/etc/telltale/init.yaml"

// timeMark is a file on the data partition whose date is the last time seen.
const timeMark = partitions.DataMount + "/last-seen"

// notifySocket is where the agent shows that it lives.
const notifySocket = "/run/telltale/notify"

// Run is the machine's life; its end is a restart, and the error says why. say prints a line on the console.
func Run(say func(format string, args ...any)) error {
	if err := machine.Mount(); err != nil {
		return err
	}
	say("%s started", protocol.BuildVersion())
	text, err := os.ReadFile(configPath)
	if err != nil {
		return err
	}
	c, err := settings.Parse(text)
	if err != nil {
		return err
	}
	ctx := context.Background() // ends with the machine
	machine.SetClock(say, timeMark)
	if err := errors.Join(buses.StampFrames(), buses.AllowBuffers()); err != nil {
		say("%v", err)
	}
	var sockets []process.Socket
	user := process.User{ID: c.Agent.User}
	machine.LoadModules(say, func() { sockets, user.NetAdmin = open(ctx, say, c.Buses) })
	dog := machine.OpenWatchdog(say, c.Watchdog.Device, c.Watchdog.Timeout)
	children := process.NewReaper()
	go children.Run()
	if err := network.InterfaceUp("lo"); err != nil {
		say("%v", err)
	}
	if c.Network.Interface != "" {
		go network.Keep(ctx, say, c.Network.Interface, c.Network.Wait)
	}
	if c.TPM != "" {
		go func() { // the agent waits for no TPM that may not be there
			if err := errors.Join(startTPM(c.TPM), partitions.GiveDevices(c.Agent.User)); err != nil {
				say("tpm: %v", err)
			}
		}()
	}
	if err := partitions.UnpackIdentity(c.Identity); err != nil {
		say("identity: %v", err)
	}
	if err := (partitions.Disk{Say: say, Call: children.Call}).MountData(c.Data); err != nil {
		return fmt.Errorf("data partition: %w", err)
	}
	machine.SetClock(say, timeMark) // again: the data partition may know more
	give(say, &user)
	s := &process.Supervisor{
		Agent: process.Agent{
			Command: partitions.Addressed(c.Agent.Command, partitions.IdentityDir), User: user, Start: c.Agent.Start, Silence: c.Agent.Silence,
			Tries: c.Agent.Tries, Notify: notifySocket, Restart: slots.ExitRestart, PowerOff: power.ExitPowerOff,
		},
		Children: children, Sockets: sockets, Feed: dog.Feed, Mark: func() { machine.MarkTime(timeMark) }, Say: say,
	}
	err = s.Run()
	machine.MarkTime(timeMark)
	partitions.UnmountData()
	return err
}

// give makes the agent's user the owner of what the agent needs, and of a control group. Without one of these the agent says itself what it cannot do.
func give(say func(string, ...any), user *process.User) {
	if err := partitions.GiveToAgent(settings.AgentData, user.ID); err != nil {
		say("%v", err)
	}
	var err error
	if user.Cgroup, err = machine.DelegateCgroup("agent", user.ID); err != nil {
		say("%v", err)
	}
}

// open brings the buses up and gives the sockets for the agent. After an error the agent goes on trying. The agent
// must be able to set up an interface when one has been left to it, or could not be opened here.
func open(ctx context.Context, say func(string, ...any), list []settings.Bus) (sockets []process.Socket, agentSetsUp bool) {
	for _, b := range list {
		socket, err := buses.Open(buses.Bus{Name: b.Name, VCAN: b.Make == "vcan", Listen: b.Listen})
		if err != nil {
			say("bus %s: %v", b.Name, err)
		}
		agentSetsUp = agentSetsUp || socket == nil && b.Make == ""
		if socket != nil {
			say("bus %s: listening", b.Name)
			sockets = append(sockets, process.Socket{Bus: b.Name, File: socket})
		}
		if b.Cable != "" {
			go func() {
				if err := cable(ctx, say, b.Name, b.Cable); err != nil {
					say("cable of %s: %v", b.Name, err)
				}
			}()
		}
	}
	return sockets, agentSetsUp
}
