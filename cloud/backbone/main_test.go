package backbone_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain runs the tests, or, as a child process of the crash tests, the role the environment names.
func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case roleCrash:
		crashChild()
	case roleHold:
		holdChild()
	default:
		goleak.VerifyTestMain(m)
	}
}
