// Package test runs the whole daemon as its users do: the real binary, on loopback addresses of its own, or in network
// namespaces where the network has to fail, with SIPp and the simulated servers and client of internal/sim as its peers. It
// holds no code of the product.
package test
