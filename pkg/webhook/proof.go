package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Keys of a Secret that webhooks are verified with.
const (
	keyGitHub          = "github"
	keyGitLab          = "gitlab"
	keyBitbucket       = "bitbucket"
	keyBitbucketServer = "bitbucket-server"
	keyGogs            = "gogs"
	keyAzureUser       = "azure-username"
	keyAzurePassword   = "azure-password"
)

// Check says what keeps a Secret from verifying deliveries of any Git host; nil
// if it can verify those of one. It names keys and quotes no value.
func Check(data map[string][]byte) error {
	keys := []string{keyGitHub, keyGitLab, keyBitbucket, keyBitbucketServer, keyGogs}
	var empty []string
	for _, key := range append(keys, keyAzureUser, keyAzurePassword) {
		if _, there := data[key]; there && secretOf(data, key).missing() != nil {
			empty = append(empty, key)
		}
	}
	switch {
	case len(empty) > 0:
		return fmt.Errorf("nothing stands under the key %q", empty[0])
	case (len(data[keyAzureUser]) > 0) != (len(data[keyAzurePassword]) > 0):
		return fmt.Errorf("%s and %s belong together, and one of them is missing", keyAzureUser, keyAzurePassword)
	case len(data[keyAzureUser]) > 0:
		return nil
	}
	for _, key := range keys {
		if len(data[key]) > 0 {
			return nil
		}
	}
	return fmt.Errorf("it has none of the keys %s, %s and %s", strings.Join(keys, ", "), keyAzureUser, keyAzurePassword)
}

// Proven is nil if whoever sent the delivery knows the secret in data, the
// content of a Secret. Whoever has no secret proves nothing. The error says
// what is missing, in words that may be answered with; it quotes no value.
func (d *Delivery) Proven(data map[string][]byte) error {
	f, ok := find(d.header)
	if !ok {
		return ErrUnknown
	}
	return f.proof(d.header, d.body, data)
}

// proof checks that a request was sent by somebody who knows the secret.
type proof func(header http.Header, body []byte, data map[string][]byte) error

func proveGitHub(header http.Header, body []byte, data map[string][]byte) error {
	return signed(header.Get("X-Hub-Signature-256"), "sha256=", body, secretOf(data, keyGitHub))
}

func proveGogs(header http.Header, body []byte, data map[string][]byte) error {
	signature := header.Get("X-Gogs-Signature")
	if signature == "" {
		signature = header.Get("X-Gitea-Signature")
	}
	return signed(signature, "", body, secretOf(data, keyGogs))
}

func proveBitbucketServer(header http.Header, body []byte, data map[string][]byte) error {
	return signed(header.Get("X-Hub-Signature"), "sha256=", body, secretOf(data, keyBitbucketServer))
}

// proveBitbucketCloud takes a signature or, where the webhook has no secret,
// the webhook's id, which then is the secret.
func proveBitbucketCloud(header http.Header, body []byte, data map[string][]byte) error {
	secret := secretOf(data, keyBitbucket)
	if signature := header.Get("X-Hub-Signature"); signature != "" {
		return signed(signature, "sha256=", body, secret)
	}
	return known([]pair{{header.Get("X-Hook-Uuid"), secret}})
}

func proveGitLab(header http.Header, _ []byte, data map[string][]byte) error {
	return known([]pair{{header.Get("X-Gitlab-Token"), secretOf(data, keyGitLab)}})
}

func proveAzure(header http.Header, _ []byte, data map[string][]byte) error {
	user, password, _ := (&http.Request{Header: header}).BasicAuth()
	return known([]pair{{user, secretOf(data, keyAzureUser)}, {password, secretOf(data, keyAzurePassword)}})
}

// secret is what a Secret holds under a key.
type secret struct {
	key   string
	value []byte
}

// secretOf returns the value of a key. A line break at its end comes from the
// way the Secret was made.
func secretOf(data map[string][]byte, key string) secret {
	return secret{key, []byte(strings.TrimRight(string(data[key]), "\r\n"))}
}

func (s secret) missing() error {
	if len(s.value) == 0 {
		return fmt.Errorf("the Secret has nothing under the key %q", s.key)
	}
	return nil
}

var (
	errUnsigned = errors.New("it is not signed: give the webhook the secret of this hub")
	errForged   = errors.New("its signature is not made with the secret of this hub")
	errUnknown  = errors.New("it does not carry the secret of this hub")
)

// signed is nil if the signature is the HMAC of the body, in hexadecimal after
// the prefix.
func signed(signature, prefix string, body []byte, by secret) error {
	if err := by.missing(); err != nil {
		return err
	}
	digits, ok := strings.CutPrefix(signature, prefix)
	if signature == "" {
		return errUnsigned
	}
	given, err := hex.DecodeString(digits)
	if !ok || err != nil {
		return errForged
	}
	mac := hmac.New(sha256.New, by.value)
	mac.Write(body)
	if !hmac.Equal(given, mac.Sum(nil)) {
		return errForged
	}
	return nil
}

// pair is what was sent, and the secret that it should be.
type pair struct {
	given string
	want  secret
}

// known is nil if all that was sent is right. It takes as long whatever is wrong.
func known(pairs []pair) error {
	right := 1
	for _, p := range pairs {
		if err := p.want.missing(); err != nil {
			return err
		}
		given, want := sha256.Sum256([]byte(p.given)), sha256.Sum256(p.want.value)
		right &= subtle.ConstantTimeCompare(given[:], want[:])
	}
	if right != 1 {
		return errUnknown
	}
	return nil
}
