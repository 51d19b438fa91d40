package drift

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const (
	// maxText is the length in bytes to which a text is cut, maxValue the one to which a value in it is.
	maxText  = 1024
	maxValue = 128
	hidden   = "<hidden>"
)

// readable is a merge patch from a to b in which lists of named items hold only
// the items that differ, and of these only what differs. It is to be read, not
// to be applied.
func readable(a, b map[string]any) map[string]any {
	patch := mergePatch(a, b)
	for key, change := range patch {
		switch change := change.(type) {
		case map[string]any:
			if old, ok := a[key].(map[string]any); ok {
				now, _ := b[key].(map[string]any)
				patch[key] = readable(old, now)
			}
		case []any:
			if old, ok := a[key].([]any); ok {
				patch[key] = readableList(old, change)
			}
		}
	}
	return patch
}

// nameOf returns the name by which an item of a list is known.
func nameOf(item any) (string, bool) {
	fields, ok := item.(map[string]any)
	if !ok {
		return "", false
	}
	name, ok := fields["name"].(string)
	return name, ok && name != ""
}

func byName(list []any) (map[string]map[string]any, bool) {
	items := make(map[string]map[string]any, len(list))
	for _, item := range list {
		name, ok := nameOf(item)
		if !ok || items[name] != nil {
			return nil, false
		}
		items[name], _ = item.(map[string]any)
	}
	return items, true
}

func readableList(a, b []any) []any {
	old, ok := byName(a)
	if !ok {
		return b
	}
	now, ok := byName(b)
	if !ok {
		return b
	}
	var shown []any
	for _, item := range b {
		name, _ := nameOf(item)
		before, there := old[name]
		if !there {
			shown = append(shown, item)
			continue
		}
		if change := readable(before, now[name]); len(change) > 0 {
			change["name"] = name
			shown = append(shown, change)
		}
	}
	for _, item := range a {
		if name, _ := nameOf(item); now[name] == nil {
			shown = append(shown, map[string]any{"name": name, "$patch": "delete"})
		}
	}
	if len(shown) == 0 {
		return b // their order is what differs
	}
	return shown
}

// text writes a patch of an object in one line that is not too long. Of Secrets
// it tells keys alone; values that are named like secrets are hidden elsewhere,
// too.
func text(object *unstructured.Unstructured, patch map[string]any) string {
	shown := shorten(patch)
	if IsSecret(object) {
		shown = hide(patch)
	}
	var line bytes.Buffer
	encoder := json.NewEncoder(&line)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(shown); err != nil {
		return "the difference cannot be shown"
	}
	return cut(strings.TrimSpace(line.String()), maxText)
}

// hide returns the value with every leaf hidden that is not null.
func hide(value any) any {
	switch v := value.(type) {
	case map[string]any:
		hiding := make(map[string]any, len(v))
		for key, item := range v {
			hiding[key] = hide(item)
		}
		return hiding
	case nil:
		return nil
	}
	return hidden
}

// shorten returns the value with long texts cut, and with the values of named
// items hidden whose name says that they are secret.
func shorten(value any) any {
	switch v := value.(type) {
	case map[string]any:
		shown := make(map[string]any, len(v))
		for key, item := range v {
			shown[key] = shorten(item)
		}
		name, _ := nameOf(v)
		if _, ok := v["value"].(string); ok && sensitive(name) {
			shown["value"] = hidden
		}
		for key, item := range v {
			if _, ok := item.(string); ok && sensitive(key) {
				shown[key] = hidden
			}
		}
		return shown
	case []any:
		shown := make([]any, len(v))
		for i, item := range v {
			shown[i] = shorten(item)
		}
		return shown
	case string:
		return cut(v, maxValue)
	}
	return value
}

// sensitive says whether what bears the name is probably a secret.
func sensitive(name string) bool {
	name = strings.ToLower(name)
	for _, word := range []string{"password", "passwd", "passphrase", "token", "credential", "apikey", "api_key", "api-key", "private_key", "privatekey", "access_key", "accesskey"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return strings.HasSuffix(name, "secret")
}

// cut cuts a text between two characters, and says that it did.
func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	end := limit
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return fmt.Sprintf("%s… (%d more bytes)", text[:end], len(text)-end)
}
