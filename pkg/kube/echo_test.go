package kube

import (
	"errors"
	"testing"
)

type said struct{ Words []string }

func TestEchoes(t *testing.T) {
	var e Echoes[said]
	key := Key{Name: "a"}
	if e.Is(key, said{}) {
		t.Error("nothing was said, and there is an echo")
	}
	heard := false
	err := e.Send(key, said{Words: []string{"one"}}, func() error {
		// The watch is faster than the answer.
		if e.Is(Key{Name: "b"}, said{Words: []string{"one"}}) {
			t.Error("somebody else's words are taken for ours")
		}
		if e.Is(key, said{Words: []string{"two"}}) {
			t.Error("other words are taken for an echo")
		}
		heard = e.Is(key, said{Words: []string{"one"}})
		return nil
	})
	if err != nil || !heard {
		t.Fatalf("error %v, heard %v", err, heard)
	}
	if e.Is(key, said{Words: []string{"one"}}) {
		t.Error("there are two echoes of one write")
	}
	refused := errors.New("refused")
	if err := e.Send(key, said{Words: []string{"three"}}, func() error { return refused }); !errors.Is(err, refused) {
		t.Errorf("error %v", err)
	}
	if e.Is(key, said{Words: []string{"three"}}) {
		t.Error("a write that failed has an echo")
	}
}
