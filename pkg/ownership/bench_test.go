package ownership

import (
	"fmt"
	"runtime"
	"testing"
)

// fleetOf returns a graph of bundles on all clusters, and what a deployment of
// it takes.
func fleetOf(bundles, clusters int) *Graph {
	g := NewGraph()
	g.Put(Object{ID: IDOf(KindNamespace, "", "ws")})
	for b := range bundles {
		g.Put(bundleObject(fmt.Sprint("bundle-", b), "shop", false))
	}
	for c := range clusters {
		g.Put(clusterObject(fmt.Sprint("c", c), false))
	}
	for b := range bundles {
		for c := range clusters {
			g.Put(deploymentObject(fmt.Sprint("bundle-", b), fmt.Sprint("c", c), fmt.Sprint("s-", b), false))
		}
	}
	return g
}

// BenchmarkGraphMemory tells how many bytes a deployment takes in a fleet of
// 1,000 clusters with 30 bundles each.
func BenchmarkGraphMemory(b *testing.B) {
	const bundles, clusters = 30, 1000
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		g := fleetOf(bundles, clusters)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/(bundles*clusters), "B/deployment")
		runtime.KeepAlive(g)
	}
}

// BenchmarkGraphEvent tells what one event of a deployment costs: marked,
// gone, and made anew, in a fleet of 1,000 clusters with 30 bundles each.
func BenchmarkGraphEvent(b *testing.B) {
	g := fleetOf(30, 1000)
	at := 0
	for b.Loop() {
		at = (at + 7919) % 30000
		o := deploymentObject(fmt.Sprint("bundle-", at%30), fmt.Sprint("c", at/30), fmt.Sprint("s-", at%30), true)
		g.Put(o)
		g.Drop(o.ID)
		o.Leaving = false
		g.Put(o)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(3*b.N), "ns/event")
}

// BenchmarkTouched tells what finding the deployments of one relabelled cluster
// costs.
func BenchmarkTouched(b *testing.B) {
	g := fleetOf(10, 5000)
	id := IDOf(KindCluster, "ws", "c77")
	for b.Loop() {
		n := 0
		for range g.Deployments(id) {
			n++
		}
		if n != 10 {
			b.Fatal(n)
		}
	}
}
