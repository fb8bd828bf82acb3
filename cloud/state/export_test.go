package state

// PartSignals is exported for tests of snapshots of several parts.
const PartSignals = partSignals
