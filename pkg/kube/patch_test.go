package kube

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

func pod(change func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Name: "p", Namespace: "ns", ResourceVersion: "7", Labels: map[string]string{"a": "1"},
	}}
	if change != nil {
		change(p)
	}
	return p
}

func TestMergePatch(t *testing.T) {
	tests := []struct {
		name        string
		after       func(*corev1.Pod)
		subresource string
		want        string // empty: nothing to write
	}{
		{name: "no difference writes nothing"},
		{
			name:  "a difference carries the resourceVersion it is based on",
			after: func(p *corev1.Pod) { p.Spec.NodeName = "n" },
			want:  `{"metadata":{"resourceVersion":"7"},"spec":{"nodeName":"n"}}`,
		},
		{
			name:  "metadata and its resourceVersion share one object",
			after: func(p *corev1.Pod) { p.Labels = nil },
			want:  `{"metadata":{"labels":null,"resourceVersion":"7"}}`,
		},
		{
			name:  "status is not part of the object itself",
			after: func(p *corev1.Pod) { p.Status.Phase = corev1.PodRunning },
		},
		{
			name:        "only status is part of status",
			after:       func(p *corev1.Pod) { p.Status.Phase = corev1.PodRunning; p.Spec.NodeName = "n" },
			subresource: "status",
			want:        `{"metadata":{"resourceVersion":"7"},"status":{"phase":"Running"}}`,
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := MergePatch(pod(nil), pod(tt.after), tt.subresource)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

func TestIsGone(t *testing.T) {
	object := apierrors.NewNotFound(schema.GroupResource{Resource: "bundles"}, "web")
	if !IsGone(object, "web") {
		t.Error("an answer that names the object says that it is gone")
	}
	if IsGone(object, "other") {
		t.Error("an answer about another object says nothing about this one")
	}
	kind := apierrors.NewGenericServerResponse(404, "get", schema.GroupResource{Resource: "bundles"}, "web", "404 page not found", 0, true)
	if IsGone(kind, "web") {
		t.Error("a kind that is not served is no evidence about an object")
	}
	if IsGone(nil, "web") {
		t.Error("no error is no evidence")
	}
}
