package copies

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/flotilla-gitops/flotilla/pkg/names"
)

// MaxSize is how many bytes all copies of one deployment may take, encoded: its Secret, which may have a MiB, holds values
// as well. Bytes of Secrets are encoded in base64.
const MaxSize = 512 << 10

// Copy is what a source holds. Labels and annotations are no part of it: on the hub they may say to other tools that the
// object is theirs, and would say so in the cluster.
type Copy struct {
	Kind string `json:"kind"`
	// Namespace is the workspace, Name that of source and copy.
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	// UID is the source's. It makes of the digest of all this one that nobody can guess the content by.
	UID types.UID `json:"uid"`
	// Type is that of a Secret.
	Type corev1.SecretType `json:"type,omitempty"`
	// Data are the bytes of a Secret, or the binaryData of a ConfigMap.
	Data map[string][]byte `json:"data,omitempty"`
	// Text is the data of a ConfigMap.
	Text map[string]string `json:"text,omitempty"`
}

// Ref returns the name of the copy.
func (c *Copy) Ref() Ref { return Ref{c.Kind, c.Name} }

// Source returns the source as "namespace/name".
func (c *Copy) Source() string { return c.Namespace + "/" + c.Name }

// digest returns the digest of the copy.
func (c *Copy) digest() string {
	encoded, err := json.Marshal(c)
	if err != nil {
		panic(err) // texts and bytes always encode
	}
	return names.Digest(encoded)
}

// Value returns what stands under a key, and whether anything does.
func (c *Copy) Value(key string) (string, bool) {
	if text, ok := c.Text[key]; ok {
		return text, true
	}
	if c.Kind != KindSecret {
		return "", false
	}
	data, ok := c.Data[key]
	return string(data), ok
}

// OfSecret returns the copy of a Secret.
func OfSecret(s *corev1.Secret) Copy {
	return Copy{Kind: KindSecret, Namespace: s.Namespace, Name: s.Name, UID: s.UID, Type: s.Type, Data: s.Data}
}

// OfConfigMap returns the copy of a ConfigMap.
func OfConfigMap(m *corev1.ConfigMap) Copy {
	return Copy{Kind: KindConfigMap, Namespace: m.Namespace, Name: m.Name, UID: m.UID, Data: m.BinaryData, Text: m.Data}
}

// Encode returns the copies as the Secret of a deployment holds them, and their digest. Both are empty if there are none.
// It fails if they are too large; the error names the sizes.
func Encode(list []Copy) (encoded []byte, digest string, err error) {
	if len(list) == 0 {
		return nil, "", nil
	}
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b Copy) int { return a.Ref().compare(b.Ref()) })
	encoded, err = json.Marshal(list)
	if err != nil {
		return nil, "", errors.New("encoding copies: " + err.Error())
	}
	if len(encoded) > MaxSize {
		return nil, "", fmt.Errorf("downstreamResources: together they are %d KiB, encoded, and may be %d: take some out, or make them smaller",
			(len(encoded)+1023)>>10, MaxSize>>10)
	}
	return encoded, names.Digest(encoded), nil
}

// Decode is the reverse of Encode. Its errors quote nothing of the content.
func Decode(encoded []byte) ([]Copy, error) {
	if len(encoded) == 0 {
		return nil, nil
	}
	var list []Copy
	if json.Unmarshal(encoded, &list) != nil {
		return nil, errors.New("the copies of downstreamResources on the hub cannot be read")
	}
	for i := range list {
		if list[i].Kind != KindSecret && list[i].Kind != KindConfigMap || list[i].Name == "" {
			return nil, errors.New("the copies of downstreamResources on the hub are of a kind that this version does not know")
		}
	}
	return list, nil
}
