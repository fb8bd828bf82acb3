// Package decode writes the signals of a log's frames as lines: tab-separated
// or CSV, for other programs and for people. It decodes with a plan of DBC
// files as the vehicle does; reading the log is drive's part, and it keeps no
// state of a vehicle.
package decode
