package backbone_test

import (
	"flag"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain runs the tests, or, as a child process of the crash tests, the role the environment names.
func TestMain(m *testing.M) {
	switch os.Getenv(roleVariable) {
	case roleCrash:
		crashChild()
	case roleTimers:
		timersChild()
	case roleNATS:
		natsChild()
	case roleHold:
		holdChild()
	default:
		flag.Parse()
		_ = flag.Set("test.parallel", "8") // those that run beside each other mostly wait, whatever the number of processors
		goleak.VerifyTestMain(m)
	}
}
