// Package dist makes what is given to others: for each architecture static, stripped programs
// (telltale-agent, telltale-cloud, telltale) and a Debian package around each, with the sums of all
// and the licences of what they are made of. The same source gives the same bytes.
package dist
