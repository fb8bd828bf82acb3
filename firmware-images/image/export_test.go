package image

import "context"

// CheckKeys opens the keys of a folder.
func CheckKeys(dir string) error {
	_, err := openKeys(dir)
	return err
}

// PURL makes a package URL.
func PURL(format string, parts ...any) string { return purl(format, parts...) }

// BootScript is the text that U-Boot of a board runs.
func BootScript(dir string) (string, error) {
	board, err := LoadBoard(dir)
	if err != nil {
		return "", err
	}
	return (&build{board: board}).bootScript()
}

// Compile builds a program of ours for a board into dir, and gives its path.
func Compile(ctx context.Context, root, dir, version, name string, virtual bool) (string, error) {
	b := &build{cfg: Config{Root: root, Version: version}, board: &Board{Virtual: virtual}, work: dir, goes: map[string]string{}}
	err := b.compile(ctx, name)
	return b.goes[name], err
}
