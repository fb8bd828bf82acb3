// Package terminal knows what standard output can show: whether it is a terminal that understands
// cursor escapes, how large it is, and how it breaks lines.
package terminal

// Terminal is one that understands cursor escapes.
type Terminal struct {
	// Size gives the present size; 0 is unknown.
	Size func() (columns, rows int)
	// Cuts says that lines are cut off when the terminal becomes narrower. Most terminals break them into several.
	Cuts bool
}

// unknownColumns and unknownRows are for a terminal that does not tell its size.
const unknownColumns, unknownRows = 80, 24

// Now gives the present size.
func (t *Terminal) Now() (columns, rows int) {
	columns, rows = t.Size()
	if columns <= 0 {
		columns = unknownColumns
	}
	if rows <= 0 {
		rows = unknownRows
	}
	return columns, rows
}

// Columns is the present width.
func (t *Terminal) Columns() int {
	columns, _ := t.Now()
	return columns
}

// Rows is how many rows a line of so many characters takes now that was drawn when the
// terminal was width columns wide: one that became narrower has broken a long line into several.
func (t *Terminal) Rows(characters, width int) int {
	columns := t.Columns()
	if t.Cuts || columns >= width {
		return 1
	}
	return max(1, (characters+columns-1)/columns)
}

// Cut shortens a line to so many characters.
func Cut(line string, characters int) string {
	for i := range line {
		if characters <= 0 {
			return line[:i]
		}
		characters--
	}
	return line
}
