package kube

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"
)

// Recorder writes Events about objects. Controllers emit on transitions only,
// never per retry.
type Recorder interface {
	// Eventf records one event: regarding is what it is about, related may be
	// nil, kind is corev1.EventTypeNormal or EventTypeWarning, reason and
	// action are CamelCase words, note tells a person what happened.
	Eventf(regarding, related runtime.Object, kind, reason, action, note string, args ...any)
}

// NewRecorder returns a recorder that writes to conn's API server, under the
// given controller name, until ctx ends.
func NewRecorder(ctx context.Context, conn *Connection, controller string) Recorder {
	broadcaster := events.NewBroadcaster(&events.EventSinkImpl{Interface: conn.Kubernetes.EventsV1()})
	broadcaster.StartRecordingToSink(ctx.Done())
	return broadcaster.NewRecorder(conn.Scheme, controller)
}
