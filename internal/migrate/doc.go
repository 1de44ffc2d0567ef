// Package migrate turns the tables of other SIP proxies, OpenSIPS and Kamailio, into a configuration of this one. It owns
// the reading of their formats and what each of their settings becomes. What cannot be carried over stands in the result as a
// comment: it drops nothing in silence. It opens no file, asks no database, and does not check its result: config does.
package migrate
