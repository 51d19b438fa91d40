package charts

import (
	"errors"
	"net/http"

	"github.com/flotilla-gitops/flotilla/pkg/bundlereader"
	"github.com/flotilla-gitops/flotilla/pkg/transport"
)

// clientFor returns the client that trusts what auth says, which may be nil.
func (s *Source) clientFor(auth *bundlereader.ChartAuth) (*http.Client, error) {
	trust := transport.Trust{}
	if auth != nil {
		trust = transport.Trust{CA: auth.CACerts, Insecure: auth.InsecureSkipVerify}
	}
	pool, err := s.pools.Get(trust)
	if err != nil {
		return nil, errors.New("the key cacerts of the GitRepo's Secret holds no certificate in PEM form")
	}
	return &http.Client{Transport: pool, CheckRedirect: func(req *http.Request, via []*http.Request) error {
		return transport.CheckRedirect(via[0].URL, req, via)
	}}, nil
}
