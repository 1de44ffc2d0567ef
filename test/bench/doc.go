// Bench measures what a complete call (INVITE, 200, ACK, BYE, 200) costs proxies in CPU time, beside each other.
//
// SIPp plays the client and the servers, on this machine, over loopback; a client with many sockets is `mrcproxy bench`. The
// subjects take turns, so that whatever else the machine does hits all of them, and the medians over the rounds are compared as
// ratios. Compared are mrcproxy, Kamailio as Debian ships it, Kamailio with its fast allocator, and a forwarder that does the least
// a proxy can; or, with -growth, mrcproxy with itself: with more servers, with more sockets of clients, and with everything that
// watches it.
//
// It owns the processes it starts, and ends them; it uses only loopback addresses, 127.80.0.0/16.
package main
