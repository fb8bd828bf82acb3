package access

import "slices"

// Rules are all rows of the table.
func Rules() []Rule { return slices.Concat(table[:]...) }

// Covers says whether the pattern of a rule covers an object.
var Covers = covers
