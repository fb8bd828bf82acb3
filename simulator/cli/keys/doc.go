// Package keys has the commands that make certificates and keys: cert and firmware.
package keys
