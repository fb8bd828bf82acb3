// Package cli has the commands of telltale: those that start a cloud and vehicles (demo, run, up,
// and fleet for load), those that ask a running cloud (vehicles, state, watch, update), those that
// show files (decode, dbc, campaign, inspect, lake), those that make keys and certificates
// (cert, firmware), and those that tell of the commands themselves (completion, man).
package cli
