package cli

import (
	"crypto/ecdsa"
	"errors"
	"fmt"
	"os"

	"telltale.dev/protocol/firmware"
	"telltale.dev/protocol/signed"
)

type Firmware struct {
	Key  firmwareKeyCommand  `cmd:"" help:"Make a key that signs update files."`
	Sign firmwareSignCommand `cmd:"" help:"Make a signed update file."`
	Show firmwareShowCommand `cmd:"" help:"Show and check an update file."`
}

type firmwareKeyCommand struct {
	Out string `arg:"" help:"File of the private key; the public one is written beside it as NAME.pub.pem."`
}

// Run makes the key. A file that is there is not overwritten: devices in the field may trust it.
func (c *firmwareKeyCommand) Run() error {
	private, public, err := signed.GenerateKey()
	if err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		text []byte
		mode os.FileMode
	}{{c.Out, private, 0o600}, {c.Out + ".pub.pem", public, 0o644}} {
		file, err := os.OpenFile(f.name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, f.mode)
		if err != nil {
			return err
		}
		_, err = file.Write(f.text)
		if err := errors.Join(err, file.Close()); err != nil {
			return err
		}
	}
	fmt.Printf("%s signs; %s.pub.pem belongs into the devices' folder of update keys\n", c.Out, c.Out)
	return nil
}

type firmwareSignCommand struct {
	Key     string `required:"" placeholder:"FILE" help:"The private key."`
	Board   string `required:"" help:"The hardware it is for."`
	Version string `required:"" help:"For people."`
	Release uint64 `required:"" placeholder:"N" help:"Rises with every firmware given out."`
	Payload string `arg:"" help:"What goes into the slot."`
	Out     string `arg:"" help:"The update file."`
}

// Run signs. The output appears whole or not at all.
func (c *firmwareSignCommand) Run() (err error) {
	key, err := readSigningKey(c.Key)
	if err != nil {
		return fmt.Errorf("--key: %w", err)
	}
	payload, err := os.Open(c.Payload)
	if err != nil {
		return err
	}
	defer payload.Close()
	tmp := c.Out + ".tmp"
	out, err := os.Create(tmp)
	if err != nil {
		return err
	}
	defer os.Remove(tmp)
	h, err := firmware.Sign(out, firmware.Manifest{Board: c.Board, Version: c.Version, Release: c.Release}, payload, key)
	if err := errors.Join(err, out.Close()); err != nil {
		return err
	}
	if err := os.Rename(tmp, c.Out); err != nil {
		return err
	}
	fmt.Printf("%s: %s, release %d, for %s, %d bytes, key %s\n", c.Out, c.Version, c.Release, c.Board, h.Manifest.Size, h.Key())
	return nil
}

func readSigningKey(name string) (*ecdsa.PrivateKey, error) {
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return signed.ParsePrivateKey(text)
}

type firmwareShowCommand struct {
	Trust []string `placeholder:"FILE" help:"Public key that must have signed it. May be repeated."`
	File  string   `arg:"" help:"The update file."`
}

// Run shows the header and reads the payload through.
func (c *firmwareShowCommand) Run() error {
	file, err := os.Open(c.File)
	if err != nil {
		return err
	}
	defer file.Close()
	h, err := firmware.ReadHeader(file)
	if err != nil {
		return err
	}
	m := h.Manifest
	fmt.Printf("board    %s\nversion  %s\nrelease  %d\npayload  %d bytes, sha256 %x\nkey      %s\n", m.Board, m.Version, m.Release, m.Size, m.SHA256, h.Key())
	if len(c.Trust) == 0 {
		fmt.Println("signature not checked: --trust names the key")
	} else {
		files := make([][]byte, len(c.Trust))
		for i, name := range c.Trust {
			if files[i], err = os.ReadFile(name); err != nil {
				return err
			}
		}
		keys, err := signed.ParseKeys(files...)
		if err != nil {
			return fmt.Errorf("--trust: %w", err)
		}
		if err := h.Verify(keys); err != nil {
			return err
		}
		fmt.Println("signature good")
	}
	if err := h.CheckPayload(file); err != nil {
		return err
	}
	fmt.Println("payload good")
	return nil
}
