package kube

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
)

// briefly has the API server answer a write with the metadata of the object
// alone, in the encoding that is cheapest to both sides: the rest is what was
// sent. It is a good part of what a write costs.
const briefly = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1," +
	"application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"

// request begins a write to the kind of obj, in obj's namespace.
func (k *Kind[T, L]) request(verb string, obj T) *rest.Request {
	gvr, prefix := k.Resource.gvr(), "apis"
	if gvr.Group == "" {
		prefix = "api"
	}
	return k.client.RESTClient.Verb(verb).
		Prefix(prefix, gvr.Group, gvr.Version).
		NamespaceIfScoped(obj.GetNamespace(), k.Resource.Namespaced).
		Resource(gvr.Resource).
		SetHeader("Accept", briefly)
}

// answered returns a copy of sent with the metadata of the answer.
func answered[T Object](result rest.Result, sent T) (T, error) {
	var none T
	var meta metav1.PartialObjectMetadata
	if err := result.Into(&meta); err != nil {
		return none, err
	}
	written := sent.DeepCopyObject().(T)
	written.SetName(meta.Name)
	written.SetUID(meta.UID)
	written.SetResourceVersion(meta.ResourceVersion)
	written.SetGeneration(meta.Generation)
	written.SetCreationTimestamp(meta.CreationTimestamp)
	written.SetDeletionTimestamp(meta.DeletionTimestamp)
	written.SetLabels(meta.Labels)
	written.SetAnnotations(meta.Annotations)
	written.SetFinalizers(meta.Finalizers)
	written.SetOwnerReferences(meta.OwnerReferences)
	return written, nil
}
