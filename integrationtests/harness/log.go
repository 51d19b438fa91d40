package harness

import (
	"bytes"
	"sync"
	"testing"

	"github.com/sirupsen/logrus"
)

// LogOf returns a logger whose lines are shown when the test fails, and only then. Unlike t.Log it may be written to by what
// outlives the test for a moment.
func LogOf(t testing.TB) logrus.FieldLogger {
	t.Helper()
	lines := &lines{}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("log of this test:\n%s", lines)
		}
	})
	log := logrus.New()
	log.SetOutput(lines)
	log.SetLevel(logrus.DebugLevel)
	log.SetFormatter(&logrus.TextFormatter{DisableColors: true, FullTimestamp: true, TimestampFormat: "15:04:05.000"})
	return log
}

// lines is a buffer for several writers.
type lines struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buffer.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buffer.String()
}
