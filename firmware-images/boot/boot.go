//go:build linux

// Package boot is the life of a board after its kernel has started: it joins the rooms below it,
// and ends with a restart.
//
//	modules ─▶ buses ─▶ identity ─▶ data partition ─▶ agent ─▶ supervise ─▶ restart
//	     └───▶ watchdog, network (beside the others)
//
// The agent is a user without rights. Of what is root's it gets the buses' sockets, the devices that its settings name, which are given
// to it again before each of its starts, since some appear late, and a control group, whose processes all end with it.
// The kernel's switches for users without rights are off (machine.Confine). What it prints goes through a pipe:
// it cannot stop the console, and a console that takes nothing stops nobody (process.Console).
//
// The firmware slots and the boot state stay root's: the agent asks for changes through a socket, and slots.Owner holds it to rules, so
// that no firmware older than the confirmed one is started. It is the agent that decides whether a firmware on trial is confirmed or given up.
//
// A bus with a socket of its own is watched: one that goes away, or down, is set up again when it is there (buses.Keep).
//
// What telltale-init cannot do it says and goes on without, as far as the agent can start at all. Built with
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

// Run is the machine's life; its end is a restart, and the error says why.
func Run(console *process.Console) error {
	say := console.Say
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
	if err := errors.Join(machine.Confine(), buses.StampFrames(), buses.AllowBuffers()); err != nil {
		say("%v", err)
	}
	var sockets []process.Socket
	user := process.User{ID: c.Agent.User}
	machine.LoadModules(say, func() { sockets, user.NetAdmin = open(ctx, say, c.Buses) })
	dog := machine.OpenWatchdog(say, c.Watchdog.Device, c.Watchdog.Timeout)
	children := process.NewReaper()
	if children.Output, err = console.Pipe(); err != nil {
		say("%v", err)
	}
	go children.Run()
	if err := network.InterfaceUp("lo"); err != nil {
		say("%v", err)
	}
	if c.Network.Interface != "" {
		go network.Keep(ctx, say, c.Network.Interface, c.Network.Wait)
	}
	of := agentSettings(say, c.Agent.Command)
	if c.TPM != "" {
		go func() { // the agent waits for no TPM that may not be there
			if err := errors.Join(startTPM(c.TPM), partitions.GiveDevices(of.Devices(), c.Agent.User)); err != nil {
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
	return keepAgent(ctx, &of, &c.Agent, &process.Supervisor{
		Agent: process.Agent{User: user}, Children: children, Sockets: sockets, Feed: dog.Feed, Mark: func() { machine.MarkTime(timeMark) }, Say: say,
	})
}

// keepAgent gives the agent what it needs and keeps it running to the end of the machine's life.
func keepAgent(ctx context.Context, of *settings.OfAgent, agent *settings.Agent, s *process.Supervisor) error {
	saying := func(err error) { // each of these may fail without keeping the agent from its work
		if err != nil {
			s.Say("%v", err)
		}
	}
	saying(partitions.GiveToAgent(settings.AgentData, agent.User, s.Feed))
	saying(serveSlots(ctx, s.Say, of, agent))
	group, err := machine.DelegateCgroup("agent", agent.User)
	saying(err)
	s.Agent.User.Cgroup = group.Dir
	s.Agent.Command, s.Agent.Notify = partitions.Addressed(agent.Command, partitions.IdentityDir), notifySocket
	s.Agent.Start, s.Agent.Silence, s.Agent.Tries = agent.Start, agent.Silence, agent.Tries
	s.Agent.Restart, s.Agent.PowerOff = slots.ExitRestart, power.ExitPowerOff
	s.Prepare = func() { saying(partitions.GiveDevices(of.Devices(), agent.User)) }
	s.Clear = func() { saying(group.Kill()) }
	err = s.Run()
	s.Mark()
	partitions.UnmountData()
	return err
}

// agentSettings reads what this process must know of the agent's settings. Without them the agent gets no device and no slots, and says so.
func agentSettings(say func(string, ...any), command []string) (of settings.OfAgent) {
	text, err := os.ReadFile(settings.AgentFile)
	if err == nil {
		of, err = settings.ParseAgent(text, command)
	}
	if err != nil {
		say("%v", err)
	}
	return of
}

// open brings the buses up, gives the sockets for the agent, and keeps the buses up from then on. The agent
// must be able to set up an interface only when one has been left to it.
func open(ctx context.Context, say func(string, ...any), list []settings.Bus) (sockets []process.Socket, agentSetsUp bool) {
	for _, b := range list {
		bus := buses.Bus{Name: b.Name, VCAN: b.Make == "vcan", Listen: b.Listen}
		socket, err := buses.Open(bus)
		if err != nil {
			say("bus %s: %v", b.Name, err)
		}
		if socket != nil {
			say("bus %s: listening", b.Name)
			sockets = append(sockets, process.Socket{Bus: b.Name, File: socket})
		}
		if bus.VCAN || b.Listen != "" {
			go buses.Keep(ctx, say, bus, err == nil)
		} else {
			agentSetsUp = true
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
