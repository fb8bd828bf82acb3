package cli

// Commands is the table of the commands. A blank line stands between two, so that one that is added changes no other line.
type Commands struct {
	Demo Demo `cmd:"" help:"Drive a recording through faults and add up the ledger."`

	Run Run `cmd:"" help:"Play a scenario file."`

	Up Up `cmd:"" help:"Keep a cloud and a driving vehicle running until Ctrl-C."`

	Play Play `cmd:"" help:"Play a log onto virtual buses, for an agent that you run."`

	Decode Decode `cmd:"" help:"Decode a log: a tab-separated line for each signal."`

	DBC DBC `cmd:"" name:"dbc" help:"Look at DBC files."`

	Campaign Campaign `cmd:"" help:"Say what vehicles collect: push, list, show, remove and check campaigns."`

	Vehicles Vehicles `cmd:"" help:"List the vehicles of a cloud."`

	State State `cmd:"" help:"Show the last known state of a vehicle."`

	Watch Watch `cmd:"" help:"Follow a vehicle live."`

	Update Update `cmd:"" help:"Change a vehicle's firmware, and tell how that stands."`

	Firmware Firmware `cmd:"" help:"Make keys for update files, sign and look at them."`

	Inspect Inspect `cmd:"" help:"Show a batch or document as JSON."`

	Lake Lake `cmd:"" help:"Sum up the Parquet files of a lake."`

	Cert Cert `cmd:"" help:"Issue a development certificate and show how to use it."`

	Fleet Fleet `cmd:"" help:"Drive many light vehicles at once: load for a cloud or another broker."`

	Completion Completion `cmd:"" help:"Print what a shell reads to complete command lines."`

	Man Man `cmd:"" help:"Print the manual page: telltale man | man -l -"`
}
