// Package test runs the whole daemon as its users do: the real binary, on loopback addresses of its own, or in network
// namespaces where the network has to fail, with SIPp and the simulated servers and client of internal/sim as its peers. It
// holds no code of the product.
//
// Tests that mostly wait run beside each other, at addresses of their own, after those that judge how fast something is, how many
// calls a second there are room for, or how much memory it takes: those have the machine for themselves.
package test
