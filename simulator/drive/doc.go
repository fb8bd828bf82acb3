// Package drive plays recorded drives onto a virtual bus and keeps the truth
// about what it played.
//
// Reader reads log files (candump's log form and its screen with absolute
// times, Vector ASC, PEAK TRC and SavvyCAN's CSV; plain, zstd or gzip), Scan
// looks through a whole log, Player puts it on the buses of a virtual hub at
// any speed, Truth decodes every frame that went over those buses, and Cover
// says which DBC files fit a log. What the vehicle makes of the frames, and
// whether everything arrived, is not its business: the ledger compares.
package drive
