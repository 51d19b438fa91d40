package joining

import (
	"errors"

	"github.com/golang-jwt/jwt/v5"
)

// CredentialID returns the id by which the API server knows the token of a service account, as it tells admission and the audit
// log. The token is not verified. Errors do not quote it.
func CredentialID(token string) (string, error) {
	var claims jwt.RegisteredClaims
	if _, _, err := jwt.NewParser().ParseUnverified(token, &claims); err != nil {
		return "", errors.New("the token is of a form that is not known")
	}
	if claims.ID == "" {
		return "", errors.New("the token has no id")
	}
	return "JTI=" + claims.ID, nil
}
