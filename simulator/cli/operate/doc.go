// Package operate has the commands that ask a running cloud: vehicles, state, watch and update.
package operate
