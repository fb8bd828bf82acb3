// Package settings holds what can be set of the agent, on its command line and in its
// configuration file, and says in which line a value is wrong.
package settings
