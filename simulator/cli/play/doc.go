// Package play has the commands that start a cloud and vehicles: demo, run, up, and fleet for load.
package play
