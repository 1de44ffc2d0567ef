package metrics

import (
	"github.com/prometheus/client_golang/prometheus"

	"mrcproxy/proxy/transport"
)

// transportMetric is one number of transport.Stats.
type transportMetric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(transport.Stats) float64
}

func transportGauge(name, help string, value func(transport.Stats) int64) transportMetric {
	return transportMetric{desc("transport_"+name, help), prometheus.GaugeValue,
		func(s transport.Stats) float64 { return float64(value(s)) }}
}

func transportCounter(name, help string, value func(transport.Stats) uint64) transportMetric {
	return transportMetric{desc("transport_"+name, help), prometheus.CounterValue,
		func(s transport.Stats) float64 { return float64(value(s)) }}
}

var transportSeries = []transportMetric{
	transportGauge("connections", "TCP connections that are up or being made.",
		func(s transport.Stats) int64 { return s.Open }),
	transportGauge("pending_bytes", "Bytes queued on TCP connections.",
		func(s transport.Stats) int64 { return s.Pending }),
	transportCounter("connections_accepted_total", "TCP connections accepted.",
		func(s transport.Stats) uint64 { return s.Accepted }),
	transportCounter("connections_refused_total", "TCP connections over the limit.",
		func(s transport.Stats) uint64 { return s.Refused }),
	transportCounter("connections_dialled_total", "TCP connections made to others.",
		func(s transport.Stats) uint64 { return s.Dialled }),
	transportCounter("dial_failures_total", "TCP connections that could not be made.",
		func(s transport.Stats) uint64 { return s.DialFailed }),
	transportCounter("connections_slow_total", "TCP connections closed because the peer did not read.",
		func(s transport.Stats) uint64 { return s.Slow }),
	transportCounter("connections_malformed_total", "TCP connections closed because messages could not be told apart.",
		func(s transport.Stats) uint64 { return s.Malformed }),
	transportCounter("datagrams_received_total", "UDP messages received.",
		func(s transport.Stats) uint64 { return s.DatagramsIn }),
	transportCounter("datagrams_sent_total", "UDP messages sent.",
		func(s transport.Stats) uint64 { return s.DatagramsOut }),
	transportCounter("send_drops_total", "UDP messages dropped because the send buffer was full.",
		func(s transport.Stats) uint64 { return s.SendDrops }),
	transportCounter("receive_drops_total", "UDP messages that the kernel dropped on arrival.",
		func(s transport.Stats) uint64 { return s.ReceiveDrops }),
	transportCounter("unreachable_total", "ICMP errors received for UDP messages.",
		func(s transport.Stats) uint64 { return s.Unreachable }),
	transportCounter("stream_messages_received_total", "TCP messages received.",
		func(s transport.Stats) uint64 { return s.StreamIn }),
	transportCounter("stream_messages_sent_total", "TCP messages sent or queued.",
		func(s transport.Stats) uint64 { return s.StreamOut }),
}
