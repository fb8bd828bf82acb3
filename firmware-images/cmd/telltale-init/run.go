//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"telltale.dev/firmware-images/settings"
	"telltale.dev/firmware-images/vport"
)

// portWait is how long a virtio-serial port or a device may take to appear.
const portWait = 5 * time.Second

// run is the machine's life; its end is a restart, and the error says why.
func run() error {
	if err := mounts(); err != nil {
		return err
	}
	say("started")
	text, err := os.ReadFile(configPath)
	if err != nil {
		return err
	}
	c, err := settings.Parse(text)
	if err != nil {
		return err
	}
	ctx := context.Background() // ends with the machine
	stampFrames()
	loadModules()
	setClock()
	sockets := buses(ctx, c.Buses)
	dog := openWatchdog(c.Watchdog.Device, c.Watchdog.Timeout)
	children := newReaper()
	go children.run()
	if err := interfaceUp("lo"); err != nil {
		say("%v", err)
	}
	if c.Network.Interface != "" {
		go network(ctx, c.Network.Interface, c.Network.Wait)
	}
	if c.TPM != "" {
		go func() { // the agent waits for no TPM that may not be there
			if err := vport.StartTPM(c.TPM); err != nil {
				say("tpm: %v", err)
			}
		}()
	}
	if err := unpackIdentity(c.Identity); err != nil {
		say("identity: %v", err)
	}
	if err := dataPartition(children, c.Data); err != nil {
		return fmt.Errorf("data partition: %w", err)
	}
	setClock() // again: the data partition may know more
	s := &supervisor{cfg: c.Agent, children: children, dog: dog, sockets: sockets}
	err = s.run()
	unmountData()
	return err
}

// appears waits for a file.
func appears(path string, wait time.Duration) error {
	for end := time.Now().Add(wait); ; time.Sleep(2 * time.Millisecond) {
		_, err := os.Stat(path)
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}
