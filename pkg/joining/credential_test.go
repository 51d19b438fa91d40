package joining

import (
	"encoding/base64"
	"strings"
	"testing"
)

func TestCredentialID(t *testing.T) {
	encode := base64.RawURLEncoding.EncodeToString
	token := func(claims string) string {
		return encode([]byte(`{"alg":"RS256"}`)) + "." + encode([]byte(claims)) + ".canary"
	}
	for name, tt := range map[string]struct{ token, want, says string }{
		"a token":                        {token(`{"jti":"1-2"}`), "JTI=1-2", ""},
		"the audience may be many":       {token(`{"aud":["a","b"],"jti":"x"}`), "JTI=x", ""},
		"without an id":                  {token(`{}`), "", "no id"},
		"claims that cannot be read":     {token(`{`), "", "form"},
		"not in three parts":             {"canary", "", "form"},
		"nothing":                        {"", "", "form"},
		"claims that are not in base 64": {"e30.!canary.x", "", "form"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := CredentialID(tt.token)
			if got != tt.want || (err == nil) != (tt.says == "") {
				t.Fatalf("got %q, %v", got, err)
			}
			if err != nil && (!strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "canary")) {
				t.Errorf("error is %v", err)
			}
		})
	}
}
