package program

import "testing"

func TestParsePeak(t *testing.T) {
	got, err := parsePeak("Name:\tmanager\nVmPeak:\t  900 kB\nVmHWM:\t  123456 kB\nVmRSS:\t  100 kB\n")
	if err != nil || got != 123456*1024 {
		t.Errorf("got %v, %v", got, err)
	}
	for _, status := range []string{"", "VmRSS:\t1 kB\n", "VmHWM:\tmuch kB\n", "VmHWM:\t5 MB\n"} {
		if got, err := parsePeak(status); err == nil {
			t.Errorf("%q is read as %v", status, got)
		}
	}
}
